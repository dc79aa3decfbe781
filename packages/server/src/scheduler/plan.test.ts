import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type JobDefinition, readJob } from '@rota/contract';
import { between, countBetween, type Schedule } from '@rota/schedule';
import fc from 'fast-check';
import { createDefinitions } from '../runs/definitions.ts';
import type { DueJob, JobPlan } from '../store/planning.ts';
import { AHEAD_MS, type Lost, planJob } from './plan.ts';

const START = Date.UTC(2026, 2, 1);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

interface Job {
  definition: JobDefinition;
  schedules: Schedule[];
}

/** A job as its stored revision gives it; every `every` counts from START. */
function job(...schedules: unknown[]): Job {
  return jobWith({ schedule: schedules, startDeadline: '1d' }, START);
}

function jobWith(fields: Record<string, unknown>, anchor: number): Job {
  const read = readJob({ name: 'a', command: 'true', ...fields }, { timezone: 'UTC' });
  assert('job' in read, JSON.stringify(read));
  const anchorsJson = JSON.stringify({ '90s': anchor, '1s': anchor });
  const documentJson = JSON.stringify(read.job.document);
  return createDefinitions().ofJob({ tenantId: 'acme', id: 'a', revision: 3, documentJson, anchorsJson });
}

function plan(of: Job, plannedThrough: number, now: number, lost: Lost | null = null): JobPlan {
  const due: DueJob = {
    tenantId: 'acme',
    id: 'a',
    revision: 3,
    documentJson: '',
    anchorsJson: '{}',
    plannedThrough,
    firedThrough: 0,
    nextAt: plannedThrough,
    recoveryId: 0,
  };
  let ids = 0;
  return planJob(due, of.definition, of.schedules, now, () => `gap${++ids}`, lost);
}

const instants = (made: JobPlan) => made.runs.map((run) => run.scheduledFor);

describe('planJob', () => {
  it('plans what comes within the next seconds, and says when to look again', () => {
    const made = plan(job('*/5 * * * * *'), START, START);
    assert.deepEqual(instants(made), [START + 5_000, START + 10_000]);
    assert.deepEqual(made.gaps, []);
    assert.equal(made.plannedThrough, START + AHEAD_MS);
    assert.equal(made.nextAt, START + 15_000);
    assert.deepEqual([made.expectedThrough, made.revision], [START, 3]);
  });

  it('plans a late instant as a run', () => {
    const made = plan(job('* * * * *'), START + 1, START + 90_000);
    assert.deepEqual(instants(made), [START + MINUTE]);
    assert.deepEqual(made.gaps, []);
  });

  it('plans the latest of many late instants and puts the others in one gap', () => {
    const made = plan(job('* * * * *'), START, START + 3 * HOUR + 1);
    assert.deepEqual(instants(made), [START + 3 * HOUR]);
    assert.deepEqual(made.gaps, [
      {
        id: 'gap1',
        from: START + MINUTE,
        to: START + 3 * HOUR - MINUTE,
        count: 179,
        outcome: 'skipped',
        reason: 'catchUp',
      },
    ]);
  });

  it('says of instants beyond the start deadline that they were missed', () => {
    const now = START + 3 * DAY + 1;
    const made = plan(job('0 * * * *'), START, now);
    assert.deepEqual(instants(made), [START + 3 * DAY]);
    assert.deepEqual(
      made.gaps.map(({ from, to, count, outcome }) => [from, to, count, outcome]),
      [
        [START + HOUR, START + 2 * DAY, 48, 'missed'],
        [START + 2 * DAY + HOUR, START + 3 * DAY - HOUR, 23, 'skipped'],
      ],
    );
  });

  it('puts the border between missed and skipped where a run would be missed', () => {
    const made = plan(job('0 * * * *'), START, START + 3 * DAY);
    const [missed, skipped] = made.gaps;
    assert.equal(missed?.to, START + 2 * DAY - HOUR);
    assert.equal(skipped?.from, START + 2 * DAY);
  });

  it('plans each instant that may have been started unheard, and what comes next', () => {
    const now = START + HOUR + 30_000;
    const lost = { from: now - 10 * MINUTE, to: now + 5_000 };
    const made = plan(job('* * * * *'), START, now, lost);
    const first = START + 51 * MINUTE;
    assert.deepEqual(instants(made), [
      first - MINUTE,
      ...Array.from({ length: 10 }, (_, n) => first + n * MINUTE),
    ]);
    assert.deepEqual(
      made.gaps.map(({ from, to, count }) => [from, to, count]),
      [[START + MINUTE, first - 2 * MINUTE, 49]],
    );
    assert.equal(made.plannedThrough, now + AHEAD_MS);
  });

  it('catches up as always what came late after all that may have been started unheard', () => {
    const lost = { from: START, to: START + 2 * MINUTE };
    const now = START + 10 * MINUTE;
    const made = plan(job('* * * * *'), START, now, lost);
    assert.deepEqual(instants(made), [START + MINUTE, START + 2 * MINUTE]);
    assert.equal(made.plannedThrough, START + 2 * MINUTE);
    const next = plan(job('* * * * *'), made.plannedThrough, now, lost);
    assert.deepEqual(instants(next), [START + 10 * MINUTE]);
    assert.equal(next.gaps[0]?.count, 7);
  });

  it('catches 30 days of a per-second job up in few rows and little time', () => {
    const began = process.hrtime.bigint();
    const made = plan(job('* * * * * *'), START, START + 30 * DAY);
    const ms = Number(process.hrtime.bigint() - began) / 1e6;
    assert.equal(made.gaps.length, 2);
    assert.equal(
      made.gaps.reduce((sum, gap) => sum + gap.count, 0),
      (30 * DAY) / 1_000 - 1,
    );
    assert.equal(made.runs.length, 1 + AHEAD_MS / 1_000);
    assert(ms < 200, `${ms} ms`);
  });

  it('moves a run by its jitter, the same each time, and counts its deadline from there', () => {
    const jittered = job({ cron: '* * * * *', jitter: '30s' });
    const [run] = plan(jittered, START, START + 55_000).runs;
    assert(run && run.dueAt >= run.scheduledFor && run.dueAt < run.scheduledFor + 30_000);
    assert.equal(run.startBy, run.dueAt + DAY);
    assert.deepEqual(plan(jittered, START, START + 58_000).runs[0], run);
  });

  it('makes one run of an instant that two schedules have, with the jitter of the first', () => {
    const made = plan(job('0 * * * *', { cron: '0,30 * * * *', jitter: '10m' }), START, START + HOUR - 1);
    assert.deepEqual(instants(made).at(-1), START + HOUR);
    assert.equal(new Set(instants(made)).size, made.runs.length);
    assert.equal(made.runs.at(-1)?.dueAt, START + HOUR);
  });

  it('plans a single time once and then never looks again', () => {
    const once = job({ at: '2026-03-01T00:00:05Z' });
    const made = plan(once, START, START);
    assert.deepEqual(instants(made), [START + 5_000]);
    assert.equal(made.nextAt, null);
    assert.deepEqual(plan(once, START + 5_000, START + 6_000).runs, []);
  });

  it('plans nothing again when the clock was set back', () => {
    const made = plan(job('* * * * * *'), START, START - HOUR);
    assert.deepEqual(made.runs, []);
    assert.equal(made.plannedThrough, START);
    assert.equal(made.nextAt, START + 1_000);
  });

  it('goes on where it stopped when there are more instants than one plan takes', () => {
    const [second] = job('every 1s').schedules;
    assert(second?.kind === 'every');
    const schedules = Array.from({ length: 150 }, (_, n) => ({ ...second, anchor: START + n }));
    const many = { ...job('every 1s'), schedules };
    let through = START;
    const seen: number[] = [];
    for (let n = 0; n < 3; n++) {
      const made = plan(many, through, START);
      seen.push(...instants(made));
      through = made.plannedThrough;
    }
    assert.deepEqual(seen, between(many.schedules, START, through, 10_000));
  });
});

