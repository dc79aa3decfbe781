import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readJob } from '@rota/contract';
import { between, parseSchedule } from '@rota/schedule';
import { bruteForce } from '../../../schedule/src/oracle.testing.ts';
import { type ParsedCrontab, parseCrontab } from './parse.ts';

const TIMEZONE = 'Europe/Berlin';
const CONTEXT = { timezone: TIMEZONE, spreadKey: 'fixture' };
/** The spans of the table, as `from < instant <= to`. */
const SPANS = {
  spring: ['2026-03-29T00:00+01:00', '2026-04-05T00:00+02:00'],
  autumn: ['2026-10-25T00:00+02:00', '2026-11-02T00:00+01:00'],
  newYear: ['2026-12-28T00:00+01:00', '2027-01-04T00:00+01:00'],
} as const;
const SPAN_NAMES = ['spring', 'autumn', 'newYear'] as const;
const MOST = 20_000;

interface Row {
  fixture: string;
  line: number;
  user: string;
  time: string;
  instants: Record<(typeof SPAN_NAMES)[number], string>;
}

const folder = new URL('./fixtures/', import.meta.url);
const fixtures = readdirSync(folder)
  .filter((name) => name.endsWith('.crontab'))
  .map((name) => name.replace(/\.crontab$/, ''));
const rows = readFileSync(new URL('table.tsv', folder), 'utf8').trimEnd().split('\n').slice(1).map(readRow);
const imported = new Map(fixtures.map((fixture) => [fixture, importFixture(fixture)]));

function readRow(text: string): Row {
  const [fixture = '', line, user = '', time = '', spring = '', autumn = '', newYear = ''] = text.split('\t');
  return { fixture, line: Number(line), user, time, instants: { spring, autumn, newYear } };
}

function importFixture(fixture: string): ParsedCrontab {
  const userField = rows.some((row) => row.fixture === fixture && row.user !== '-');
  const text = readFileSync(new URL(`${fixture}.crontab`, folder), 'utf8');
  return parseCrontab(text, { file: `/etc/cron.d/${fixture}`, userField, timezone: TIMEZONE });
}

/** The instants of a schedule in a span, in the table's notation. */
function stated(instants: readonly number[]): string {
  if (instants.length === 0) return '0';
  const digest = createHash('sha256').update(instants.join(' ')).digest('hex').slice(0, 12);
  return [instants.length, digest, ...instants.slice(0, 3).map(localTime)].join(' ');
}

const clock = new Intl.DateTimeFormat('en-GB', {
  timeZone: TIMEZONE,
  month: '2-digit',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  timeZoneName: 'longOffset',
});

function localTime(instant: number): string {
  const part = Object.fromEntries(clock.formatToParts(instant).map(({ type, value }) => [type, value]));
  return `${part.month}-${part.day}T${part.hour}:${part.minute}${part.timeZoneName?.slice(3, 6)}`;
}

function rowsOf(fixture: string): Row[] {
  return rows.filter((row) => row.fixture === fixture);
}

test('the table states every entry of every fixture, and nothing else', () => {
  assert.ok(fixtures.length >= 20);
  for (const fixture of fixtures) {
    const { jobs, faults } = imported.get(fixture) as ParsedCrontab;
    const lines = [...jobs, ...faults].map(({ line }) => line).sort((a, b) => a - b);
    assert.deepEqual(
      lines,
      rowsOf(fixture).map(({ line }) => line),
      fixture,
    );
  }
});

test('each entry of a Debian package keeps its user and its time, and only @reboot is refused', () => {
  for (const row of rows) {
    const { jobs, faults } = imported.get(row.fixture) as ParsedCrontab;
    const job = jobs.find(({ line }) => line === row.line);
    if (row.time === '@reboot') {
      assert.match(faults.find(({ line }) => line === row.line)?.message ?? '', /^@reboot /);
      continue;
    }
    assert.equal(job?.document.user, row.user === '-' ? undefined : row.user);
    assert.deepEqual(job?.document.schedule, { cron: row.time, timezone: TIMEZONE });
  }
});

for (const span of SPAN_NAMES) {
  test(`in ${span} the imported jobs run at the instants at which Debian's cron runs the entries`, () => {
    const [from, to] = SPANS[span].map((text) => Date.parse(text)) as [number, number];
    for (const { fixture, jobs } of [...imported].map(([fixture, { jobs }]) => ({ fixture, jobs }))) {
      for (const { line, document } of jobs) {
        const schedule = parseSchedule(document.schedule as { cron: string }, CONTEXT);
        const row = rowsOf(fixture).find((candidate) => candidate.line === line);
        assert.equal(
          stated(between([schedule], from, to, MOST)),
          row?.instants[span],
          `${fixture}, line ${line}`,
        );
      }
    }
  });

  test(`in ${span} the brute-force oracle finds the same instants`, () => {
    const [from, to] = SPANS[span].map((text) => Date.parse(text)) as [number, number];
    const times = new Map(
      rows.filter(({ time }) => time !== '@reboot').map((row) => [row.time, row.instants[span]]),
    );
    for (const [time, instants] of times) {
      assert.equal(stated(bruteForce({ cron: time }, CONTEXT, from, to)), instants, time);
    }
  });
}

test('every imported job is a document that the server takes', () => {
  for (const [fixture, { jobs }] of imported) {
    for (const { line, document } of jobs) {
      const read = readJob(document, { timezone: 'UTC' });
      assert.ok('job' in read, `${fixture}, line ${line}: ${JSON.stringify(read)}`);
    }
  }
});

test('the names of a file are unique, and the same when it is imported again', () => {
  for (const fixture of fixtures) {
    const names = (imported.get(fixture) as ParsedCrontab).jobs.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
    assert.deepEqual(
      importFixture(fixture).jobs.map(({ name }) => name),
      names,
    );
  }
});
