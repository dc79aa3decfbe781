import {
  type Fault,
  RUN_KINDS,
  RUN_STATES,
  type RunKind,
  type RunState,
  type RunView,
  readJob,
} from '@rota/contract';
import type { OutputKey, OutputOfRun, RunFilter, RunWithNames } from '../store/runs.ts';
import type { Handlers } from './call.ts';
import { faulty, Refusal } from './errors.ts';
import { checkSecrets } from './namedSecrets.ts';
import { cursorOf, keyOf, limitOf, pageOf } from './pages.ts';
import { attemptView, runView } from './presenters.ts';
import type { Services } from './services.ts';

/** A run that somebody asked for is given up after this when no agent takes it. */
const EXEC_START_DEADLINE = '1m';

type RunRoutes = 'listRuns' | 'getRun' | 'cancelRun' | 'resolveRun' | 'retryRun' | 'runOutput' | 'exec';

export function runHandlers(services: Services): Pick<Handlers, RunRoutes> {
  const { store, runs } = services;

  async function viewById(tenantId: string, id: string): Promise<RunView> {
    const [run] = await store.runsByIds({ tenantId, ids: [id] });
    if (!run) throw noRun(id);
    return runView(run);
  }

  return {
    async listRuns({ query, principal }) {
      const { tenantId } = principal;
      const filter: RunFilter = { ...instantsOf(query), ...choicesOf(query) };
      if (query.job !== undefined) {
        const job = await store.findJob({ tenantId, name: query.job });
        if (!job) return { items: [], nextCursor: null };
        filter.jobId = job.id;
      }
      if (query.agent !== undefined) {
        const agent = await store.getAgent({ tenantId, name: query.agent });
        if (!agent) return { items: [], nextCursor: null };
        filter.agentId = agent.id;
      }
      const key = keyOf<[number, string]>(query.cursor, ['number', 'string']);
      const limit = limitOf(query);
      const before = key && { dueAt: key[0], id: key[1] };
      const rows = await store.listRuns({ tenantId, filter, before, limit: limit + 1 });
      return pageOf(rows, limit, runView, (row) => [row.dueAt, row.id]);
    },

    async getRun({ params, principal }) {
      const { tenantId } = principal;
      const run = await findRun(services, tenantId, params.id);
      const attempts = await store.attemptsOfRun({ tenantId, runId: run.id });
      return { run: runView(run), attempts: attempts.map(attemptView) };
    },

    async cancelRun({ params, principal }) {
      const { tenantId } = principal;
      const { id } = await findRun(services, tenantId, params.id);
      const result = await runs.cancel({ tenantId, runId: id, by: principal.name });
      if (result === 'notFound') throw noRun(id);
      if (result === 'ended') throw new Refusal('run.ended', 'It has ended already; nothing to cancel.');
      return viewById(tenantId, id);
    },

    async resolveRun({ params, body, principal }) {
      const { tenantId } = principal;
      const { id, state } = await findRun(services, tenantId, params.id);
      const decision = { tenantId, runId: id, as: body.as, note: body.note ?? '', by: principal.name };
      switch (await runs.resolve(decision)) {
        case 'notFound':
          throw noRun(id);
        case 'ended':
          throw new Refusal('run.ended', 'It has ended; its outcome never changes.');
        case 'notUnknown':
          throw new Refusal('run.notUnknown', `It is ${state}. Wait for it, or cancel it.`);
      }
      return viewById(tenantId, id);
    },

    async retryRun({ params, body, principal }) {
      const { tenantId } = principal;
      const { id, state } = await findRun(services, tenantId, params.id);
      switch (await runs.retry({ tenantId, runId: id, action: body.action, by: principal.name })) {
        case 'notFound':
          throw noRun(id);
        case 'ended':
          throw new Refusal('run.ended', 'It has ended; to run the job again: `rota job run`.');
        case 'notWaiting':
          throw new Refusal('run.notWaiting', `It is ${state} and does not wait for another attempt.`);
      }
      return viewById(tenantId, id);
    },

    async runOutput({ params, query, principal }) {
      const { tenantId } = principal;
      const { id } = await findRun(services, tenantId, params.id);
      const after = outputKeyOf(query.cursor);
      const page = await store.readOutput({ tenantId, runId: id, after, limit: limitOf(query) });
      const last = page.chunks.at(-1);
      return {
        chunks: page.chunks.map(chunkView),
        // Also at the end of what there is: more may come.
        nextCursor: page.complete ? null : last ? outputCursor(last) : (query.cursor ?? null),
        complete: page.complete,
      };
    },

    async exec({ body, principal }) {
      const { tenantId } = principal;
      const { agents, labels, all, startDeadline, idempotencyKey, title, ...step } = body;
      const document = {
        name: 'exec',
        title: title ?? titleOf(body.command),
        ...(agents || labels
          ? { target: { ...(agents ? { agents } : {}), ...(labels ? { labels } : {}) } }
          : {}),
        startDeadline: startDeadline ?? EXEC_START_DEADLINE,
        ...step,
      };
      const read = readJob(document, { timezone: principal.timezone });
      if ('faults' in read) throw faulty('document.invalid', read.faults);
      const { definition } = read.job;
      await checkSecrets(services, tenantId, [{ job: '', definition, chained: false, path: '' }]);
      const answer = await runs.exec({
        tenantId,
        definition,
        agents: agents ?? null,
        all: all ?? false,
        idempotencyKey: idempotencyKey ?? null,
        startDeadlineMs: definition.startDeadlineMs,
        by: principal.name,
      });
      if ('error' in answer)
        throw new Refusal(
          'target.noAgent',
          'No such agent, or none that matches is online; see `rota agent list`.',
        );
      const rows = await store.runsByIds({ tenantId, ids: answer.runIds });
      return { runs: rows.map(runView) };
    },
  };
}

