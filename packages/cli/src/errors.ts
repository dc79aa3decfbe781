import { ApiError, type Fault, type Problem, UnreachableError } from '@rota/contract';
import { ScheduleError } from '@rota/schedule';

/** Exit codes. With `--wait`, `exec` and `job run` give the command's own code instead. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  unreachable: 3,
  notAllowed: 4,
  notFound: 5,
  conflict: 6,
  /** A run that was waited for ran into its timeout. */
  timedOut: 124,
  /** A run that was waited for has no outcome of its own: unknown, missed or skipped. */
  noOutcome: 125,
  /** A run that was waited for was cancelled. */
  cancelled: 130,
} as const;

/** Something that a command says before it ends: what happened, and what to type next. */
export class CliError extends Error {
  readonly exitCode: number;
  readonly next: string | null;
  constructor(message: string, options: { exitCode?: number; next?: string } = {}) {
    super(message);
    this.name = 'CliError';
    this.exitCode = options.exitCode ?? EXIT.failure;
    this.next = options.next ?? null;
  }
}

/** A document has faults; nothing was sent. */
export class FaultsError extends Error {
  readonly faults: readonly Fault[];
  constructor(faults: readonly Fault[]) {
    super('The document has faults; nothing was saved');
    this.faults = faults;
  }
}

/** Why a file cannot be read, in words. */
export function whyUnreadable(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'you may not read it';
  return code === 'EISDIR' ? 'it is a folder' : message;
}

/** A mistake in what was typed. */
export function usageError(message: string, next?: string): CliError {
  return new CliError(message, { exitCode: EXIT.usage, ...(next !== undefined && { next }) });
}

export interface Explanation {
  message: string;
  /** One line each: `path: what is wrong`. */
  faults: string[];
  /** The next command to type, or null. */
  next: string | null;
  exitCode: number;
  /** The server's code, or null. */
  code: string | null;
}

/** What a person is told of an error, and the exit code that a script gets. */
export function explain(error: unknown): Explanation {
  const plain = { faults: [], next: null, code: null, exitCode: EXIT.failure };
  if (error instanceof CliError)
    return { ...plain, ...told(error), exitCode: error.exitCode, next: error.next };
  if (error instanceof ScheduleError) return { ...plain, ...told(error), exitCode: EXIT.usage };
  if (error instanceof ApiError) return explainProblem(error);
  if (error instanceof UnreachableError) {
    return { ...plain, ...told(error), exitCode: EXIT.unreachable, next: nextOfUnreachable(error) };
  }
  const faults = (error as { faults?: unknown } | null)?.faults;
  if (error instanceof Error && Array.isArray(faults)) {
    const [message = ''] = error.message.split('\n');
    const exitCode = error instanceof FaultsError ? EXIT.conflict : EXIT.usage;
    return { ...plain, message, faults: faults.map(faultText), exitCode };
  }
  return { ...plain, message: error instanceof Error ? error.message : String(error) };
}

function faultText({ path, message }: { path: string; message: string }): string {
  return path === '' ? message : `${path}: ${message}`;
}

function told(error: Error): { message: string } {
  return { message: error.message };
}

function explainProblem({ problem }: ApiError): Explanation {
  const faults = (problem.faults ?? []).map(faultText);
  if (problem.faultsOmitted) faults.push(`… and ${problem.faultsOmitted} more`);
  return {
    message: faults.length > 0 ? problem.title : sentenceOf(problem),
    faults,
    // Many a detail says already what to type.
    next: problem.detail.includes('`rota ') ? null : (NEXT[problem.code] ?? null),
    exitCode: exitCodeOf(problem.status),
    code: problem.code,
  };
}

/** What happened; a detail that begins with "It" needs the title to say what "it" is. */
function sentenceOf({ code, title, detail }: Problem): string {
  // That one speaks to programs, of headers.
  if (detail === '' || code === 'auth.missing') return title;
  return detail.startsWith('It ') ? `${title}: ${detail}` : detail;
}

function exitCodeOf(status: number): number {
  if (status === 401 || status === 403) return EXIT.notAllowed;
  if (status === 404) return EXIT.notFound;
  if (status === 409 || status === 422) return EXIT.conflict;
  if (status === 400) return EXIT.usage;
  return status === 503 ? EXIT.unreachable : EXIT.failure;
}

const NEXT: Record<string, string> = {
  'auth.missing': 'rota login',
  'auth.invalid': 'rota login',
  'job.notFound': 'rota job list',
  'run.notFound': 'rota run list',
  'agent.notFound': 'rota agent list',
  'token.notFound': 'rota token list',
  'target.noAgent': 'rota agent list',
};

function nextOfUnreachable(error: UnreachableError): string {
  const host = URL.parse(error.url)?.hostname ?? '';
  if (/ALTNAME/.test(error.message)) return 'rota … --url https://NAME   (a name that the certificate has)';
  if (isTlsFault(error))
    return "NODE_EXTRA_CA_CERTS=FILE rota …   (the certificate that signed the server's)";
  return isLoopback(host) ? 'npx rota up' : 'rota doctor';
}

/** Whether there was an answer, but from someone who could not prove to be the server. */
export function isTlsFault(error: unknown): boolean {
  return (
    error instanceof UnreachableError && /CERT|SELF_SIGNED|UNABLE_TO|ERR_SSL|ERR_TLS/.test(error.message)
  );
}

/** Whether a host of a URL is this machine. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
