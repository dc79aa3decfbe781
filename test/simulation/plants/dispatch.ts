import { BUSY, type Plant, SERVER, STORE, struck } from './plant.ts';

/** Bugs in what gives runs to agents, and decides what became of them. */
export const DISPATCH: Plant[] = [
  {
    name: 'the permit leaves before its commit',
    edits: [
      {
        file: `${SERVER}/agents/reports.ts`,
        find: '    await permit(session, attempt, clock, (input) => store.acceptOffer({ ...input, journalSeq }));',
        replace: `    const { tenantId } = session;
    const run = await store.readRun({ tenantId, runId: parseAttemptId(attempt.attemptId)?.runId ?? '' });
    const job = run && (await store.readTriggerableJob({ tenantId, jobId: run.jobId }));
    if (run?.state === 'offered' && run.epoch === attempt.epoch && job) {
      const number = run.attempt + 1;
      const agent = { name: '', labels: {} };
      const of = { documentJson: job.documentJson, jobName: run.jobId, tenantName: '', timezone: 'UTC' };
      await permit(session, attempt, clock, async () => ({ run, number, ...of, agent, secrets: [] }));
    }
    await permit(session, attempt, clock, (input) => store.acceptOffer({ ...input, journalSeq }));`,
      },
    ],
    invariant: 'startHasPermit',
    world: struck(['commitsFail', 'killReplica', 'databaseAway'], ['before acceptOffer', 'receive accept']),
    seed: 1,
  },
  {
    name: 'an end is acknowledged before its commit',
    edits: [
      {
        file: `${SERVER}/agents/reports.ts`,
        find: "      case 'ended': {\n",
        replace:
          "      case 'ended': {\n        session.send({ type: 'ack', ...attemptKey(message), seq: message.seq, done: true });\n",
      },
    ],
    invariant: 'damageHasCause',
    world: struck(['commitsFail', 'killReplica', 'databaseAway'], ['receive ended', 'before endAttempt']),
    seed: 1,
  },
  {
    name: 'an unknown run is tried again by a timer',
    edits: [
      {
        file: `${STORE}/unknownRuns.ts`,
        find: 'yield* freeUnknownSlot(run);',
        replace:
          "yield* moveRun(transaction, run, 'resolve', 'queued', { epoch: run.epoch + 1, agentId: null, wakeAt: transaction.now });",
      },
    ],
    invariant: 'nextAttemptHasProof',
    world: struck(['rebootMachine', 'block', 'killBoth'], ['after exec', 'receive permit', 'send started']),
    seed: 1,
  },
  {
    name: 'an offer is taken back and made again under the same epoch',
    // Either of the two alone is guarded by the other.
    edits: [
      {
        file: `${STORE}/dispatch.ts`,
        find: '  const epoch = run.epoch + 1;\n  const { agentId, offerMs } = decision;',
        replace: '  const epoch = run.epoch;\n  const { agentId, offerMs } = decision;',
      },
      {
        file: `${STORE}/dispatch.ts`,
        find: "'withdraw', 'queued', {\n          epoch: run.epoch + 1,",
        replace: "'withdraw', 'queued', {\n          epoch: run.epoch,",
      },
    ],
    invariant: 'settled',
    world: {
      maxAgents: 1,
      kinds: ['freezeSession'],
      moments: ['receive offer'],
      faultsPerHour: 60,
      fields: { schedule: 'every 270s', target: {}, timeout: '20s', startDeadline: '1d' },
      behaviour: { minMs: 100, maxMs: 500 },
      actionsPerHour: 0,
    },
    seed: 5,
  },
  {
    name: 'an end that comes later overwrites a decision',
    edits: [
      {
        file: `${STORE}/attempts.ts`,
        find: "if (!run || !isCurrent(run, input) || isTerminal(run.state)) {\n    yield* keepEvidence(transaction, attempt, { report: 'ended'",
        replace: "if (!run) {\n    yield* keepEvidence(transaction, attempt, { report: 'ended'",
      },
      { file: `${SERVER}/runs/machine.ts`, find: '    !isTerminal(from) &&\n', replace: '' },
      {
        file: `${SERVER}/runs/machine.ts`,
        find: "  end: { from: ['starting', 'running', 'unknown'],",
        replace: "  end: { from: ['starting', 'running', 'unknown', 'failed', 'succeeded'],",
      },
    ],
    invariant: 'terminalUnchanged',
    world: {
      ...struck(['block', 'killSession'], ['after exec', 'receive permit', 'send started'], 150),
      fields: { schedule: 'every 60s', target: {}, timeout: '20s' },
      behaviour: { minMs: 15_000, maxMs: 19_000 },
      actions: ['resolve'],
      actionsPerHour: 1_500,
    },
    seed: 2,
  },
  {
    name: 'two runs of a job may hold its slot',
    edits: [
      {
        file: `${STORE}/migrations/0001Initial.ts`,
        find: `'create unique index "runsSlot"`,
        replace: `'create index "runsSlot"`,
      },
      {
        file: `${STORE}/dispatch.ts`,
        find: 'if (holder && holder.id !== id) {',
        replace: 'if (holder && !id) {',
      },
      {
        file: `${STORE}/dispatch.ts`,
        find: '    if (holder) {\n',
        replace: '    if (holder && !run.id) {\n',
      },
    ],
    invariant: 'noOverlap',
    world: { ...BUSY, behaviour: { minMs: 16_000, maxMs: 19_000 }, faultsPerHour: 0 },
    seed: 1,
  },
  {
    name: 'a start deadline is looked at too seldom',
    edits: [
      {
        file: `${SERVER}/agents/dispatch.ts`,
        find: 'if (run.startBy < clock.now()) return',
        replace: 'if (run.startBy < 0) return',
      },
      {
        file: `${STORE}/permits.ts`,
        find: '  if (run.startBy < transaction.now) {\n    yield* missRun(transaction, run);\n    return null;',
        replace: '  if (run.startBy < 0) {\n    yield* missRun(transaction, run);\n    return null;',
      },
    ],
    invariant: 'neverAfterDeadline',
    world: {
      ...BUSY,
      kinds: ['killSession', 'freezeSession', 'rebootMachine', 'block'],
      faultsPerHour: 200,
      fields: { schedule: 'every 60s', target: {}, timeout: '20s', startDeadline: '15s' },
    },
    seed: 4,
  },
];
