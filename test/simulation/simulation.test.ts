import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Answer, simulateAll, type Task } from './crew.ts';
import { makeWorld, type World } from './world.ts';

const SEEDS = 40;
/** Seeds that are lived through twice. */
const TWICE = 2;

/** Worlds that have broken something once. */
const corpus = JSON.parse(
  readFileSync(fileURLToPath(new URL('./corpus.json', import.meta.url)), 'utf8'),
) as World[];

async function live(tasks: Task[]): Promise<Answer[]> {
  const answers: Answer[] = [];
  await simulateAll(tasks, (answer) => answers.push(answer));
  return answers;
}

function broken(answers: Answer[]): string[] {
  return answers.flatMap(({ seed, violations }) =>
    violations.map(({ invariant, sentence }) => `seed ${seed}: ${invariant}: ${sentence}`),
  );
}

test('worlds of an hour break no guarantee, and a seed determines all that happens', async (t) => {
  const tasks = Array.from({ length: SEEDS }, (_, index) => ({
    world: makeWorld(index + 1),
    twice: index < TWICE,
  }));
  const answers = await live(tasks);
  const sum = (of: (answer: Answer) => number) => answers.reduce((total, answer) => total + of(answer), 0);
  t.diagnostic(
    `${sum(({ starts }) => starts)} starts of ${sum(({ runs }) => runs)} runs, ${sum(({ events }) => events)} events`,
  );
  assert.deepEqual(broken(answers), []);
  for (const { again, hash, seed } of answers.slice(0, TWICE)) assert.equal(again, hash, `seed ${seed}`);
  assert.ok(sum(({ starts }) => starts) > SEEDS * 10, 'jobs ran at all');
});

test('worlds that have broken something once break nothing any more', async () => {
  assert.deepEqual(broken(await live(corpus.map((world) => ({ world, twice: false })))), []);
});
