import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { systemDisk } from './disk.ts';
import { readFacts } from './facts.ts';
import { FakeServer, key, silent } from './fakeServer.testing.ts';
import type { Helper } from './helperClient.ts';
import type { FromHelper, HeldAttempt } from './helperProtocol.ts';
import { createSigner, readIdentity } from './identity.ts';
import { openJournal } from './journal.ts';
import type { Clock, Timer } from './ports.ts';
import { type AgentState, type Session, startSession } from './session.ts';
import { openSpool } from './spool.ts';
import { webSocketConnect } from './webSocket.ts';
import { createWork } from './work.ts';

/** The agent's session on real sockets, with a helper that says what the test lets it say, at times that the test makes. */

const BOOT = { bootId: 'boot', bootMs: 0 };
const EARLIER_SESSION = { epoch: 1, bootId: 'boot', helperId: 'h1', permitUntilBootMs: 9e15, key, bootMs: 0 };

let server: FakeServer;
let closing: (() => Promise<void>)[];

beforeEach(async () => {
  closing = [];
  server = await startServer();
});

afterEach(async () => {
  for (const close of closing.toReversed()) await close();
});

async function startServer(): Promise<FakeServer> {
  const started = await FakeServer.start();
  // Longer than any test makes time pass: a missed heartbeat is no matter here.
  started.heartbeatMs = 3_600_000;
  closing.push(() => started.stop());
  return started;
}

/** A clock that stands still until it is told. */
class StillClock implements Clock {
  #nowMs = 1_000;
  readonly #timers = new Set<{ atMs: number; callback: () => void }>();

  wallMs(): number {
    return this.#nowMs;
  }

  bootMs(): number {
    return this.#nowMs;
  }

