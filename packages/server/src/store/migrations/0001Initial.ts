import { change, type Operation, type Transaction } from '../operation.ts';

/** The first schema. Column names are those of `tables.ts`. */
export function* up({ dialect }: Transaction): Operation<void> {
  const postgres = dialect.name === 'postgres';
  // Names and ids are compared byte by byte, as SQLite and JavaScript do, whatever the database's language is.
  const types = {
    int: 'bigint',
    blob: postgres ? 'bytea' : 'blob',
    text: postgres ? 'text collate "C"' : 'text',
  };
  function* table(
    name: string,
    columns: string,
    keys: { primary: string[]; unique?: string[][] },
  ): Operation<void> {
    const specs = columns
      .trim()
      .split(/\s+/)
      .map((word) => {
        const [spec = '', kind = 'text'] = word.split(':');
        return { column: spec.replace('?', ''), kind, nullable: spec.endsWith('?') };
      });
    const lines = specs.map(
      ({ column, kind, nullable }) =>
        `"${column}" ${types[kind as keyof typeof types]}${nullable ? '' : ' not null'}`,
    );
    const list = (names: string[]) => names.map((each) => `"${each}"`).join(', ');
    lines.push(`constraint "${name}_pk" primary key (${list(keys.primary)})`);
    for (const [index, unique] of (keys.unique ?? []).entries())
      lines.push(`constraint "${name}_unique_${index}" unique (${list(unique)})`);
    yield* change(`create table "${name}" (${lines.join(', ')})`);
    if (specs.some(({ column }) => column === 'tenantId')) samples.set(name, specs);
  }
  const samples = new Map<string, { column: string; kind: string; nullable: boolean }[]>();

  yield* table('tenants', 'id name timezone createdAt:int', { primary: ['id'], unique: [['name']] });
  yield* table('serverKeys', 'id publicKey privateKey active:int createdAt:int', { primary: ['id'] });
  yield* table(
    'tokens',
    'tenantId id name hash role createdAt:int createdBy? expiresAt?:int lastUsedAt?:int',
    {
      primary: ['id'],
      unique: [['tenantId', 'name']],
    },
  );
  yield* table(
    'joinTokens',
    'tenantId id hash labelsJson expiresAt:int createdAt:int createdBy? usedAt?:int usedBy?',
    {
      primary: ['id'],
    },
  );
  yield* table(
    'jobs',
    `tenantId id name kind revision:int documentJson owner anchorsJson enabled:int pausedAt?:int pausedBy? pausedNote?
     deletedAt?:int plannedThrough:int firedThrough:int nextAt?:int createdAt:int updatedAt:int`,
    { primary: ['tenantId', 'id'], unique: [['tenantId', 'name']] },
  );
  yield* table('jobRevisions', 'tenantId jobId revision:int action documentJson? at:int by', {
    primary: ['tenantId', 'jobId', 'revision'],
  });
  yield* table(
    'runs',
    `tenantId id jobId revision:int kind occurrenceKey part definitionJson? paramsJson? scheduledFor:int dueAt:int startBy:int state reason? detail?
     epoch:int attempt:int retriesLeft?:int unreadableSince?:int agentId? slot:int wakeAt?:int passedJson timeoutMs?:int queuedAt?:int offeredAt?:int permitAt?:int startingAt?:int
     startedAt?:int endedAt?:int durationMs?:int cancelRequestedAt?:int cancelRequestedBy? contactLostAt?:int exitCode?:int signal? createdBy? createdAt:int`,
    { primary: ['tenantId', 'id'], unique: [['tenantId', 'jobId', 'occurrenceKey', 'part']] },
  );
  yield* table(
    'attempts',
    `tenantId id runId number:int agentId epoch:int state outcome? reason? startingAt:int startedAt?:int endedAt?:int
     permitBootId permitUntilBootMs:int pid?:int exitCode?:int signal? error? cpuMs?:int maxRssBytes?:int durationMs?:int httpJson?
     outputBytes:int outputDroppedBytes:int reportedSeq:int headBytes:int tailBytes:int evidenceJson? progress?:int resultJson? summary?`,
    { primary: ['tenantId', 'id'] },
  );
  yield* table(
    'steps',
    `tenantId attemptId index:int name state reason? detail? tries:int startedMs?:int durationMs?:int exitCode?:int signal? error? httpJson?
     resultJson? summary? outputFrom:int outputTo?:int`,
    { primary: ['tenantId', 'attemptId', 'index'] },
  );
  yield* table('output', 'tenantId attemptId seq:int stream atMs:int droppedBytes:int head:int data:blob', {
    primary: ['tenantId', 'attemptId', 'seq'],
  });
  yield* table(
    'gaps',
    'tenantId id jobId revision:int fromAt:int toAt:int count:int outcome reason recordedAt:int',
    {
      primary: ['tenantId', 'id'],
      unique: [['tenantId', 'jobId', 'fromAt', 'outcome']],
    },
  );
  yield* table('idempotencyKeys', 'tenantId jobId key runId createdAt:int', {
    primary: ['tenantId', 'jobId', 'key'],
  });
  yield* table(
    'agents',
    `tenantId id name publicKey orderNumber:int labelsJson enabled:int state detail? sessionEpoch:int bootId? journalSeq:int nonce?
     pendingNonce? maxParallel:int draining:int blocked? factsJson? connectedAt?:int lastSeenAt?:int createdAt:int removedAt?:int
     replicaId? vanishedAt?:int awaited? changedAt:int`,
    { primary: ['tenantId', 'id'] },
  );
  yield* table('replicas', 'id name startedAt:int seenAt:int leavingAt?:int lostAt?:int', {
    primary: ['id'],
  });
  yield* table('databaseIdentity', 'id:int systemId timeline:int since:int', { primary: ['id'] });
  yield* table('recoveries', 'id:int cause detectedAt:int windowTo:int holdUntil:int settledAt?:int', {
    primary: ['id'],
  });
  yield* table('masterKeys', 'id check active:int createdAt:int', { primary: ['id'] });
  yield* table(
    'secrets',
    `tenantId job name kind keyId? sealed?:blob reference? version:int createdAt:int createdBy updatedAt:int updatedBy`,
    { primary: ['tenantId', 'job', 'name'] },
  );
  yield* change(
    `create table "audit" (
       "id" ${postgres ? 'bigint generated by default as identity primary key' : 'integer primary key autoincrement'},
       "tenantId" ${types.text} not null, "at" bigint not null, "action" ${types.text} not null, "by" text, "secretsJson" text not null,
       "job" ${types.text}, "runId" ${types.text}, "attemptId" ${types.text}, "agentId" ${types.text}, "detail" text)`,
  );
  // Transactions commit in another order than they take ids in: readers go by the transaction (see `readEvents`).
  yield* change(
    `create table "events" (
       "id" ${postgres ? 'bigint generated by default as identity primary key' : 'integer primary key autoincrement'},
       "tenantId" ${types.text} not null, "type" ${types.text} not null, "subjectId" ${types.text} not null, "jobId" ${types.text},
       "at" bigint not null, "dataJson" text not null${postgres ? ', "txid" xid8 not null default pg_current_xact_id()' : ''})`,
  );

  // Each hot query has an index that holds only the rows it can return, so that its cost follows what is due.
  for (const statement of [
    'create index "jobsDue" on "jobs" ("nextAt") where "nextAt" is not null',
    'create index "jobsOwner" on "jobs" ("tenantId", "owner") where "deletedAt" is null',
    `create index "jobsCounted" on "jobs" ("tenantId", "enabled", "pausedAt") where "deletedAt" is null and "kind" = 'job'`,
    'create index "runsWake" on "runs" ("state", "wakeAt", "dueAt") where "wakeAt" is not null',
    `create index "runsWaiting" on "runs" ("tenantId", "reason", "dueAt") where "state" = 'queued'`,
    `create index "runsOpen" on "runs" ("tenantId", "jobId", "state") where "endedAt" is null`,
    'create unique index "runsSlot" on "runs" ("tenantId", "jobId") where "slot" = 1',
    `create index "runsHeld" on "runs" ("tenantId", "id") where "reason" = 'recovering' and "wakeAt" is null and "endedAt" is null`,
    'create index "runsCancelling" on "runs" ("cancelRequestedAt") where "cancelRequestedAt" is not null and "endedAt" is null',
    `create index "runsOfAgent" on "runs" ("tenantId", "agentId") where "endedAt" is null and "agentId" is not null`,
    'create index "runsOfJob" on "runs" ("tenantId", "jobId", "dueAt", "id")',
    'create index "runsByDue" on "runs" ("tenantId", "dueAt", "id")',
    'create index "runsEnded" on "runs" ("endedAt", "id", "tenantId", "state") where "endedAt" is not null',
    `create index "runsActive" on "runs" ("tenantId", "state") where "endedAt" is null and "state" <> 'planned'`,
    `create index "runsFailed" on "runs" ("tenantId", "jobId", "dueAt", "id") where "state" in ('failed', 'timedOut')`,
    'create index "attemptsOfRun" on "attempts" ("tenantId", "runId")',
    'create index "attemptsWithOutput" on "attempts" ("endedAt") where "headBytes" > 0 and "endedAt" is not null',
    'create index "gapsOfJob" on "gaps" ("tenantId", "jobId", "toAt")',
    // The handshake knows an agent by its id alone.
    'create unique index "agentsId" on "agents" ("id")',
    'create unique index "agentsName" on "agents" ("tenantId", "name") where "removedAt" is null',
    'create index "agentsAwaited" on "agents" ("tenantId") where "awaited" is not null and "removedAt" is null',
    'create index "agentsChanged" on "agents" ("changedAt")',
    'create index "agentsOfReplica" on "agents" ("replicaId") where "replicaId" is not null',
    'create index "eventsAt" on "events" ("at")',
    'create unique index "masterKeysActive" on "masterKeys" ("active") where "active" = 1',
    `create index "secretsOfKey" on "secrets" ("keyId") where "kind" = 'server'`,
    'create index "auditInOrder" on "audit" ("tenantId", "id")',
    'create index "auditAt" on "audit" ("at")',
    ...(postgres ? ['create index "eventsInOrder" on "events" ("txid", "id")'] : []),
  ]) {
    yield* change(statement);
  }
  if (postgres) for (const [name, columns] of samples) yield* teach(name, columns);
}

/** Values of a sample that are not the number of its row. */
const SAMPLE: Record<string, string> = {
  tenantId: `'default'`,
  state: `'succeeded'`,
  slot: '0',
  endedAt: 'n',
  nextAt: 'n',
  wakeAt: 'case when n % 10 = 0 then n end',
};

/**
 * Lets PostgreSQL see what rows will look like. Of a table that it has never looked at it believes that a tenant has few rows,
 * and reads all of the tenant's in place of one, until it looks: for the first minute of a new database (ADR 9).
 */
function* teach(
  table: string,
  columns: readonly { column: string; kind: string; nullable: boolean }[],
): Operation<void> {
  const values = columns.map(({ column, kind, nullable }) => {
    if (SAMPLE[column] !== undefined) return SAMPLE[column];
    if (nullable) return 'null';
    return kind === 'int' ? 'n' : kind === 'blob' ? `''` : `cast(n as text)`;
  });
  const names = columns.map(({ column }) => `"${column}"`).join(', ');
  yield* change(
    `insert into "${table}" (${names}) select ${values.join(', ')} from generate_series(1, 300) n`,
  );
  yield* change(`analyze "${table}"`);
  yield* change(`delete from "${table}"`);
}
