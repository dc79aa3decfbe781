import {
  define,
  type JobDefinition,
  type JobDocument,
  LIMITS,
  requiredSecretsOf,
  type SecretKind,
  secretNamesOf,
} from '@rota/contract';
import { recordAudit } from './audit.ts';
import { compareAndSet, get, insert, set } from './byKey.ts';
import { recordEvent } from './events.ts';
import { change, type Operation, placeholders, row, rows, type Transaction } from './operation.ts';
import type { SecretRow } from './tables.ts';

/** A secret's place: of a job by its name, which is the job's for ever, or of all jobs of the tenant when `job` is empty. */
export interface SecretKey {
  tenantId: string;
  job: string;
  name: string;
}

/** A secret as it is listed. */
export type ListedSecret = Omit<SecretRow, 'sealed'>;

/** What a secret is from now on: a value that was encrypted before, or where agents find it. */
export type SecretContent =
  | { kind: 'server'; keyId: string; sealed: Uint8Array; reference: null }
  | { kind: Exclude<SecretKind, 'server'>; keyId: null; sealed: null; reference: string };

const LISTED =
  '"tenantId", "job", "name", "kind", "reference", "keyId", "version", "createdAt", "createdBy", "updatedAt", "updatedBy"';

/** Sets a secret. @returns null when the tenant has as many as it may */
export function* setSecret(
  transaction: Transaction,
  input: SecretKey & { content: SecretContent; by: string },
): Operation<{ secret: ListedSecret; created: boolean } | null> {
  const { tenantId, job, name, content, by } = input;
  const key = { tenantId, job, name };
  const { now } = transaction;
  // New ones are counted one after the other.
  yield* get(transaction, 'tenants', { id: tenantId }, { lock: true });
  const before = yield* get(transaction, 'secrets', key, { lock: true });
  if (!before) {
    const counted = yield* row<{ n: number }>(
      'select count(*) as "n" from "secrets" where "tenantId" = ?',
      tenantId,
    );
    if ((counted?.n ?? 0) >= LIMITS.secrets) return null;
  }
  const changed = { ...content, updatedAt: now, updatedBy: by };
  const version = (before?.version ?? 0) + 1;
  if (before) yield* set('secrets', key, { ...changed, version });
  else yield* insert('secrets', { ...key, ...changed, version, createdAt: now, createdBy: by });
  const detail = content.kind === 'server' ? 'a value' : `${content.kind} ${content.reference}`;
  yield* recordAudit(transaction, { ...subject(key), action: 'set', by, detail });
  yield* secretEvent(transaction, key, 'set');
  const secret = {
    ...key,
    kind: content.kind,
    reference: content.reference,
    keyId: content.keyId,
    version,
    createdAt: before?.createdAt ?? now,
    createdBy: before?.createdBy ?? by,
    updatedAt: now,
    updatedBy: by,
  };
  return { secret, created: !before };
}

/** Deletes a secret. @returns whether there was one */
export function* deleteSecret(
  transaction: Transaction,
  input: SecretKey & { by: string },
): Operation<boolean> {
  const { tenantId, job, name, by } = input;
  const key = { tenantId, job, name };
  const deleted = yield* change(
    'delete from "secrets" where "tenantId" = ? and "job" = ? and "name" = ?',
    tenantId,
    job,
    name,
  );
  if (deleted === 0) return false;
  yield* recordAudit(transaction, { ...subject(key), action: 'delete', by });
  yield* secretEvent(transaction, key, 'deleted');
  return true;
}

/** A page of a tenant's secrets, without their values: those of all jobs first, then by job and name. */
export function* listSecrets(
  _transaction: Transaction,
  input: {
    tenantId: string;
    /** Only those of one job. */
    job: string | null;
    after: { job: string; name: string } | null;
    limit: number;
  },
): Operation<ListedSecret[]> {
  const { tenantId, job, after, limit } = input;
  return yield* rows<ListedSecret>(
    `select ${LISTED} from "secrets" where "tenantId" = ? ${job === null ? '' : 'and "job" = ?'} and ("job", "name") > (?, ?)
     order by "job", "name" limit ?`,
    tenantId,
    ...(job === null ? [] : [job]),
    after?.job ?? '',
    after?.name ?? '',
    limit,
  );
}

/** The names of all secrets of a tenant, and whose they are. */
export function* readSecretNames(
  _transaction: Transaction,
  input: { tenantId: string },
): Operation<{ job: string; name: string }[]> {
  return yield* rows<{ job: string; name: string }>(
    'select "job", "name" from "secrets" where "tenantId" = ?',
    input.tenantId,
  );
}

/** Secrets that a run's steps name, and those of them that it cannot go without: the others have a default. */
export interface NamedSecrets {
  names: readonly string[];
  required: readonly string[];
}

const NONE: NamedSecrets = { names: [], required: [] };

/** By text, of documents that are no longer than `KNOWN_LENGTH`: to understand one takes longer than all else about a permit. */
const known = new Map<string, NamedSecrets>();
const KNOWN_MAX = 1_000;
const KNOWN_LENGTH = 16 * 1024;

