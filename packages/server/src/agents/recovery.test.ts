import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { openSqlite } from '../store/sqlite.ts';
import { createStore } from '../store/store.ts';
import { Composition, TENANT } from './composition.testing.ts';
import type { ScriptedAgent } from './scriptedAgent.testing.ts';

/** A server over a file that can be put back to what it was. */
class PutBack {
  readonly server: Composition;
  readonly #file: string;
  readonly #copy: string;

  constructor(folder: string) {
    this.#file = join(folder, 'rota.db');
    this.#copy = join(folder, 'copy.db');
    this.server = new Composition({
      open: (clock) => openSqlite(this.#file, clock),
      release: async () => rmSync(folder, { recursive: true, force: true }),
    });
  }

  static async start(t: TestContext): Promise<PutBack> {
    const made = new PutBack(mkdtempSync(join(tmpdir(), 'rota-recovery-')));
    await made.server.boot();
    t.after(() => made.server.leave());
    await made.server.store.createTenant({ id: TENANT, name: 'acme', timezone: 'UTC' });
    return made;
  }

  /** What is committed until now is all that the database will know after `goBack`. */
  async remember(): Promise<void> {
    rmSync(this.#copy, { force: true });
    await this.server.store.backup(this.#copy);
  }

  /** The server ends, and begins again on the database as it was. */
  async goBack(): Promise<void> {
    const { server } = this;
    await server.crash();
    for (const suffix of ['-wal', '-shm']) rmSync(`${this.#file}${suffix}`, { force: true });
    copyFileSync(this.#copy, this.#file);
    const store = createStore(await openSqlite(this.#file, server.clock));
    await store.beginRecovery({ cause: 'failover' });
    await store.close();
    await server.boot();
  }
}

/** Takes the next offer up to its start. */
async function begin(agent: ScriptedAgent) {
  const offer = await agent.next('offer');
  agent.accept(offer);
  await agent.next('permit');
  agent.started(offer);
  await agent.next('ack');
  return offer;
}

const offersTo = (agent: ScriptedAgent) =>
  agent.received.flatMap((message) => (message.type === 'offer' ? [message.attemptId] : []));

const runOf = ({ attemptId }: { attemptId: string }) => attemptId.slice(0, -2);

describe('a database that goes on from an older state', () => {
  it('gets what it has lost from the agents: nothing starts again, and what ended keeps its outcome', async (t) => {
    const database = await PutBack.start(t);
    const { server } = database;
    const one = await server.online('one');
    await server.job('ended', { target: { agents: ['one'] } });
    await server.job('going', { target: { agents: ['one'] } });
    const queued = await server.trigger('ended');
    const asked = await one.next('offer');
    await database.remember();
    one.accept(asked);
    await one.next('permit');
    one.started(asked);
    await one.settle(asked, { outcome: 'failed', exitCode: 7 });
    const lost = await server.trigger('going');
    const going = await begin(one);
    await one.cut();
    await database.goBack();
    assert.equal((await server.run(queued)).reason, 'recovering');
    await server.connect(one);
    const found = await server.becomes(queued, 'failed');
    assert.deepEqual([found.exitCode, found.attempt, found.agentId], [7, 1, one.disk.agentId]);
    await server.becomes(lost, 'running');
    one.ended(going);
    await server.becomes(lost, 'succeeded');
    assert.deepEqual(offersTo(one), []);
    await server.until(async () => (await server.store.readRecovery({}))?.recovery.settledAt !== null);
  });

  it('plans the instants that it has lost, and gives them to nobody before the agents have told', async (t) => {
    const database = await PutBack.start(t);
    const { server } = database;
    const one = await server.online('one');
    const two = await server.online('two');
    await server.job('often', { schedule: '*/10 * * * * *' });
    await database.remember();
    server.clock.advance(10_000);
    const started = await begin(one);
    await one.settle(started);
    for (const agent of [one, two]) await agent.cut();
    server.clock.advance(11_000);
    await database.goBack();
    await server.connect(two);
    await server.quiet(two);
    assert.deepEqual(offersTo(two), []);
    await server.connect(one);
    assert.equal((await server.becomes(runOf(started), 'succeeded')).agentId, one.disk.agentId);
    // The instant that nobody had started by then.
    const next = await one.next('offer');
    assert.notEqual(next.attemptId, started.attemptId);
    assert.deepEqual(
      await server.store.listGaps({ tenantId: TENANT, jobId: 'often', limit: 10, before: null }),
      [],
    );
  });

  it('waits for an agent that is away only with what that agent can have started, until it is said to be gone', async (t) => {
    const database = await PutBack.start(t);
    const { server } = database;
    const one = await server.online('one');
    const two = await server.online('two');
    await server.job('ones', { target: { agents: ['one'] } });
    await server.job('twos', { target: { agents: ['two'] } });
    const free = await server.trigger('ones');
    const waits = await server.trigger('twos');
    await one.next('offer');
    await two.next('offer');
    await database.remember();
    for (const agent of [one, two]) await agent.cut();
    await database.goBack();
    await server.connect(one);
    const offer = await one.next('offer');
    assert.equal(runOf(offer), free);
    await server.quiet(one);
    assert.equal((await server.run(waits)).reason, 'recovering');
    // Not even for as long as later instants of its job wait.
    for (let seconds = 0; seconds < 70; seconds += 5) {
      server.clock.advance(5_000);
      one.status();
      await server.quiet(one);
    }
    assert.equal((await server.run(waits)).reason, 'recovering');
    await server.store.removeAgent({ tenantId: TENANT, name: 'two', gone: true });
    server.parts.hints.give('agents');
    server.parts.hints.give('recovery');
    await server.until(async () => (await server.run(waits)).reason === 'noAgentMatches');
  });

  it('takes what an agent tells of a run whose start deadline has passed; of one that is gone it is missed', async (t) => {
    const database = await PutBack.start(t);
    const { server } = database;
    const one = await server.online('one');
    const two = await server.online('two');
    await server.job('ones', { target: { agents: ['one'] }, startDeadline: '15s' });
    await server.job('twos', { target: { agents: ['two'] }, startDeadline: '15s' });
    const started = await server.trigger('ones');
    const lost = await server.trigger('twos');
    const offer = await one.next('offer');
    await two.next('offer');
    await database.remember();
    one.accept(offer);
    await one.next('permit');
    one.started(offer);
    await one.settle(offer, { outcome: 'failed', exitCode: 7 });
    for (const agent of [one, two]) await agent.cut();
    await database.goBack();
    server.clock.advance(20_000);
    const three = await server.online('three');
    await server.quiet(three);
    for (const id of [started, lost])
      assert.deepEqual([(await server.run(id)).reason, (await server.run(id)).endedAt], ['recovering', null]);
    await server.connect(one);
    assert.equal((await server.becomes(started, 'failed')).exitCode, 7);
    await server.store.removeAgent({ tenantId: TENANT, name: 'two', gone: true });
    server.parts.hints.give('recovery');
    assert.equal((await server.becomes(lost, 'missed')).reason, 'startDeadline');
  });

  it('keeps later runs of a job back while one that was connected may be running it, and not for ever', async (t) => {
    const database = await PutBack.start(t);
    const { server } = database;
    const one = await server.online('one');
    const two = await server.online('two');
    await server.job('any');
    await database.remember();
    for (const agent of [one, two]) await agent.cut();
    await database.goBack();
    await server.connect(two);
    const id = await server.trigger('any');
    await server.until(async () => (await server.run(id)).reason === 'recovering');
    for (let seconds = 0; seconds < 55; seconds += 5) {
      server.clock.advance(5_000);
      two.status();
      await server.quiet(two);
    }
    assert.deepEqual(offersTo(two), []);
    server.clock.advance(5_000);
    two.status();
    assert.equal(runOf(await two.next('offer')), id);
  });

  it('asks an agent for its history before anything else', async (t) => {
    const database = await PutBack.start(t);
    const { server } = database;
    const one = await server.online('one');
    await database.remember();
    await one.cut();
    await database.goBack();
    await one.connect({ loseHistory: true });
    await one.closed();
    assert.equal((await server.agentRow(one)).awaited, 'online');
    await server.connect(one);
    assert.equal((await server.agentRow(one)).awaited, null);
  });
});
