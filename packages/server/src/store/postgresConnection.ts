import { type ConnectionOptions, checkServerIdentity } from 'node:tls';
import pg from 'pg';
import { DatabaseUntrustedError } from './driver.ts';

/** Where a PostgreSQL database is and how it is reached. */
export interface PostgresAddress {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Null: none, or what the server asks for is in a password file. */
  readonly password: string | null;
  readonly database: string;
  /** Null: without TLS. `ca`: PEM of the authorities that its certificate may come from; null: the usual ones. */
  readonly tls: { readonly verify: 'none' | 'chain' | 'full'; readonly ca: string | null } | null;
  /** Connections at most. */
  readonly poolSize: number;
  /** A pooler in transaction mode stands between: it keeps no named statements. */
  readonly pooler: boolean;
}

/** How long anything may take before its connection counts as lost. */
const ANSWER_MS = 30_000;
const CONNECT_MS = 5_000;

const INT8 = 20;
const NUMERIC = 1700;

/** How a connection is opened. */
export function clientConfig(address: PostgresAddress): pg.ClientConfig {
  const { host, port, user, password, database, tls } = address;
  return {
    host,
    port,
    user,
    database,
    ...(password !== null && { password }),
    ssl: tls === null ? false : tlsOptions(host, tls),
    application_name: 'rota',
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: ANSWER_MS,
    keepAlive: true,
    pipeline: true,
    types: { getTypeParser },
  };
}

function tlsOptions(host: string, { verify, ca }: NonNullable<PostgresAddress['tls']>): ConnectionOptions {
  return {
    ...(ca !== null && { ca }),
    rejectUnauthorized: verify !== 'none',
    // Left to itself, an address would be looked for as "localhost" in the certificate.
    checkServerIdentity: (_, certificate) =>
      verify === 'full' ? checkServerIdentity(host, certificate) : undefined,
  };
}

/** Whole numbers of 64 bits, and their sums, are numbers here: instants and counts stay far below 2^53. */
const getTypeParser = ((type: number, format: 'text') =>
  type === INT8 || type === NUMERIC
    ? Number
    : pg.types.getTypeParser(type, format)) as typeof pg.types.getTypeParser;

/** Without an error of the database that says otherwise, nobody can tell what became of a connection. */
export class ConnectionLost extends Error {
  constructor(cause: unknown) {
    super(wordsOf(cause), { cause });
  }
}

/** An error of several addresses that were tried has no words of its own. */
function wordsOf(error: unknown): string {
  return error instanceof AggregateError ? (error.errors[0] as Error).message : (error as Error).message;
}

function codeOf(error: unknown): string {
  return error instanceof pg.DatabaseError ? (error.code ?? '') : '';
}

/** An error that is not the database's word about the statement, or that is its last word on this connection. */
export function endsConnection(error: unknown): boolean {
  return !(error instanceof pg.DatabaseError) || error.severity === 'FATAL' || error.severity === 'PANIC';
}

/**
 * Someone else was first: serialization failure, deadlock, or a unique index. The operation runs again, sees what the other
 * one made, and goes the way that it has for that.
 */
export function isCollision(error: unknown): boolean {
  return ['40001', '40P01', '23505'].includes(codeOf(error));
}

/** The database starts, stops, has no connection left, or is one that only reads. */
export function isAway(error: unknown): boolean {
  return ['57P01', '57P02', '57P03', '53300', '25006'].includes(codeOf(error));
}

/** No space, no memory, a lock or a statement that took too long. */
export function isShort(error: unknown): boolean {
  return codeOf(error).startsWith('53') || ['55P03', '57014'].includes(codeOf(error));
}

/** What is wrong with the database's TLS, and what to do about it; null: it is something else. */
function tlsFault(error: unknown, { host, tls }: PostgresAddress): string | null {
  const { code = '', message } = error as Error & { code?: string };
  if (/does not support SSL/.test(message))
    return 'the database does not speak TLS: switch ssl on there, or say sslmode=disable where nobody can listen in';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `the database's certificate is not for ${host}: connect by a name that is in it, or check only who signed it, by sslmode=verify-ca`;
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID')
    return `the database's certificate is not valid now (${message}): renew it there`;
  if (/^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|CERT_SIGNATURE_FAILURE)/.test(code))
    return tls?.ca
      ? `no authority in databaseCa has signed the database's certificate (${message}): put the file of the one that has there`
      : `no authority that this machine knows has signed the database's certificate (${message}): name the file of the one that has by databaseCa`;
  return null;
}

/** What opening a connection failed of. */
export function connectFault(error: unknown, address: PostgresAddress): Error {
  const fault = tlsFault(error, address);
  if (fault !== null) return new DatabaseUntrustedError(fault, error);
  return error instanceof pg.DatabaseError ? error : new ConnectionLost(error);
}
