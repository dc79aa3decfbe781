/** What the commands need of the world; `main.ts` fills it, tests fill it with what they like. */
export interface Ports {
  out: Sink;
  err: Sink;
  stdin: Input;
  env: Record<string, string | undefined>;
  clock: Clock;
  fetch: typeof globalThis.fetch;
  /** Whose process this is; 0 is root. */
  uid: number;
  /** The user's home folder. */
  userHome: string;
  /** The folder in which relative paths begin. */
  cwd: string;
  /** The IANA zone of this machine. */
  timezone: string;
  /** A random text that no one else has. */
  freshId(): string;
  /** Aborted by the first SIGINT or SIGTERM from now on; before the first call they end the process at once. */
  stopSignal(): AbortSignal;
  /** Whether this process could listen on the port of that address. */
  canListen(host: string, port: number): Promise<boolean>;
}

export interface Sink {
  isTTY: boolean;
  /** Width of the terminal in characters. */
  columns: number;
  write(data: string | Uint8Array): void;
}

export interface Input {
  isTTY: boolean;
  /** All of it, as UTF-8. */
  text(): Promise<string>;
  /** Asks on the terminal; with `secret` the answer is not shown. */
  ask(question: string, secret: boolean): Promise<string>;
  /** Resolves when the other side closes it. */
  closed(): Promise<void>;
}

export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Resolves after `ms`, or at once when the signal is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}
