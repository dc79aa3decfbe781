import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { Action, AttemptEnd, Permit, Step, StepResult } from '@rota/contract';
import { systemClock, systemRandom } from '../clock.ts';
import { command, LOCAL_TIME, plainStep } from '../fakeServer.testing.ts';
import { type FromHelper, NO_HTTP_SETTINGS, type Task } from '../helperProtocol.ts';
import type { Clock, Timer } from '../ports.ts';
import { openSpool, type Spool } from '../spool.ts';
import { thisMachine } from './machine.ts';
import { type Runner, startRunner } from './runner.ts';

/** Short waits are real, as processes are; long ones pass when the test says so. */
export class TestClock implements Clock {
  #passedMs = 0;
  #timers = new Set<{ dueMs: number; ms: number; callback(): void }>();
  #waiting = new Set<() => void>();

  wallMs(): number {
    return systemClock.wallMs();
  }

  bootMs(): number {
    return systemClock.bootMs() + this.#passedMs;
  }

  after(ms: number, callback: () => void): Timer {
    if (ms <= 1_000) return systemClock.after(ms, callback);
    const timer = { dueMs: this.bootMs() + ms, ms, callback };
    this.#timers.add(timer);
    for (const wake of this.#waiting) wake();
    return { cancel: () => this.#timers.delete(timer) };
  }

  /** Resolves once someone waits for so long; that time then passes. */
  async pass(ms: number): Promise<void> {
    while (![...this.#timers].some((timer) => timer.ms === ms))
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
      });
    this.#passedMs += ms;
    for (const timer of [...this.#timers]) {
      if (timer.dueMs > this.bootMs()) continue;
      this.#timers.delete(timer);
      timer.callback();
    }
  }
}

/** Chains of one test file, executed as the helper does it. */
export interface Chains {
  readonly folder: string;
  readonly spool: Spool;
  start(steps: Step[], changes?: Partial<Permit>, clock?: Clock): StartedChain;
  close(): void;
}

export interface StartedChain {
  readonly attemptId: string;
  readonly runner: Runner;
  /** What was told of its steps. */
  readonly told: StepResult[];
  readonly ended: Promise<AttemptEnd>;
  /** Resolves once a step is told that fits. */
  until(fits: (step: StepResult) => boolean): Promise<StepResult>;
  /** All that was written, from one byte to another. */
  output(from?: number, to?: number | null): Promise<string>;
}

let count = 0;

export function openChains(parent = tmpdir()): Chains {
  const folder = mkdtempSync(`${parent}/rota-chain-`);
  const spoolFolder = `${folder}/spool`;
  mkdirSync(spoolFolder);
  const spool = openSpool(spoolFolder);
  const machine = thisMachine({ spoolFolder, pipesFolder: `${folder}/pipes`, clock: systemClock });

  function start(steps: Step[], changes: Partial<Permit> = {}, clock: Clock = systemClock): StartedChain {
    const attemptId = `chain-${process.pid}-${++count}-${systemRandom.token(4)}`;
    const told: StepResult[] = [];
    const waiting = new Set<() => void>();
    const ended = Promise.withResolvers<AttemptEnd>();
    function tell(message: FromHelper): void {
      if (message.type === 'step') told.push(message.step);
      if (message.type === 'refused') ended.reject(new Error(message.detail));
      if (message.type === 'ended')
        spool.readEnd(attemptId).then((end) => ended.resolve(end as AttemptEnd), ended.reject);
      for (const wake of waiting) wake();
    }
    const runner = startRunner(taskOf(attemptId, steps, changes), {
      clock,
      random: systemRandom,
      machine: { ...machine, syncFolder: async () => {} },
      http: NO_HTTP_SETTINGS,
      tell,
      settled() {},
    });
    return {
      attemptId,
      runner,
      told,
      ended: ended.promise,
      async until(fits) {
        for (;;) {
          const found = told.find(fits);
          if (found) return found;
          await new Promise<void>((resolve) => waiting.add(resolve));
        }
      },
      async output(from = 0, to = null) {
        const { output } = await spool.read(attemptId, { segment: 0, offset: 8 * 1024 }, 1024 * 1024);
        return Buffer.concat(output.map(({ data }) => data)).toString('utf8', from, to ?? undefined);
      },
    };
  }

  return {
    folder,
    spool,
    start,
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function taskOf(attemptId: string, steps: Step[], changes: Partial<Permit>): Task {
  return {
    attemptId,
    epoch: 1,
    agent: { name: 'one', labels: { role: 'db' } },
    run: {
      id: 'run1',
      tenant: 'acme',
      job: 'backup',
      number: 1,
      scheduledFor: 0,
      kind: 'scheduled',
      local: LOCAL_TIME,
      params: {},
    },
    steps,
    secrets: {},
    timeoutMs: null,
    killGraceMs: 5_000,
    validUntilBootMs: Infinity,
    ...changes,
    output: { headBytes: 1024 * 1024, tailBytes: 1024 * 1024, chunkBytes: 32 * 1024 },
  };
}

/** A step of a chain: a text is a command. */
export function step(name: string, action: Action | string, changes: Partial<Step> = {}): Step {
  return { ...plainStep(typeof action === 'string' ? command(action) : action, name), ...changes };
}

export const states = ({ steps }: AttemptEnd): string[] => steps.map(({ name, state }) => `${name} ${state}`);

/** What is told of one step. */
export const by = ({ steps }: AttemptEnd, name: string): StepResult =>
  steps.find((each) => each.name === name) as StepResult;
