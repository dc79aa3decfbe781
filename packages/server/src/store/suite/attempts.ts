import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type AttemptMessage, DAY, MINUTE, type Open, SECOND, START, World } from './world.ts';

/** What agents say about attempts, in every order and state. */
export function attemptsSuite(open: Open): void {
  const worldWithJob = () => World.withJob(open);

  describe('an attempt', () => {
    it('goes from offer to end', async () => {
      const world = await worldWithJob();
      const id = await world.inState('offered', 'a', 'one');
      const key = await world.key(id);
      world.pass(1);
      const grant = await world.accept(key);
      assert.deepEqual([grant?.number, grant?.jobName, grant?.tenantName], [1, 'a', 'acme']);
      assert.equal(JSON.parse(grant?.documentJson as string).command, 'true');
      await world.expect(id, 'starting', { attempt: 1, startingAt: world.now });
      world.pass(1);
      await world.start(key);
      await world.expect(id, 'running', { startedAt: world.now, wakeAt: null });
      world.pass(1);
      assert.deepEqual(await world.end(key), { state: 'succeeded', latenessMs: 2 });
      await world.expect(id, 'succeeded', { endedAt: world.now, exitCode: 0, slot: 0, wakeAt: null });
      assert.equal((await world.attempt(key.attemptId)).state, 'ended');
    });

    for (const [outcome, reason] of [
      ['failed', 'exitStatus'],
      ['timedOut', 'timeout'],
      ['cancelled', 'cancelledByUser'],
    ] as const) {
      it(`ends its run as ${outcome}`, async () => {
        const world = await worldWithJob();
        const id = await world.inState('running', 'a', 'one');
        await world.end(await world.key(id), { outcome, exitCode: 3 });
        await world.expect(id, outcome, { reason, exitCode: 3, slot: 0 });
      });
    }

    it('ends also when its start was never reported', async () => {
      const world = await worldWithJob();
      const id = await world.inState('starting', 'a', 'one');
      await world.end(await world.key(id));
      await world.expect(id, 'succeeded', { startedAt: world.now });
    });

    it('took as long as its agent measured, however late its start and its end are told', async () => {
      const world = await worldWithJob();
      const heard = await world.inState('running', 'a', 'one');
      world.pass(48 * SECOND);
      await world.end(await world.key(heard), { durationMs: 30_200 });
      await world.expect(heard, 'succeeded', { endedAt: world.now, durationMs: 30_200 });
      const unheard = await world.inState('starting', 'a', 'one');
      world.pass(48 * SECOND);
      await world.end(await world.key(unheard), { durationMs: 30_200 });
      await world.expect(unheard, 'succeeded', { durationMs: 30_200 });
    });

    it('takes each message twice as once', async () => {
      const world = await worldWithJob();
      const id = await world.inState('offered', 'a', 'one');
      const key = await world.key(id);
      assert(await world.accept(key));
      assert(await world.accept(key), 'a second yes gets the permit again');
      assert.equal((await world.rows('select * from "attempts"')).length, 1);
      await world.start(key);
      const started = await world.run(id);
      world.pass(1);
      await world.start(key);
      assert.deepEqual(await world.run(id), started);
      assert.equal(await world.accept(key), null, 'what has started gets no permit');
      assert.deepEqual(await world.run(id), started);
      assert(await world.end(key));
      const ended = await world.run(id);
      world.pass(1);
      assert.equal(await world.end(key, { outcome: 'failed' }), null);
      await world.start(key);
      await world.refuse(key);
      assert.equal(await world.accept(key), null);
      assert.equal(await world.permitAgain(key), null);
      assert.deepEqual(await world.run(id), ended);
      assert.equal((await world.attempt(key.attemptId)).outcome, 'succeeded');
    });

    it('holds its messages back from other agents, tenants, epochs and numbers', async () => {
      for (const state of ['offered', 'starting', 'running', 'unknown'] as const) {
        const world = await worldWithJob();
        const other = await world.other();
        const id = await world.inState(state, 'a', 'one');
        const key = await world.key(id);
        const run = await world.run(id);
        const attempts = await world.rows('select * from "attempts"');
        const strangers: AttemptMessage[] = [
          { ...key, agentId: 'two' },
          { ...key, tenantId: other.tenantId },
          { ...key, epoch: key.epoch - 1 },
          { ...key, epoch: key.epoch + 1 },
          { ...key, attemptId: `${id}-7` },
          { ...key, attemptId: `${'0'.repeat(20)}-1` },
          { ...key, attemptId: 'nonsense' },
        ];
        for (const stranger of strangers) {
          // A decline has no number to be wrong about.
          if (stranger.attemptId === key.attemptId)
            assert.equal(await world.store.declineOffer({ ...stranger, detail: '' }), false);
          assert.equal(await world.accept(stranger, 0), null);
          assert.equal(await world.permitAgain(stranger), null);
          if (stranger.attemptId !== `${id}-7` || state !== 'offered') await world.refuse(stranger, 0);
          await world.start(stranger, 0);
          assert.equal(await world.end(stranger, {}, 0), null);
          const chunk = {
            seq: 2,
            stream: 'stdout' as const,
            atMs: 0,
            droppedBytes: 0,
            data: Buffer.from('x'),
          };
          if (stranger.epoch === key.epoch)
            assert.equal(await world.store.storeOutput({ ...stranger, chunks: [chunk] }), null);
        }
        assert.deepEqual(await world.run(id), run, state);
        assert.deepEqual(await world.rows('select * from "attempts"'), attempts);
      }
    });

    it('is refused once it was withdrawn', async () => {
      const world = await worldWithJob();
      const id = await world.inState('offered', 'a', 'one');
      const key = await world.key(id);
      world.pass(10 * SECOND);
      await world.settle();
      assert.equal(await world.accept(key), null);
      await world.expect(id, 'queued');
    });

    it('gets no permit after the start deadline', async () => {
      const world = await worldWithJob();
      const id = await world.inState('offered', 'a', 'one', { startBy: START + SECOND });
      world.pass(SECOND + 1);
      assert.equal(await world.accept(await world.key(id)), null);
      await world.expect(id, 'missed', { reason: 'startDeadline', slot: 0 });
    });

    it('keeps an end that comes after its run was decided as evidence only', async () => {
      const world = await worldWithJob();
      const id = await world.inState('unknown', 'a', 'one');
      const key = await world.key(id);
      await world.store.resolveRun({ tenantId: 'acme', runId: id, as: 'failed', note: '', by: 'me' });
      const decided = await world.run(id);
      await world.start(key);
      assert.equal(await world.end(key), null);
      assert.deepEqual(await world.run(id), decided);
      const attempt = await world.attempt(key.attemptId);
      assert.deepEqual([attempt.state, attempt.outcome], ['ended', 'succeeded']);
      assert.deepEqual(
        JSON.parse(attempt.evidenceJson as string).map((each: { report: string }) => each.report),
        ['started', 'ended'],
      );
    });

    it('comes back from unknown by its start, its end, or its permit given again', async () => {
      for (const [act, state] of [
        [(world: World, key: AttemptMessage) => world.start(key), 'running'],
        [(world: World, key: AttemptMessage) => world.end(key), 'succeeded'],
        [(world: World, key: AttemptMessage) => world.permitAgain(key), 'starting'],
      ] as const) {
        const world = await worldWithJob();
        const id = await world.inState('unknown', 'a', 'one');
        await act(world, await world.key(id));
        await world.expect(id, state, { reason: null, contactLostAt: null });
      }
    });

    it('takes the slot back when it goes on, unless another run has it', async () => {
      const world = await worldWithJob();
      const id = await world.inState('unknown', 'a', 'one', { timeoutMs: 1 });
      world.pass(DAY / 2);
      await world.settle();
      await world.expect(id, 'unknown', { slot: 0 });
      const key = await world.key(id);
      const other = await world.inState('running', 'a', 'two');
      assert.equal(await world.permitAgain(key), null, 'no permit beside another run of the job');
      await world.start(key);
      await world.expect(id, 'running', { slot: 0 });
      await world.end(await world.key(other));
      await world.end(key);
      await world.expect(id, 'succeeded');
    });

    it('takes a freed slot back with a permit given again', async () => {
      const world = await worldWithJob();
      const id = await world.inState('unknown', 'a', 'one', { timeoutMs: 1 });
      world.pass(DAY / 2);
      await world.settle();
      assert(await world.permitAgain(await world.key(id)));
      await world.expect(id, 'starting', { slot: 1 });
    });

    it('gets no permit again after the start deadline, nor when it was reported as started', async () => {
      const world = await worldWithJob();
      const id = await world.inState('unknown', 'a', 'one', { startBy: START + MINUTE });
      world.pass(MINUTE);
      assert.equal(await world.permitAgain(await world.key(id)), null);
      await world.refuse(await world.key(id));
      await world.expect(id, 'missed', { reason: 'startDeadline' });

      await world.job('b');
      const started = await world.inState('running', 'b', 'one');
      await world.change(`update "runs" set "state" = 'unknown' where "id" = ?`, started);
      assert.equal(await world.permitAgain(await world.key(started)), null);
      await world.refuse(await world.key(started));
      await world.expect(started, 'unknown');
    });
  });

  describe('a refusal', () => {
    it('sends an offered run to the next agent under the same number', async () => {
      const world = await worldWithJob();
      const id = await world.inState('offered', 'a', 'one');
      await world.refuse(await world.key(id));
      await world.expect(id, 'queued', { attempt: 0, passedJson: '["one"]' });
    });

    for (const state of ['starting', 'unknown'] as const) {
      it(`of a ${state} run makes a new attempt, not at the same agent first`, async () => {
        const world = await worldWithJob();
        const id = await world.inState(state, 'a', 'one');
        const key = await world.key(id);
        await world.refuse(key);
        await world.expect(id, 'queued', { attempt: 1, passedJson: '["one"]', agentId: null, slot: 1 });
        assert.equal((await world.attempt(key.attemptId)).state, 'notStarted');
        await world.offer(id, 'two');
        assert.equal((await world.key(id)).attemptId, `${id}-2`);
        assert(await world.accept(await world.key(id)));
        const run = await world.run(id);
        await world.start(key);
        await world.end(key);
        await world.refuse(key);
        assert.deepEqual(await world.run(id), run);
        assert.equal(
          (await world.attempt(key.attemptId)).state,
          'notStarted',
          'what was proven stays proven',
        );
      });
    }

    it('of a running run changes nothing but is kept', async () => {
      const world = await worldWithJob();
      const id = await world.inState('running', 'a', 'one');
      const run = await world.run(id);
      await world.refuse(await world.key(id));
      assert.deepEqual(await world.run(id), run);
      assert.match((await world.attempt(`${id}-1`)).evidenceJson as string, /refused/);
    });

    it('of a run that is to be cancelled ends it', async () => {
      const world = await worldWithJob();
      const id = await world.inState('starting', 'a', 'one');
      await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'me' });
      await world.refuse(await world.key(id));
      await world.expect(id, 'cancelled', { reason: 'cancelledByUser', detail: 'by me', slot: 0 });
    });

    it('past the start deadline misses the run', async () => {
      const world = await worldWithJob();
      const id = await world.inState('starting', 'a', 'one', { startBy: START + 1 });
      world.pass(2);
      await world.refuse(await world.key(id));
      await world.expect(id, 'missed', { reason: 'startDeadline' });
    });
  });
}
