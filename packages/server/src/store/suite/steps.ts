import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StepResult } from '@rota/contract';
import { BEGUN } from '../../attemptReports.testing.ts';
import type { StepRow } from '../tables.ts';
import { type AttemptMessage, MINUTE, type Open, World } from './world.ts';

const DONE: StepResult = {
  ...BEGUN,
  state: 'succeeded',
  durationMs: 7,
  exitCode: 0,
  http: { status: 200, url: 'http://x/', redirects: 0, headers: {} },
  result: '{"n":1}',
  summary: 'fetched',
  outputTo: 12,
};

/** How a chain gets on, as its agent tells it, in every order. */
export function stepsSuite(open: Open): void {
  const chainWorld = async () => {
    const world = await World.open(open);
    await world.online('one');
    await world.online('two');
    await world.job('a');
    const id = await world.inState('running', 'a', 'one');
    return { world, id, key: await world.key(id) };
  };
  const tell = (world: World, key: AttemptMessage, step: Partial<StepResult>) =>
    world.store.storeStep({ ...key, step: { ...BEGUN, ...step } });
  const stepsOf = async (world: World, attemptId: string) =>
    (
      await world.rows<StepRow>('select * from "steps" where "attemptId" = ? order by "index"', attemptId)
    ).map(({ name, state, tries }) => `${name} ${state} ${tries}`);

  describe('storeStep', () => {
    it('keeps the newest word of each step', async () => {
      const { world, id, key } = await chainWorld();
      assert(await tell(world, key, {}));
      assert.deepEqual(await stepsOf(world, key.attemptId), ['fetch running 1']);
      assert(await tell(world, key, DONE));
      assert(await tell(world, key, { index: 1, name: 'store' }));
      assert.deepEqual(await stepsOf(world, key.attemptId), ['fetch succeeded 1', 'store running 1']);
      const [attempt] = await world.store.attemptsOfRun({ tenantId: 'acme', runId: id });
      const [fetch] = attempt?.steps ?? [];
      assert.deepEqual(
        [fetch?.resultJson, fetch?.summary, fetch?.exitCode, fetch?.durationMs, fetch?.outputTo],
        ['{"n":1}', 'fetched', 0, 7, 12],
      );
      assert.equal(JSON.parse(fetch?.httpJson as string).status, 200);
    });

    it('never goes backwards, whatever order the words come in', async () => {
      const { world, key } = await chainWorld();
      const words: [Partial<StepResult>, string, boolean][] = [
        [{ state: 'running', tries: 1 }, 'running 1', true],
        [{ state: 'retrying', tries: 1 }, 'retrying 1', true],
        [{ state: 'running', tries: 1 }, 'retrying 1', false],
        [{ state: 'running', tries: 2 }, 'running 2', true],
        [{ state: 'retrying', tries: 1 }, 'running 2', false],
        [{ state: 'failed', tries: 2 }, 'failed 2', true],
        [{ state: 'running', tries: 3 }, 'failed 2', false],
        [{ state: 'succeeded', tries: 3 }, 'failed 2', false],
      ];
      for (const [step, expected, isNews] of words) {
        assert.equal(await tell(world, key, step), isNews, expected);
        assert.deepEqual(await stepsOf(world, key.attemptId), [`fetch ${expected}`]);
      }
    });

    it('takes each word twice as once', async () => {
      const { world, key } = await chainWorld();
      await tell(world, key, DONE);
      const before = await world.all();
      assert.equal(await tell(world, key, DONE), false);
      assert.equal(await world.all(), before);
    });

    it('hears nothing from other agents, tenants, epochs and attempts', async () => {
      const { world, id, key } = await chainWorld();
      const other = await world.other();
      const before = await world.all();
      for (const stranger of [
        { ...key, agentId: 'two' },
        { ...key, tenantId: other.tenantId },
        { ...key, epoch: key.epoch - 1 },
        { ...key, epoch: key.epoch + 1 },
        { ...key, attemptId: `${id}-7` },
        { ...key, attemptId: 'nonsense' },
      ]) {
        assert.equal(await tell(world, stranger, {}), false);
        assert.equal(await world.store.storeProgress({ ...stranger, percent: 40 }), false);
      }
      assert.equal(await world.all(), before);
    });

    it('hears nothing of an attempt that has ended, or whose run was decided', async () => {
      const { world, key } = await chainWorld();
      await world.end(key);
      assert.equal(await tell(world, key, {}), false);
      await world.job('b');
      const decided = await world.inState('unknown', 'b', 'one');
      const late = await world.key(decided);
      await world.store.resolveRun({ tenantId: 'acme', runId: decided, as: 'failed', note: '', by: 'me' });
      assert.equal(await tell(world, late, {}), false);
      assert.deepEqual(await stepsOf(world, late.attemptId), []);
    });

    it("is overruled by the attempt's end, for good", async () => {
      const { world, key } = await chainWorld();
      await tell(world, key, DONE);
      await tell(world, key, { index: 3, name: 'gone' });
      const steps: StepResult[] = [
        { ...DONE, state: 'failed', exitCode: 3 },
        { ...BEGUN, index: 1, name: 'store', state: 'notRun', tries: 0 },
      ];
      await world.end(key, { outcome: 'failed', exitCode: 3, steps, result: '{"n":2}', summary: 'half' });
      assert.deepEqual(await stepsOf(world, key.attemptId), ['fetch failed 1', 'store notRun 0']);
      const attempt = await world.attempt(key.attemptId);
      assert.deepEqual([attempt.resultJson, attempt.summary], ['{"n":2}', 'half']);
      const before = await world.all();
      await world.end(key, { steps: [DONE] });
      assert.equal(await world.all(), before);
    });

    it('ends a step that went on when the end of its attempt does not know it', async () => {
      const { world, key } = await chainWorld();
      await tell(world, key, DONE);
      await tell(world, key, { index: 1, name: 'store' });
      await world.end(key, { outcome: 'failed', reason: 'hostRestarted', exitCode: null });
      assert.deepEqual(await stepsOf(world, key.attemptId), ['fetch succeeded 1', 'store failed 1']);
    });

    it('is kept with a late end as evidence of what its agent did', async () => {
      const { world, key, id } = await chainWorld();
      await world.change(`update "runs" set "state" = 'unknown' where "id" = ?`, id);
      await world.store.resolveRun({ tenantId: 'acme', runId: id, as: 'failed', note: '', by: 'me' });
      const decided = await world.run(id);
      assert.equal(await world.end(key, { steps: [DONE] }), null);
      assert.deepEqual(await world.run(id), decided);
      assert.deepEqual(await stepsOf(world, key.attemptId), ['fetch succeeded 1']);
    });

    it('goes with its run when that is deleted', async () => {
      const { world, key } = await chainWorld();
      await world.end(key, { steps: [DONE] });
      world.pass(MINUTE);
      const last = await world.inState('running', 'a', 'one');
      await world.end(await world.key(last), { steps: [DONE] });
      const swept = await world.store.deleteOldRuns({ before: world.now + 1, after: null, limit: 100 });
      assert.equal(swept.deleted, 1);
      assert.deepEqual(await stepsOf(world, key.attemptId), []);
      assert.equal((await world.rows('select * from "steps"')).length, 1);
    });
  });

  describe('storeProgress', () => {
    it('keeps how far a running attempt is, and stays when that has ended', async () => {
      const { world, key } = await chainWorld();
      assert(await world.store.storeProgress({ ...key, percent: 90 }));
      assert(await world.store.storeProgress({ ...key, percent: null }));
      assert.equal((await world.attempt(key.attemptId)).progress, null);
      assert(await world.store.storeProgress({ ...key, percent: 40.9 }));
      assert.equal((await world.attempt(key.attemptId)).progress, 40);
      await world.end(key);
      assert.equal(await world.store.storeProgress({ ...key, percent: 90 }), false);
      assert.equal((await world.attempt(key.attemptId)).progress, 40);
    });
  });

  describe('continueAttempt', () => {
    const goOn = (world: World, key: AttemptMessage) =>
      world.store.continueAttempt({ ...key, bootId: 'boot', permitUntilBootMs: 30_000 });

    it('gives the permit of the same attempt again, as often as it is asked for', async () => {
      const { world, id, key } = await chainWorld();
      const before = await world.run(id);
      for (let time = 0; time < 2; time++) {
        const grant = await goOn(world, key);
        assert.deepEqual([grant?.number, grant?.run.epoch, grant?.jobName], [1, key.epoch, 'a']);
      }
      assert.deepEqual(await world.run(id), before);
      assert.equal((await world.attempt(key.attemptId)).permitUntilBootMs, 30_000);
      assert.equal((await world.rows('select * from "attempts"')).length, 1);
    });

    it('takes the question as a proof of life of an unknown run', async () => {
      const { world } = await chainWorld();
      await world.job('b');
      const id = await world.inState('unknown', 'b', 'one');
      assert(await goOn(world, await world.key(id)));
      await world.expect(id, 'running', { reason: null, contactLostAt: null, wakeAt: null, slot: 1 });
    });

    it('is refused once a cancel was asked for, a newer epoch is there, or the attempt has ended', async () => {
      const { world, id, key } = await chainWorld();
      await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'me' });
      assert.equal(await goOn(world, key), null);
      await world.job('b');
      const retried = await world.inState('unknown', 'b', 'one');
      const old = await world.key(retried);
      await world.store.resolveRun({ tenantId: 'acme', runId: retried, as: 'retry', note: '', by: 'me' });
      await world.offer(retried, 'one');
      assert(await world.accept(await world.key(retried)));
      const before = await world.run(retried);
      assert.equal(await goOn(world, old), null);
      assert.deepEqual(await world.run(retried), before);
      const current = await world.key(retried);
      await world.end(current);
      assert.equal(await goOn(world, current), null);
    });

    it('is refused to other agents, and beside a later run that has the slot', async () => {
      const { world, key } = await chainWorld();
      assert.equal(await goOn(world, { ...key, agentId: 'two' }), null);
      assert.equal(await goOn(world, { ...key, epoch: key.epoch + 1 }), null);
      await world.job('b');
      const id = await world.inState('unknown', 'b', 'one', { timeoutMs: 1 });
      world.pass(10 * MINUTE);
      await world.settle();
      await world.expect(id, 'unknown', { slot: 0 });
      await world.inState('running', 'b', 'two');
      assert.equal(await goOn(world, await world.key(id)), null);
      await world.expect(id, 'unknown');
    });
  });
}
