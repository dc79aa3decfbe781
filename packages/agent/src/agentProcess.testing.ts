/** A session process of its own, to be killed: `agentProcess.testing.ts <state folder> [<its helpers' command, as JSON>]`. */
import { silent } from './fakeServer.testing.ts';
import { startAgent } from './main.ts';

const [, , stateFolder = '', command] = process.argv;
const helper = command === undefined ? {} : { helperCommand: JSON.parse(command) as string[] };
const agent = await startAgent({ stateFolder, log: silent, ...helper });
process.on('SIGTERM', () => void agent.stop());
