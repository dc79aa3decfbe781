import assert from 'node:assert/strict';
import type { AttemptEnd } from '@rota/contract';
import { SUCCEEDED } from '../../attemptReports.testing.ts';
import type { Clock } from '../../clock.ts';
import { attemptIdOf, runIdOf } from '../../runs/ids.ts';
import type { Decision } from '../dispatch.ts';
import type { Driver } from '../driver.ts';
import { change, row, rows, type Value } from '../operation.ts';
import type { PlannedRun } from '../planning.ts';
import { createStore, type Store } from '../store.ts';
import type { AttemptRow, JobRow, RunRow } from '../tables.ts';

/** Opens an empty database of the kind that is held to the suite; the test's end closes and deletes it. */
export type Open = (clock: Clock) => Promise<Driver>;

export const START = Date.UTC(2026, 2, 1);
export const SECOND = 1_000;
export const MINUTE = 60_000;
export const DAY = 86_400_000;

const FACTS = {
  hostname: 'host',
  os: 'linux',
  arch: 'x64',
  kernel: '6',
  cpus: 1,
  memoryBytes: 1,
  bootedAt: 0,
  addresses: [],
  timezone: 'UTC',
  agentVersion: '0',
  runtime: 'node',
  pid: 1,
  user: 'root',
};

/** A store with a tenant, and short words for what tests do with it. */
export class World {
  readonly store: Store;
  readonly driver: Driver;
  readonly tenantId: string;
  #time: { now: number };

  constructor(driver: Driver, time: { now: number }, tenantId: string) {
    this.driver = driver;
    this.store = createStore(driver);
    this.#time = time;
    this.tenantId = tenantId;
  }

  static async open(open: Open): Promise<World> {
    const time = { now: START };
    const driver = await open({ now: () => time.now, after: () => ({ cancel() {} }) });
    const world = new World(driver, time, 'acme');
    await world.store.createTenant({ id: 'acme', name: 'acme', timezone: 'UTC' });
    return world;
  }

  /** With a job `a` and two agents that are online, `one` and `two`. */
  static async withJob(open: Open, document: Record<string, unknown> = {}): Promise<World> {
    const world = await World.open(open);
    await world.online('one');
    await world.online('two');
    await world.job('a', document);
    return world;
  }

