import { resolve } from 'node:path';
import { type Fault, nearest, shown } from '@rota/contract';
import { parseDuration, resolveZone, ScheduleError } from '@rota/schedule';
import { parseDatabaseUrl } from './databaseUrl.ts';
import { LOG_LEVELS, type LogLevel } from './log.ts';
import type { PostgresAddress } from './store/postgresConnection.ts';
import { parseYaml } from './yaml.ts';

/** How a server is started. Flags stand above the environment, the environment above the file. */
export interface ServerOptions {
  /** The folder that everything is kept in. */
  home: string;
  listen?: string;
  /** A PostgreSQL database, without its password: other users of the machine can read flags. */
  database?: string;
  tlsCert?: string;
  tlsKey?: string;
  /** The keys that secrets are encrypted under; without it, a file in `home`. */
  masterKeyFile?: string;
  insecure?: boolean;
  timezone?: string;
  logLevel?: string;
  logTo?: 'stdout' | 'file';
  /** `rota.config.yaml`, wherever it is. */
  configFile?: string;
  env: Record<string, string | undefined>;
}

/** The settled configuration; nothing changes it while the server runs. */
export interface Config {
  readonly home: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** PEM texts. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  /** The tenant's default zone, when somebody chose one. */
  readonly timezone: string | null;
  readonly logLevel: LogLevel;
  readonly logTo: 'stdout' | 'file';
  /** Null: a file in `home`. */
  readonly database: PostgresAddress | null;
  /** Where the keys are that secrets are encrypted under. */
  readonly masterKeyFile: string;
  readonly retention: { readonly runsMs: number; readonly outputMs: number; readonly auditMs: number };
}

/** The configuration has faults; all of them are told. */
export class ConfigError extends Error {
  readonly faults: Fault[];
  constructor(faults: Fault[]) {
    super(
      `the configuration has faults:\n${faults.map(({ path, message }) => `  ${path}: ${message}`).join('\n')}`,
    );
    this.name = 'ConfigError';
    this.faults = faults;
  }
}

/** Every option: its name in the file; `ROTA_` and the name in capitals is its variable. `docs/config.md` lists them. */
export const OPTIONS = {
  listen: { fallback: '127.0.0.1:7682' },
  tlsCert: { fallback: '' },
  tlsKey: { fallback: '' },
  insecure: { fallback: 'false' },
  timezone: { fallback: '' },
  logLevel: { fallback: 'info' },
  logTo: { fallback: 'stdout' },
  database: { fallback: '' },
  databaseCa: { fallback: '' },
  databasePoolSize: { fallback: '10' },
  databasePooler: { fallback: 'false' },
  runRetention: { fallback: '90d' },
  outputRetention: { fallback: '30d' },
  auditRetention: { fallback: '365d' },
  masterKeyFile: { fallback: '' },
} as const satisfies Record<string, { fallback: string }>;
export type OptionName = keyof typeof OPTIONS;
const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[];

