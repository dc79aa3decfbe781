import { parseDuration, ScheduleError } from '@rota/schedule';
import { type Fault, shown } from './faults.ts';
import { LIMITS } from './names.ts';

/** Collects the faults that a schema cannot say, beside those that it has said. */
export interface Meaning {
  add(path: string, code: Fault['code'], message: string): void;
  /** Whether something is wrong at this path or below it, so that looking closer makes no sense. */
  broken(path: string): boolean;
  /** Tells what is wrong with a duration, if it is text. */
  duration(path: string, value: unknown, min: number, rule: string): void;
  /** The same for what stands at a path. */
  inside(path: string): Meaning;
}

/** Adds to `faults`; `base` stands before each path. */
export function createMeaning(faults: Fault[], base: string): Meaning {
  const at = (path: string) => (base === '' ? path : `${base}.${path}`);
  const meaning: Meaning = {
    add(path, code, message) {
      faults.push({ path: at(path), code, message });
    },
    broken: (path) =>
      faults.some(
        (fault) =>
          fault.path === at(path) ||
          fault.path.startsWith(`${at(path)}.`) ||
          fault.path.startsWith(`${at(path)}[`),
      ),
    duration(path, value, min, rule) {
      if (typeof value !== 'string' || meaning.broken(path)) return;
      const fault = durationFault(value, min, rule);
      if (fault) meaning.add(path, 'value', fault);
    },
    inside: (path) => createMeaning(faults, at(path)),
  };
  return meaning;
}

/** What is wrong with a duration; null when nothing is. */
export function durationFault(text: string, min: number, rule: string): string | null {
  try {
    const value = parseDuration(text);
    if (value < min) return `${shown(text)} is too short; ${rule}`;
    if (value > LIMITS.durationMaxMs) return `${shown(text)} is too long; at most 365d`;
    return null;
  } catch (error) {
    if (error instanceof ScheduleError) return error.message;
    throw error;
  }
}
