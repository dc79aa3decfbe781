import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { RunState } from '@rota/contract';
import { BEGUN } from '../attemptReports.testing.ts';
import type { Decision } from './dispatch.ts';
import { both, checkHistory, ROUNDS, runs, type TwoServers, twoServers } from './races.testing.ts';
import { request } from './suite/planning.ts';
import { DAY, MINUTE, SECOND, START, type World } from './suite/world.ts';
import type { RunRow, StepRow } from './tables.ts';

/** What becomes of a run and its attempts when two servers move it at one instant. */
describe('two servers at one instant', () => {
  const time = { now: START };
  let servers: TwoServers;
  let a: World;
  let b: World;

  before(async () => {
    servers = await twoServers(time);
    ({ a, b } = servers);
  });

  after(() => servers.close());

  beforeEach(() => servers.empty());

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
        assert.equal((await runs(a)).filter((run) => run.state === state).length, 5 * (round + 1));
      await checkHistory(a);
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
    await checkHistory(a);
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
      const states = (await runs(a)).filter((run) => run.jobId === name).map((run) => run.state);
      assert(states.includes('offered') && states.some((state) => state === 'queued' || state === 'skipped'));
    }
    await checkHistory(a);
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
    await checkHistory(a);
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
    await checkHistory(a);
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
    await checkHistory(a);
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
    await checkHistory(a);
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
    await checkHistory(a);
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
    await checkHistory(a);
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
    await checkHistory(a);
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
});
