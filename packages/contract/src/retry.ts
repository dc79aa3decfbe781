import { parseDuration } from '@rota/schedule';
import { type Static, Type } from 'typebox';
import type { ReasonCode } from './reasons.ts';
import type { AttemptOutcome } from './run.ts';

/** Trying again: of a step within its attempt (tries), and of a run (attempts). */

const DurationText = Type.String({ maxLength: 40, description: 'A duration such as 90s, 15m, 1h30m or 2d.' });

export const RetryField = Type.Object(
  {
    times: Type.Integer({ minimum: 1, maximum: 100, description: 'Extra tries, 1 to 100.' }),
    delay: Type.Optional(DurationText),
    backoff: Type.Optional(Type.Number({ minimum: 1, maximum: 100 })),
    maxDelay: Type.Optional(DurationText),
    jitter: Type.Optional(DurationText),
    outcomes: Type.Optional(
      Type.Array(
        Type.String({
          pattern: '^(failed|timedOut|network|exit:[0-9]{1,3}|http:[1-5](xx|[0-9][0-9]))$',
          description: 'must be failed, timedOut, network, exit:75, http:503 or http:5xx',
        }),
        { minItems: 1, maxItems: 50 },
      ),
    ),
  },
  { additionalProperties: false },
);
export type RetryField = Static<typeof RetryField>;

export interface Retry {
  /** Extra tries. */
  times: number;
  /** Before the second try; each later one waits `backoff` times as long, up to `maxDelayMs`. */
  delayMs: number;
  backoff: number;
  maxDelayMs: number;
  /** Up to so much is added by chance. */
  jitterMs: number;
  /** What is tried again: `failed`, `timedOut`, `network`, `exit:75`, `http:503`, `http:5xx`. */
  outcomes: string[];
}

export const RETRY_DEFAULTS = {
  delayMs: 10_000,
  backoff: 2,
  maxDelayMs: 600_000,
  outcomes: ['failed', 'timedOut'],
} as const;

/** How a try or an attempt ended, as far as trying again depends on it. */
export interface RetriedEnd {
  outcome: AttemptOutcome;
  reason: ReasonCode | null;
  exitCode: number | null;
  http: { status: number | null } | null;
}

/** The policy with its defaults settled. The field must have been read before. */
export function defineRetry(field: RetryField): Retry {
  return {
    times: field.times,
    delayMs: field.delay === undefined ? RETRY_DEFAULTS.delayMs : parseDuration(field.delay),
    backoff: field.backoff ?? RETRY_DEFAULTS.backoff,
    maxDelayMs: field.maxDelay === undefined ? RETRY_DEFAULTS.maxDelayMs : parseDuration(field.maxDelay),
    jitterMs: field.jitter === undefined ? 0 : parseDuration(field.jitter),
    outcomes: field.outcomes ?? [...RETRY_DEFAULTS.outcomes],
  };
}

/** Reasons of requests that got no answer through: what `network` means. */
const NETWORK_REASONS: readonly ReasonCode[] = [
  'httpDns',
  'httpRefused',
  'httpReset',
  'httpConnectTimeout',
  'httpFirstByteTimeout',
  'httpTimeout',
];
/** Ends of which nobody knows what happened before them: never tried again by themselves. */
const FATE_LOST: readonly ReasonCode[] = ['exitStatusLost', 'interrupted'];

/** Whether the policy wants another try after this end; how many there were is the caller's to count. */
export function isRetried(retry: Retry, { outcome, reason, exitCode, http }: RetriedEnd): boolean {
  if (outcome === 'succeeded' || outcome === 'cancelled') return false;
  if (reason !== null && FATE_LOST.includes(reason)) return false;
  return retry.outcomes.some((listed) => {
    if (listed === 'failed' || listed === 'timedOut') return outcome === listed;
    if (listed === 'network') return reason !== null && NETWORK_REASONS.includes(reason);
    const [kind, code = ''] = listed.split(':');
    if (kind === 'exit') return exitCode === Number(code);
    const status = String(http?.status ?? '');
    return code.endsWith('xx') ? status.startsWith(code.slice(0, 1)) : status === code;
  });
}

/**
 * How long to wait after try `number` (from 1) has failed. `random` gives numbers from 0 up to, but without, 1.
 */
export function retryDelayMs(retry: Retry, number: number, random: () => number): number {
  const delay = Math.min(retry.delayMs * retry.backoff ** (number - 1), retry.maxDelayMs);
  return Math.round(delay + random() * retry.jitterMs);
}
