import { BUSY, type Plant, SERVER, STORE, struck } from './plant.ts';

/** Bugs in what servers believe of agents, and of each other. */
export const SESSIONS: Plant[] = [
  {
    name: 'what a journal has never seen was not started',
    edits: [
      {
        file: `${STORE}/sessions.ts`,
        find: "if (run.state !== 'unknown') yield* loseRun(transaction, run, 'journalDamaged');",
        replace: `if (run.state === 'starting' || run.state === 'running') {
        yield* change('update "runs" set "state" = ? where "id" = ?', 'unknown', run.id);
        const again = { epoch: run.epoch + 1, agentId: null, wakeAt: transaction.now };
        yield* moveRun(transaction, { ...run, state: 'unknown' }, 'notStarted', 'queued', again);
      }`,
      },
      {
        file: `${STORE}/sessions.ts`,
        find: "import { recordAgentEvent } from './events.ts';",
        replace: "import { recordAgentEvent } from './events.ts';\nimport { moveRun } from './moveRun.ts';",
      },
    ],
    invariant: 'nextAttemptHasProof',
    world: struck(['damageJournal'], ['send started', 'after exec', 'receive permit'], 300),
    seed: 4,
  },
  {
    name: 'a lost connection frees the slot',
    edits: [
      {
        file: `${STORE}/sessions.ts`,
        find: `'update "runs" set "contactLostAt" = ?, "wakeAt" = ? where`,
        replace: `'update "runs" set "slot" = 0, "contactLostAt" = ?, "wakeAt" = ? where`,
      },
    ],
    invariant: 'noOverlap',
    world: {
      ...struck(['block', 'cut'], ['after exec', 'send started'], 150),
      behaviour: { minMs: 12_000, maxMs: 19_000 },
    },
    seed: 1,
  },
  {
    name: 'the nonce of an agent is not checked',
    edits: [
      {
        file: `${STORE}/sessions.ts`,
        find: 'const why = !confirmed\n',
        replace: 'const why = confirmed === undefined\n',
      },
    ],
    invariant: 'suspectsLockedOut',
    // While it has nothing to do: else the length of its journal would tell, too.
    world: {
      ...BUSY,
      fields: { schedule: 'every 600s', target: {} },
      minAgents: 2,
      kinds: ['copyFolder'],
      faultsPerHour: 20,
    },
    seed: 4,
  },
  {
    name: 'the length of a journal is not checked',
    edits: [
      {
        file: `${STORE}/sessions.ts`,
        find: ': input.journalSeq < agent.journalSeq\n',
        replace: ': input.journalSeq < 0\n',
      },
    ],
    invariant: 'suspectsLockedOut',
    world: { ...BUSY, kinds: ['restoreFolder'], faultsPerHour: 30 },
    seed: 5,
  },
  {
    name: 'a cancel is lost with the connection',
    edits: [
      {
        file: `${STORE}/sessions.ts`,
        find: "if (run.cancelRequestedAt !== null) steps.push({ action: 'cancel', attemptId, epoch: run.epoch });",
        replace: '',
      },
      {
        file: `${SERVER}/agents/delivery.ts`,
        find: '      sessions.cancel(agentId, {',
        replace: '      void (agentId, {',
      },
    ],
    invariant: 'cancelHeard',
    world: {
      minReplicas: 3,
      noticeLoss: 1,
      faultsPerHour: 0,
      fields: { schedule: 'every 60s', target: {}, timeout: '3m' },
      behaviour: { minMs: 100_000, maxMs: 150_000, ignoresTermShare: 0 },
      actions: ['cancel'],
      actionsPerHour: 400,
    },
    seed: 5,
  },
  {
    name: 'sessions of a lost server are never closed',
    edits: [
      {
        file: `${SERVER}/agents/replica.ts`,
        find: 'if (all.length > others.length + 1) await closeLost();',
        replace: '',
      },
    ],
    invariant: 'deadServersForgotten',
    world: { ...BUSY, minReplicas: 2, kinds: ['killReplica'], faultsPerHour: 30 },
    seed: 3,
  },
  {
    name: 'an offer waits for a hint that may be lost',
    edits: [
      {
        file: `${SERVER}/agents/delivery.ts`,
        find: 'return isUnhinted ? clock.now() + UNHINTED_MS : null;',
        replace: 'return null;',
      },
      {
        file: `${SERVER}/agents/delivery.ts`,
        find: 'const HINTED_MS = 1_000;',
        replace: 'const HINTED_MS = 2 ** 40;',
      },
    ],
    invariant: 'cancelHeard',
    world: {
      minReplicas: 3,
      noticeLoss: 1,
      faultsPerHour: 0,
      fields: { schedule: 'every 60s', target: {}, timeout: '3m' },
      behaviour: { minMs: 100_000, maxMs: 150_000, ignoresTermShare: 0 },
      actions: ['cancel'],
      actionsPerHour: 400,
    },
    seed: 1,
  },
  {
    name: 'the end of a session is stored whatever session there is by then',
    edits: [
      {
        file: `${STORE}/sessions.ts`,
        find: `"lastSeenAt" = ?
     where "tenantId" = ? and "id" = ? and "sessionEpoch" = ? and`,
        replace: `"lastSeenAt" = ?
     where "tenantId" = ? and "id" = ? and "sessionEpoch" >= 0 * ? and`,
      },
      // Else the holder would see that its session is not on record, close it, and the agent would come again.
      {
        file: `${SERVER}/agents/roster.ts`,
        find: 'row.sessionEpoch !== session.sessionEpoch || row.replicaId !== replica.id',
        replace: 'false',
      },
    ],
    invariant: 'presenceIsTrue',
    world: {
      ...struck(['freezeReplica'], ['after exec', 'send started', 'receive ended'], 60),
      minReplicas: 2,
    },
    seed: 3,
  },
];
