import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type AttemptMessage, DAY, MINUTE, type Open, SECOND, START, World } from './world.ts';

/** What agents say about attempts, in every order and state. */
export function attemptsSuite(open: Open): void {
  const worldWithJob = async () => {
    const world = await World.open(open);
    await world.online('one');
    await world.online('two');
    await world.job('a');
    return world;
  };
  const again = (world: World, key: AttemptMessage) =>
    world.store.permitAgain({ ...key, bootId: 'boot2', permitUntilBootMs: 99 });

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
      assert.equal(await again(world, key), null);
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
          assert.equal(await again(world, stranger), null);
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
        [again, 'starting'],
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
      assert.equal(await again(world, key), null, 'no permit beside another run of the job');
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
      assert(await again(world, await world.key(id)));
      await world.expect(id, 'starting', { slot: 1 });
    });

    it('gets no permit again after the start deadline, nor when it was reported as started', async () => {
      const world = await worldWithJob();
      const id = await world.inState('unknown', 'a', 'one', { startBy: START + MINUTE });
      world.pass(MINUTE);
      assert.equal(await again(world, await world.key(id)), null);
      await world.refuse(await world.key(id));
      await world.expect(id, 'missed', { reason: 'startDeadline' });

      await world.job('b');
      const started = await world.inState('running', 'b', 'one');
      await world.change(`update "runs" set "state" = 'unknown' where "id" = ?`, started);
      assert.equal(await again(world, await world.key(started)), null);
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

  describe('cancelRun', () => {
    for (const state of ['planned', 'queued', 'offered'] as const) {
      it(`ends a ${state} run at once`, async () => {
        const world = await worldWithJob();
        const id = await world.inState(state, 'a', 'one');
        const key = await world.key(id);
        const answer = await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'me' });
        const { tenantId: _, ...withdraw } = key;
        assert.deepEqual(answer, { result: 'cancelled', withdraw: state === 'offered' ? withdraw : null });
        await world.expect(id, 'cancelled', {
          reason: 'cancelledByUser',
          detail: 'by me',
          slot: 0,
          wakeAt: null,
        });
        assert.equal(await world.accept(key), null);
        await world.expect(id, 'cancelled');
      });
    }

    for (const state of ['starting', 'running', 'unknown'] as const) {
      it(`asks for the end of a ${state} run, and its end decides`, async () => {
        const world = await worldWithJob();
        const id = await world.inState(state, 'a', 'one');
        const key = await world.key(id);
        const { tenantId: _, ...named } = key;
        assert.deepEqual(await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'me' }), {
          result: 'requested',
          ...named,
        });
        await world.expect(id, state, { cancelRequestedAt: world.now, cancelRequestedBy: 'me' });
        assert.equal(await again(world, key), null);
        await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'you' });
        await world.end(key, { outcome: 'cancelled' });
        await world.expect(id, 'cancelled', { detail: 'by me' });
      });
    }

    it('finds nothing in an ended run, an unknown id, or another tenant', async () => {
      const world = await worldWithJob();
      const other = await world.other();
      const id = await world.inState('running', 'a', 'one');
      const cancel = (tenantId: string, runId: string) =>
        world.store.cancelRun({ tenantId, runId, by: 'me' }).then((answer) => answer.result);
      assert.equal(await cancel(other.tenantId, id), 'notFound');
      assert.equal(await cancel('acme', 'nothing'), 'notFound');
      await world.end(await world.key(id));
      assert.equal(await cancel('acme', id), 'ended');
    });
  });

  describe('resolveRun', () => {
    const resolve = (world: World, runId: string, as: 'failed' | 'succeeded' | 'retry') =>
      world.store.resolveRun({ tenantId: world.tenantId, runId, as, note: 'seen', by: 'me' });

    it('decides an unknown run, and no other', async () => {
      const world = await worldWithJob();
      const id = await world.inState('running', 'a', 'one');
      assert.equal(await resolve(world, id, 'failed'), 'notUnknown');
      await world.end(await world.key(id));
      assert.equal(await resolve(world, id, 'failed'), 'ended');
      assert.equal(await resolve(world, 'nothing', 'failed'), 'notFound');
      for (const as of ['failed', 'succeeded'] as const) {
        world.pass(1);
        const unknown = await world.inState('unknown', 'a', 'one');
        assert.equal(await resolve(world, unknown, as), 'done');
        await world.expect(unknown, as, { reason: 'resolvedByUser', detail: `${as} by me: seen`, slot: 0 });
      }
    });

    it('makes a new attempt, and keeps what the old one says as evidence', async () => {
      const world = await worldWithJob();
      const id = await world.inState('unknown', 'a', 'one');
      const old = await world.key(id);
      assert.equal(await resolve(world, id, 'retry'), 'done');
      await world.expect(id, 'queued', { wakeAt: world.now, agentId: null, contactLostAt: null, slot: 1 });
      await world.offer(id, 'two');
      assert(await world.accept(await world.key(id)));
      await world.end(old);
      await world.expect(id, 'starting', { attempt: 2, agentId: 'two' });
      await world.end(await world.key(id), { outcome: 'failed' });
      await world.expect(id, 'failed');
    });

    it('makes an attempt that gives way to no later instant while it waits: those are skipped', async () => {
      const world = await worldWithJob();
      const id = await world.inState('unknown', 'a', 'one', { startBy: START + MINUTE });
      world.pass(MINUTE);
      await resolve(world, id, 'retry');
      await world.expect(id, 'queued', { startBy: world.now + DAY });
      const later = await world.queued('a');
      await world.expect(later, 'skipped', { reason: 'previousRunActive', detail: `run ${id}` });
      assert(await world.offer(id, 'two'));
      world.pass(10 * SECOND);
      await world.settle();
      await world.expect(await world.queued('a'), 'skipped', { reason: 'previousRunActive' });
      await world.expect(id, 'queued');
    });

    it('makes an attempt that waits while another run has the slot', async () => {
      const world = await worldWithJob();
      const id = await world.inState('unknown', 'a', 'one', { timeoutMs: SECOND });
      world.pass(MINUTE);
      await world.settle();
      await world.expect(id, 'unknown', { slot: 0 });
      const other = await world.inState('running', 'a', 'two');
      await resolve(world, id, 'retry');
      assert.equal(await world.offer(id, 'one'), null);
      await world.expect(id, 'queued', {
        reason: 'previousRunActive',
        slot: 0,
        wakeAt: world.now + SECOND,
      });
      await world.end(await world.key(other));
      world.pass(SECOND);
      await world.expect(await world.queued('a'), 'skipped', { detail: `run ${id}` });
      assert(await world.offer(id, 'one'));
      await world.expect(id, 'offered', { slot: 1, reason: null });
    });
  });

  describe('output', () => {
    const send = (
      world: World,
      key: AttemptMessage,
      ...chunks: [seq: number, bytes: number, dropped?: number][]
    ) =>
      world.store.storeOutput({
        ...key,
        chunks: chunks.map(([seq, bytes, droppedBytes = 0]) => ({
          seq,
          stream: 'stdout',
          atMs: seq,
          droppedBytes,
          data: Buffer.alloc(bytes, seq),
        })),
      });
    const KIB = 1024;

    it('is stored once however often it comes', async () => {
      const world = await worldWithJob();
      const key = await world.key(await world.inState('running', 'a', 'one'));
      assert.equal(await send(world, key, [2, 10], [3, 10]), 3);
      assert.equal(await send(world, key, [2, 10], [3, 10], [5, 10, 7]), 5);
      assert.equal(await send(world, key, [2, 10]), 5);
      const attempt = await world.attempt(key.attemptId);
      assert.deepEqual(
        [attempt.outputBytes, attempt.headBytes, attempt.tailBytes, attempt.outputDroppedBytes],
        [37, 30, 0, 7],
      );
    });

    it('keeps the first MiB and the last, and says what is missing between', async () => {
      const world = await worldWithJob();
      const key = await world.key(await world.inState('running', 'a', 'one'));
      let seq = 1;
      for (let message = 0; message < 12; message++) {
        const chunks: [number, number, number][] = [];
        for (let n = 0; n < 10; n++) chunks.push([++seq, 32 * KIB, n === 5 ? 100 : 0]);
        await send(world, key, ...chunks);
      }
      const stored = await world.rows<{ bytes: number; dropped: number; head: number }>(
        'select "head", sum(length("data")) as "bytes", sum("droppedBytes") as "dropped" from "output" group by "head" order by "head"',
      );
      const all = 120 * 32 * KIB + 1_200;
      const kept = stored.reduce((sum, part) => sum + part.bytes, 0);
      const dropped = stored.reduce((sum, part) => sum + part.dropped, 0);
      assert.equal(stored[1]?.bytes, 1024 * KIB);
      assert.equal(stored[0]?.bytes, 1024 * KIB);
      assert.equal(kept + dropped, all, 'every byte is there or counted as missing');
      const attempt = await world.attempt(key.attemptId);
      assert.deepEqual([attempt.outputBytes, attempt.outputDroppedBytes], [all, dropped]);
      await world.end(key, { outputBytes: all, outputDroppedBytes: 1_200 });
      assert.equal((await world.attempt(key.attemptId)).outputDroppedBytes, dropped);
    });

    it('keeps its bound when large chunks follow very many small ones', async () => {
      const world = await worldWithJob();
      const key = await world.key(await world.inState('running', 'a', 'one'));
      let seq = 1;
      const part = (count: number, bytes: number) =>
        send(world, key, ...Array.from({ length: count }, (): [number, number] => [++seq, bytes]));
      await part(32, 32 * KIB);
      for (let message = 0; message < 32; message++) await part(64, 512);
      for (let message = 0; message < 2; message++) await part(32, 32 * KIB);
      const attempt = await world.attempt(key.attemptId);
      assert.equal(attempt.tailBytes, 1024 * KIB);
      const [stored] = await world.rows<{ bytes: number }>(
        'select sum(length("data")) as "bytes" from "output"',
      );
      assert.equal(stored?.bytes, 2048 * KIB);
    });

    it('is not taken after the end of its attempt', async () => {
      const world = await worldWithJob();
      const key = await world.key(await world.inState('running', 'a', 'one'));
      await send(world, key, [2, 10]);
      await world.end(key, { outputBytes: 10 });
      assert.equal(await send(world, key, [3, 10]), 1_000);
      assert.equal((await world.attempt(key.attemptId)).outputBytes, 10);
      assert.equal((await world.rows('select * from "output"')).length, 1);
    });
  });
}
