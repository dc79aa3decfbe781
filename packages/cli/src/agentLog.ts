import { oneLine } from './output.ts';
import type { Clock, Sink } from './ports.ts';

export const AGENT_LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type AgentLogLevel = (typeof AGENT_LOG_LEVELS)[number];

type Write = (fields: object, message: string) => void;

/** The log of an agent in the foreground: one short line each, `2026-03-01T12:00:00Z info online url=… name=…`. */
export function createAgentLog(sink: Sink, clock: Clock, level: AgentLogLevel): Record<AgentLogLevel, Write> {
  const least = AGENT_LOG_LEVELS.indexOf(level);
  const writer = (each: AgentLogLevel): Write => {
    if (AGENT_LOG_LEVELS.indexOf(each) < least) return () => undefined;
    return (fields, message) => {
      const when = new Date(clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
      const words = Object.entries(fields).map(
        ([name, value]) => ` ${name === 'err' ? 'error' : name}=${valueText(value)}`,
      );
      sink.write(`${when} ${each} ${oneLine(message)}${words.join('')}\n`);
    };
  };
  return { debug: writer('debug'), info: writer('info'), warn: writer('warn'), error: writer('error') };
}

function valueText(value: unknown): string {
  const text =
    value instanceof Error
      ? value.message
      : typeof value === 'string'
        ? value
        : (JSON.stringify(value) ?? '');
  return /^[^\s"]+$/.test(text) ? oneLine(text) : JSON.stringify(oneLine(text));
}
