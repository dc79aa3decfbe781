import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Problem, ROLES, type Role } from '@rota/contract';
import { newCredential } from './auth/credential.ts';
import { systemClock } from './clock.ts';
import type { ServerOptions } from './config.ts';
import { type RunningServer, startServer } from './main.ts';
import { newId, systemRandom } from './random.ts';
import { createStore, type Store } from './store/store.ts';
import { databaseOfHome, type TestDatabase } from './store.testing.ts';

/** A temporary data folder that is gone after the test. */
export function temporaryHome(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'rota-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'server');
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests assert on what came, whatever it is
  json: any;
}

export interface TestServer extends RunningServer {
  /** The first admin token. */
  token: string;
  /** Sends a request as the admin, or as another token; null for none. */
  send(method: string, path: string, body?: unknown, token?: string | null): Promise<Answer>;
  /** A second connection to the server's database. */
  store: Store;
  /** A token with a role, in a tenant that is made when it is not there. */
  tokenOf(role: Role, tenant?: string): Promise<string>;
}

/** A real server on a free port, stopped after the test. */
export async function startTestServer(
  t: TestContext,
  options: Partial<ServerOptions> = {},
): Promise<TestServer> {
  const home = options.home ?? temporaryHome(t);
  const database = await useDatabase(home);
  const server = await startServer({
    home,
    listen: '127.0.0.1:0',
    timezone: 'Europe/Berlin',
    logTo: 'file',
    env: { ROTA_DATABASE_POOL_SIZE: '4' },
    ...(database.url !== undefined && { database: database.url }),
    ...options,
  });
  const store = createStore(await database.open(systemClock));
  t.after(async () => {
    await store.close();
    await server.stop();
    await leaveDatabase(home);
  });
  const token = readFileSync(server.tokenFile, 'utf8').trim();

  async function send(
    method: string,
    path: string,
    body?: unknown,
    as: string | null = token,
  ): Promise<Answer> {
    const headers: Record<string, string> = as === null ? {} : { authorization: `Bearer ${as}` };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const response = await fetch(server.url + path, {
      method,
      headers,
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      redirect: 'manual',
    });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get('content-type') ?? '');
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: isJson && text !== '' ? JSON.parse(text) : null,
    };
  }

  async function tokenOf(role: Role, tenant = 'default'): Promise<string> {
    let found = await store.tenantByName({ name: tenant });
    if (!found) {
      await store.createTenant({ id: newId(systemRandom), name: tenant, timezone: 'UTC' });
      found = await store.tenantByName({ name: tenant });
    }
    const credential = newCredential('token', systemRandom);
    await store.createToken({
      tenantId: found?.id ?? '',
      id: credential.id,
      name: `${role}-${credential.id}`,
      hash: credential.hash,
      role,
      createdBy: null,
      expiresInMs: null,
    });
    return credential.text;
  }

  return { ...server, token, send, store, tokenOf };
}

/** The databases of folders, and how many servers a test has started in each. */
const databases = new Map<string, { database: TestDatabase; servers: number }>();

async function useDatabase(home: string): Promise<TestDatabase> {
  const used = databases.get(home) ?? { database: await databaseOfHome(home), servers: 0 };
  used.servers += 1;
  databases.set(home, used);
  return used.database;
}

async function leaveDatabase(home: string): Promise<void> {
  const used = databases.get(home);
  if (!used) return;
  used.servers -= 1;
  if (used.servers > 0) return;
  databases.delete(home);
  await used.database.release();
}

/** Asserts that an answer is a problem (RFC 9457) of a code, and gives it. */
export function assertProblem(answer: Answer, code: Problem['code']): Problem {
  assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/, answer.text);
  const problem = answer.json as Problem;
  assert.equal(problem.code, code, answer.text);
  assert.equal(problem.status, answer.status);
  assert.equal(problem.type, `urn:rota:error:${code}`);
  assert.ok(problem.detail.length > 10 && problem.detail.length < 1_000, problem.detail);
  assert.match(problem.requestId ?? '', /^[0-9a-z]{20}$/);
  return problem;
}

/** The role just below, or null for the lowest. */
export function roleBelow(role: Role): Role | null {
  return ROLES[ROLES.indexOf(role) - 1] ?? null;
}

/** A public key and facts that an agent joins with. */
export const JOINING = {
  publicKey: 'MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE',
  facts: {
    hostname: 'db-1',
    os: 'Linux',
    arch: 'x64',
    kernel: '6.1',
    cpus: 2,
    memoryBytes: 1,
    bootedAt: 1,
    addresses: [],
    timezone: 'UTC',
    agentVersion: '0.1.0',
    runtime: 'node',
    pid: 1,
    user: 'root',
  },
};