describe('the cursor', () => {
  const schedule = fc.constantFrom(
    '* * * * *',
    '*/7 * * * *',
    '*/20 * * * * *',
    'every 90s',
    { cron: '30 2 * * *', timezone: 'America/New_York', jitter: '5m' },
    { cron: '*/15 1-3 * * *', timezone: 'Europe/London' },
    { cron: '0 * * * *', timezone: 'Australia/Lord_Howe' },
    { at: '2026-03-08T07:30:00Z' },
  );
  const move = fc.oneof(
    fc.integer({ min: 1, max: 20_000 }),
    fc.integer({ min: 1, max: 4 * HOUR }),
    fc.integer({ min: -2 * HOUR, max: 0 }),
    fc.integer({ min: DAY, max: 40 * DAY }),
  );

  it('has every instant in exactly one run or gap, whatever the times of planning, crashes and clock steps', () => {
    fc.assert(
      fc.property(
        fc.array(schedule, { minLength: 1, maxLength: 3 }),
        fc.array(fc.tuple(move, fc.integer({ min: 0, max: 9 })), { minLength: 1, maxLength: 40 }),
        (schedules, moves) => {
          const from = Date.UTC(2026, 2, 7, 12);
          const of = jobWith({ schedule: schedules, startDeadline: '3h' }, from);
          let now = from;
          let through = from;
          const runs: number[] = [];
          const gaps: JobPlan['gaps'] = [];
          for (const [by, crash] of moves) {
            now += by;
            const made = plan(of, through, now);
            assert(made.plannedThrough >= through, 'the cursor never goes back');
            // A plan that is not committed leaves no trace.
            if (crash === 0) continue;
            const next = between(of.schedules, made.plannedThrough, Number.MAX_SAFE_INTEGER, 1)[0] ?? null;
            assert.equal(made.nextAt, next);
            through = made.plannedThrough;
            runs.push(...instants(made));
            gaps.push(...made.gaps);
          }
          const inGaps = gaps.reduce((sum, gap) => sum + gap.count, 0);
          assert.equal(new Set(runs).size, runs.length);
          assert.equal(runs.length + inGaps, countBetween(of.schedules, from, through));
          for (const gap of gaps) {
            assert.equal(gap.count, countBetween(of.schedules, gap.from - 1, gap.to));
            assert(!runs.some((run) => run >= gap.from && run <= gap.to), 'no run lies in a gap');
          }
          const sorted = gaps.toSorted((a, b) => a.from - b.from);
          for (const [index, gap] of sorted.entries()) assert(gap.from > (sorted[index - 1]?.to ?? 0));
        },
      ),
      { numRuns: 300 },
    );
  });
});