  /** The same database as another tenant sees it. */
  async other(): Promise<World> {
    await this.store.createTenant({ id: 'other', name: 'other', timezone: 'UTC' });
    return new World(this.driver, this.#time, 'other');
  }

  get now(): number {
    return this.#time.now;
  }

  pass(ms: number): void {
    this.#time.now += ms;
  }

  change(text: string, ...values: Value[]): Promise<number> {
    return this.driver.write(() => change(text, ...values));
  }

  rows<R>(text: string, ...values: Value[]): Promise<R[]> {
    return this.driver.read(() => rows<R>(text, ...values));
  }

  /** A job by its name, which is its id, too. */
  async job(name: string, document: Record<string, unknown> = {}): Promise<JobRow> {
    await this.store.saveJobs({
      tenantId: this.tenantId,
      by: 'test',
      jobs: [
        {
          id: name,
          name,
          documentJson: JSON.stringify({ name, schedule: 'every 1m', command: 'true', ...document }),
          enabled: true,
          scheduled: true,
          everyTexts: ['1m'],
        },
      ],
      paused: false,
      owner: null,
      prune: false,
      expectedRevision: null,
    });
    return this.readJob(name);
  }

  async readJob(name: string): Promise<JobRow> {
    const job = await this.store.findJob({ tenantId: this.tenantId, name });
    assert(job);
    return job;
  }

  async agent(id: string): Promise<string> {
    await this.change(
      `insert into "agents" ("tenantId", "id", "name", "publicKey", "orderNumber", "labelsJson", "enabled", "state", "sessionEpoch",
         "journalSeq", "maxParallel", "draining", "createdAt", "changedAt")
         values (?, ?, ?, '', 100, '{}', 1, 'offline', 0, 0, 0, 0, ?, ?)`,
      this.tenantId,
      id,
      id,
      this.now,
      this.now,
    );
    return id;
  }

  /** A server process that lives. */
  async replica(id: string): Promise<void> {
    await this.change(
      'insert into "replicas" ("id", "name", "startedAt", "seenAt") values (?, ?, ?, ?) on conflict ("id") do nothing',
      id,
      id,
      this.now,
      this.now,
    );
  }

  /** Opens a session, and confirms it and is ready; another server than `server` must be there. */
  async connect(
    agentId: string,
    shown: {
      lastNonce?: string | null;
      journalSeq?: number;
      newNonce?: string;
      confirm?: boolean;
      replicaId?: string;
      knownEpoch?: number;
    } = {},
  ) {
    const { lastNonce = null, journalSeq = 0, newNonce = `${agentId}-nonce`, confirm = true } = shown;
    const { replicaId = 'server' } = shown;
    const { tenantId } = this;
    if (replicaId === 'server') await this.replica(replicaId);
    const known = await this.store.readAgentById({ agentId });
    const { knownEpoch = known?.sessionEpoch ?? 0 } = shown;
    const answer = await this.store.openSession({
      tenantId,
      agentId,
      knownEpoch,
      replicaId,
      lastNonce,
      newNonce,
      journalSeq,
      bootId: 'boot',
      facts: FACTS,
      maxParallel: 10,
      draining: false,
    });
    if ('sessionEpoch' in answer && confirm) {
      const { sessionEpoch } = answer;
      assert(await this.store.confirmSession({ tenantId, agentId, sessionEpoch, nonce: newNonce }));
      assert(await this.store.readySession({ tenantId, agentId, sessionEpoch }));
    }
    return answer;
  }

  /** A live agent; its session's epoch is 1. */
  async online(agentId: string): Promise<string> {
    await this.agent(agentId);
    const answer = await this.connect(agentId);
    assert.deepEqual(answer, { sessionEpoch: 1 });
    return agentId;
  }

  instant(
    jobId: string,
    scheduledFor: number,
    more: { timeoutMs?: number | null; startBy?: number; dueAt?: number } = {},
  ): PlannedRun {
    const occurrenceKey = `s:${scheduledFor}`;
    const dueAt = more.dueAt ?? scheduledFor;
    return {
      id: runIdOf({ tenantId: this.tenantId, jobId, occurrenceKey, part: '' }),
      occurrenceKey,
      scheduledFor,
      dueAt,
      startBy: more.startBy ?? dueAt + DAY,
      timeoutMs: more.timeoutMs ?? null,
    };
  }

  /** Plans runs of a job at these instants, from the cursor that it has. @returns how many plans were taken */
  async plan(jobId: string, runs: PlannedRun[], through = this.now): Promise<number> {
    const job = await this.readJob(jobId);
    return this.store.storePlans({
      plans: [
        {
          tenantId: this.tenantId,
          jobId,
          revision: job.revision,
          recoveryId: 0,
          expectedThrough: job.plannedThrough,
          plannedThrough: Math.max(through, job.plannedThrough + 1),
          nextAt: this.now,
          runs,
          gaps: [],
        },
      ],
    });
  }

  /** A run that is due now, planned. */
  async planned(jobId: string, more: { timeoutMs?: number | null; startBy?: number } = {}): Promise<string> {
    const run = this.instant(jobId, this.now, more);
    await this.plan(jobId, [run]);
    return run.id;
  }

  async queued(jobId: string, more: { timeoutMs?: number | null; startBy?: number } = {}): Promise<string> {
    const id = await this.planned(jobId, more);
    await this.queueDue();
    return id;
  }

  queueDue(): Promise<number> {
    return this.store.queueDueRuns({ limit: 500 });
  }

  async offer(runId: string, agentId: string, passed: string[] = []) {
    const decision: Decision = {
      run: await this.run(runId),
      action: 'offer',
      agentId,
      offerMs: 10_000,
      passed,
    };
    return (await this.store.decideRuns({ decisions: [decision] }))[0] ?? null;
  }

  /** What messages about a run's newest attempt carry; before its permit, of the one that is offered. */
  async key(runId: string) {
    const run = await this.run(runId);
    const number = run.state === 'offered' ? run.attempt + 1 : run.attempt;
    return {
      tenantId: this.tenantId,
      agentId: run.agentId ?? '',
      attemptId: attemptIdOf(runId, number),
      epoch: run.epoch,
    };
  }

  accept(key: AttemptMessage, journalSeq = 1) {
    return this.store.acceptOffer({ ...key, bootId: 'boot', permitUntilBootMs: 15_000, journalSeq });
  }

  /** Asks for the permit again, as an agent does that has come back. */
  permitAgain(key: AttemptMessage) {
    return this.store.permitAgain({ ...key, bootId: 'boot2', permitUntilBootMs: 99 });
  }

  start(key: AttemptMessage, journalSeq = 2) {
    return this.store.startAttempt({ ...key, seq: 1, pid: 7, journalSeq });
  }

  end(key: AttemptMessage, end: Partial<AttemptEnd> = {}, journalSeq = 3) {
    return this.store.endAttempt({ ...key, seq: 1_000, end: { ...SUCCEEDED, ...end }, journalSeq });
  }

  refuse(key: AttemptMessage, journalSeq = 2) {
    return this.store.refuseAttempt({ ...key, journalSeq, why: 'permitExpired' });
  }

  /** Brings a run that waits for its next attempt to its start on an agent. */
  async startNext(runId: string, agentId: string): Promise<void> {
    assert(await this.offer(runId, agentId));
    assert(await this.accept(await this.key(runId)));
    await this.start(await this.key(runId));
  }

  /** A new run of a job, brought to a state; the agent must be there. */
  async inState(
    state: 'planned' | 'queued' | 'offered' | 'starting' | 'running' | 'unknown',
    jobId: string,
    agentId: string,
    more: { timeoutMs?: number | null; startBy?: number } = {},
  ): Promise<string> {
    const id = await this.planned(jobId, more);
    if (state === 'planned') return id;
    await this.queueDue();
    if (state === 'queued') return id;
    assert(await this.offer(id, agentId));
    if (state === 'offered') return id;
    assert(await this.accept(await this.key(id)));
    if (state === 'starting') return id;
    if (state === 'running') await this.start(await this.key(id));
    else {
      this.pass(25 * SECOND);
      await this.settle();
    }
    await this.expect(id, state);
    return id;
  }

  settle() {
    return this.store.settleOverdueRuns({ limit: 500 });
  }

  async run(runId: string): Promise<RunRow> {
    const run = await this.store.readRun({ tenantId: this.tenantId, runId });
    assert(run, `there is no run ${runId}`);
    return run;
  }

  async attempt(attemptId: string): Promise<AttemptRow> {
    const found = await this.driver.read(() =>
      row<AttemptRow>('select * from "attempts" where "tenantId" = ? and "id" = ?', this.tenantId, attemptId),
    );
    assert(found, `there is no attempt ${attemptId}`);
    return found;
  }

  /** Checks a run's state, and its reason when one is given. */
  async expect(runId: string, state: RunRow['state'], more: Partial<RunRow> = {}): Promise<void> {
    const run = await this.run(runId);
    const seen = Object.fromEntries(Object.keys(more).map((key) => [key, run[key as keyof RunRow]]));
    assert.deepEqual({ state: run.state, ...seen }, { state, ...more });
  }

  /** Everything that is stored of this tenant, to show that something changed nothing. */
  async all(): Promise<string> {
    const parts: unknown[] = [];
    for (const table of [
      'jobs',
      'runs',
      'attempts',
      'steps',
      'output',
      'gaps',
      'agents',
      'idempotencyKeys',
      'events',
      'secrets',
      'audit',
    ]) {
      parts.push(
        // Without an order of its own, rows come in any.
        (await this.rows(`select * from "${table}" where "tenantId" = ?`, this.tenantId))
          .map((found) => JSON.stringify(found))
          .sort(),
      );
    }
    return JSON.stringify(parts);
  }
}

export type AttemptMessage = { tenantId: string; agentId: string; attemptId: string; epoch: number };
