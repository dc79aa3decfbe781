import type { HttpAction } from '@rota/contract';
import type { HttpSettings } from '../helperProtocol.ts';

/** A proxy to go through. */
export interface ProxyServer {
  url: string;
  /** Value of `Proxy-Authorization`; null for none. */
  authorization: string | null;
  /** The agent's owner chose it, and not the job: the guard is not asked about it. */
  isTrusted: boolean;
}

/** The proxy for a URL: the step's own, else what the agent's environment says; null to go there directly. */
export function proxyFor(
  url: URL,
  step: Pick<HttpAction, 'proxy'>,
  settings: HttpSettings,
): ProxyServer | null {
  if (step.proxy === false) return null;
  if (step.proxy !== null) {
    const { username, password } = step.proxy;
    const authorization = username === null ? null : basic(username, password ?? '');
    return { url: step.proxy.url, authorization, isTrusted: false };
  }
  const text = url.protocol === 'https:' ? settings.proxies.https : settings.proxies.http;
  if (text === null || isExempt(url, settings.proxies.exempt)) return null;
  const parsed = new URL(text);
  const authorization =
    parsed.username === ''
      ? null
      : basic(decodeURIComponent(parsed.username), decodeURIComponent(parsed.password));
  parsed.username = '';
  parsed.password = '';
  return { url: parsed.href, authorization, isTrusted: true };
}

/** Value of an authorization header with name and password. */
export function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** Whether NO_PROXY names the host: `example.com` and `.example.com` with all below it, `host:port`, `*`. */
function isExempt(url: URL, exempt: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  // Nobody means the proxy's own machine.
  if (host === 'localhost' || host.endsWith('.localhost') || host === '::1' || /^127\.[\d.]+$/.test(host))
    return true;
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return exempt
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true;
      const [, name = '', only] = /^(?:\*?\.)?(.*?)(?::(\d+))?$/.exec(entry) ?? [];
      const isNamed = entry === host || host === name || host.endsWith(`.${name}`);
      return isNamed && (only === undefined || entry === host || only === port);
    });
}
