// Agents without disk and processes, which answer each message at once: what is left is the server's own work. Their sessions
// are those of real agents. node bench/scriptedAgent.ts <file with their identities> spread|together <url>…
// Tells a parent process how many are online, whenever that changes.
import { readFileSync } from 'node:fs';
import type { AgentFacts, AgentMessage } from '@rota/contract';
import { systemClock, systemRandom } from '../packages/agent/src/clock.ts';
import { createSigner, type Identity } from '../packages/agent/src/identity.ts';
import type { Log } from '../packages/agent/src/ports.ts';
import { type SessionPorts, startSession } from '../packages/agent/src/session.ts';
import { webSocketConnect } from '../packages/agent/src/webSocket.ts';
import { SUCCEEDED } from '../packages/server/src/attemptReports.testing.ts';

const [identitiesFile = '', order, ...urls] = process.argv.slice(2);
const MAX_PARALLEL = 10_000;

const FACTS: AgentFacts = {
  hostname: 'scripted',
  os: '',
  arch: '',
  kernel: '',
  cpus: 1,
  memoryBytes: 0,
  bootedAt: 0,
  addresses: [],
  timezone: 'UTC',
  agentVersion: 'bench',
  runtime: '',
  pid: process.pid,
  user: '',
};
const BOOT_ID = 'bench';
const SILENT: Log = { debug() {}, info() {}, warn() {}, error: console.error };
const connect = webSocketConnect(null, systemClock);

const online = new Set<string>();
let isTelling = false;

function tell(): void {
  if (isTelling) return;
  isTelling = true;
  setImmediate(() => {
    isTelling = false;
    process.send?.({ online: online.size });
  });
}

/** A journal and work that need no disk: what is offered is accepted, what is permitted has started and ended. */
function scripted(): Pick<SessionPorts, 'journal' | 'work'> {
  let seq = 0;
  let nonce: string | null = null;
  let send: (message: AgentMessage) => void = () => {};
  const next = () => {
    seq += 1;
    return seq;
  };
  return {
    journal: {
      get seq() {
        return seq;
      },
      get nonce() {
        return nonce;
      },
      async append(record) {
        if (record.type === 'nonce') nonce = record.nonce;
        return next();
      },
      async idle() {},
    },
    work: {
      async idle() {},
      situation: () => ({
        draining: false,
        diskFull: false,
        journalFull: false,
        active: 0,
        maxParallel: MAX_PARALLEL,
      }),
      attempts: () => [],
      history: () => [],
      connected(sendIt) {
        send = sendIt;
      },
      disconnected() {},
      handle(message) {
        if (message.type === 'offer') {
          const { attemptId, epoch } = message;
          const bootMs = Math.floor(systemClock.bootMs());
          send({ type: 'accept', attemptId, epoch, bootId: BOOT_ID, bootMs, journalSeq: next() });
        } else if (message.type === 'permit') {
          const { attemptId, epoch } = JSON.parse(message.payload) as { attemptId: string; epoch: number };
          const journalSeq = next();
          send({ type: 'started', attemptId, epoch, seq: 1, pid: 1, journalSeq });
          send({ type: 'ended', attemptId, epoch, seq: 2, journalSeq, end: SUCCEEDED });
        }
      },
    },
  };
}

for (const [index, identity] of (JSON.parse(readFileSync(identitiesFile, 'utf8')) as Identity[]).entries()) {
  startSession({
    agentId: identity.agentId,
    bootId: BOOT_ID,
    agentVersion: 'bench',
    // Spread, each begins with another server, so that all of them hold some.
    urls: urls.map((_, at) => urls[(at + (order === 'spread' ? index : 0)) % urls.length] as string),
    maxParallel: MAX_PARALLEL,
    clock: systemClock,
    random: systemRandom,
    connect,
    ...scripted(),
    log: SILENT,
    facts: () => FACTS,
    sign: createSigner(identity),
    keys: () => identity.keys,
    async learn() {},
    stateChanged({ state }) {
      if (state === 'online') online.add(identity.agentId);
      else online.delete(identity.agentId);
      tell();
    },
  });
}
process.on('disconnect', () => process.exit());
