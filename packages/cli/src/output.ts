import { styleText } from 'node:util';
import Table from 'cli-table3';
import type { Ports, Sink } from './ports.ts';

export type Style = Parameters<typeof styleText>[0];

export interface Column<Row> {
  head: string;
  text(row: Row): string;
}

/** How a command answers: tables and colours for people, tabs for pipes, JSON for programs. */
export interface Output {
  /** `--json` was given. */
  readonly json: boolean;
  /** People read it: relative times, a table with a head. */
  readonly human: boolean;
  /** One value as JSON. */
  value(value: unknown): void;
  /** One value as one line of JSON. */
  record(value: unknown): void;
  line(text?: string): void;
  /** A remark beside the answer, on stderr. */
  note(text: string): void;
  /** Rows as a table, or as one line each with tabs between and no head when piped. */
  table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): void;
  /** Names and values, one line each; values that are empty are left out. */
  facts(facts: readonly (readonly [name: string, value: string | null])[]): void;
  style(style: Style, text: string): string;
  /** A time as `in 3m` or `2h ago` for people, RFC 3339 when piped; `-` for none. */
  time(instant: string | null): string;
  /** Both: `2h ago (2026-03-01T02:30:00Z)`. */
  timeInFull(instant: string | null): string;
  now(): number;
}

export function createOutput(ports: Ports, options: { json?: boolean | undefined }): Output {
  const { out, err, clock } = ports;
  const json = options.json === true;
  const human = out.isTTY && !json;
  const style = styler(ports, out);
  const line = (text = '') => out.write(`${text}\n`);
  return {
    json,
    human,
    style,
    line,
    now: clock.now,
    value: (value) => line(JSON.stringify(value, null, 2)),
    record: (value) => line(JSON.stringify(value)),
    note: (text) => err.write(`${text}\n`),
    table(rows, columns) {
      if (rows.length === 0) return;
      if (!human) {
        for (const row of rows) line(columns.map(({ text }) => oneLine(text(row))).join('\t'));
        return;
      }
      const cells = rows.map((row) => columns.map(({ text }) => text(row)));
      const table = new Table({ ...BORDERLESS, head: columns.map(({ head }) => style('bold', head)) });
      table.push(...cells);
      for (const each of table.toString().split('\n')) line(each.trimEnd());
    },
    facts(facts) {
      const width = Math.max(...facts.map(([name]) => name.length));
      for (const [name, value] of facts) {
        if (value === null || value === '') continue;
        const indented = value.replaceAll('\n', `\n${' '.repeat(width + 2)}`);
        line(
          human
            ? `${style('dim', name.padEnd(width))}  ${indented}`
            : `${name}\t${oneLine(value.replaceAll('\n', ' | '))}`,
        );
      }
    },
    time: (instant) =>
      instant === null ? '-' : human ? relative(Date.parse(instant) - clock.now()) : instant,
    timeInFull: (instant) =>
      instant === null
        ? '-'
        : human
          ? `${relative(Date.parse(instant) - clock.now())} ${style('dim', `(${instant})`)}`
          : instant,
  };
}

const BORDERLESS = {
  chars: {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  },
  style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
};

/** Colours only on a terminal that wants them (https://no-color.org). */
export function styler(ports: Ports, sink: Sink): (style: Style, text: string) => string {
  const coloured = sink.isTTY && !ports.env.NO_COLOR && ports.env.TERM !== 'dumb';
  return (style, text) => (coloured ? styleText(style, text, { validateStream: false }) : text);
}

/** A distance in time as people say it: `in 3m`, `2h ago`, `now`. */
export function relative(ms: number): string {
  const away = roughly(Math.abs(ms));
  if (away === '') return 'now';
  return ms > 0 ? `in ${away}` : `${away} ago`;
}

function roughly(ms: number): string {
  if (ms < 1_000) return '';
  const units = [
    ['s', 1_000, 60],
    ['m', 60_000, 60],
    ['h', 3_600_000, 24],
  ] as const;
  for (const [unit, size, next] of units) {
    const count = Math.round(ms / size);
    if (count < next) return `${count}${unit}`;
  }
  return `${Math.round(ms / 86_400_000)}d`;
}

/** How long something took: `340ms`, `4.2s`, `3m10s`, `2h5m`. */
export function took(ms: number | null): string {
  if (ms === null) return '-';
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1).replace(/\.0$/, '')}s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m${seconds % 60}s`;
  return `${Math.floor(seconds / 3_600)}h${Math.floor((seconds % 3_600) / 60)}m`;
}

/** A number of bytes: `512 B`, `3.4 MiB`. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = count;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}

/** Text of others on one line, without what a terminal would obey, and at most `max` characters long. */
export function oneLine(text: string, max = Number.POSITIVE_INFINITY): string {
  const clean = text.replace(/\s+/g, ' ').replace(CONTROL, '');
  return clean.length > max ? `${clean.slice(0, max - 1)}…` : clean;
}

/** Text of others, its lines kept, without what a terminal would obey. */
export function printable(text: string): string {
  return text.replace(CONTROL, (character) => (character === '\n' || character === '\t' ? character : ''));
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must go
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g;
