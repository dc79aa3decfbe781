// Runs benchmarks and writes what they found into RESULTS.md: node bench/main.ts [name…]
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import path from 'node:path';
import { measure as api } from './api.ts';
import { measure as chain } from './chain.ts';
import { shown } from './figures.ts';
import { measure as herd } from './herd.ts';
import { measure as idle } from './idle.ts';
import { measure as kills } from './kills.ts';
import { measure as lateness } from './lateness.ts';
import { measure as masking } from './masking.ts';
import { measure as memory } from './memory.ts';
import { measure as planning } from './planning.ts';
import { measure as starts } from './starts.ts';
import { measure as throughput } from './throughput.ts';

const FILE = path.join(import.meta.dirname, 'RESULTS.md');

const BENCHMARKS: Record<string, { title: string; measure(): string | Promise<string> }> = {
  lateness: { title: 'Lateness at 50 runs a second', measure: lateness },
  herd: { title: 'A thousand jobs at one second', measure: herd },
  planning: { title: 'Planning with up to a million stored jobs', measure: planning },
  starts: { title: 'Starts per second on one agent', measure: starts },
  chain: { title: 'Steps of a chain', measure: chain },
  masking: { title: 'Masking of secrets', measure: masking },
  throughput: { title: 'Runs per second through the server', measure: throughput },
  kills: { title: 'First start after the busiest replica is killed', measure: kills },
  idle: { title: 'Thousands of idle agents', measure: idle },
  memory: { title: 'Memory', measure: memory },
  api: { title: 'Requests per second', measure: api },
  schedule: { title: 'The time engine beside croner', measure: timeEngine },
};

function timeEngine(): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [
    path.join(import.meta.dirname, 'schedule.ts'),
  ]);
  if (status !== 0) throw new Error(String(stderr));
  return `\`\`\`\n${String(stdout).trim()}\n\`\`\``;
}

/** Part of the machine's time that others may take in a moment that counts as quiet. */
const QUIET_SHARE = 0.1;
const LOOK_MS = 3_000;
const QUIET_WITHIN_MS = 120_000;

/** Waits for a moment in which little else runs on this machine; goes on without one in the end. @returns the share that others took */
async function quietMoment(): Promise<number> {
  const deadline = performance.now() + QUIET_WITHIN_MS;
  for (;;) {
    const before = cpuTimes();
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    const after = cpuTimes();
    const share = 1 - (after.idle - before.idle) / (after.all - before.all);
    if (share < QUIET_SHARE || performance.now() > deadline) return share;
  }
}

function cpuTimes(): { idle: number; all: number } {
  const times = cpus().map((cpu) => cpu.times);
  const all = times.flatMap((each) => Object.values(each)).reduce((sum, each) => sum + each, 0);
  return { idle: times.reduce((sum, each) => sum + each.idle, 0), all };
}

const git = (...args: string[]) => String(execFileSync('git', args, { cwd: import.meta.dirname })).trim();

function circumstances(began: Date, share: number): string {
  const changed =
    git('status', '--porcelain', '--', '../packages').length > 0 ? ' with uncommitted changes' : '';
  return [
    `${began.toISOString().slice(0, 16).replace('T', ' ')} UTC, commit ${git('rev-parse', '--short', 'HEAD')}${changed},`,
    `others took ${Math.round(share * 100)} % of the machine just before.`,
  ].join(' ');
}

function machine(): string {
  const [{ model = 'unknown' } = {}] = cpus();
  const [, disk = ''] = String(execFileSync('df', ['--output=source,fstype', tmpdir()]))
    .trim()
    .split('\n');
  return `${cpus().length} cores (${model.trim()}), ${shown(totalmem() / 1e9)} GB, Linux ${release()}, Node ${process.version}, disk ${disk.replace(/\s+/g, ', ')}; a shared virtual machine.`;
}

/** The sections of a results file, by title. */
function sectionsOf(text: string): Map<string, string> {
  const parts = text.split(/^## /m).slice(1);
  return new Map(
    parts.map((part) => [part.slice(0, part.indexOf('\n')), part.slice(part.indexOf('\n')).trim()]),
  );
}

const names = process.argv.slice(2);
const unknown = names.filter((name) => !Object.hasOwn(BENCHMARKS, name));
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}; there are ${Object.keys(BENCHMARKS).join(', ')}`);
  process.exit(1);
}

for (const name of names.length > 0 ? names : Object.keys(BENCHMARKS)) {
  const { title, measure } = BENCHMARKS[name] as (typeof BENCHMARKS)[string];
  const share = await quietMoment();
  const began = new Date();
  const text = await measure();
  const sections = sectionsOf(existsSync(FILE) ? readFileSync(FILE, 'utf8') : '');
  sections.set(title, `${text}\n\n*${circumstances(began, share)}*\n\nAgain: \`node bench/main.ts ${name}\``);
  console.log(`## ${title}\n\n${sections.get(title)}\n`);
  writeFileSync(FILE, resultsFile(sections));
}

/** Those of the benchmarks in their order, then what others have written. */
function resultsFile(sections: Map<string, string>): string {
  const own = Object.values(BENCHMARKS).map(({ title }) => title);
  const others = [...sections.keys()].filter((title) => !own.includes(title));
  const body = [...own.filter((title) => sections.has(title)), ...others].map(
    (title) => `## ${title}\n\n${sections.get(title)}\n`,
  );
  return [
    '# Results',
    '',
    `Written by \`node bench/main.ts\`. ${machine()}`,
    '',
    'Figures of a shared machine: expect ±30 %, and more for what waits for the disk. So each is also given as a ratio to what',
    'the machine itself could do in the same run. Server, agents and the jobs share these cores.',
    '',
    ...body,
  ].join('\n');
}
