import { ERRORS, type ErrorCode, type Fault, LIMITS, type Problem } from '@rota/contract';
import { CommitUnknownError, DatabaseUnavailableError } from '../store/driver.ts';

/** An answer that is an error: a code of the catalogue and what to do about it. */
export class Refusal extends Error {
  readonly code: ErrorCode;
  readonly faults: Fault[];
  readonly headers: Record<string, string>;

  constructor(
    code: ErrorCode,
    detail: string,
    more: { faults?: Fault[]; headers?: Record<string, string> } = {},
  ) {
    super(detail);
    this.name = 'Refusal';
    this.code = code;
    this.faults = more.faults ?? [];
    this.headers = more.headers ?? {};
  }
}

/** A refusal for faults in what the caller sent. */
export function faulty(code: 'request.invalid' | 'document.invalid', faults: Fault[]): Refusal {
  const [first] = faults;
  const one = first ? `${first.path === '' ? '' : `${first.path}: `}${first.message}` : '';
  const detail = faults.length === 1 ? one : `${faults.length} faults; the first: ${one}`;
  return new Refusal(code, detail, { faults });
}

/** What a refusal looks like on the wire (RFC 9457). */
export function problemOf(refusal: Refusal, requestId: string): Problem {
  const { status, title } = ERRORS[refusal.code];
  const problem: Problem = {
    type: `urn:rota:error:${refusal.code}`,
    title,
    status,
    code: refusal.code,
    detail: refusal.message,
    requestId,
  };
  if (refusal.faults.length > 0) {
    problem.faults = refusal.faults
      .slice(0, LIMITS.faultsReported)
      .map(({ path, code, message }) => ({ path, code, message }));
    const omitted = refusal.faults.length - problem.faults.length;
    if (omitted > 0) problem.faultsOmitted = omitted;
  }
  return problem;
}

/**
 * Any error as a refusal; null for one that is the server's own fault, about which the caller learns nothing more
 * than the request's id.
 */
export function refusalOf(error: unknown): Refusal | null {
  if (error instanceof Refusal) return error;
  if (error instanceof DatabaseUnavailableError) return databaseBusy();
  if (error instanceof CommitUnknownError)
    return new Refusal(
      'server.outcomeUnknown',
      'The connection to the database was lost while this was being saved. Look whether it was before you try again.',
    );
  const { code, statusCode, errcode } = error as { code?: unknown; statusCode?: unknown; errcode?: unknown };
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new Refusal('request.tooLarge', `A body may have at most ${LIMITS.bodyBytes} bytes.`);
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new Refusal('request.unsupportedMediaType', 'Send JSON with "Content-Type: application/json".');
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new Refusal('request.invalid', 'The body is empty; send JSON, or leave out the content type.');
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return new Refusal(
        'request.invalid',
        'The body is not valid JSON, or has a forbidden key such as "__proto__".',
      );
    case 'FST_ERR_BAD_URL':
      return new Refusal('request.invalid', 'The path is not a valid URL path.');
    case 'ERR_SQLITE_ERROR':
      return SQLITE_BUSY.has(Number(errcode) & 0xff) ? databaseBusy() : null;
  }
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500)
    return new Refusal('request.invalid', 'The request cannot be read.');
  return null;
}

function databaseBusy(): Refusal {
  return new Refusal('server.busy', 'The database cannot take this now. Nothing was saved; try again.');
}

/** SQLite's result codes for what passes: busy, locked, I/O error, full. */
const SQLITE_BUSY = new Set([5, 6, 10, 13]);
