import { type Client, createClient } from '@rota/contract';
import type { Command } from 'commander';
import { type Connection, type ConnectionOptions, findConnection } from './connection.ts';
import { createOutput, type Output } from './output.ts';
import type { Ports } from './ports.ts';

/** Flags of every command that answers something. */
export interface AnswerOptions {
  json?: boolean;
}
/** Flags of every command that talks to a server. */
export interface ServerOptions extends AnswerOptions, ConnectionOptions {}

/** What a command works with. */
export interface Cli {
  ports: Ports;
  /** The code that the process ends with when nothing is thrown. */
  exitCode: number;
  /** For `connect`, and to explain a failure. */
  connection: Connection | null;
  output(options: AnswerOptions): Output;
  /** The client of the server that flags, environment, login or this machine name. @throws CliError */
  connect(options: ServerOptions): Client;
}

export function createCli(ports: Ports): Cli {
  return {
    ports,
    exitCode: 0,
    connection: null,
    output: (options) => createOutput(ports, options),
    connect(options) {
      this.connection = findConnection(options, ports);
      return createClient({ url: this.connection.url, token: this.connection.token, fetch: ports.fetch });
    },
  };
}

/** Gives a command `--json`. */
export function answers(command: Command): Command {
  return command.option('--json', 'answer as JSON');
}

/** Gives a command `--json` and the flags that name a server. */
export function talks(command: Command): Command {
  return answers(command)
    .option('--url <url>', 'address of the server (else ROTA_URL, the login, this machine)')
    .option('--token-file <file>', 'file with the token (else ROTA_TOKEN, ROTA_TOKEN_FILE, the login)');
}
