import { type DestinationStream, type Logger, pino } from 'pino';

/** Levels of the log, quietest last. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Fields whose value never reaches a log, wherever they stand within two levels. */
const SECRET_FIELDS = ['authorization', 'token', 'secret', 'password', 'privateKey', 'env', 'stdin'];

/** Anything that looks like a credential of Rota, also in the middle of a text. */
const CREDENTIAL = /\b(rota(?:join)?_[0-9a-z]{12})_[A-Za-z0-9_-]{20,}/g;

/** A structured log, one JSON object a line, without secrets. */
export function createLogger(options: { level: LogLevel; destination: DestinationStream }): Logger {
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]),
        censor: '[redacted]',
      },
      hooks: { streamWrite: (line) => line.replaceAll(CREDENTIAL, '$1_[redacted]') },
    },
    options.destination,
  );
}
