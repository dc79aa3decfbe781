import type { HttpResult, ReasonCode } from '@rota/contract';
import { type Ending, NO_ENDING } from './execution.ts';

/** A cause that the reasons know. */
export class HttpFault extends Error {
  readonly reason: ReasonCode;
  constructor(reason: ReasonCode, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** The ending that a fault, or whatever else the connection threw, stands for; `http` is the newest answer. */
export function failedBy(error: unknown, http: HttpResult | null): Ending {
  const fault = error instanceof HttpFault ? error : faultOf(error);
  return { ...NO_ENDING, outcome: 'failed', reason: fault.reason, error: fault.message, http };
}

const REFUSED = ['ECONNREFUSED'];
const DNS = ['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL', 'EAI_NODATA'];
const TIMEOUT = ['ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'];
const RESET = [
  'ECONNRESET',
  'EPIPE',
  'ECONNABORTED',
  'UND_ERR_SOCKET',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
];
const PROXY = ['UND_ERR_PRX_CONN', 'UND_ERR_PRX_TLS'];
const PROXY_ANSWER = /Proxy response|Proxy Authentication Required/;
const TLS =
  /^(CERT_|ERR_TLS_|ERR_SSL_|ERR_OSSL_|EPROTO$|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/;

function faultOf(error: unknown): HttpFault {
  // Several addresses were tried: the last one's cause stands for all.
  const single = error instanceof AggregateError ? (error.errors.at(-1) as unknown) : error;
  const {
    code = '',
    message: said,
    reason,
  } = (single ?? {}) as Partial<NodeJS.ErrnoException & { reason: string }>;
  // OpenSSL's messages name its threads and source files; its reason is all that helps.
  const message = (code.startsWith('ERR_SSL_') && reason) || said || String(single);
  return new HttpFault(
    reasonOf(code, message),
    code && !message.includes(code) ? `${message} (${code})` : message,
  );
}

/** The reason that a code of the connection stands for. */
export function reasonOf(code: string, message = ''): ReasonCode {
  if (DNS.includes(code)) return 'httpDns';
  if (REFUSED.includes(code)) return 'httpRefused';
  if (TIMEOUT.includes(code)) return 'httpTimeout';
  if (PROXY.includes(code) || PROXY_ANSWER.test(message)) return 'httpProxy';
  if (TLS.test(code) || /before secure TLS connection/.test(message)) return 'httpTls';
  return RESET.includes(code) ? 'httpReset' : 'httpFailed';
}
