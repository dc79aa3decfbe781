import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import { isTerminal, type RunState } from '@rota/contract';
import { BEGUN } from '../attemptReports.testing.ts';
import { systemClock } from '../clock.ts';
import { testPostgres } from '../postgres.testing.ts';
import { isLegal, RUN_EVENTS, type RunEvent } from '../runs/machine.ts';
import type { Decision } from './dispatch.ts';
import type { Driver } from './driver.ts';
import { change, type Operation, type Transaction } from './operation.ts';
import type { JobPlan } from './planning.ts';
import { openPostgres } from './postgres.ts';
import type { PostgresAddress } from './postgresConnection.ts';
import { request } from './suite/planning.ts';
import { DAY, MINUTE, SECOND, START, World } from './suite/world.ts';
import type { EventRow, RunRow, StepRow } from './tables.ts';

/** How often each race is run: who is first differs from one to the next. */
const ROUNDS = 25;

/** Two servers on one database, at one instant. */
describe('two servers at one instant', () => {
  let address: PostgresAddress;
  let drivers: [Driver, Driver];
  let a: World;
  let b: World;
  const time = { now: START };

  before(async () => {
    address = await (await testPostgres()).database();
    const open = () => openPostgres(address, systemClock, { now: () => time.now });
    drivers = [await open(), await open()];
    a = new World(drivers[0], time, 'acme');
    b = new World(drivers[1], time, 'acme');
    await a.store.createTenant({ id: 'acme', name: 'acme', timezone: 'UTC' });
    await a.online('one');
    await a.online('two');
  });

  after(async () => {
    for (const driver of drivers) await driver.close();
    await (await testPostgres()).release(address);
  });

  beforeEach(async () => {
    time.now += DAY;
    for (const table of [
      'runs',
      'attempts',
      'steps',
      'jobs',
      'jobRevisions',
      'events',
      'idempotencyKeys',
      'output',
    ])
      await a.change(`delete from "${table}"`);
  });

  /** Both at once, in either order of asking. */
  const both = <T>(round: number, one: () => Promise<T>, other: () => Promise<T>): Promise<[T, T]> =>
    round % 2 === 0
      ? Promise.all([one(), other()])
      : Promise.all([other(), one()]).then(([second, first]) => [first, second]);

  const runs = () => a.rows<RunRow>('select * from "runs" order by "scheduledFor"');

  /** Every change of state that was recorded is an arrow of the machine, and each run came to where it is by them. */
  async function checkHistory(): Promise<void> {
    const states = new Map<string, RunState>();
    for (const event of await a.rows<EventRow>(
      `select * from "events" where "type" = 'run' order by "txid", "id"`,
    )) {
      const to = JSON.parse(event.dataJson).state as RunState;
      const from = states.get(event.subjectId) ?? 'planned';
      const legal = (Object.keys(RUN_EVENTS) as RunEvent[]).some((each) => isLegal(each, from, to));
      assert(legal, `${from} became ${to}`);
      states.set(event.subjectId, to);
    }
    const slots = new Set<string>();
    for (const run of await runs()) {
      assert.equal(states.get(run.id) ?? 'planned', run.state);
      assert.equal(run.endedAt !== null, isTerminal(run.state));
      if (run.slot === 1) {
        assert(!slots.has(run.jobId), 'one run at most has the slot of a job');
        slots.add(run.jobId);
      }
    }
  }

  it('plan a job once', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const names = [1, 2, 3].map((n) => `plan${round}-${n}`);
      for (const name of names) await a.job(name);
      const plan = async (world: World, order: string[]) => {
        const plans: JobPlan[] = [];
        for (const name of order) {
          const job = await world.readJob(name);
          plans.push({
            tenantId: 'acme',
            jobId: name,
            revision: 1,
            recoveryId: 0,
            expectedThrough: job.plannedThrough,
            plannedThrough: time.now + MINUTE,
            nextAt: time.now + MINUTE,
            runs: [world.instant(name, time.now + SECOND)],
            gaps: [],
          });
        }
        return () => world.store.storePlans({ plans });
      };
      const [one, other] = [await plan(a, names), await plan(b, names.toReversed())];
      const planned = await both(round, one, other);
      assert.equal(planned[0] + planned[1], 3);
    }
    assert.equal((await runs()).length, 3 * ROUNDS);
  });

  it('queue a due run once, and let the later of two take the place of the earlier', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      time.now += DAY;
      for (let n = 0; n < 5; n += 1) {
        const name = `queue${round}-${n}`;
        await a.job(name);
        await a.plan(name, [a.instant(name, time.now), a.instant(name, time.now + SECOND)]);
      }
      time.now += MINUTE;
      // Each leaves to the other what it has; whoever looks again finds the rest.
      let left: number;
      do {
        await both(
          round,
          () => a.store.queueDueRuns({ limit: 4 }),
          () => b.store.queueDueRuns({ limit: 4 }),
        );
        left = (await a.rows(`select 1 as "one" from "runs" where "state" = 'planned'`)).length;
      } while (left > 0);
      for (const state of ['queued', 'skipped'])
        assert.equal((await runs()).filter((run) => run.state === state).length, 5 * (round + 1));
      await checkHistory();
    }
  });

  const offer = (world: World, run: RunRow, agentId: string) => {
    const decision: Decision = { run, action: 'offer', agentId, offerMs: 10_000, passed: [] };
    return world.store.decideRuns({ decisions: [decision] });
  };

  it('offer a run to one agent', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `offer${round}`;
      await a.job(name);
      const run = await a.run(await a.queued(name));
      const offers = await both(
        round,
        () => offer(a, run, 'one'),
        () => offer(b, run, 'two'),
      );
      assert.equal(offers.flat().length, 1);
      await a.expect(run.id, 'offered', { agentId: offers.flat()[0]?.agentId as string, epoch: 1 });
    }
    await checkHistory();
  });

  it('give the slot of a job to one of its runs', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `slot${round}`;
      await a.job(name);
      const ids = [];
      for (const key of ['x', 'y']) ids.push((await request(a, name, key)).runId);
      await a.queueDue();
      const [first, second] = [await a.run(ids[0] as string), await a.run(ids[1] as string)];
      const offers = await both(
        round,
        () => offer(a, first, 'one'),
        () => offer(b, second, 'two'),
      );
      assert.equal(offers.flat().length, 1);
      const states = (await runs()).filter((run) => run.jobId === name).map((run) => run.state);
      assert(states.includes('offered') && states.some((state) => state === 'queued' || state === 'skipped'));
    }
    await checkHistory();
  });

  it('let a run that comes back have its slot again, or another run have it', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `again${round}`;
      await a.job(name);
      const lost = await a.inState('unknown', name, 'one', { timeoutMs: 1 });
      await a.change('update "runs" set "slot" = 0, "wakeAt" = null where "id" = ?', lost);
      const { runId } = await request(a, name, 'k');
      await a.queueDue();
      const run = await a.run(runId);
      const key = await a.key(lost);
      const [grant, offers] = await both<unknown>(
        round,
        () => a.store.permitAgain({ ...key, bootId: 'boot', permitUntilBootMs: 9 }),
        () => offer(b, run, 'two'),
      );
      assert.equal((grant === null ? 0 : 1) + (offers as unknown[]).length, 1);
    }
    await checkHistory();
  });

  it('take an offer back or let it be accepted, not both', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `accept${round}`;
      await a.job(name);
      const id = await a.inState('offered', name, 'one');
      const key = await a.key(id);
      time.now += 10 * SECOND;
      const [grant, withdrawn] = await both<unknown>(
        round,
        () => a.accept(key),
        () => b.settle(),
      );
      const taken = (withdrawn as { runId: string }[]).some(({ runId }) => runId === id);
      assert.equal(grant === null, taken);
      await a.expect(id, taken ? 'queued' : 'starting');
    }
    await checkHistory();
  });

  it('withdraw an overdue offer once', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `withdraw${round}`;
      await a.job(name);
      const id = await a.inState('offered', name, 'one');
      time.now += 10 * SECOND;
      const answers = await both(
        round,
        () => a.settle(),
        () => b.settle(),
      );
      assert.equal(answers.flat().filter(({ runId }) => runId === id).length, 1);
    }
    await checkHistory();
  });

  it('cancel a run or start it under a cancel that is asked for', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `cancel${round}`;
      await a.job(name);
      const id = await a.inState('offered', name, 'one');
      const key = await a.key(id);
      const [grant, answer] = await both<unknown>(
        round,
        () => a.accept(key),
        () => b.store.cancelRun({ tenantId: 'acme', runId: id, by: 'me' }),
      );
      const { result } = answer as { result: string };
      assert.equal(result, grant === null ? 'cancelled' : 'requested');
      await a.expect(id, grant === null ? 'cancelled' : 'starting');
    }
    await checkHistory();
  });

  it('take one end of an attempt that is reported twice', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `end${round}`;
      await a.job(name);
      const id = await a.inState('running', name, 'one');
      const key = await a.key(id);
      const ends = await both(
        round,
        () => a.end(key),
        () => b.end(key, { outcome: 'failed' }),
      );
      assert.equal(ends.filter((end) => end !== null).length, 1);
      await a.expect(id, ends.find((end) => end !== null)?.state as RunState);
    }
    await checkHistory();
  });

  it('let a failed run wait for its next attempt once, whatever else is done to it', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `retry${round}`;
      await a.job(name, { retry: { times: 3, delay: '10s' } });
      const id = await a.inState('running', name, 'one');
      const key = await a.key(id);
      const failure = { outcome: 'failed', exitCode: 3 } as const;
      const asked = { tenantId: 'acme', runId: id, by: 'me' };
      await both<unknown>(
        round,
        () => a.end(key, failure),
        () => b.end(key, failure),
      );
      await a.expect(id, 'queued', { reason: 'retryWait', retriesLeft: 2, epoch: key.epoch + 1 });
      // Who is first decides: the attempt is offered, or it is dropped or cancelled, and the run has one end.
      const waiting = await a.run(id);
      const [, answer] = await both<unknown>(
        round,
        () => offer(a, waiting, 'two'),
        () =>
          round % 3 === 0
            ? b.store.cancelRun(asked)
            : b.store.retryRun({ ...asked, action: round % 3 === 1 ? 'drop' : 'now' }),
      );
      const { result } = answer as { result: string };
      if (round % 3 === 0) await a.expect(id, 'cancelled');
      else if (round % 3 === 1) await a.expect(id, 'failed', { exitCode: 3 });
      else {
        assert(result === 'done' || result === 'notWaiting', result);
        // What the other has just now is offered at a later look.
        assert(['queued', 'offered'].includes((await a.run(id)).state));
      }
      assert.equal((await a.attempt(key.attemptId)).outcome, 'failed');
    }
    await checkHistory();
  });

  it('try an unknown run again, or take what its agent tells of it, not both', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `again${round}`;
      await a.job(name, { onUnknown: 'retry' });
      const id = await a.inState('unknown', name, 'one');
      const key = await a.key(id);
      time.now += MINUTE;
      await both<unknown>(
        round,
        () => a.settle(),
        () => b.end(key),
      );
      // A row that the other has just now is left to a later look.
      await a.settle();
      const run = await a.run(id);
      const isTried = run.state === 'queued';
      assert(isTried || run.state === 'succeeded', run.state);
      const { evidenceJson, outcome } = await a.attempt(key.attemptId);
      assert.equal(outcome, 'succeeded');
      assert.equal(evidenceJson !== null, isTried);
    }
    await checkHistory();
  });

  it('hear the steps of an attempt and its end in either order, and the end stands', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `steps${round}`;
      await a.job(name);
      const id = await a.inState('running', name, 'one');
      const key = await a.key(id);
      const step = { ...BEGUN, name: 'main' };
      await both<unknown>(
        round,
        () => a.store.storeStep({ ...key, step }),
        () => b.end(key, { steps: [{ ...step, state: 'succeeded' }] }),
      );
      const steps = await a.rows<StepRow>('select * from "steps" where "attemptId" = ?', key.attemptId);
      assert.deepEqual(
        steps.map(({ state }) => state),
        ['succeeded'],
      );
    }
  });

  it('store output that is sent twice once', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `output${round}`;
      await a.job(name);
      const { attemptId } = await a.key(await a.inState('running', name, 'one'));
      const store = (world: World) => () =>
        world.store.storeOutput({
          tenantId: 'acme',
          agentId: 'one',
          attemptId,
          chunks: [2, 3].map((seq) => ({
            seq,
            stream: 'stdout' as const,
            atMs: 0,
            droppedBytes: 0,
            data: Buffer.from('x'),
          })),
        });
      assert.deepEqual(await both(round, store(a), store(b)), [3, 3]);
      assert.equal((await a.attempt(attemptId)).headBytes, 2);
    }
  });

  it('begin a session for one of two handshakes that an agent had under way at once', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const id = `agent${round}`;
      await a.agent(id);
      const connect = (world: World, newNonce: string) => () =>
        world.connect(id, { newNonce, confirm: false, knownEpoch: 0 });
      const answers = await both(round, connect(a, 'n1'), connect(b, 'n2'));
      const told = answers.map((answer) => ('rejected' in answer ? answer.rejected : answer.sessionEpoch));
      assert.deepEqual(told.sort(), [1, 'superseded']);
      const { sessionEpoch, pendingNonce } = (await a.store.readAgentById({ agentId: id })) ?? {};
      const winner = 'rejected' in answers[0] ? 'n2' : 'n1';
      assert.deepEqual([sessionEpoch, pendingNonce], [1, winner]);
    }
  });

  it('end a session or find what it has lost, and leave no offer with an agent that is away', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `session${round}`;
      const agent = `leaving${round}`;
      await a.online(agent);
      await a.job(name);
      const id = await a.inState('offered', name, agent);
      const key = await a.key(id);
      const [grant] = await both<unknown>(
        round,
        () => a.accept(key),
        () => b.store.closeSession({ tenantId: 'acme', agentId: agent, sessionEpoch: 1 }),
      );
      await a.expect(id, grant === null ? 'queued' : 'starting');
      if (grant !== null && (await a.run(id)).contactLostAt === null)
        assert.fail('the session is over, and the run does not know it');
    }
    await checkHistory();
  });

  it('open a session at a server or give the server up, and leave no session that nobody holds', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const id = `held${round}`;
      const replicaId = `replica${round}`;
      await a.agent(id);
      await a.replica(replicaId);
      const [answer] = await both<unknown>(
        round,
        () => a.connect(id, { replicaId, confirm: false }),
        () => b.store.endReplica({ id: replicaId }),
      );
      const isOpen = 'sessionEpoch' in (answer as object);
      const left = (await a.store.listReplicas({})).find((replica) => replica.id === replicaId);
      assert.equal(left?.lostAt !== null && left !== undefined, isOpen, 'who has a session is not forgotten');
      await both(
        round,
        () => a.store.closeLostSessions({ limit: 10 }),
        () => b.store.closeLostSessions({ limit: 10 }),
      );
      await a.store.closeLostSessions({ limit: 10 });
      const agent = await a.store.readAgentById({ agentId: id });
      assert.deepEqual([agent?.state, agent?.replicaId], ['offline', null]);
      assert(!(await a.store.listReplicas({})).some((replica) => replica.id === replicaId));
    }
  });

  it('end the sessions of a lost server once, and none that has moved', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const replicaId = `lost${round}`;
      const [stays, moves] = [`stays${round}`, `moves${round}`];
      await a.replica(replicaId);
      for (const id of [stays, moves]) {
        await a.agent(id);
        await a.connect(id, { replicaId });
      }
      await a.store.endReplica({ id: replicaId });
      const [closed, , moved] = await Promise.all([
        a.store.closeLostSessions({ limit: 10 }),
        b.store.closeLostSessions({ limit: 10 }),
        b.connect(moves, { lastNonce: `${moves}-nonce`, newNonce: 'n2' }),
      ]);
      assert(closed <= 2 && 'sessionEpoch' in moved);
      while ((await a.store.closeLostSessions({ limit: 10 })) > 0);
      assert.equal((await a.store.readAgentById({ agentId: stays }))?.state, 'offline');
      const there = await a.store.readAgentById({ agentId: moves });
      assert.deepEqual([there?.state, there?.replicaId], ['online', 'server']);
    }
  });

  it('take an offer back from an agent that is away once, or let it stand when the agent has come', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `away${round}`;
      await a.agent(name);
      await a.job(name);
      const id = await a.inState('offered', name, name);
      const runs = [{ tenantId: 'acme', id }];
      const [withdrawn] = await both<unknown>(
        round,
        () => a.store.withdrawFromAway({ runs }),
        () => b.connect(name),
      );
      const again = await b.store.withdrawFromAway({ runs });
      assert.equal(again, 0);
      await a.expect(id, withdrawn === 1 ? 'queued' : 'offered');
    }
    await checkHistory();
  });

  it('make one run of an idempotency key', async () => {
    await a.job('key');
    for (let round = 0; round < ROUNDS; round += 1) {
      const answers = await both(
        round,
        () => request(a, 'key', `k${round}-`),
        () => request(b, 'key', `k${round}-`),
      );
      assert.equal(answers.filter(({ created }) => created).length, 1);
    }
  });

  const save = (world: World, name: string, command: string, expectedRevision: number | null) => () =>
    world.store.saveJobs({
      tenantId: 'acme',
      by: 'test',
      jobs: [
        {
          id: `${name}-${command}`,
          name,
          documentJson: JSON.stringify({ name, schedule: 'every 1m', command }),
          enabled: true,
          scheduled: true,
          everyTexts: ['1m'],
        },
      ],
      paused: false,
      owner: null,
      prune: false,
      expectedRevision,
    });

  it('write a new job one after the other', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const answers = await both(round, save(a, `new${round}`, 'x', null), save(b, `new${round}`, 'y', null));
      const actions = answers.map((answer) => ('changes' in answer ? answer.changes[0]?.action : 'conflict'));
      assert.deepEqual(actions.sort(), ['created', 'updated']);
      assert.equal((await a.readJob(`new${round}`)).revision, 2);
    }
  });

  it('refuse one of two edits of the revision that both have seen', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `edit${round}`;
      await a.job(name);
      const answers = await both(round, save(a, name, 'x', 1), save(b, name, 'y', 1));
      assert.equal(answers.filter((answer) => 'conflict' in answer).length, 1);
    }
  });

  it('edit a job and plan and queue it without losing or doubling an instant', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      time.now += DAY;
      const name = `atomic${round}`;
      await a.job(name);
      const due = a.instant(name, time.now);
      const later = a.instant(name, time.now + SECOND);
      await a.plan(name, [due], time.now);
      const job = await a.readJob(name);
      const plan = {
        tenantId: 'acme',
        jobId: name,
        revision: 1,
        recoveryId: 0,
        expectedThrough: job.plannedThrough,
        plannedThrough: time.now + 2 * SECOND,
        nextAt: time.now + 2 * SECOND,
        runs: [later],
        gaps: [],
      };
      await Promise.all([
        save(a, name, 'x', null)(),
        b.store.storePlans({ plans: [plan] }),
        b.store.queueDueRuns({ limit: 10 }),
        a.store.queueDueRuns({ limit: 10 }),
      ]);
      const edited = await a.readJob(name);
      const found = (await runs()).filter((run) => run.jobId === name);
      assert.equal(found.filter((run) => run.scheduledFor === due.scheduledFor).length, 1);
      // Planned by the old revision, it was taken back; the cursor stands before it, so that the new one plans it.
      assert.equal(found.filter((run) => run.scheduledFor === later.scheduledFor).length, 0);
      assert.equal(edited.plannedThrough, time.now);
    }
    await checkHistory();
  });

  it('delete a job and queue its run, and leave nothing that waits', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `delete${round}`;
      await a.job(name);
      const id = await a.planned(name);
      await both<unknown>(
        round,
        () => a.store.deleteJob({ tenantId: 'acme', name, by: 'me' }),
        () => b.queueDue(),
      );
      await a.expect(id, 'cancelled');
    }
    await checkHistory();
  });

  it('trade a join token for one identity, and give a name to one agent', async () => {
    const token = async (id: string) => {
      const hash = createHash('sha256').update('secret').digest('base64url');
      await a.store.createJoinToken({
        tenantId: 'acme',
        id,
        hash,
        labelsJson: '{}',
        createdBy: null,
        expiresInMs: DAY,
      });
    };
    const join = (world: World, id: string, name: string, agentId: string) => () =>
      world.store.joinAgent({
        token: { id, secret: 'secret' },
        agentId,
        name,
        publicKey: '',
        labels: {},
        orderNumber: 100,
        facts: {} as never,
      });
    for (let round = 0; round < ROUNDS; round += 1) {
      await token(`same${round}`);
      const same = await both<unknown>(
        round,
        join(a, `same${round}`, `x${round}`, `x${round}`),
        join(b, `same${round}`, `y${round}`, `y${round}`),
      );
      assert.equal(same.filter((answer) => answer === 'tokenInvalid').length, 1);
      await token(`one${round}`);
      await token(`two${round}`);
      const named = await both<unknown>(
        round,
        join(a, `one${round}`, `z${round}`, `za${round}`),
        join(b, `two${round}`, `z${round}`, `zb${round}`),
      );
      assert.equal(named.filter((answer) => answer === 'nameConflict').length, 1);
    }
  });

  it('keep the last admin token, and make one token of a name', async () => {
    const create = (world: World, id: string, name: string) => () =>
      world.store.createToken({
        tenantId: 'acme',
        id,
        name,
        hash: '',
        role: 'admin',
        createdBy: null,
        expiresInMs: null,
      });
    for (let round = 0; round < ROUNDS; round += 1) {
      await a.change('delete from "tokens"');
      const made = await both(round, create(a, 'x', 'same'), create(b, 'y', 'same'));
      assert.equal(made.filter((token) => token === null).length, 1);
      await create(a, 'z', 'other')();
      const gone = await both(
        round,
        () => a.store.deleteToken({ tenantId: 'acme', idOrName: 'same' }),
        () => b.store.deleteToken({ tenantId: 'acme', idOrName: 'other' }),
      );
      assert.deepEqual(gone.sort(), ['deleted', 'lastAdmin']);
    }
  });

  it('are set up once', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const setUp = (world: World, id: string) => () =>
        world.store.setUp({
          tenant: { id, name: `tenant${round}`, timezone: 'UTC' },
          token: { id, name: 'admin', hash: '', role: 'admin' },
          key: { id, publicKey: '', privateKey: '' },
        });
      const answers = await both(round, setUp(a, `a${round}`), setUp(b, `b${round}`));
      assert.equal(answers.filter(({ created }) => created).length, 1);
    }
  });

  it("delete what is old without getting in each other's way", async () => {
    for (let n = 0; n < 40; n += 1) {
      const name = `old${n}`;
      await a.job(name);
      for (let run = 0; run < 3; run += 1) {
        await a.planned(name, { startBy: time.now - 1 });
        await a.queueDue();
        time.now += SECOND;
      }
    }
    time.now += 100 * DAY;
    const sweep = async (world: World) => {
      let after = null;
      do {
        ({ next: after } = await world.store.deleteOldRuns({ before: time.now, after, limit: 10 }));
      } while (after !== null);
      while ((await world.store.deleteOldEvents({ before: time.now, limit: 10 })) > 0);
    };
    await Promise.all([sweep(a), sweep(b)]);
    await sweep(a);
    assert.equal((await runs()).length, 40, 'the last of each job');
  });

  it('show every event to a reader, whatever the order of commits', async () => {
    const record = (world: World, n: number) =>
      world.driver.write(function* (transaction: Transaction): Operation<void> {
        yield* change(
          `insert into "events" ("tenantId", "type", "subjectId", "jobId", "at", "dataJson") values ('acme', 'job', ?, null, ?, '{}')`,
          String(n),
          transaction.now,
        );
        // The id is taken; the commit comes when the database is done with this.
        yield* change(`select pg_sleep(0.002 * ?)`, n % 7);
      });
    const seen: string[] = [];
    let cursor = await a.store.lastEventId({});
    let writing = true;
    const reader = (async () => {
      for (;;) {
        const last = !writing;
        const events = await b.store.readEvents({ tenantId: 'acme', after: cursor, limit: 7 });
        for (const event of events) {
          cursor = event.id;
          seen.push(event.subjectId);
        }
        if (last && events.length === 0) return;
      }
    })();
    await Promise.all(Array.from({ length: 400 }, (_, n) => record(n % 2 === 0 ? a : b, n)));
    writing = false;
    await reader;
    assert.equal(seen.length, 400);
    assert.equal(new Set(seen).size, 400);
  });
});
