import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Command } from 'commander';
import { createCli } from './cli.ts';
import { hintFor, NEAR_MISSES } from './hints.ts';
import type { Ports } from './ports.ts';
import { createProgram } from './program.ts';
import { rota } from './rota.testing.ts';

const program = createProgram(createCli({} as Ports));

function exists(words: string[]): boolean {
  let command: Command = program;
  for (const word of words.filter((each) => !each.startsWith('-'))) {
    const child = command.commands.find((each) => each.name() === word);
    if (child === undefined) return false;
    command = child;
  }
  return true;
}

test('every near miss is no command, and its hint is one', () => {
  for (const [typed, meant] of Object.entries(NEAR_MISSES)) {
    assert.ok(!exists(typed.split(' ')), `${typed} is a command itself`);
    assert.ok(exists(meant.split(' ')), `${typed} → ${meant} is no command`);
  }
});

for (const [typed, meant] of [
  ['run nightly-backup', 'rota job run nightly-backup'],
  ['run lst', 'rota run list'],
  ['jobs', 'rota job list'],
  ['jobs show x', 'rota job show x'],
  ['agents rm web-1', 'rota agent remove web-1'],
  ['job rm x', 'rota job delete x'],
  ['ps', 'rota run list --active'],
  ['start', 'rota up'],
  ['tail hello', 'rota logs -f hello'],
  ['import /etc/crontab', 'rota import crontab /etc/crontab'],
  ['statsu', 'rota status'],
] as const) {
  test(`"rota ${typed}" is answered with "${meant}"`, async () => {
    const { code, err } = await rota(typed.split(' '));
    assert.equal(code, 2);
    assert.match(err, /^rota: unknown command/);
    assert.ok(err.includes(`did you mean \`${meant}\`?`), err);
  });
}

for (const typed of ['run list --job slow', 'run list --job=slow', 'run list --limit 5 --job slow']) {
  test(`"rota ${typed}" is told that the job stands without a flag`, async () => {
    const { code, err } = await rota(typed.split(' '));
    assert.equal(code, 2);
    assert.match(err, /^rota: unknown option.*\n.*did you mean `rota run list slow`\?$/m);
  });
}

test('what resembles nothing gets no hint', () => {
  assert.equal(hintFor(['frobnicate'], null), null);
});

test('a command without -- is told where it belongs', async () => {
  const { code, err } = await rota(['exec', 'ls', '-a']);
  assert.equal(code, 2);
  assert.match(err, /rota exec … -- COMMAND/);
});

test('flags in front of the command are told where they belong', async () => {
  const { code, err } = await rota(['--url', 'http://127.0.0.1', 'status']);
  assert.equal(code, 2);
  assert.match(err, /behind the command/);
});
