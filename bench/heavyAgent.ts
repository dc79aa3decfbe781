// An agent whose session process holds memory of its own: node bench/heavyAgent.ts <state folder> <url> <bytes> <maxParallel>,
// with a join token in ROTA_JOIN_TOKEN. It goes on until it is killed.
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import path from 'node:path';
import { hasJoined, joinServer, startAgent } from '@rota/agent';
import { pino } from 'pino';
import { holdMemory } from './holdMemory.ts';

const [stateFolder = '', url = '', bytes = '0', maxParallel = '1000'] = process.argv.slice(2);
// As the `rota` command does; the helper process takes it over.
enableCompileCache(path.join(homedir(), '.cache', 'rota', 'compiled'));
const held = holdMemory(Number(bytes));
if (!(await hasJoined(stateFolder))) {
  await joinServer({
    stateFolder,
    urls: [url],
    token: process.env.ROTA_JOIN_TOKEN ?? '',
    name: path.basename(stateFolder),
  });
}
const agent = await startAgent({
  stateFolder,
  maxParallel: Number(maxParallel),
  log: pino({ level: 'warn' }),
});
await agent.closed;
console.error(`the agent stopped, with ${held.length} pieces of memory held`);
