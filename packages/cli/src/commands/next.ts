import {
  describe,
  localParts,
  next,
  offsetAt,
  parseSchedule,
  type Schedule,
  type ScheduleInput,
} from '@rota/schedule';
import type { Command } from 'commander';
import { wholeNumber } from '../arguments.ts';
import { type AnswerOptions, answers, type Cli } from '../cli.ts';
import { EXIT, usageError } from '../errors.ts';
import { relative } from '../output.ts';

interface NextOptions extends AnswerOptions {
  timezone?: string;
  from?: string;
  count: number;
  job?: string;
}

export function addNextCommand(program: Command, cli: Cli): void {
  answers(program.command('next'))
    .description('when a schedule fires; needs no server')
    .argument('<schedule...>', 'such as "30 2 * * *", "every 15m" or "at 2026-12-24T08:00Z"')
    .option('--timezone <zone>', "IANA name; default: this machine's")
    .option('--from <time>', 'later than this instant, RFC 3339 or a date; default: now')
    .option('--count <n>', 'how many', wholeNumber(1, 10_000), 5)
    .option('--job <name>', 'the job that H and ~ are spread for', 'example')
    .addHelpText(
      'after',
      '\nOn "every": a job counts from its own start; here it is counted from 1970-01-01T00:00Z.',
    )
    .action((words: string[], options: NextOptions) => {
      const { ports } = cli;
      const output = cli.output(options);
      const text = words.join(' ');
      const context = { timezone: options.timezone ?? ports.timezone, spreadKey: options.job ?? 'example' };
      const schedule = parseSchedule(text, context);
      const from = options.from === undefined ? ports.clock.now() : instantOf(options.from, context.timezone);
      const description = describe(text, context);
      const times = nextTimes(schedule, text, context, from, options.count);
      if (output.json) return output.value({ description, timezone: schedule.timezone, next: times });
      if (times.length === 0) cli.exitCode = EXIT.failure;
      if (!output.human) {
        for (const { local, note } of times) output.line(note === null ? local : `${local}\t${note}`);
        return;
      }
      output.line(output.style('bold', description));
      if (times.length === 0) return output.line('never again');
      output.table(times, [
        { head: 'TIME', text: ({ local }) => local },
        { head: 'DAY', text: ({ day }) => day },
        { head: 'FROM NOW', text: ({ instant }) => relative(Date.parse(instant) - ports.clock.now()) },
        { head: '', text: ({ note }) => (note === null ? '' : output.style('yellow', note)) },
      ]);
    });
}

interface NextTime {
  /** RFC 3339 in UTC. */
  instant: string;
  /** RFC 3339 with the zone's offset. */
  local: string;
  day: string;
  /** What a change of the clocks does to it, or null. */
  note: string | null;
}

function nextTimes(
  schedule: Schedule,
  text: ScheduleInput,
  context: { timezone: string; spreadKey: string },
  from: number,
  count: number,
): NextTime[] {
  const onTheWall = schedule.kind === 'cron' ? parseSchedule(text, { ...context, timezone: 'UTC' }) : null;
  const times: NextTime[] = [];
  let before = from;
  while (times.length < count) {
    const instant = next(schedule, before);
    if (instant === null) break;
    const zone = schedule.timezone;
    times.push({
      instant: new Date(instant).toISOString(),
      local: localText(zone, instant),
      day: DAYS[localParts(zone, instant).weekday] ?? '',
      note: clockNote(zone, instant, before, schedule, onTheWall),
    });
    before = instant;
  }
  return times;
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
/** No zone changes its clocks by more in one step, but for those that skipped a day. */
const NEARBY_MS = 3 * 3_600_000;

/** What people should know of one instant where the clocks change. */
function clockNote(
  zone: string,
  instant: number,
  before: number,
  schedule: Schedule,
  onTheWall: Schedule | null,
): string | null {
  const offset = offsetAt(zone, instant);
  if (onTheWall !== null && schedule.kind === 'cron') {
    const wall = instant + offset;
    const later = offset - offsetAt(zone, instant + NEARBY_MS);
    const earlier = offsetAt(zone, instant - NEARBY_MS) - offset;
    if (next(onTheWall, wall - 1) !== wall) return 'its time does not exist on that day: the clocks skip it';
    if (later > 0 && offsetAt(zone, instant + later) !== offset) {
      return schedule.pattern.wallClock
        ? 'first of two: the clocks go back'
        : 'comes twice, as the clocks go back: runs at the first';
    }
    if (earlier > 0 && offsetAt(zone, instant - earlier) !== offset)
      return 'second of two: the clocks went back';
  }
  const change = offset - offsetAt(zone, before);
  if (change === 0) return null;
  const by = `${Math.abs(change) % 3_600_000 === 0 ? `${Math.abs(change) / 3_600_000} h` : `${Math.abs(change) / 60_000} min`}`;
  return change > 0 ? `the clocks have gone forward ${by} since` : `the clocks have gone back ${by} since`;
}

/** RFC 3339 with the offset of the zone: `2026-03-29T03:00:00+02:00`. */
function localText(zone: string, instant: number): string {
  const offset = offsetAt(zone, instant);
  const wall = new Date(instant + offset).toISOString().replace(/(\.000)?Z$/, '');
  const minutes = Math.floor(Math.abs(offset) / 60_000);
  const two = (number: number) => String(number).padStart(2, '0');
  return `${wall}${offset < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

/** A time as `at` takes it, or a date alone: the start of that day in the zone. */
function instantOf(text: string, timezone: string): number {
  const at = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00` : text;
  const schedule = parseSchedule({ at }, { timezone, spreadKey: '' });
  if (schedule.kind !== 'at') throw usageError(`--from: ${text} is not a time`);
  return schedule.at;
}