/** The environment variable of an option: `tlsCert` is `ROTA_TLS_CERT`. */
export function variableOf(name: OptionName): string {
  return `ROTA_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

const DAY_MS = 86_400_000;

/** Where the master keys of a data folder are when nobody says otherwise. */
export function masterKeyFileOf(home: string): string {
  return resolve(home, 'master-key');
}

/**
 * Settles the configuration. `readFile` reads a text file.
 * @throws ConfigError with all faults at once
 */
export function readConfig(options: ServerOptions, readFile: (path: string) => string): Config {
  const faults: Fault[] = [];
  const add = (path: string, message: string) => faults.push({ path, code: 'value', message });
  const read = (where: string, path: string): string | undefined => {
    try {
      return readFile(path);
    } catch (error) {
      add(where, `${shown(path)} cannot be read: ${(error as { code?: string }).code ?? 'error'}`);
      return undefined;
    }
  };
  const texts = collect(options, read, faults);
  /** An option's text and where it stands, for messages. */
  const from = (name: OptionName) => texts.get(name) ?? { text: OPTIONS[name].fallback, where: name };
  const oneOf = <T extends string>(name: OptionName, allowed: readonly T[]): T => {
    const { text, where } = from(name);
    if ((allowed as readonly string[]).includes(text)) return text as T;
    add(where, `${shown(text)} is not allowed; one of: ${allowed.join(', ')}${nearest(text, allowed)}`);
    return allowed[0] as T;
  };
  const duration = (name: OptionName): number => {
    const { text, where } = from(name);
    try {
      const ms = parseDuration(text);
      if (ms >= DAY_MS) return ms;
      add(where, `${shown(text)} is too short; at least 1d`);
    } catch (error) {
      if (!(error instanceof ScheduleError)) throw error;
      add(where, error.message);
    }
    return DAY_MS;
  };

  const listen = parseListen(from('listen').text);
  if (listen === null)
    add(
      from('listen').where,
      `${shown(from('listen').text)} is not an address; write host:port, such as 127.0.0.1:7682 or [::]:7682`,
    );
  const tls = readTls(from('tlsCert'), from('tlsKey'), read, add);
  const insecure = oneOf('insecure', ['false', 'true']) === 'true';
  if (listen !== null && tls === null && !insecure && !isLoopback(listen.host) && !hasTlsFault(faults))
    add(
      from('listen').where,
      `${shown(from('listen').text)} is open to other machines, which needs TLS: set tlsCert and tlsKey, or insecure: true when something before Rota does TLS`,
    );
  const pooler = oneOf('databasePooler', ['false', 'true']) === 'true';
  const database = readDatabase({ from, read, add, pooler, password: options.env.PGPASSWORD });
  const { text: timezone, where } = from('timezone');
  if (timezone !== '') zoneFault(timezone, (message) => add(where, message));
  const config: Config = {
    home: resolve(options.home),
    listen: Object.freeze(listen ?? { host: '127.0.0.1', port: 0 }),
    tls: tls === null ? null : Object.freeze(tls),
    timezone: timezone === '' ? null : timezone,
    logLevel: oneOf('logLevel', LOG_LEVELS),
    logTo: oneOf('logTo', ['stdout', 'file']),
    database,
    masterKeyFile: resolve(from('masterKeyFile').text || masterKeyFileOf(options.home)),
    retention: Object.freeze({
      runsMs: duration('runRetention'),
      outputMs: duration('outputRetention'),
      auditMs: duration('auditRetention'),
    }),
  };
  if (faults.length > 0) throw new ConfigError(faults);
  return Object.freeze(config);
}

interface Given {
  text: string;
  where: string;
}

/** The text of each option that was given, from the highest place that gives it. */
function collect(
  options: ServerOptions,
  read: (where: string, path: string) => string | undefined,
  faults: Fault[],
): Map<OptionName, Given> {
  const given = fromFile(options.configFile, read, faults);
  for (const [name, value] of fromEnvironment(options.env, read, faults)) given.set(name, value);
  for (const name of OPTION_NAMES) {
    const value = (options as unknown as Record<string, string | boolean | undefined>)[name];
    if (value !== undefined) given.set(name, { text: String(value), where: name });
  }
  return given;
}

function fromFile(
  path: string | undefined,
  read: (where: string, path: string) => string | undefined,
  faults: Fault[],
): Map<OptionName, Given> {
  const given = new Map<OptionName, Given>();
  const text = path === undefined ? undefined : read('configFile', path);
  if (text === undefined || path === undefined) return given;
  const parsed = parseYaml(text);
  if ('faults' in parsed) {
    faults.push(...parsed.faults.map((fault) => ({ ...fault, path })));
    return given;
  }
  const { value } = parsed;
  if (value === null) return given;
  if (typeof value !== 'object' || Array.isArray(value)) {
    faults.push({
      path,
      code: 'type',
      message: `must have one option a line, such as "listen: 127.0.0.1:7682"`,
    });
    return given;
  }
  for (const [name, each] of Object.entries(value)) {
    const where = `${path}: ${name}`;
    if (!isOption(name))
      faults.push({
        path: where,
        code: 'unknownField',
        message: `unknown option${nearest(name, OPTION_NAMES)}`,
      });
    else if (typeof each === 'string' || typeof each === 'boolean' || typeof each === 'number')
      given.set(name, { text: String(each), where });
    else faults.push({ path: where, code: 'type', message: 'must be text, a number, true or false' });
  }
  return given;
}

/** Variables of Rota that are not the server's: of the command line, of agents, and of a job's process. */
const OTHER_VARIABLES = new Set(
  [
    'HOME',
    'URL',
    'TOKEN',
    'JOIN_TOKEN',
    'JOB',
    'RUN',
    'ATTEMPT',
    'ATTEMPT_NUMBER',
    'SCHEDULED_FOR',
    'TENANT',
    'AGENT',
  ].map((name) => `ROTA_${name}`),
);

function fromEnvironment(
  env: ServerOptions['env'],
  read: (where: string, path: string) => string | undefined,
  faults: Fault[],
): Map<OptionName, Given> {
  const given = new Map<OptionName, Given>();
  const variables = OPTION_NAMES.map(variableOf);
  for (const [variable, text] of Object.entries(env)) {
    if (text === undefined || !variable.startsWith('ROTA_')) continue;
    const bare = variables.includes(variable) ? variable : variable.replace(/_FILE$/, '');
    const name = OPTION_NAMES[variables.indexOf(bare)];
    if (name === undefined) {
      // Other programs of Rota have variables of their own; only a near miss of ours is a fault.
      const near = OTHER_VARIABLES.has(bare) ? '' : nearest(bare, variables, 2);
      if (near !== '')
        faults.push({ path: variable, code: 'unknownField', message: `unknown variable${near}` });
      continue;
    }
    if (bare !== variable && env[bare] !== undefined)
      faults.push({
        path: variable,
        code: 'duplicate',
        message: `is set beside ${bare}; set only one of them`,
      });
    const content = bare === variable ? text : read(variable, text)?.trim();
    if (content !== undefined) given.set(name, { text: content, where: variable });
  }
  return given;
}

function isOption(name: string): name is OptionName {
  return Object.hasOwn(OPTIONS, name);
}

/** `host:port`, `[host]:port`, `:port` or `port`. */
function parseListen(text: string): { host: string; port: number } | null {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]*)):)?(\d{1,5})$/.exec(text);
  if (!match || Number(match[3]) > 65_535) return null;
  return { host: match[1] ?? (match[2] || '127.0.0.1'), port: Number(match[3]) };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function readTls(
  cert: Given,
  key: Given,
  read: (where: string, path: string) => string | undefined,
  add: (path: string, message: string) => void,
): { cert: string; key: string } | null {
  if (cert.text === '' && key.text === '') return null;
  if (cert.text === '' || key.text === '') {
    const missing = cert.text === '' ? 'tlsCert' : 'tlsKey';
    add(missing, `is required beside ${cert.text === '' ? 'tlsKey' : 'tlsCert'}`);
    return null;
  }
  const certText = read(cert.where, cert.text);
  const keyText = read(key.where, key.text);
  if (certText !== undefined && !certText.includes('-----BEGIN CERTIFICATE-----'))
    add(cert.where, `${shown(cert.text)} is not a certificate in PEM`);
  if (keyText !== undefined && !/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(keyText))
    add(key.where, `${shown(key.text)} is not a private key in PEM`);
  return certText === undefined || keyText === undefined ? null : { cert: certText, key: keyText };
}

/** Connections that a server may keep to its database. */
const POOL_MAX = 200;

function readDatabase(given: {
  from: (name: OptionName) => Given;
  read: (where: string, path: string) => string | undefined;
  add: (path: string, message: string) => void;
  pooler: boolean;
  password: string | undefined;
}): PostgresAddress | null {
  const { from, read, add } = given;
  const { text, where } = from('database');
  const size = from('databasePoolSize');
  const poolSize = /^\d{1,3}$/.test(size.text) ? Number(size.text) : 0;
  if (poolSize < 2 || poolSize > POOL_MAX)
    add(size.where, `${shown(size.text)} is not allowed; a whole number from 2 to ${POOL_MAX}`);
  const ca = from('databaseCa');
  const caText = ca.text === '' ? null : (read(ca.where, ca.text) ?? null);
  if (caText !== null && !caText.includes('-----BEGIN CERTIFICATE-----'))
    add(ca.where, `${shown(ca.text)} is not a certificate in PEM`);
  if (text === '') return null;
  const url = parseDatabaseUrl(text);
  if (typeof url === 'string') {
    add(where, url);
    return null;
  }
  if (where === 'database' && url.password !== null)
    add(
      where,
      'has a password in it, which other users of this machine can read; use ROTA_DATABASE_FILE or PGPASSWORD',
    );
  const { verify, ...address } = url;
  return Object.freeze({
    ...address,
    password: url.password ?? given.password ?? null,
    pooler: url.pooler || given.pooler,
    poolSize,
    tls: verify === null ? null : Object.freeze({ verify, ca: caText }),
  });
}

/** A server whose TLS files are faulty is not also told that it has no TLS. */
function hasTlsFault(faults: Fault[]): boolean {
  return faults.some(({ path }) => /tls/i.test(path));
}

function zoneFault(zone: string, add: (message: string) => void): void {
  try {
    resolveZone(zone);
  } catch (error) {
    if (!(error instanceof ScheduleError)) throw error;
    add(error.message);
  }
}
