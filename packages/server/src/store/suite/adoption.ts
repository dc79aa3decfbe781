import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HistoryAttempt } from '@rota/contract';
import { SUCCEEDED } from '../../attemptReports.testing.ts';
import { attemptIdOf, runIdOf } from '../../runs/ids.ts';
import { ended, recover, resume, runIdIn, told } from './afterLoss.ts';
import { MINUTE, type Open, SECOND, START, World } from './world.ts';

/** What agents tell of attempts that a database has lost. */
export function adoptionSuite(open: Open): void {
  describe('adoptAttempts', () => {
    it('makes a run again that was lost, running or ended, and telling it again changes nothing', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      world.pass(20 * SECOND);
      await recover(world);
      const session = await resume(world, 'one');
      const first = ended('a', START + 1_000, { end: { ...SUCCEEDED, outcome: 'failed', exitCode: 3 } });
      const second = told('a', START + 2_000);
      const attempts = [second, first];
      const adopted = await world.store.adoptAttempts({ ...session, attempts });
      assert.deepEqual(adopted, { found: 2, lost: 0, doubled: [] });
      await world.expect(runIdIn(first), 'failed', {
        exitCode: 3,
        reason: 'exitStatus',
        scheduledFor: START + 1_000,
        startBy: START + 1_000 + MINUTE,
        startedAt: world.now - 3_000,
        endedAt: world.now - 1_000,
        attempt: 1,
        agentId: 'one',
      });
      await world.expect(runIdIn(second), 'running', { epoch: 1, attempt: 1, slot: 1, agentId: 'one' });
      assert.equal((await world.readJob('a')).firedThrough, START + 2_000);
      const before = await world.all();
      const again = await world.store.adoptAttempts({ ...session, attempts });
      assert.deepEqual(again, { found: 0, lost: 0, doubled: [] });
      assert.equal(await world.all(), before);
      // Its end is reported as always.
      await world.end({ tenantId: 'acme', agentId: 'one', attemptId: second.attemptId, epoch: 1 });
      await world.expect(runIdIn(second), 'succeeded');
    });

    for (const state of ['planned', 'queued', 'offered'] as const) {
      it(`knows of a run that is ${state} that it was started, and what became of it`, async () => {
        const world = await World.open(open);
        await world.online('one');
        await world.job('a');
        const id = await world.inState(state, 'a', 'one');
        await recover(world);
        const session = await resume(world, 'one');
        await world.store.adoptAttempts({ ...session, attempts: [told('a', START, { epoch: 4 })] });
        await world.expect(id, 'running', { epoch: 4, attempt: 1, agentId: 'one', reason: null, slot: 1 });
        await world.store.adoptAttempts({ ...session, attempts: [ended('a', START, { epoch: 4 })] });
        await world.expect(id, 'succeeded', { slot: 0 });
      });
    }

    it('settles what the database knew as started by the end that it had lost', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      const id = await world.inState('running', 'a', 'one');
      await recover(world);
      const session = await resume(world, 'one');
      await world.store.adoptAttempts({ ...session, attempts: [ended('a', START)] });
      await world.expect(id, 'succeeded');
      assert.equal((await world.attempt(attemptIdOf(id, 1))).outcome, 'succeeded');
    });

    it('takes over all attempts of a run that was tried again, each after what the one before left', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a', { retry: { times: 2, delay: '10s' } });
      const id = await world.inState('queued', 'a', 'one');
      await recover(world);
      const session = await resume(world, 'one');
      const failed = { end: { ...SUCCEEDED, outcome: 'failed', exitCode: 3 } } as const;
      const attempts = [
        ended('a', START, { ...failed, epoch: 2, startedMsAgo: 40_000 }),
        ended('a', START, { ...failed, epoch: 4, startedMsAgo: 20_000, attemptId: attemptIdOf(id, 2) }),
        told('a', START, { epoch: 6, attemptId: attemptIdOf(id, 3) }),
      ];
      for (const adopted of [3, 0]) {
        assert.equal((await world.store.adoptAttempts({ ...session, attempts }))?.found, adopted);
        await world.expect(id, 'running', { attempt: 3, epoch: 6, agentId: 'one', slot: 1, retriesLeft: 0 });
        await world.expect(id, 'running', { startedAt: world.now - 40_000, startingAt: world.now - 3_000 });
      }
      await world.end(
        { tenantId: 'acme', agentId: 'one', attemptId: attemptIdOf(id, 3), epoch: 6 },
        failed.end,
      );
      await world.expect(id, 'failed', { exitCode: 3, slot: 0 });
    });

    it('holds a run whose refusal was lost, since its next attempt may be, and takes that over', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.online('two');
      await world.job('a');
      const id = await world.inState('starting', 'a', 'one');
      const { epoch } = await world.run(id);
      await recover(world);
      const refused = told('a', START, { state: 'refused', epoch, key: null, startedMsAgo: null });
      await world.store.adoptAttempts({ ...(await resume(world, 'one')), attempts: [refused] });
      await world.expect(id, 'queued', { reason: 'recovering', wakeAt: null, slot: 0 });
      assert.equal((await world.attempt(attemptIdOf(id, 1))).state, 'notStarted');
      const next = told('a', START, { attemptId: attemptIdOf(id, 2), epoch: epoch + 2 });
      await world.store.adoptAttempts({ ...(await resume(world, 'two')), attempts: [next] });
      await world.expect(id, 'running', { attempt: 2, agentId: 'two', epoch: epoch + 2 });
    });

    it('does not give the number of an attempt again that an agent has refused', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      const id = await world.inState('queued', 'a', 'one');
      await recover(world);
      const refused = told('a', START, { state: 'refused', key: null });
      await world.store.adoptAttempts({ ...(await resume(world, 'one')), attempts: [refused] });
      await world.expect(id, 'queued', { attempt: 1 });
      assert.equal((await world.attempt(attemptIdOf(id, 1))).state, 'notStarted');
    });

    it('takes over the attempt that followed one that the same agent has refused', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      const id = await world.inState('starting', 'a', 'one');
      const { epoch } = await world.run(id);
      await recover(world);
      const refused = told('a', START, { state: 'refused', epoch, key: null, startedMsAgo: null });
      const next = told('a', START, { attemptId: attemptIdOf(id, 2), epoch: epoch + 2 });
      await world.store.adoptAttempts({ ...(await resume(world, 'one')), attempts: [next, refused] });
      await world.expect(id, 'running', { attempt: 2, agentId: 'one', epoch: epoch + 2 });
      assert.equal((await world.attempt(attemptIdOf(id, 1))).state, 'notStarted');
    });

    it('keeps what comes too late as evidence: a terminal state stays', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      const id = await world.inState('queued', 'a', 'one');
      await recover(world);
      await world.store.cancelRun({ tenantId: 'acme', runId: id, by: 'me' });
      await world.store.adoptAttempts({ ...(await resume(world, 'one')), attempts: [ended('a', START)] });
      await world.expect(id, 'cancelled');
      const attempt = await world.attempt(attemptIdOf(id, 1));
      assert.equal(attempt.outcome, 'succeeded');
      assert.match(attempt.evidenceJson ?? '', /succeeded/);
    });

    it('believes no run that its id does not fit, and knows none of a job that is lost', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      await recover(world);
      const session = await resume(world, 'one');
      const forged = { ...told('a', START + 1_000), attemptId: told('a', START + 2_000).attemptId };
      const unknown = told('gone', START + 1_000);
      const adopted = await world.store.adoptAttempts({ ...session, attempts: [forged, unknown] });
      assert.deepEqual(adopted, { found: 0, lost: 2, doubled: [] });
      assert.deepEqual(await world.rows('select * from "runs"'), []);
    });

    it('says of an attempt that another agent has had that it was doubled', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.online('two');
      await world.job('a');
      const id = await world.inState('running', 'a', 'one');
      await recover(world);
      const session = await resume(world, 'two');
      const adopted = await world.store.adoptAttempts({ ...session, attempts: [told('a', START)] });
      assert.deepEqual(adopted?.doubled, [attemptIdOf(id, 1)]);
      await world.expect(id, 'running', { agentId: 'one' });
    });

    it('listens to nobody that it has not asked, nor to a session that is over', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      const attempts = [told('a', START)];
      const unasked = { tenantId: 'acme', agentId: 'one', sessionEpoch: 1, attempts };
      assert.equal(await world.store.adoptAttempts(unasked), null);
      await recover(world);
      assert.equal(await world.store.adoptAttempts(unasked), null);
      const session = await resume(world, 'one');
      await world.store.endHistory(session);
      assert.equal(await world.store.adoptAttempts({ ...session, attempts }), null);
    });

    it('lets whoever asks with the same key again find the run that was lost', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      const runId = runIdOf({ tenantId: 'acme', jobId: 'a', occurrenceKey: 't:order-7', part: '' });
      await recover(world);
      const attempt = ended('a', START, { attemptId: attemptIdOf(runId, 1) });
      const key = { ...attempt.key, kind: 'triggered', occurrenceKey: 't:order-7' } as HistoryAttempt['key'];
      await world.store.adoptAttempts({ ...(await resume(world, 'one')), attempts: [{ ...attempt, key }] });
      const request = {
        id: runId,
        tenantId: 'acme',
        jobId: 'a',
        revision: 1,
        kind: 'triggered' as const,
        occurrenceKey: 't:order-7',
        part: '',
        definitionJson: null,
        timeoutMs: null,
        createdBy: 'me',
        startDeadlineMs: MINUTE,
        idempotencyKey: 'order-7',
      };
      assert.deepEqual(await world.store.requestRuns({ runs: [request] }), [{ runId, created: false }]);
      await world.expect(runId, 'succeeded');
    });

    it('gives the slot to a run that is going on once the one that had it is known to have ended', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      const before = await world.inState('running', 'a', 'one');
      await recover(world);
      const session = await resume(world, 'one');
      const next = told('a', START + 1_000, { epoch: 9 });
      await world.store.adoptAttempts({ ...session, attempts: [next] });
      await world.expect(runIdIn(next), 'running', { slot: 0 });
      await world.store.adoptAttempts({ ...session, attempts: [ended('a', START)] });
      await world.expect(before, 'succeeded');
      await world.store.endHistory(session);
      await world.expect(runIdIn(next), 'running', { slot: 1 });
    });
  });
}
