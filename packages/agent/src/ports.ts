/** What the agent's logic needs of the world. The composition roots fill these; a simulation fills them otherwise. */

export interface Timer {
  cancel(): void;
}

/** Readings are milliseconds. Only `bootMs` decides anything; `wallMs` is for people. */
export interface Clock {
  wallMs(): number;
  /** Time since the machine booted, sleep included. Shared by all processes of the machine. */
  bootMs(): number;
  /** Calls back once `ms` have passed on the boot clock; any length. */
  after(ms: number, callback: () => void): Timer;
}

export interface Random {
  /** 0 ≤ x < 1. */
  unit(): number;
  /** Random text, unguessable, base64url of so many bytes. */
  token(bytes: number): string;
}

/** A subset of pino's logger. Fields first; never secrets or values of environment variables. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** A socket to a server, carrying text messages. */
export interface Connection {
  send(text: string): void;
  ping(): void;
  /** Ends it after what was sent has left, or at once when that takes too long. */
  close(): void;
  /** Ends it at once. */
  terminate(): void;
}

export interface ConnectionEvents {
  opened(): void;
  received(text: string): void;
  /** Anything came in, a pong too. */
  alive(): void;
  /** Called once, whatever the cause. */
  closed(cause: string): void;
}

/** Dials a server; the events follow. */
export type Connect = (url: string, events: ConnectionEvents) => Connection;

export interface DiskFile {
  write(data: Uint8Array, position: number): Promise<void>;
  /** The data is on the disk when this resolves. */
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  close(): Promise<void>;
}

/** The file operations of what must survive a crash. */
export interface Disk {
  /** Null when there is no such file. */
  read(path: string): Promise<Buffer | null>;
  /** Opens for writing, readable by its owner only; makes the file when it is not there. */
  open(path: string): Promise<DiskFile>;
  rename(from: string, to: string): Promise<void>;
  /** Makes names in the folder durable. */
  syncFolder(path: string): Promise<void>;
}
