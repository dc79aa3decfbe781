import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_ENDING } from '../executors/execution.ts';
import { command, LOCAL_TIME } from '../fakeServer.testing.ts';
import { NO_HTTP_SETTINGS } from '../helperProtocol.ts';
import { readStepTraces } from '../stepsFile.ts';
import { step } from './chain.testing.ts';
import type { HelperMachine } from './machine.ts';
import type { AttemptOutput } from './outputWriter.ts';
import { startRunner } from './runner.ts';
import type { StepFile } from './stepLog.ts';

/** A disk that keeps what was synced, and beside it what was written. */
function fakeMachine(onExecute: (durable: Buffer) => void, onEnd: (durable: Buffer) => void): HelperMachine {
  let written = Buffer.alloc(0);
  let durable = Buffer.alloc(0);
  const steps: StepFile = {
    write: (data, position) => {
      written = Buffer.concat([written.subarray(0, position), data]);
    },
    truncate() {},
    sync: async () => {
      durable = written;
    },
    close() {},
    remove() {},
  };
  const output: AttemptOutput = {
    position: 0,
    writeProcess() {},
    write() {},
    flush() {},
    writeEnd: () => onEnd(durable),
    sync: async () => {},
    close() {},
  };
  return {
    openOutput: () => output,
    openSteps: () => steps,
    syncFolder: async () => {},
    prepare: async () => ({
      begin() {
        onExecute(durable);
        return { root: null, ended: Promise.resolve({ ...NO_ENDING, exitCode: 0 }), end() {} };
      },
      discard() {},
    }),
    findRoot: () => null,
    isAlive: () => false,
    endTree: async () => {},
  };
}

/** Executes a chain of three steps on a machine of its own. */
function runOn(machine: HelperMachine): Promise<void> {
  return new Promise((resolve) => {
    startRunner(
      {
        attemptId: 'attempt',
        epoch: 1,
        agent: { name: 'one', labels: {} },
        run: {
          id: 'run',
          tenant: 'acme',
          job: 'job',
          number: 1,
          scheduledFor: 0,
          kind: 'scheduled',
          local: LOCAL_TIME,
          params: {},
        },
        steps: ['one', 'two', 'three'].map((name) => step(name, command('true'))),
        secrets: {},
        timeoutMs: null,
        killGraceMs: 0,
        validUntilBootMs: Infinity,
        output: { headBytes: 1, tailBytes: 1, chunkBytes: 1 },
      },
      {
        clock: { wallMs: () => 0, bootMs: () => 0, after: () => ({ cancel() {} }) },
        random: { unit: () => 0, token: () => '' },
        machine,
        http: NO_HTTP_SETTINGS,
        tell() {},
        settled: () => resolve(),
      },
    );
  });
}

test('that a later step begins is durable before it does', async () => {
  const open: (number | undefined)[] = [];
  await runOn(
    fakeMachine(
      (durable) => open.push(readStepTraces(durable)?.open?.index),
      () => {},
    ),
  );
  assert.deepEqual(open.slice(1), [1, 2]);
});

test('no end is written before the steps that it is the end of are durable', async () => {
  const known: (number | undefined)[] = [];
  await runOn(
    fakeMachine(
      () => {},
      (durable) => known.push(readStepTraces(durable)?.ended.length),
    ),
  );
  assert.deepEqual(known, [3]);
});
