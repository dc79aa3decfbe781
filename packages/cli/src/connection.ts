import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { CliError, EXIT, usageError, whyUnreadable } from './errors.ts';
import type { Ports } from './ports.ts';

/** Which server, with which token, and where both were found (for `doctor` and for errors). */
export interface Connection {
  url: string;
  token: string | null;
  urlFrom: string;
  tokenFrom: string | null;
  /** Why there is no token although one was looked for. */
  tokenMissing: string | null;
}

export interface ConnectionOptions {
  url?: string | undefined;
  tokenFile?: string | undefined;
}

/** The folder of this machine's server and agent: `$ROTA_HOME`, `/var/lib/rota` for root, else the XDG state folder. */
export function rotaHome(ports: Ports): string {
  const { env, uid, userHome, cwd } = ports;
  if (env.ROTA_HOME) return resolve(cwd, env.ROTA_HOME);
  if (uid === 0) return '/var/lib/rota';
  return join(absolute(env.XDG_STATE_HOME) ?? join(userHome, '.local', 'state'), 'rota');
}

/** Where `rota login` keeps the address and the token. */
export function loginFile(ports: Ports): string {
  return join(absolute(ports.env.XDG_CONFIG_HOME) ?? join(ports.userHome, '.config'), 'rota', 'login.json');
}

/** The XDG specification tells to ignore paths that are not absolute. */
function absolute(path: string | undefined): string | null {
  return path?.startsWith('/') ? path : null;
}

export interface Login {
  url: string;
  token: string;
}

/**
 * Finds the server: flags, then `ROTA_URL`, then the login file, then the server of this machine; and the token:
 * `--token-file`, `ROTA_TOKEN`, `ROTA_TOKEN_FILE`, then what the login file or this machine keeps for that very
 * address. A stored token is never sent to another address.
 * @throws CliError when there is no address, or a file that was named cannot be read
 */
export function findConnection(options: ConnectionOptions, ports: Ports): Connection {
  const login = readLogin(ports);
  const local = localServer(ports);
  const found =
    named(options.url, '--url') ??
    named(ports.env.ROTA_URL, 'ROTA_URL') ??
    named(login?.url, loginFile(ports)) ??
    named(local?.url, local?.addressFile);
  if (found === null) {
    throw new CliError(
      'no server is known here: none runs on this machine, and neither ROTA_URL nor a login names one',
      {
        exitCode: EXIT.unreachable,
        next: 'npx rota up   (or: rota login https://…)',
      },
    );
  }
  const url = checkedUrl(found.value, found.from);
  const given = givenToken(options, ports);
  if (given)
    return { url, token: given.value, urlFrom: found.from, tokenFrom: given.from, tokenMissing: null };
  if (login && sameServer(login.url, url)) {
    return { url, token: login.token, urlFrom: found.from, tokenFrom: loginFile(ports), tokenMissing: null };
  }
  if (local && sameServer(local.url, url)) {
    const token = local.token();
    const from = 'value' in token ? local.tokenFile : null;
    const missing = 'value' in token ? null : token.missing;
    return {
      url,
      token: 'value' in token ? token.value : null,
      urlFrom: found.from,
      tokenFrom: from,
      tokenMissing: missing,
    };
  }
  return {
    url,
    token: null,
    urlFrom: found.from,
    tokenFrom: null,
    tokenMissing: 'no token is known for this server',
  };
}

function named(value: string | undefined, from: string | undefined): { value: string; from: string } | null {
  return value ? { value, from: from ?? '' } : null;
}

function givenToken(options: ConnectionOptions, ports: Ports): { value: string; from: string } | null {
  const { env, cwd } = ports;
  if (options.tokenFile)
    return { value: readSecret(resolve(cwd, options.tokenFile), '--token-file'), from: '--token-file' };
  if (env.ROTA_TOKEN) return { value: env.ROTA_TOKEN.trim(), from: 'ROTA_TOKEN' };
  if (env.ROTA_TOKEN_FILE) {
    return {
      value: readSecret(resolve(cwd, env.ROTA_TOKEN_FILE), 'ROTA_TOKEN_FILE'),
      from: 'ROTA_TOKEN_FILE',
    };
  }
  return null;
}

/** A secret from a file. @throws CliError that names the file and where it was named */
export function readSecret(path: string, from: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw usageError(`${from}: cannot read ${path}: ${whyUnreadable(error)}`);
  }
  if (text === '') throw usageError(`${from}: ${path} is empty`);
  return text;
}

/** An address as a person writes it, checked. @throws CliError */
export function checkedUrl(text: string, from: string): string {
  const url = URL.parse(text.includes('://') ? text : `https://${text}`);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw usageError(
      `${from}: ${JSON.stringify(text)} is not an address; expected one such as https://rota.example.org:7682`,
    );
  }
  if (url.username || url.password)
    throw usageError(`${from}: a user name or password in the address is not allowed`);
  return url.href.replace(/\/+$/, '');
}

function sameServer(one: string, other: string): boolean {
  return URL.parse(one)?.href === URL.parse(other)?.href;
}

interface LocalServer {
  url: string;
  addressFile: string;
  tokenFile: string;
  token(): { value: string } | { missing: string };
}

/** The server of this machine, as it left its address in its folder. */
function localServer(ports: Ports): LocalServer | null {
  const folder = join(rotaHome(ports), 'server');
  const addressFile = join(folder, 'address');
  const tokenFile = join(folder, 'admin-token');
  const url = readIfThere(addressFile);
  if (url === null) return null;
  return {
    url,
    addressFile,
    tokenFile,
    token() {
      try {
        return { value: readFileSync(tokenFile, 'utf8').trim() };
      } catch (error) {
        const denied = (error as NodeJS.ErrnoException).code === 'EACCES';
        return {
          missing: denied
            ? `${tokenFile} may be read by its owner only`
            : `${tokenFile} is not there any more`,
        };
      }
    },
  };
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim() || null;
  } catch {
    return null;
  }
}

function readLogin(ports: Ports): Login | null {
  const text = readIfThere(loginFile(ports));
  if (text === null) return null;
  try {
    const login = JSON.parse(text) as Partial<Login>;
    if (typeof login.url === 'string' && typeof login.token === 'string')
      return { url: login.url, token: login.token };
  } catch {
    // said below
  }
  throw new CliError(`${loginFile(ports)} is not what \`rota login\` writes`, { next: 'rota login' });
}

/** Keeps a login where only its owner can read it. */
export function writeLogin(login: Login, ports: Ports): string {
  const path = loginFile(ports);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.${ports.freshId()}`;
  writeFileSync(fresh, `${JSON.stringify(login, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
  chmodSync(fresh, 0o600);
  renameSync(fresh, path);
  return path;
}