/** The run of an id or of the beginning of one. @throws Refusal */
export async function findRun(
  services: Pick<Services, 'store'>,
  tenantId: string,
  prefix: string,
): Promise<RunWithNames> {
  const run = await services.store.runByPrefix({ tenantId, prefix });
  if (run === 'notFound') throw noRun(prefix);
  if (run === 'ambiguous')
    throw new Refusal('run.ambiguous', `More than one run begins with "${prefix}"; give more of its id.`);
  return run;
}

function noRun(id: string): Refusal {
  return new Refusal('run.notFound', `There is no run "${id}"; see \`rota run list\`.`);
}

export function outputKeyOf(cursor: string | undefined): OutputKey | null {
  const key = keyOf<[number, number]>(cursor, ['number', 'number']);
  return key && { attempt: key[0], seq: key[1] };
}

export function outputCursor(chunk: OutputKey): string {
  return cursorOf([chunk.attempt, chunk.seq]);
}

export function chunkView({ attempt, seq, stream, atMs, droppedBytes, data }: OutputOfRun) {
  return { attempt, seq, stream, atMs, droppedBytes, data: Buffer.from(data).toString('base64') };
}

/** What a command is called when nobody gave it a title. */
function titleOf(command: string | string[]): string {
  const line = (typeof command === 'string' ? command : command.join(' ')).split(/[\r\n\0]/, 1)[0] ?? '';
  return line.length > 80 ? `${line.slice(0, 79)}…` : line;
}

function choicesOf(query: { state?: string; kind?: string }): Pick<RunFilter, 'states' | 'kind'> {
  const states = query.state?.split(',').filter((state) => state !== '');
  const faults: Fault[] = [
    ...(states ?? []).flatMap((state) => choiceFault('state', state, RUN_STATES)),
    ...(query.kind === undefined ? [] : choiceFault('kind', query.kind, RUN_KINDS)),
  ];
  if (faults.length > 0) throw faulty('request.invalid', faults);
  return {
    ...(states === undefined || states.length === 0 ? {} : { states: states as RunState[] }),
    ...(query.kind === undefined ? {} : { kind: query.kind as RunKind }),
  };
}

function choiceFault(path: string, value: string, allowed: readonly string[]): Fault[] {
  if (allowed.includes(value)) return [];
  return [{ path, code: 'value', message: `"${value}" is not allowed; one of: ${allowed.join(', ')}` }];
}

function instantsOf(query: { from?: string; to?: string }): Pick<RunFilter, 'from' | 'to'> {
  const filter: Pick<RunFilter, 'from' | 'to'> = {};
  for (const field of ['from', 'to'] as const) {
    const text = query[field];
    if (text === undefined) continue;
    const at = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/i.test(text)
      ? Date.parse(text)
      : Number.NaN;
    if (Number.isNaN(at)) {
      const message = `"${text}" is not an instant; write it as 2026-12-24T08:00:00Z`;
      throw faulty('request.invalid', [{ path: field, code: 'value', message }]);
    }
    filter[field] = at;
  }
  return filter;
}
