import { nearest } from '@rota/contract';
import type { PostgresAddress } from './store/postgresConnection.ts';

/** libpq's names of how much of TLS there is, without those that fall back to none in silence. */
const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full'] as const;
type SslMode = (typeof SSL_MODES)[number];
const PARAMETERS = ['sslmode', 'pgbouncer', 'host', 'user'];

/** What stands in a URL of a database. */
export interface ParsedUrl extends Omit<PostgresAddress, 'tls' | 'poolSize'> {
  /** How far the server's certificate is checked; null: no TLS. */
  readonly verify: 'none' | 'chain' | 'full' | null;
}

/**
 * Reads `postgres://user@host:5432/name?sslmode=verify-full&pgbouncer=true`; `postgres:///name?host=/folder&user=name` goes by the Unix socket in a folder.
 * Without `sslmode`, other machines are spoken to by TLS with a certificate that is checked, this one without.
 * @returns what is wrong as a text, which never has the password in it
 */
export function parseDatabaseUrl(text: string): ParsedUrl | string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return 'is not a URL; write postgres://user@host:5432/name';
  }
  if (url.protocol !== 'postgres:' && url.protocol !== 'postgresql:')
    return `begins with "${url.protocol}"; only postgres: is known`;
  for (const name of url.searchParams.keys())
    if (!PARAMETERS.includes(name))
      return `has an unknown parameter "${name}"${nearest(name, PARAMETERS)}; known are ${PARAMETERS.join(', ')}`;
  const database = decodeURIComponent(url.pathname.slice(1));
  const host = url.searchParams.get('host') ?? decodeURIComponent(url.hostname.replace(/^\[(.*)\]$/, '$1'));
  if (host === '') return 'has no host; write postgres://user@host:5432/name';
  if (database === '') return 'has no name of a database; write postgres://user@host:5432/name';
  const user = url.searchParams.get('user') ?? decodeURIComponent(url.username);
  if (user === '') return 'has no user; write postgres://user@host:5432/name';
  const sslMode = url.searchParams.get('sslmode') ?? (isHere(host) ? 'disable' : 'verify-full');
  if (!isSslMode(sslMode))
    return `has sslmode "${sslMode}"; one of: ${SSL_MODES.join(', ')}${nearest(sslMode, SSL_MODES)}`;
  return {
    host,
    port: url.port === '' ? 5432 : Number(url.port),
    user,
    password: url.password === '' ? null : decodeURIComponent(url.password),
    database,
    pooler: url.searchParams.get('pgbouncer') === 'true',
    verify: VERIFY[sslMode],
  };
}

const VERIFY = { disable: null, require: 'none', 'verify-ca': 'chain', 'verify-full': 'full' } as const;

function isSslMode(text: string): text is SslMode {
  return (SSL_MODES as readonly string[]).includes(text);
}

/** Whether what is said to this host does not leave the machine. */
function isHere(host: string): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