  after(ms: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + ms, callback };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  pass(ms: number): void {
    this.#nowMs += ms;
    for (const timer of [...this.#timers]) {
      if (timer.atMs > this.#nowMs || !this.#timers.delete(timer)) continue;
      timer.callback();
    }
  }
}

class ScriptedHelper implements Helper {
  readonly id = 'h1';
  readonly pid = 1;
  readonly attempts: HeldAttempt[];
  say: (message: FromHelper) => void = () => {};

  constructor(attempts: HeldAttempt[]) {
    this.attempts = attempts;
  }

  send(): void {}
  listen(events: { message(message: FromHelper): void }): void {
    this.say = events.message;
  }
  leave(): void {}
}

interface Options {
  /** A server to turn to when the first is lost. */
  other?: FakeServer;
  /** What chance gives, 0 ≤ x < 1: of every jitter the most, and the servers in the order of their names, if not said. */
  chance?: number;
  started?: string[];
  /** Called each time that the session waits for what it may say. */
  waits?: (helper: ScriptedHelper) => void;
}

/** `states` has each state of the session, `dialled` each address. */
async function startAgentSession(options: Options = {}) {
  const folder = server.makeFolder();
  options.other?.joins(server);
  mkdirSync(`${folder}/spool`);
  const identity = await readIdentity(systemDisk, folder);
  assert.ok(identity);
  const { journal } = await openJournal({ folder, disk: systemDisk, now: BOOT });
  const held: HeldAttempt[] = [];
  for (const attemptId of options.started ?? []) {
    await journal.append({ type: 'started', attemptId, ...EARLIER_SESSION });
    held.push({ attemptId, state: 'waiting', pid: null });
  }
  const helper = new ScriptedHelper(held);
  const clock = new StillClock();
  const work = createWork({
    agentId: identity.agentId,
    bootId: BOOT.bootId,
    maxParallel: 4,
    journal,
    spool: openSpool(`${folder}/spool`),
    clock,
    log: silent,
    environment: {},
    meetHelper: async () => helper,
    isDiskFull: () => false,
    changed() {},
  });
  await work.recover();
  const dialled: string[] = [];
  const states: AgentState[] = [];
  let told = (): void => {};
  const connect = webSocketConnect(null, clock);
  const session: Session = startSession({
    agentId: identity.agentId,
    bootId: BOOT.bootId,
    agentVersion: '0',
    urls: options.other ? [server.url, options.other.url] : [server.url],
    maxParallel: 4,
    clock,
    random: { unit: () => options.chance ?? 0.999_999, token: () => `nonce-of-${folder}` },
    connect(url, events) {
      dialled.push(url);
      return connect(url, events);
    },
    journal,
    work: {
      ...work,
      idle() {
        const idle = work.idle();
        options.waits?.(helper);
        return idle;
      },
    },
    log: silent,
    facts: () => readFacts('0', clock),
    sign: createSigner(identity),
    keys: () => identity.keys,
    async learn() {},
    stateChanged(state) {
      states.push(state);
      told();
    },
  });
  closing.push(async () => {
    await session.stop();
    await work.close();
    await journal.close();
  });
  /** Resolves once the session has taken so many states, and all that follows from it at once is done. */
  async function hasTaken(count: number): Promise<void> {
    while (states.length < count)
      await new Promise<void>((resolve) => {
        told = resolve;
      });
    await turnsPass();
  }
  return { clock, dialled, states, hasTaken };
}

/** Whatever needs no disk and no network has happened after this. */
async function turnsPass(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}

test('a resume waits until the helper has said of each start whether it was begun', async () => {
  const said: FromHelper[] = [
    { type: 'running', attemptId: 'begun', pid: 77 },
    { type: 'refused', attemptId: 'never', reason: 'permitExpired', detail: '' },
  ];
  await startAgentSession({
    started: ['begun', 'never'],
    waits(helper) {
      // A session that does not wait has sent its resume by then.
      void turnsPass().then(() => {
        for (const message of said.splice(0)) helper.say(message);
      });
    },
  });
  const resume = await server.heard('resume');
  assert.deepEqual(
    resume.attempts.map(({ attemptId, state }) => [attemptId, state]),
    [
      ['begun', 'started'],
      ['never', 'refused'],
    ],
  );
  await server.heard('refused', ({ attemptId }) => attemptId === 'never');
  await server.heard('started', ({ attemptId, pid }) => attemptId === 'begun' && pid === 77);
  assert.ok(!server.messages.some((message) => message.type === 'started' && message.attemptId === 'never'));
});

test('when a good session is cut, the next server is dialled within 200 ms', async () => {
  const other = await startServer();
  const { clock, dialled, states, hasTaken } = await startAgentSession({ other });
  await server.heard('status');
  await hasTaken(2);
  clock.pass(5_000);
  server.cut();
  await hasTaken(3);
  assert.deepEqual(
    states.map(({ state }) => state),
    ['connecting', 'online', 'connecting'],
  );
  clock.pass(199);
  await turnsPass();
  assert.deepEqual(dialled, [server.url], 'the jitter is spread over all of it');
  clock.pass(1);
  await hasTaken(4);
  assert.deepEqual(dialled, [server.url, other.url]);
  assert.equal(states[3]?.state, 'online');
});

test('an agent begins with any of its servers, so that many spread over them', async () => {
  const other = await startServer();
  const { dialled } = await startAgentSession({ other, chance: 0 });
  await other.heard('status');
  assert.deepEqual(dialled, [other.url]);
});

test('each server is asked once before an agent takes its time', async () => {
  const other = await startServer();
  for (const each of [server, other])
    each.rejection = { type: 'rejected', code: 'draining', message: 'it stops' };
  const { clock, dialled, hasTaken } = await startAgentSession({ other });
  await hasTaken(2);
  clock.pass(200);
  await hasTaken(3);
  assert.deepEqual(dialled, [server.url, other.url]);
  clock.pass(999);
  await turnsPass();
  assert.equal(dialled.length, 2);
  clock.pass(1);
  await hasTaken(4);
  assert.deepEqual(dialled, [server.url, other.url, server.url]);
});

test('when a session is cut that has hardly begun, the agent takes its time', async () => {
  const { clock, dialled, hasTaken } = await startAgentSession();
  await server.heard('status');
  await hasTaken(2);
  clock.pass(4_999);
  server.cut();
  await hasTaken(3);
  clock.pass(999);
  await turnsPass();
  assert.equal(dialled.length, 1);
  clock.pass(1);
  await hasTaken(4);
  assert.equal(dialled.length, 2);
});
