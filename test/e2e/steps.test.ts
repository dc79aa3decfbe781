import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { LiveRun } from '@rota/contract';
import { Installation, type RotaProcess } from '../support/installation.ts';
import { until } from '../support/until.ts';

/** How a chain gets on, as people see it: from the process of a step to the stream of events and the command line. */
const installation = new Installation();
let agent: RotaProcess;

before(async () => {
  await installation.startServer();
  agent = await installation.startAgent('one');
  await installation.whenOnline('one');
});
after(() => installation.remove());

const gate = (name: string) => path.join(installation.folder, name);
const open = (name: string) => writeFileSync(gate(name), '');
/** Waits for a gate; ends with the folder of the test. */
const passes = (name: string) =>
  `while [ -d ${installation.folder} ] && [ ! -e ${gate(name)} ]; do sleep 0.05; done`;

/** Makes a chain of three steps: one that says how far it is, one that is skipped, one that fails. */
async function makeChain(name: string): Promise<void> {
  const document = {
    steps: [
      {
        name: 'copy',
        command: `echo rota:progress 10%; ${passes(`${name}-1`)}; echo '{"progress":0.8}'; ${passes(`${name}-2`)}`,
      },
      { name: 'never', command: 'true', when: { labels: { no: 'such' } } },
      { name: 'check', command: `echo begun; ${passes(`${name}-3`)}; echo 55%; exit 4` },
      { name: 'rest', command: 'true' },
    ],
  };
  await installation.client().call('putJob', { params: { name }, body: document as never });
}

/** Follows a run by the stream of events; `seen` has each state of it that was told. */
function follow(id: string) {
  const seen: LiveRun[] = [];
  let output = '';
  const over = (async () => {
    for await (const { event, data } of installation.client().stream('followRun', { params: { id } })) {
      if (event === 'run') seen.push(JSON.parse(data) as LiveRun);
      else if (event === 'output')
        output += Buffer.from((JSON.parse(data) as { data: string }).data, 'base64').toString();
      else if (event === 'end') return output;
    }
    throw new Error('the stream has ended before the run');
  })();
  const steps = ({ steps }: LiveRun) => steps.map(({ name, state }) => `${name} ${state}`).join(', ');
  return {
    seen,
    over,
    /** Resolves once the run was told with these steps and this progress. */
    told: (what: string, progress: number | null) =>
      until(
        `${what} with ${progress} %`,
        () => seen.some((run) => steps(run) === what && run.progress === progress),
        120_000,
      ),
    steps,
  };
}

test('the stream of a run tells each step and how far it is, also when its agent is killed and comes again', async () => {
  await makeChain('live');
  const client = installation.client();
  const { run } = await client.call('runJob', { params: { name: 'live' }, body: {} });
  const live = follow(run.id);
  await live.told('copy running', 10);
  const shown = await installation.run(['run', 'show', run.id]);
  assert.match(shown.stdout, /progress 10 %/);
  await agent.kill();
  open('live-1');
  agent = await installation.startAgent('one');
  await live.told('copy running', 80);
  open('live-2');
  await live.told('copy succeeded, never skipped, check running', null);
  open('live-3');
  const output = await live.over;
  const last = live.seen.at(-1) as LiveRun;
  assert.deepEqual(
    [last.state, last.exitCode, last.progress, live.steps(last)],
    ['failed', 4, 55, 'copy succeeded, never skipped, check failed, rest notRun'],
  );
  assert.match(output, /rota:progress 10%\n[\s\S]*\{"progress":0.8\}\n[\s\S]*begun\n[\s\S]*55%\n/);
  const ended = await client.call('getRun', { params: { id: run.id } });
  assert.equal(ended.attempts[0]?.progress, 55);
});

test('the command that waits says what becomes of each step, and as JSON how far it is', async () => {
  await makeChain('told');
  for (const number of [1, 2, 3]) open(`told-${number}`);
  const followed = await installation.run(['job', 'run', 'told', '--follow']);
  assert.equal(followed.code, 4);
  for (const line of [
    /^step copy: succeeded after /m,
    /^step never: skipped: /m,
    /^step check: failed after /m,
    /^step rest: not run/m,
  ])
    assert.match(followed.stderr, line);
  assert.ok(!followed.stderr.includes('[#'));
  const asJson = await installation.run(['job', 'run', 'told', '--wait', '--json']);
  const words = asJson.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { progress?: number });
  assert.equal(words.findLast((word) => 'progress' in word)?.progress, 55);
});
