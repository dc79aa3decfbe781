// How fast and how small the time engine is, beside croner in the same run: node bench/schedule.ts
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { countBetween, next, parseSchedule } from '@rota/schedule';
import { Cron } from 'croner';

const PATTERNS = ['30 2 * * *', '*/5 * * * *', '0 9-17 * * MON-FRI', '0 0 1 * *', '15,45 1 * * *'];
const ZONES = ['UTC', 'America/New_York', 'Australia/Lord_Howe'];
const FROM = Date.parse('2026-01-01T00:00Z');
const DAY_MS = 86_400_000;
const LAPPED_MS = 10 * 365 * DAY_MS;
const MEASURED_MS = 300;

/** Calls per second of a step from one instant to the next, starting anew every ten years. */
function rate(step: (after: number) => number): number {
  let calls = 0;
  let after = FROM;
  const runUntil = (end: number) => {
    while (performance.now() < end) {
      for (let round = 0; round < 200; round++) {
        after = step(after);
        if (after > FROM + LAPPED_MS) after = FROM;
      }
      calls += 200;
    }
  };
  runUntil(performance.now() + MEASURED_MS / 3);
  calls = 0;
  const start = performance.now();
  runUntil(start + MEASURED_MS);
  return (calls / (performance.now() - start)) * 1_000;
}

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

/** Heap bytes that each of many objects takes. */
function bytesEach(count: number, make: (index: number) => unknown): number {
  const kept: unknown[] = new Array(count).fill(null);
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < count; index++) kept[index] = make(index);
  collect();
  const bytes = process.memoryUsage().heapUsed - before;
  return kept.length > 0 ? bytes / count : 0;
}

function patternOf(index: number): string {
  return `${index % 60} ${index % 24} * * ${index % 7}`;
}

console.log('next per second: zone, pattern, Rota, croner, ratio');
for (const timezone of ZONES) {
  for (const pattern of PATTERNS) {
    const schedule = parseSchedule(pattern, { timezone, spreadKey: 'bench' });
    const cron = new Cron(pattern, { timezone, paused: true });
    const ours = rate((after) => next(schedule, after) ?? FROM);
    const theirs = rate((after) => cron.nextRun(new Date(after))?.getTime() ?? FROM);
    const figures = `${(ours / 1e6).toFixed(2).padStart(6)} M ${(theirs / 1e3).toFixed(0).padStart(6)} k`;
    console.log(
      `${timezone.padEnd(20)} ${pattern.padEnd(20)} ${figures} ${(ours / theirs).toFixed(0).padStart(6)} x`,
    );
  }
}

{
  const timezone = 'America/New_York';
  const ours = bytesEach(100_000, (index) =>
    parseSchedule(patternOf(index), { timezone, spreadKey: 'bench' }),
  );
  const theirs = bytesEach(1_000, (index) => {
    const cron = new Cron(patternOf(index), { timezone, paused: true });
    cron.nextRun();
    return cron;
  });
  const ratio = (theirs / ours).toFixed(0);
  console.log(`\nbytes per parsed schedule: ${ours.toFixed(0)}, croner ${theirs.toFixed(0)}, ${ratio} x`);
}

{
  const count = 100_000;
  const start = performance.now();
  for (let index = 0; index < count; index++)
    parseSchedule(patternOf(index), { timezone: 'UTC', spreadKey: 'bench' });
  console.log(`parsed per second: ${(count / (performance.now() - start)).toFixed(0)} k`);
}

{
  const schedule = parseSchedule('* * * * * *', { timezone: 'America/New_York', spreadKey: 'bench' });
  const start = performance.now();
  const count = countBetween([schedule], FROM, FROM + 30 * DAY_MS);
  console.log(
    `30 days of every second: ${count} instants counted in ${(performance.now() - start).toFixed(2)} ms`,
  );
}
