/** The agent's session process: what `rota agent start` runs. */
import { mkdirSync, statfsSync } from 'node:fs';
import { getCompileCacheDir } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock, systemRandom } from './clock.ts';
import { type AgentOptions, checkStateFolder, settleConfig } from './config.ts';
import { systemDisk } from './disk.ts';
import { readBootId, readFacts } from './facts.ts';
import { meetHelper } from './helperClient.ts';
import { helperPaths } from './helperPaths.ts';
import { createSigner, type Identity, readIdentity, writeIdentity } from './identity.ts';
import { openJournal } from './journal.ts';
import { takeLock } from './lock.ts';
import { type AgentState, isLastWord, type Session, startSession } from './session.ts';
import { openSpool } from './spool.ts';
import { VERSION } from './version.ts';
import { webSocketConnect } from './webSocket.ts';
import { createWork } from './work.ts';

export type { AgentOptions } from './config.ts';
export { type JoinOptions, joinServer } from './join.ts';
export type { AgentState } from './session.ts';
export { VERSION } from './version.ts';

export interface Agent {
  readonly agentId: string;
  readonly state: AgentState;
  /** Attempts accepted or running. */
  readonly active: number;
  /** Says goodbye and leaves; what runs goes on under the helper process. */
  stop(): Promise<void>;
  /**
   * Resolves once it has stopped, and says why: asked to, or a server wants no more of it and nothing is left to
   * report. While attempts run, or a person may let it back in (quarantine), it stays and asks again.
   */
  closed: Promise<{ reason: string }>;
}

/** What the helper may know of this process's environment: nothing that could be a secret. */
const HELPER_ENVIRONMENT = [
  'PATH',
  'HOME',
  'LANG',
  'TZ',
  'NODE_EXTRA_CA_CERTS',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
];

/** True when the folder holds an identity, so that an agent can start from it. */
export async function hasJoined(stateFolder: string): Promise<boolean> {
  return (await readIdentity(systemDisk, stateFolder)) !== null;
}

/**
 * Starts an agent that has joined, and goes on until it is stopped. Resolves before it is connected.
 * @throws Error when it has not joined, an option is not allowed, another agent uses the folder, the journal cannot be
 * written, or the helper process does not start
 */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { stateFolder, log } = options;
  checkStateFolder(stateFolder);
  const joined = await readIdentity(systemDisk, stateFolder);
  if (!joined) throw new Error(`${stateFolder} has no identity: the agent must join a server first`);
  const config = settleConfig(options, joined.urls, availableParallelism());
  const spoolFolder = helperPaths(stateFolder, '').spool;
  mkdirSync(spoolFolder, { recursive: true, mode: 0o700 });
  const lock = takeLock(stateFolder, process.pid);
  try {
    return await start(joined);
  } catch (error) {
    lock.release();
    throw error;
  }

  async function start(joined: Identity): Promise<Agent> {
    let identity = joined;
    const bootId = readBootId();
    const { journal, damage } = await openJournal({
      folder: stateFolder,
      disk: systemDisk,
      now: { bootId, bootMs: systemClock.bootMs() },
    });
    if (damage) log.error({ ...damage }, 'the journal was damaged: attempts that it has lost prove nothing');
    const work = createWork({
      agentId: identity.agentId,
      bootId,
      maxParallel: config.maxParallel,
      journal,
      spool: openSpool(spoolFolder),
      clock: systemClock,
      log,
      environment: process.env,
      async meetHelper() {
        const helper = await meetHelper({
          folder: stateFolder,
          command: options.helperCommand ?? [
            process.execPath,
            fileURLToPath(new URL('./helper/main.ts', import.meta.url)),
          ],
          env: helperEnvironment(),
          clock: systemClock,
          random: systemRandom,
          disk: systemDisk,
          log,
        });
        helper.send({ type: 'settings', http: config.http });
        return helper;
      },
      isDiskFull: () => freeBytes(stateFolder) < config.minFreeBytes,
      changed: () => session?.sendStatus(),
    });
    await work.recover();

    const closed = Promise.withResolvers<{ reason: string }>();
    let state: AgentState = { state: 'connecting', detail: null };
    let stopping: Promise<void> | null = null;
    const session: Session = startSession({
      agentId: identity.agentId,
      bootId,
      agentVersion: VERSION,
      urls: config.urls,
      maxParallel: config.maxParallel,
      clock: systemClock,
      random: systemRandom,
      connect: webSocketConnect(config.ca, systemClock),
      journal,
      work,
      log,
      facts: () => readFacts(VERSION, systemClock),
      sign: createSigner(identity),
      keys: () => identity.keys,
      async learn(keys, name) {
        if (identity.name === name && JSON.stringify(identity.keys) === JSON.stringify(keys)) return;
        identity = { ...identity, name, keys };
        await writeIdentity(systemDisk, stateFolder, identity);
      },
      stateChanged(next) {
        state = next;
        options.onState?.(next);
        if (next.state === 'rejected' && isLastWord(next.code) && work.active === 0)
          void stop(`the server rejected it (${next.code}): ${next.message}`);
      },
    });

    function stop(reason: string): Promise<void> {
      stopping ??= leave().finally(() => closed.resolve({ reason }));
      return stopping;
    }
    async function leave(): Promise<void> {
      work.drain();
      await session.stop();
      await work.close();
      await journal.close();
      lock.release();
    }
    return {
      agentId: identity.agentId,
      get state() {
        return state;
      },
      get active() {
        return work.active;
      },
      stop: () => stop('it was asked to'),
      closed: closed.promise,
    };
  }
}

function helperEnvironment(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of HELPER_ENVIRONMENT) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  // The helper finds its modules compiled: the compiler would stay in its memory, and make each start of a process dearer.
  const compiled = getCompileCacheDir();
  if (compiled !== undefined) env.NODE_COMPILE_CACHE = dirname(compiled);
  return env;
}

/** What a user without privileges may still write on the folder's disk. */
function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}
