import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, beforeEach } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FakeServer, silent } from './fakeServer.testing.ts';
import { type Agent, type AgentOptions, startAgent } from './main.ts';
import { isAlive } from './processTree.ts';

/** One fake server and one agent's folder for each test; importing this sets them up and takes them down. */
export let server: FakeServer;
export let folder: string;
export const agents: Agent[] = [];
const sessions: ChildProcess[] = [];

beforeEach(async () => {
  server = await FakeServer.start();
  folder = server.makeFolder();
});

afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.stop()));
  for (const session of sessions.splice(0)) session.kill('SIGKILL');
  const helper = helperPid();
  if (helper !== null && isAlive({ pid: helper, startTime: null })) process.kill(helper, 'SIGKILL');
  await server.stop();
});

/** Starts an agent in this process, and waits until it is online. */
export async function start(options: Partial<AgentOptions> = {}): Promise<Agent> {
  const agent = await startAgent({ stateFolder: folder, log: silent, ...options });
  agents.push(agent);
  await online();
  return agent;
}

/** Makes the folder of this test lie elsewhere. */
export function moveFolder(parent: string): void {
  folder = server.makeFolder(parent);
}

/** Waits for a session that begins after now. */
async function online(): Promise<void> {
  await server.heard(
    'status',
    () => true,
    server.messages.findLastIndex((message) => message.type === 'resume'),
  );
}

/** Starts a session in a process of its own, and waits until it is online. */
export async function startSession(): Promise<ChildProcess> {
  const known = server.messages.length;
  const entry = fileURLToPath(new URL('./agentProcess.testing.ts', import.meta.url));
  const session = spawn(process.execPath, [entry, folder], { stdio: 'inherit' });
  sessions.push(session);
  await server.heard('status', () => true, known);
  return session;
}

/** Null when no helper is known. */
export function helperPid(): number | null {
  try {
    const { helperId } = JSON.parse(readFileSync(`${folder}/helper.json`, 'utf8'));
    return JSON.parse(readFileSync(`${folder}/helper-${helperId}.json`, 'utf8')).pid;
  } catch {
    return null;
  }
}

/** Resolves once the file is in the agent's folder. */
export function appears(path: string): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(folder, look);
    function look(): void {
      if (!existsSync(path)) return;
      watcher.close();
      resolve();
    }
    look();
  });
}

/** A command that goes on when the file `gate` is there, or its folder, and so the test, is not. */
export const gated = (gate: string) =>
  `echo begun; while [ -d ${dirname(gate)} ] && [ ! -e ${gate} ]; do sleep 0.02; done; echo done; exit 7`;

/** Resolves once the attempt has said `begun`. */
export async function isRunning(attemptId: string): Promise<void> {
  await server.until(() => server.of(attemptId).output.includes('begun\n'));
}
