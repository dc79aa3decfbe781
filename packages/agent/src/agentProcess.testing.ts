/** A session process of its own, to be killed: `agentProcess.testing.ts <state folder>`. */
import { silent } from './fakeServer.testing.ts';
import { startAgent } from './main.ts';

const agent = await startAgent({ stateFolder: process.argv[2] as string, log: silent });
process.on('SIGTERM', () => void agent.stop());
