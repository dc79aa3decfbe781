import { LIMITS } from '@rota/contract';
import { rangeFault } from './executors/httpGuard.ts';
import { type HttpSettings, NO_HTTP_SETTINGS } from './helperProtocol.ts';
import type { Log } from './ports.ts';
import type { AgentState } from './session.ts';

/** How an agent is to run. */
export interface AgentOptions {
  /** Absolute path of the folder that it joined with. One agent per folder. */
  stateFolder: string;
  /** Addresses of servers, http or https, tried in turn; default those that it joined with. */
  urls?: string[];
  /** Attempts at one time; default twice the CPUs and at least 4: most jobs wait more than they work. */
  maxParallel?: number;
  /** Lets it talk plain http with a server on another machine. */
  insecure?: boolean;
  /** PEM certificates (their text) trusted beside the system's own. */
  ca?: string;
  /** Below this much room on the state folder's disk it declines offers; default 64 MiB. */
  minFreeBytes?: number;
  /** Which addresses requests may reach, and through which proxies; default: all but link-local and metadata, and none. */
  http?: Partial<HttpSettings>;
  log: Log;
  onState?: (state: AgentState) => void;
  /** Program and arguments of the helper process; default this runtime and this package's own. */
  helperCommand?: string[];
}

/** What of it is settled before the first connection. */
export interface AgentConfig {
  urls: string[];
  maxParallel: number;
  /** PEM text. */
  ca: string | null;
  minFreeBytes: number;
  http: HttpSettings;
}

const MIN_FREE_BYTES = 64 * 1024 * 1024;
/** Paths of sockets end here on the narrowest system; `/helper-12345678.sock` is ours. */
const FOLDER_MAX_BYTES = 103 - 21;

/** Settles the options. @throws Error that names the option, its value and what is allowed */
export function settleConfig(options: AgentOptions, joinedUrls: string[], cpus: number): AgentConfig {
  const maxParallel = options.maxParallel ?? Math.max(4, 2 * cpus);
  if (!Number.isInteger(maxParallel) || maxParallel < 1 || maxParallel > LIMITS.agentParallelMax)
    throw new Error(
      `maxParallel: is ${maxParallel}; must be a whole number from 1 to ${LIMITS.agentParallelMax}`,
    );
  const minFreeBytes = options.minFreeBytes ?? MIN_FREE_BYTES;
  if (!(minFreeBytes >= 0)) throw new Error(`minFreeBytes: is ${minFreeBytes}; must be 0 or more`);
  return {
    urls: settleUrls(options.urls ?? joinedUrls, options.insecure ?? false),
    maxParallel,
    ca: options.ca === undefined ? null : checkCertificates(options.ca),
    minFreeBytes,
    http: settleHttp({ ...NO_HTTP_SETTINGS, ...options.http }),
  };
}

function settleHttp(http: HttpSettings): HttpSettings {
  for (const list of ['allow', 'deny'] as const) {
    for (const range of http[list]) {
      const fault = rangeFault(range);
      if (fault !== null) throw new Error(`http.${list}: ${range} ${fault}`);
    }
  }
  for (const name of ['http', 'https'] as const) {
    const url = http.proxies[name];
    const protocol = url === null ? 'http:' : URL.parse(url)?.protocol;
    // Its text may have a password.
    if (protocol !== 'http:' && protocol !== 'https:')
      throw new Error(
        `http.proxies.${name} (${name.toUpperCase()}_PROXY): must be a URL that begins with http:// or https://`,
      );
  }
  return http;
}

/** @throws Error when the path cannot hold an agent's state */
export function checkStateFolder(path: string): void {
  if (!path.startsWith('/')) throw new Error(`stateFolder: is ${path}; must be an absolute path`);
  const length = Buffer.byteLength(path);
  if (length > FOLDER_MAX_BYTES)
    throw new Error(
      `stateFolder: ${path} has ${length} bytes; must have at most ${FOLDER_MAX_BYTES}, as sockets lie in it`,
    );
}

/** The addresses in their plain form. @throws Error when there is none, or one is not allowed */
export function settleUrls(urls: string[], insecure: boolean): string[] {
  if (urls.length === 0) throw new Error('urls: is empty; must have the address of a server');
  return urls.map((url) => settleUrl(url, insecure));
}

/** @throws Error when the text is no PEM certificate */
export function checkCertificates(text: string): string {
  if (!text.includes('-----BEGIN CERTIFICATE-----'))
    throw new Error('ca: has no certificate; must be PEM text');
  return text;
}

function settleUrl(text: string, insecure: boolean): string {
  if (!URL.canParse(text))
    throw new Error(`urls: ${text} is not a URL; must be like https://rota.example.com:7682`);
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new Error(`urls: ${text} must begin with https:// (or http:// on this machine)`);
  if (url.protocol === 'http:' && !insecure && !isLoopback(url.hostname))
    throw new Error(
      `urls: ${text} is plain http to another machine; use https, or --insecure where the network is trusted`,
    );
  return url.href.replace(/\/+$/, '');
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}
