import type { WorldOptions } from '../world.ts';
import { AGENT, type Plant, STORE } from './plant.ts';

/** Worlds full of chains, each of whose steps takes a while and fails now and then. */
const CHAINS: WorldOptions = {
  chains: 1,
  maxJobs: 6,
  fields: { schedule: 'every 20s', target: {}, timeout: '1m', startDeadline: '1d' },
  actionsPerHour: 0,
};
const killed = (
  kinds: NonNullable<WorldOptions['kinds']>,
  moments: string[],
  faultsPerHour = 150,
): WorldOptions => ({ ...CHAINS, kinds, moments, faultsPerHour });

/** Worlds full of runs that are tried again, and of people who have a say in it. */
const RETRIES: WorldOptions = {
  retries: 1,
  maxJobs: 6,
  fields: { schedule: 'every 45s', target: {}, timeout: '20s', startDeadline: '1d' },
  behaviour: { minMs: 100, maxMs: 3_000, failShare: 0.5 },
  kinds: [],
  actionsPerHour: 0,
};

const NOTE = `      const fault = ready.prepared ? await note(index, number, position()) : ready.fault;\n`;

/** Bugs in what keeps the steps of a chain from being begun twice, and in what tries a run again. */
export const STEPS: Plant[] = [
  {
    name: 'that a step begins is written down after it has',
    edits: [
      {
        file: `${AGENT}/helper/chain.ts`,
        find: NOTE,
        replace: `      const fault = ready.prepared ? null : ready.fault;\n`,
      },
      {
        file: `${AGENT}/helper/chain.ts`,
        find: '      const ending = await runTry(step, prepared, result);\n',
        replace:
          '      const ending = await runTry(step, prepared, result);\n      await note(index, number, position());\n',
      },
    ],
    invariant: 'noStepTwice',
    world: killed(['killHelper'], ['after exec']),
    seed: 1,
  },
  {
    name: 'a chain repeats the step that it was in when its helper died',
    edits: [
      {
        file: `${AGENT}/helper/adoptChain.ts`,
        find: '  else if (open) settle(await untilLost(adoption, begin, plan, open));\n',
        replace: '  else if (open) await untilLost(adoption, begin, plan, open);\n',
      },
    ],
    invariant: 'noStepTwice',
    world: killed(['killHelper'], ['after exec']),
    seed: 1,
  },
  {
    name: 'a chain that goes on begins with its first step',
    edits: [
      {
        file: `${AGENT}/helper/chain.ts`,
        find: 'past.open } : prepareFrom(nextAfter(ended));',
        replace: 'past.open } : prepareFrom(0);',
      },
    ],
    invariant: 'noStepTwice',
    world: killed(['killHelper'], ['prepares a later step']),
    seed: 1,
  },
  {
    name: 'a try of unknown fate is tried again',
    edits: [
      {
        file: `${AGENT}/helper/adoptChain.ts`,
        find: '  const waiting = open?.waiting ? { ...open, waiting: open.waiting } : null;\n',
        replace:
          "  if (open?.process && !open.waiting)\n    open.waiting = {\n      result: { ...blankStep(open.index, plan[open.index]?.name ?? '', 'retrying', 0), tries: open.number },\n      againBootMs: 0,\n    };\n  const waiting = open?.waiting ? { ...open, waiting: open.waiting } : null;\n",
      },
    ],
    invariant: 'noStepTwice',
    world: killed(['killHelper'], ['after exec']),
    seed: 1,
  },
  {
    name: 'a chain goes on after a step whose fate is lost',
    edits: [
      {
        file: `${AGENT}/helper/adoptChain.ts`,
        find: '  return last === undefined || goesOnAfter(last, plan[last.index] as PlannedStep);\n',
        replace: '  return true;\n',
      },
    ],
    invariant: 'stepsInOrder',
    world: killed(['killHelper'], ['after exec']),
    seed: 1,
  },
  {
    name: 'a chain goes on after a step that failed',
    edits: [
      {
        file: `${AGENT}/helper/chain.ts`,
        find: 'if (stopped || !goesOnAfter(result, plan[result.index] as PlannedStep)) return;',
        replace: 'if (stopped) return;',
      },
    ],
    invariant: 'stepsInOrder',
    world: { ...CHAINS, kinds: [] },
    seed: 1,
  },
  {
    name: 'a step is tried again at once',
    edits: [{ file: `${AGENT}/helper/chain.ts`, find: '      await wait(delayMs);\n', replace: '' }],
    invariant: 'noStepTwice',
    world: { ...CHAINS, kinds: [] },
    seed: 1,
  },
  {
    name: 'an end is on the disk before its steps are',
    edits: [
      { file: `${AGENT}/helper/runner.ts`, find: '      await log?.sync();\n', replace: '' },
      {
        file: `${AGENT}/helper/runner.ts`,
        find: '      await writer.sync();\n',
        replace: '      await Promise.all([writer.sync(), log?.sync()]);\n',
      },
    ],
    invariant: 'stepsMatchLog',
    world: killed(['rebootMachine'], ['before step sync']),
    seed: 5,
  },
  {
    name: 'any end of a run is tried again, whatever its policy lists',
    edits: [
      {
        file: `${STORE}/retry.ts`,
        find: 'if (retry === null || !isRetried(retry, { ...end, reason })) return false;',
        replace: 'if (retry === null) return false;',
      },
    ],
    invariant: 'retryIsAllowed',
    world: RETRIES,
    seed: 1,
  },
  {
    name: 'a run is tried again without its delay',
    edits: [
      {
        file: `${STORE}/retry.ts`,
        find: '  const wakeAt = transaction.now + delayOf(run, retry, tries);',
        replace: '  const wakeAt = transaction.now;',
      },
    ],
    invariant: 'retryIsAllowed',
    world: RETRIES,
    seed: 1,
  },
  {
    name: 'a run is tried once more than its policy says',
    edits: [
      {
        file: `${STORE}/retry.ts`,
        find: '  if (tries > times) return false;\n',
        replace: '  if (tries > times + 1) return false;\n',
      },
    ],
    invariant: 'retryIsAllowed',
    world: RETRIES,
    seed: 1,
  },
  {
    name: 'a run is tried again once, whatever its policy says',
    edits: [
      {
        file: `${STORE}/attempts.ts`,
        find: 'if (yield* retryAfterEnd(transaction, { ...run, startedAt, durationMs }, end, reason)) return null;',
        replace:
          'if (run.attempt < 2 && (yield* retryAfterEnd(transaction, { ...run, startedAt, durationMs }, end, reason))) return null;',
      },
    ],
    invariant: 'retriesAreUsed',
    world: RETRIES,
    seed: 1,
  },
  {
    name: 'an attempt that was dropped begins all the same',
    edits: [
      {
        file: `${STORE}/retry.ts`,
        find: 'if (!(yield* giveUp(transaction, run, `no further attempt, by',
        replace: 'if (run.attempt === 0 && !(yield* giveUp(transaction, run, `no further attempt, by',
      },
    ],
    invariant: 'droppedNeverStarts',
    world: { ...RETRIES, actionsPerHour: 60, actions: ['dropRetry'] },
    seed: 1,
  },
  {
    name: 'a further attempt does not wait until the one before has surely ended',
    edits: [
      {
        file: `${STORE}/unknownRuns.ts`,
        find: '  return timeoutMs === null ? null : Math.max(now, (startingAt ?? now) + surelyEndedMs(timeoutMs));',
        replace: '  return timeoutMs === null ? null : Math.max(now, startingAt ?? now);',
      },
    ],
    invariant: 'nextAttemptHasProof',
    world: {
      ...RETRIES,
      fields: { ...RETRIES.fields, onUnknown: 'retry' },
      behaviour: { minMs: 5_000, maxMs: 15_000 },
      kinds: ['killBoth', 'rebootMachine', 'block'],
      moments: ['after exec', 'send started', 'receive permit'],
      faultsPerHour: 100,
    },
    seed: 1,
  },
];
