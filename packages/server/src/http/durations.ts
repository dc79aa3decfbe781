import { parseDuration, ScheduleError } from '@rota/schedule';
import { faulty } from './errors.ts';

/** A duration of a request, in milliseconds. @throws Refusal */
export function durationOf(path: string, text: string, limits: { minMs: number; maxMs: number }): number {
  try {
    const ms = parseDuration(text);
    if (ms >= limits.minMs && ms <= limits.maxMs) return ms;
  } catch (error) {
    if (!(error instanceof ScheduleError)) throw error;
    throw faulty('document.invalid', [{ path, code: 'value', message: error.message }]);
  }
  const message = `"${text}" is out of range; from ${limits.minMs / 1_000} s to ${limits.maxMs / 86_400_000} d`;
  throw faulty('document.invalid', [{ path, code: 'value', message }]);
}
