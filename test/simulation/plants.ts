import type { WorldOptions } from './world.ts';

/** A bug planted in a copy of the source: each text is replaced where it stands, which must be in exactly one place. */
export interface Plant {
  name: string;
  edits: { file: string; find: string; replace: string }[];
  /** Which one must see it. */
  invariant: string;
  /** The world that brings it out soonest. */
  world: WorldOptions;
}

const STORE = 'packages/server/src/store';
const SERVER = 'packages/server/src';
const AGENT = 'packages/agent/src';

/** Worlds with little time between instants, and jobs that take a good part of it. */
const BUSY: WorldOptions = {
  fields: { schedule: 'every 15s', target: {}, timeout: '20s', startDeadline: '1d' },
  behaviour: { minMs: 500, maxMs: 9_000 },
  actionsPerHour: 0,
};
const kills = (kinds: WorldOptions['kinds'], moments: string[], faultsPerHour = 150): WorldOptions => ({
  ...BUSY,
  kinds: kinds ?? [],
  moments,
  faultsPerHour,
});

export const PLANTS: Plant[] = [
  {
    name: 'the plan begins now instead of at the cursor',
    edits: [
      {
        file: `${SERVER}/scheduler/plan.ts`,
        find: 'const from = job.plannedThrough;',
        replace: 'const from = Math.max(job.plannedThrough, now);',
      },
    ],
    invariant: 'everyInstantAccounted',
    world: { ...BUSY, maxReplicas: 1, kinds: ['killReplica', 'databaseAway'], faultsPerHour: 100 },
  },
  {
    name: 'what was passed over is not written down',
    edits: [
      { file: `${SERVER}/scheduler/plan.ts`, find: '    if (late > 1)\n', replace: '    if (late > 1e9)\n' },
    ],
    invariant: 'everyInstantAccounted',
    world: { ...BUSY, maxReplicas: 1, kinds: ['killReplica', 'databaseAway'], faultsPerHour: 100 },
  },
  {
    name: 'the unique key of an occurrence dropped, and the cursor not compared',
    edits: [
      {
        file: `${STORE}/migrations/0001Initial.ts`,
        find: "{ primary: ['tenantId', 'id'], unique: [['tenantId', 'jobId', 'occurrenceKey', 'part']] }",
        replace: "{ primary: ['tenantId', 'id'] }",
      },
      {
        file: `${SERVER}/scheduler/plan.ts`,
        find: "id: runIdOf({ tenantId: job.tenantId, jobId: job.id, occurrenceKey, part: '' }),",
        replace:
          'id: runIdOf({ tenantId: job.tenantId, jobId: job.id, occurrenceKey, part: String(globalThis.planted = (globalThis.planted ?? 0) + 1) }),',
      },
      {
        file: `${STORE}/planning.ts`,
        find: '{ tenantId, id: jobId, revision, plannedThrough: plan.expectedThrough }',
        replace: '{ tenantId, id: jobId, revision }',
      },
    ],
    invariant: 'everyInstantAccounted',
    world: { ...BUSY, minReplicas: 3 },
  },
  {
    name: 'a plan of an older revision is stored',
    edits: [
      {
        file: `${STORE}/planning.ts`,
        find: '{ tenantId, id: jobId, revision, plannedThrough: plan.expectedThrough }',
        replace: '{ tenantId, id: jobId }',
      },
    ],
    invariant: 'nothingExtra',
    world: {
      minReplicas: 3,
      kinds: ['databaseSlow'],
      faultsPerHour: 200,
      actions: ['edit'],
      actionsPerHour: 600,
    },
  },
  {
    name: 'a run is due at once instead of at its instant',
    edits: [{ file: `${STORE}/planning.ts`, find: 'wakeAt: run.dueAt,', replace: 'wakeAt: now,' }],
    invariant: 'neverEarly',
    world: { faultsPerHour: 0, actionsPerHour: 0 },
  },
  {
    name: 'an edit takes back instants that have come',
    edits: [
      {
        file: `${STORE}/jobs.ts`,
        find: `and "kind" = 'scheduled' and "scheduledFor" > ?`,
        replace: `and "kind" = 'scheduled' and "scheduledFor" > ? - 30000`,
      },
    ],
    invariant: 'everyInstantAccounted',
    world: {
      fields: { schedule: { every: '15s', jitter: '10s' } },
      faultsPerHour: 0,
      actions: ['edit', 'pause', 'resume'],
      actionsPerHour: 300,
    },
  },
  {
    name: 'a job is planned only when somebody says so',
    edits: [
      {
        file: `${SERVER}/scheduler/scheduler.ts`,
        find: 'const POLL_MS = 1_000;',
        replace: 'const POLL_MS = 2 ** 40;',
      },
      {
        file: `${SERVER}/scheduler/scheduler.ts`,
        find: 'return next === null ? null : next - LOOK_MS;',
        replace: 'return null;',
      },
    ],
    invariant: 'everyInstantAccounted',
    world: { faultsPerHour: 0, actionsPerHour: 0 },
  },
  {
    name: 'the permit leaves before its commit',
    edits: [
      {
        file: `${SERVER}/agents/reports.ts`,
        find: '    const grant = await store.acceptOffer({',
        replace: `    const run = await store.readRun({ tenantId, runId: parseAttemptId(attempt.attemptId)?.runId ?? '' });
    const job = run && (await store.readTriggerableJob({ tenantId, jobId: run.jobId }));
    if (run?.state === 'offered' && run.epoch === attempt.epoch && job) {
      const number = run.attempt + 1;
      const agent = { name: '', labels: {} };
      const of = { documentJson: job.documentJson, jobName: run.jobId, tenantName: '', timezone: 'UTC' };
      permit(session, { run, number, ...of, agent, secrets: [] }, reading);
    }
    const grant = await store.acceptOffer({`,
      },
    ],
    invariant: 'startHasPermit',
    world: kills(['commitsFail', 'killReplica', 'databaseAway'], ['before acceptOffer', 'receive accept']),
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
    world: kills(['commitsFail', 'killReplica', 'databaseAway'], ['receive ended', 'before endAttempt']),
  },
  {
    name: 'a start is on the disk after the execution',
    edits: [
      {
        file: `${AGENT}/work.ts`,
        find: "    await commit({\n      type: 'started',",
        replace:
          "    executor.send({ type: 'start', task: taskOf(permit) });\n    await commit({\n      type: 'started',",
      },
    ],
    invariant: 'notStartedNeverStarts',
    world: kills(['rebootMachine', 'killBoth'], ['before exec', 'after exec', 'receive permit']),
  },
  {
    name: 'the journal does not wait for the disk',
    edits: [
      {
        file: `${AGENT}/journal.ts`,
        find: '      await this.#file.sync();\n    } catch (error) {\n      // After a failed sync',
        replace: '    } catch (error) {\n      // After a failed sync',
      },
    ],
    invariant: 'innocentsNotLockedOut',
    world: kills(['rebootMachine'], ['after exec', 'send accept', 'send started', 'send ended'], 60),
  },
  {
    name: 'an unknown run is tried again by a timer',
    edits: [
      {
        file: `${STORE}/dispatch.ts`,
        find: 'else yield* freeUnknownSlot(run);',
        replace:
          "else yield* moveRun(transaction, run, 'resolve', 'queued', { epoch: run.epoch + 1, agentId: null, wakeAt: transaction.now });",
      },
    ],
    invariant: 'nextAttemptHasProof',
    world: kills(['rebootMachine', 'block', 'killBoth'], ['after exec', 'receive permit', 'send started']),
  },
  {
    name: 'epochs do not grow',
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
      fields: { schedule: 'every 300s', target: {}, timeout: '20s', startDeadline: '1d' },
      behaviour: { minMs: 100, maxMs: 500 },
      actionsPerHour: 0,
    },
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
      ...kills(['block', 'killSession'], ['after exec', 'receive permit', 'send started'], 150),
      fields: { schedule: 'every 60s', target: {}, timeout: '20s' },
      behaviour: { minMs: 15_000, maxMs: 19_000 },
      actions: ['resolve'],
      noRetry: true,
      actionsPerHour: 1_500,
    },
  },
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
    world: kills(['damageJournal'], ['send started', 'after exec', 'receive permit'], 300),
  },
  {
    name: 'a permit is good for ever',
    edits: [
      {
        file: `${AGENT}/attempts.ts`,
        find: "  if (now.bootMs > permit.validUntilBootMs) return { start: false, refuse: 'permitExpired' };\n",
        replace: '',
      },
      {
        file: `${AGENT}/permit.ts`,
        find: '    validUntilBootMs: permit.validUntilBootMs,\n',
        replace: '    validUntilBootMs: Number.MAX_SAFE_INTEGER,\n',
      },
    ],
    invariant: 'noOverlap',
    world: {
      ...kills(['freezeSession', 'freezeMachine'], ['receive permit'], 150),
      minReplicas: 1,
    },
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
      ...kills(['block', 'cut'], ['after exec', 'send started'], 150),
      behaviour: { minMs: 12_000, maxMs: 19_000 },
    },
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
    world: { ...BUSY, kinds: ['copyFolder', 'restoreFolder', 'cut'], faultsPerHour: 30 },
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
  },
  {
    name: 'ends are forgotten when the connection is lost',
    edits: [
      {
        file: `${AGENT}/reports.ts`,
        find: '        report.isResumed = true;\n',
        replace:
          '        if (report.end) {\n          reports.delete(report.attemptId);\n          continue;\n        }\n        report.isResumed = true;\n',
      },
    ],
    invariant: 'settled',
    world: {
      ...kills(['cut', 'block', 'killReplica'], ['send ended', 'receive ended', 'after exec'], 100),
      minReplicas: 1,
    },
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
        file: `${STORE}/attempts.ts`,
        find: "  if (run.startBy < transaction.now) {\n    yield* moveRun(transaction, run, 'miss', 'missed', { epoch: run.epoch + 1, reason: 'startDeadline' });\n    return null;",
        replace:
          "  if (run.startBy < 0) {\n    yield* moveRun(transaction, run, 'miss', 'missed', { epoch: run.epoch + 1, reason: 'startDeadline' });\n    return null;",
      },
    ],
    invariant: 'neverAfterDeadline',
    world: {
      ...BUSY,
      kinds: ['killSession', 'freezeSession', 'rebootMachine', 'block'],
      faultsPerHour: 200,
      fields: { schedule: 'every 60s', target: {}, timeout: '20s', startDeadline: '15s' },
    },
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
  },
  {
    name: 'a boot of the machine is not noticed',
    edits: [
      {
        file: `${AGENT}/work.ts`,
        find: '    if (entry.bootId !== bootId) {\n      await spool.writeEnd',
        replace: '    if (entry.bootId === null) {\n      await spool.writeEnd',
      },
    ],
    invariant: 'notStartedNeverStarts',
    world: kills(['rebootMachine'], ['after exec', 'send started'], 150),
  },
  {
    name: 'a helper that died had begun nothing',
    edits: [{ file: `${AGENT}/work.ts`, find: 'if (entry.helperId === helper?.id)', replace: 'if (helper)' }],
    invariant: 'notStartedNeverStarts',
    world: kills(['killHelper', 'killBoth'], ['after exec'], 150),
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
  },
  {
    name: 'an offer waits for a hint that may be lost',
    edits: [
      {
        file: `${SERVER}/agents/delivery.ts`,
        find: 'return replica.hasOthers ? clock.now() + SHARED_MS : null;',
        replace: 'return null;',
      },
      {
        file: `${SERVER}/agents/delivery.ts`,
        find: 'const ALONE_MS = 1_000;',
        replace: 'const ALONE_MS = 2 ** 40;',
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
  },
];
