import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { JobPlan } from '../planning.ts';
import type { GapRow, RunRow } from '../tables.ts';
import { DAY, MINUTE, type Open, SECOND, START, World } from './world.ts';

/** Plans, and what due runs become. */
export function planningSuite(open: Open): void {
  const planOf = async (world: World, jobId: string, more: Partial<JobPlan> = {}): Promise<JobPlan> => {
    const job = await world.readJob(jobId);
    return {
      tenantId: world.tenantId,
      jobId,
      revision: job.revision,
      recoveryId: 0,
      expectedThrough: job.plannedThrough,
      plannedThrough: job.plannedThrough + MINUTE,
      nextAt: job.plannedThrough + 2 * MINUTE,
      runs: [world.instant(jobId, START + MINUTE)],
      gaps: [],
      ...more,
    };
  };

  describe('a job whose instants have come before anyone planned them', () => {
    const paused = { by: 'me', note: '' };
    const changes: [string, (world: World) => Promise<unknown>, RunRow['state'], Partial<RunRow>][] = [
      ['edited', (world) => world.job('a', { command: 'false' }), 'planned', { revision: 1 }],
      [
        'paused',
        (world) => world.store.pauseJob({ tenantId: 'acme', name: 'a', ...paused }),
        'skipped',
        { reason: 'jobPaused' },
      ],
      [
        'deleted',
        (world) => world.store.deleteJob({ tenantId: 'acme', name: 'a', by: 'me' }),
        'cancelled',
        { reason: 'jobEdited' },
      ],
    ];
    for (const [what, change, state, more] of changes) {
      it(`has an outcome for each of them when it is ${what}`, async () => {
        const world = await World.open(open);
        await world.job('a');
        world.pass(3 * MINUTE + SECOND);
        await change(world);
        await world.expect(world.instant('a', START + 3 * MINUTE).id, state, more);
        const gaps = await world.rows<GapRow>('select * from "gaps"');
        assert.deepEqual(
          gaps.map(({ fromAt, toAt, count, outcome, reason }) => [fromAt, toAt, count, outcome, reason]),
          [[START + MINUTE, START + 2 * MINUTE, 2, 'skipped', 'catchUp']],
        );
        assert.equal((await world.rows('select * from "runs"')).length, 1);
      });
    }
  });

  describe('storePlans', () => {
    it('stores runs and moves the cursor', async () => {
      const world = await World.open(open);
      await world.job('a');
      assert.equal(await world.store.storePlans({ plans: [await planOf(world, 'a')] }), 1);
      const job = await world.readJob('a');
      assert.equal(job.plannedThrough, START + MINUTE);
      assert.equal(job.nextAt, START + 2 * MINUTE);
      const run = await world.run(world.instant('a', START + MINUTE).id);
      assert.deepEqual([run.state, run.wakeAt, run.slot], ['planned', START + MINUTE, 0]);
    });

    for (const [what, stale] of [
      ['cursor', { expectedThrough: START - 1 }],
      ['revision', { revision: 7 }],
    ] as const) {
      it(`changes nothing when its ${what} is stale`, async () => {
        const world = await World.open(open);
        await world.job('a');
        const before = await world.all();
        assert.equal(await world.store.storePlans({ plans: [await planOf(world, 'a', stale)] }), 0);
        assert.equal(await world.all(), before);
      });
    }

    it('changes nothing for a job that was paused or deleted meanwhile', async () => {
      for (const stop of ['pauseJob', 'deleteJob'] as const) {
        const world = await World.open(open);
        await world.job('a');
        const plan = await planOf(world, 'a');
        await world.store[stop]({ tenantId: 'acme', name: 'a', by: 'test', note: '' });
        assert.equal(await world.store.storePlans({ plans: [plan] }), 0, stop);
        assert.deepEqual(await world.rows('select * from "runs"'), []);
      }
    });

    it('makes one run of an occurrence that two plans have', async () => {
      const world = await World.open(open);
      await world.job('a');
      await world.store.storePlans({ plans: [await planOf(world, 'a')] });
      await world.store.storePlans({ plans: [await planOf(world, 'a')] });
      assert.equal((await world.rows('select * from "runs"')).length, 1);
    });

    it('does not bring a run back to planned that has moved on', async () => {
      const world = await World.open(open);
      await world.job('a');
      const id = await world.queued('a');
      await world.plan('a', [world.instant('a', START)]);
      await world.expect(id, 'queued');
    });

    it('counts the instants of a gap as settled, so that an edit after the clock was set back plans none of them again', async () => {
      const world = await World.open(open);
      await world.job('a');
      const gap = {
        id: 'gap',
        from: START + 1,
        to: START + DAY,
        count: 9,
        outcome: 'skipped',
        reason: 'catchUp',
      } as const;
      await world.store.storePlans({
        plans: [await planOf(world, 'a', { runs: [], gaps: [gap], plannedThrough: START + DAY + 1 })],
      });
      await world.job('a', { command: 'false' });
      assert.equal((await world.readJob('a')).plannedThrough, START + DAY);
      assert.equal((await world.rows<GapRow>('select * from "gaps"'))[0]?.count, 9);
    });

    it('sees jobs by their next instant, the most overdue first', async () => {
      const world = await World.open(open);
      for (const [name, later] of [
        ['late', 5],
        ['soon', 1],
        ['far', 60],
      ] as const) {
        world.pass(later);
        await world.job(name);
        world.pass(-later);
      }
      const due = await world.store.readDueJobs({ horizon: START + 10, limit: 10 });
      assert.deepEqual(
        due.map((job) => job.id),
        ['soon', 'late'],
      );
      assert.equal(await world.store.readNextPlanAt({}), START + 1);
    });
  });

  describe('an edit', () => {
    it('takes back what is planned for later, keeps what is due, and plans on from now', async () => {
      const world = await World.open(open);
      await world.job('a');
      const due = world.instant('a', START);
      const later = world.instant('a', START + SECOND);
      await world.plan('a', [due, later], START + 10 * SECOND);
      await world.job('a', { command: 'false' });
      const left = await world.rows<RunRow>('select * from "runs"');
      assert.deepEqual(
        left.map((run) => [run.id, run.revision]),
        [[due.id, 1]],
      );
      assert.equal((await world.readJob('a')).plannedThrough, START);
      await world.plan('a', [later], START + 10 * SECOND);
      assert.equal((await world.run(later.id)).revision, 2);
    });

    it('never goes back behind what has fired, also when the clock was set back', async () => {
      const world = await World.open(open);
      await world.job('a');
      world.pass(MINUTE);
      await world.queued('a');
      world.pass(-MINUTE);
      await world.job('a', { command: 'false' });
      assert.equal((await world.readJob('a')).plannedThrough, START + MINUTE);
    });
  });

  describe('queueDueRuns', () => {
    it('queues a run when it is due and not before', async () => {
      const world = await World.open(open);
      await world.job('a');
      const run = world.instant('a', START + SECOND);
      await world.plan('a', [run]);
      world.pass(SECOND - 1);
      assert.equal(await world.queueDue(), 0);
      world.pass(1);
      assert.equal(await world.queueDue(), 1);
      await world.expect(run.id, 'queued', { queuedAt: world.now, wakeAt: world.now });
    });

    it('misses a run whose start deadline has passed, and none on its deadline', async () => {
      const world = await World.open(open);
      await world.job('a');
      await world.job('b');
      const missed = world.instant('a', START, { startBy: START + MINUTE - 1 });
      const last = world.instant('b', START, { startBy: START + MINUTE });
      await world.plan('a', [missed]);
      await world.plan('b', [last]);
      world.pass(MINUTE);
      await world.queueDue();
      await world.expect(missed.id, 'missed', { reason: 'startDeadline', endedAt: world.now, wakeAt: null });
      await world.expect(last.id, 'queued');
    });

    for (const [state, reason] of [
      ['offered', 'previousRunActive'],
      ['starting', 'previousRunActive'],
      ['running', 'previousRunActive'],
      ['unknown', 'previousRunUnknown'],
    ] as const) {
      it(`skips a run while the one before is ${state}`, async () => {
        const world = await World.open(open);
        await world.online('one');
        await world.job('a');
        const holder = await world.inState(state, 'a', 'one');
        world.pass(MINUTE);
        const next = await world.queued('a');
        await world.expect(next, 'skipped', { reason, detail: `run ${holder}` });
        await world.expect(holder, state, { slot: 1 });
      });
    }

    it('lets a later instant take the place of one that waits', async () => {
      const world = await World.open(open);
      await world.job('a');
      const first = await world.queued('a');
      world.pass(MINUTE);
      const second = await world.queued('a');
      await world.expect(first, 'skipped', { reason: 'superseded' });
      await world.expect(second, 'queued');
    });

    it('lets a later instant take the place of one that waits again after an offer', async () => {
      const world = await World.open(open);
      await world.online('one');
      await world.job('a');
      const first = await world.inState('offered', 'a', 'one');
      await world.store.closeSession({ tenantId: 'acme', agentId: 'one', sessionEpoch: 1 });
      await world.expect(first, 'queued', { slot: 1 });
      world.pass(MINUTE);
      const second = await world.queued('a');
      await world.expect(first, 'skipped', { reason: 'superseded', slot: 0 });
      await world.expect(second, 'queued');
    });

    it('leaves one of many instants that come due at once', async () => {
      const world = await World.open(open);
      await world.job('a');
      const runs = [0, 1, 2, 3].map((minute) => world.instant('a', START + minute * MINUTE));
      await world.plan('a', runs);
      world.pass(3 * MINUTE);
      await world.queueDue();
      for (const run of runs.slice(0, 3)) await world.expect(run.id, 'skipped', { reason: 'superseded' });
      await world.expect(runs[3]?.id as string, 'queued');
    });

    it('lets an instant that jitter brings late give way to a later one', async () => {
      const world = await World.open(open);
      await world.job('a');
      const early = world.instant('a', START, { dueAt: START + 50 });
      const late = world.instant('a', START + 10, { dueAt: START + 20 });
      await world.plan('a', [early, late]);
      world.pass(30);
      await world.queueDue();
      world.pass(30);
      await world.queueDue();
      await world.expect(early.id, 'skipped', { reason: 'superseded' });
      await world.expect(late.id, 'queued');
    });

    it('lets a triggered run wait beside a scheduled one', async () => {
      const world = await World.open(open);
      await world.job('a');
      const scheduled = await world.queued('a');
      const triggered = await request(world, 'a', null);
      await world.queueDue();
      await world.expect(scheduled, 'queued');
      await world.expect(triggered.runId, 'queued');
    });

    it('never lowers firedThrough, whatever the order and the clock', async () => {
      const world = await World.open(open);
      await world.job('a');
      world.pass(10 * MINUTE);
      await world.queued('a');
      world.pass(-5 * MINUTE);
      await world.queued('a');
      assert.equal((await world.readJob('a')).firedThrough, START + 10 * MINUTE);
    });
  });

  describe('requestRuns', () => {
    it('makes one run of one idempotency key, also when the run is long gone', async () => {
      const world = await World.open(open);
      await world.job('a');
      const first = await request(world, 'a', 'key');
      assert.equal(first.created, true);
      assert.deepEqual(await request(world, 'a', 'key'), { runId: first.runId, created: false });
      await world.change('delete from "runs"');
      world.pass(400 * DAY);
      assert.deepEqual(await request(world, 'a', 'key'), { runId: first.runId, created: false });
      assert.deepEqual(await world.rows('select * from "runs"'), []);
    });

    it('keeps keys of jobs, parts and tenants apart', async () => {
      const world = await World.open(open);
      const other = await world.other();
      for (const each of [world, other]) {
        await each.job('a');
        await each.job('b');
        assert.equal((await request(each, 'a', 'key')).created, true);
        assert.equal((await request(each, 'b', 'key')).created, true);
        assert.equal((await request(each, 'a', 'x', 'y')).created, true);
        assert.equal((await request(each, 'a', 'x/y')).created, true);
      }
    });
  });
}

export async function request(world: World, jobId: string, key: string | null, part = '') {
  const occurrenceKey = `t:${key ?? world.now}`;
  const [answer] = await world.store.requestRuns({
    runs: [
      {
        id: `${world.tenantId}${jobId}${key}${part}`.padEnd(20, '0').slice(0, 20).replaceAll('/', '1'),
        tenantId: world.tenantId,
        jobId,
        revision: 1,
        kind: 'triggered',
        occurrenceKey,
        part,
        definitionJson: null,
        timeoutMs: null,
        createdBy: null,
        startDeadlineMs: DAY,
        idempotencyKey: key,
      },
    ],
  });
  assert(answer);
  return answer;
}
