import type { WorldOptions } from '../world.ts';
import { BUSY, type Plant, SERVER, STORE } from './plant.ts';

/** A standby takes over that lacks what agents have done meanwhile; some of them are away then. */
const FAILED_OVER: WorldOptions = {
  ...BUSY,
  maxReplicas: 1,
  minAgents: 3,
  behaviour: { minMs: 6_000, maxMs: 14_000 },
  kinds: ['failOver', 'killSession', 'killSession', 'killSession'],
  moments: ['after startAttempt', 'after exec'],
  standbyLagMs: 20_000,
  faultsPerHour: 100,
};

/** Bugs in what is done when a database goes on from an older state. */
export const RECOVERY: Plant[] = [
  {
    name: 'a run that is held is let go before agents have told what they did',
    edits: [
      {
        file: `${SERVER}/agents/recovery.ts`,
        find: 'const free = held.filter((run) => !isAwaited(recovery, agents.get(run.tenantId) ?? [], run));',
        replace: 'const free = held;',
      },
    ],
    invariant: 'noAttemptTwice',
    world: FAILED_OVER,
    seed: 6,
  },
  {
    name: 'another timeline of the database is not noticed',
    edits: [
      {
        file: `${STORE}/recovery.ts`,
        find: 'if (known?.systemId === seen.systemId && known.timeline === seen.timeline) return null;',
        replace: 'if (known?.systemId === seen.systemId) return null;',
      },
    ],
    invariant: 'noAttemptTwice',
    world: FAILED_OVER,
    seed: 6,
  },
  {
    name: 'what comes due while agents have not told is queued',
    edits: [
      {
        file: `${STORE}/dispatch.ts`,
        find: '  yield* holdDueRuns(transaction);\n',
        replace: '',
      },
    ],
    invariant: 'noAttemptTwice',
    world: FAILED_OVER,
    seed: 6,
  },
];
