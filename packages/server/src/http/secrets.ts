import { ENV_NAME, type Fault, LIMITS, type SecretView } from '@rota/contract';
import { MasterKeyError } from '../auth/masterKey.ts';
import { KeyNotSharedError } from '../auth/secrets.ts';
import type { ListedSecret, SecretContent, SecretKey } from '../store/secrets.ts';
import type { Handlers } from './call.ts';
import { faulty, Refusal } from './errors.ts';
import { keyOf, limitOf, pageOf } from './pages.ts';
import { instant } from './presenters.ts';
import type { Services } from './services.ts';

type SecretRoutes = 'listSecrets' | 'putSecret' | 'deleteSecret' | 'rotateMasterKey';

export function secretHandlers(services: Services): Pick<Handlers, SecretRoutes> {
  const { store, hints, vault, pace } = services;

  /** @throws Refusal */
  function holdPace(tokenId: string): void {
    const waitS = pace.count(tokenId);
    if (waitS === 0) return;
    const headers = { 'retry-after': String(waitS) };
    throw new Refusal('request.tooMany', `Too many changes of secrets; wait ${waitS} s.`, { headers });
  }

  return {
    async listSecrets({ query, principal }) {
      const key = keyOf<[string, string]>(query.cursor, ['string', 'string']);
      const limit = limitOf(query);
      const rows = await store.listSecrets({
        tenantId: principal.tenantId,
        job: query.job ?? null,
        after: key && { job: key[0], name: key[1] },
        limit: limit + 1,
      });
      return pageOf(rows, limit, secretView, ({ job, name }) => [job, name]);
    },

    async putSecret({ params, query, body, principal }) {
      const { tenantId, tokenId, name: by } = principal;
      holdPace(tokenId);
      const key = { tenantId, job: query.job ?? '', name: params.name };
      const faults = faultsOfContent(body);
      if (faults.length > 0) throw faulty('document.invalid', faults);
      const content = await contentOf(key, body);
      const stored = await store.setSecret({ ...key, content, by });
      if (!stored)
        throw new Refusal(
          'secret.tooMany',
          `There are ${LIMITS.secrets} secrets already; delete some first.`,
        );
      hints.give('events');
      const job = query.job === undefined ? null : await store.getJob({ tenantId, name: query.job });
      return {
        secret: secretView(stored.secret),
        created: stored.created,
        jobExists: query.job === undefined ? null : Boolean(job),
      };
    },

    async deleteSecret({ params, query, principal }) {
      const { tenantId, tokenId, name: by } = principal;
      holdPace(tokenId);
      const key = { tenantId, job: query.job ?? '', name: params.name };
      if (!(await store.deleteSecret({ ...key, by }))) {
        const whose = query.job === undefined ? 'of all jobs' : `of the job "${query.job}"`;
        throw new Refusal(
          'secret.notFound',
          `There is no secret ${params.name} ${whose}; see \`rota secret list\`.`,
        );
      }
      hints.give('events');
    },

    async rotateMasterKey({ body, principal }) {
      holdPace(principal.tokenId);
      const { prepare = false, shared = false } = body;
      const others = (await store.listReplicas({})).filter(
        ({ id, lostAt }) => id !== services.replica.id && lostAt === null,
      );
      const alone = shared || others.length === 0;
      try {
        const rotated = await vault.rotate({ by: principal.name, prepare, alone });
        return { ...rotated, file: vault.file };
      } catch (error) {
        if (error instanceof KeyNotSharedError)
          throw new Refusal(
            'secret.keyNotShared',
            `Other servers are live: ${others.map(({ name }) => name).join(', ')}. Either \`rota secret rotate-key --prepare\`, copy ${vault.file} to each of them, and rotate again; or \`rota secret rotate-key --shared\` when all read one file.`,
          );
        throw keyRefusal(error);
      }
    },
  };

  async function contentOf(
    key: SecretKey,
    body: { value?: string; agentEnv?: string; agentFile?: string },
  ): Promise<SecretContent> {
    const { value, agentEnv, agentFile } = body;
    if (value === undefined) {
      const kind = agentEnv === undefined ? 'agentFile' : 'agentEnv';
      return { kind, keyId: null, sealed: null, reference: agentEnv ?? agentFile ?? '' };
    }
    try {
      return await vault.seal(key, value);
    } catch (error) {
      throw keyRefusal(error);
    }
  }
}

/** A fault of the key file as an answer; other errors as they are. */
function keyRefusal(error: unknown): unknown {
  return error instanceof MasterKeyError ? new Refusal('secret.keyMissing', `${error.message}.`) : error;
}

/** What is wrong with a secret, in words that do not repeat it: a value may stand in the wrong field. */
function faultsOfContent(body: { value?: string; agentEnv?: string; agentFile?: string }): Fault[] {
  const { value, agentEnv, agentFile } = body;
  const given = [value, agentEnv, agentFile].filter((each) => each !== undefined);
  if (given.length !== 1)
    return [{ path: '', code: 'missing', message: 'give exactly one of value, agentEnv and agentFile' }];
  const faults: Fault[] = [];
  const add = (path: string, message: string) => faults.push({ path, code: 'value', message });
  if (value !== undefined) {
    if ([...value].length < LIMITS.secretMinLength)
      add(
        'value',
        `must have at least ${LIMITS.secretMinLength} characters: a shorter one could be guessed, and would be masked wherever else it stands in an output`,
      );
    if (Buffer.byteLength(value) > LIMITS.secretBytes)
      add('value', `must have at most ${LIMITS.secretBytes} bytes`);
    if (value.includes('\0')) add('value', 'must not contain NUL, which no environment variable can have');
    if (!value.isWellFormed()) add('value', 'must be text: write other bytes as base64');
  }
  if (agentEnv !== undefined) {
    if (!new RegExp(ENV_NAME).test(agentEnv)) add('agentEnv', 'must be the name of an environment variable');
    else if (agentEnv.startsWith('ROTA_')) add('agentEnv', 'must not be one of Rota’s own variables');
  }
  if (agentFile !== undefined) {
    if (!/^\/[^\0]*$/.test(agentFile) || agentFile.length > LIMITS.pathLength)
      add('agentFile', 'must be an absolute path');
  }
  return faults;
}

function secretView(row: ListedSecret): SecretView {
  return {
    name: row.name,
    job: row.job === '' ? null : row.job,
    from: row.kind,
    reference: row.reference,
    keyId: row.keyId,
    version: row.version,
    createdAt: instant(row.createdAt),
    updatedAt: instant(row.updatedAt),
    updatedBy: row.updatedBy,
  };
}