/** What the definition of a run, or else the document of its revision, names. One without any template is not looked into. */
export function namedSecrets(definitionJson: string | null, documentJson: string | null): NamedSecrets {
  const text = definitionJson ?? documentJson;
  if (text === null || !text.includes('{{')) return NONE;
  const found = known.get(text);
  if (found) return found;
  const parsed: unknown = JSON.parse(text);
  // Zones do not matter to what is named.
  const definition =
    definitionJson === null ? define(parsed as JobDocument, 'UTC') : (parsed as JobDefinition);
  const named = { names: secretNamesOf(definition), required: requiredSecretsOf(definition) };
  if (text.length <= KNOWN_LENGTH) {
    if (known.size >= KNOWN_MAX) known.delete(known.keys().next().value as string);
    known.set(text, named);
  }
  return named;
}

/** What a permit gets of secrets; `missing` says of what it must not go without. */
export interface GrantedSecrets {
  secrets: SecretRow[];
  /** In words; null when there is nothing to say. */
  missing: string | null;
}

/** The secrets of these names as one job has them: its own before those of all jobs. */
export function* readSecretsFor(
  _transaction: Transaction,
  input: { tenantId: string; job: string } & NamedSecrets,
): Operation<GrantedSecrets> {
  const { tenantId, job, names, required } = input;
  if (names.length === 0) return { secrets: [], missing: null };
  // The job's own come last, and take the place of the others.
  const found = yield* rows<SecretRow>(
    `select * from "secrets" where "tenantId" = ? and "job" in ('', ?) and "name" in (${placeholders(names)}) order by "job"`,
    tenantId,
    job,
    ...names,
  );
  const secrets = [...new Map(found.map((secret) => [secret.name, secret])).values()];
  const absent = required.filter((name) => !secrets.some((secret) => secret.name === name));
  if (absent.length > 0) {
    const missing = `${absent.join(', ')} ${absent.length === 1 ? 'does' : 'do'} not exist`;
    return { secrets: [], missing };
  }
  const bytes = secrets.reduce((sum, { sealed }) => sum + (sealed?.byteLength ?? 0), 0);
  if (bytes > LIMITS.secretBytesOfPermit) {
    const missing = `the values that it names have more than ${LIMITS.secretBytesOfPermit} bytes together`;
    return { secrets: [], missing };
  }
  return { secrets, missing: null };
}

/** A batch of the values of all tenants that are not encrypted under this key. */
export function* readSecretsToRotate(
  _transaction: Transaction,
  input: { keyId: string; after: SecretKey | null; limit: number },
): Operation<SecretRow[]> {
  const { keyId, after, limit } = input;
  return yield* rows<SecretRow>(
    `select * from "secrets" where "kind" = 'server' and "keyId" <> ? and ("tenantId", "job", "name") > (?, ?, ?)
     order by "tenantId", "job", "name" limit ?`,
    keyId,
    after?.tenantId ?? '',
    after?.job ?? '',
    after?.name ?? '',
    limit,
  );
}

/** A value that was encrypted anew, if it still is the one that was read. */
export interface RotatedSecret extends SecretKey {
  version: number;
  oldKeyId: string;
  sealed: Uint8Array;
}

/** Stores values that were encrypted anew, each if nobody has changed it meanwhile. @returns how many */
export function* rotateSecrets(
  transaction: Transaction,
  input: { keyId: string; secrets: RotatedSecret[]; by: string },
): Operation<number> {
  const { keyId, by } = input;
  const rotated = new Map<string, string[]>();
  for (const { tenantId, job, name, version, oldKeyId, sealed } of input.secrets) {
    const where = { tenantId, job, name, version, keyId: oldKeyId };
    if (!(yield* compareAndSet('secrets', where, { keyId, sealed }))) continue;
    rotated.set(tenantId, [...(rotated.get(tenantId) ?? []), name]);
  }
  let count = 0;
  for (const [tenantId, names] of rotated) {
    count += names.length;
    const detail = `encrypted under the master key ${keyId}`;
    const secrets = [...new Set(names)];
    yield* recordAudit(transaction, { tenantId, action: 'rotate', by, secrets, detail });
  }
  return count;
}

/** How many values are encrypted under each key. */
export function* countSecretsByKey(
  _transaction: Transaction,
  _input: Record<never, never>,
): Operation<{ keyId: string; count: number }[]> {
  return yield* rows<{ keyId: string; count: number }>(
    `select "keyId", count(*) as "count" from "secrets" where "kind" = 'server' group by "keyId" order by "keyId"`,
  );
}

function subject({ tenantId, job, name }: SecretKey) {
  return { tenantId, job: job === '' ? null : job, secrets: [name] };
}

function* secretEvent(
  transaction: Transaction,
  { tenantId, job, name }: SecretKey,
  action: 'set' | 'deleted',
): Operation<void> {
  const data = { action, job: job === '' ? null : job };
  yield* recordEvent(transaction, { tenantId, type: 'secret', subjectId: name, jobId: null, data });
}
