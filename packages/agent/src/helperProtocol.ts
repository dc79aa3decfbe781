import type { Permit, StepResult } from '@rota/contract';
import type { GuardRules } from './executors/httpGuard.ts';

/**
 * What session and helper say to each other: JSON lines on a unix socket in the state folder.
 * The helper serves one session at a time, and a new one only after it has read all that the one before had sent.
 * Any change of the messages or of what they ask for is another version; `hello` and `bye` stay as they are in all of them.
 */
export const HELPER_PROTOCOL = 3;

/** One attempt to execute: the permit's content, and whose it is. */
export interface Task {
  attemptId: string;
  epoch: number;
  agent: Permit['agent'];
  run: Permit['run'];
  steps: Permit['steps'];
  secrets: Permit['secrets'];
  timeoutMs: number | null;
  killGraceMs: number;
  validUntilBootMs: number;
  output: { headBytes: number; tailBytes: number; chunkBytes: number };
}

/** What the agent's owner says of all requests. It may change while the helper lives. */
export interface HttpSettings extends GuardRules {
  /** Proxies of the agent's environment, null for none; `exempt` is the text of NO_PROXY. */
  proxies: { http: string | null; https: string | null; exempt: string };
}

export const NO_HTTP_SETTINGS: HttpSettings = {
  allow: [],
  deny: [],
  strict: false,
  proxies: { http: null, https: null, exempt: '' },
};

export type ToHelper =
  /** Comes first, and holds for what starts from now on. */
  | { type: 'settings'; http: HttpSettings }
  | { type: 'start'; task: Task }
  /** Look after an attempt whose helper has died: wait for what is left of it, then write its end. */
  | { type: 'adopt'; attemptId: string }
  /** The answer to `continue`: the permit's content again, or null when the chain is not to go on. */
  | { type: 'continue'; attemptId: string; task: Task | null }
  /** Cancel: TERM, `graceMs`, KILL. */
  | { type: 'end'; attemptId: string; graceMs: number }
  /** The server has all of it. */
  | { type: 'forget'; attemptId: string }
  /** The session leaves; a helper with nothing to do ends. */
  | { type: 'bye' };

export interface HeldAttempt {
  attemptId: string;
  state: 'waiting' | 'running' | 'ended';
  pid: number | null;
}

export type FromHelper =
  | { type: 'hello'; protocol: number; helperId: string; pid: number; attempts: HeldAttempt[] }
  | { type: 'running'; attemptId: string; pid: number | null }
  /** Nothing was executed and nothing will be. */
  | { type: 'refused'; attemptId: string; reason: 'notExecuted' | 'permitExpired'; detail: string }
  /** How a step of a chain gets on; told again to each session. */
  | { type: 'step'; attemptId: string; step: StepResult }
  /** How far it is, as it says itself; null when that holds no more. Told again to each session. */
  | { type: 'progress'; attemptId: string; percent: number | null }
  /** An adopted chain may go on with its next step, and needs its permit's content; told again to each session. */
  | { type: 'continue'; attemptId: string }
  /** More output is in the spool. */
  | { type: 'output'; attemptId: string }
  /** The end record is in the spool, durable. */
  | { type: 'ended'; attemptId: string };

/** Cuts a byte stream into the JSON values of its lines. @throws SyntaxError on a line that is not JSON */
export function createLineReader<T>(onMessage: (message: T) => void): (data: Buffer) => void {
  let parts: Buffer[] = [];
  return (data) => {
    let from = 0;
    for (let end = data.indexOf(10); end !== -1; end = data.indexOf(10, from)) {
      parts.push(data.subarray(from, end));
      const line = Buffer.concat(parts).toString();
      parts = [];
      from = end + 1;
      onMessage(JSON.parse(line) as T);
    }
    if (from < data.length) parts.push(data.subarray(from));
  };
}

export function encodeLine(message: ToHelper | FromHelper): string {
  return `${JSON.stringify(message)}\n`;
}
