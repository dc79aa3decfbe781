import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { rotaHome } from '../connection.ts';
import { joinedName, type LocalAgent, startLocalAgent } from '../localAgent.ts';
import { aborted, type ListenOptions, serves, startServerHere } from './server.ts';

/** So long `up` waits for its agent before it says that it is still starting. */
const AGENT_WAIT_MS = 15_000;

interface UpOptions extends ListenOptions {
  agent: boolean;
  name?: string;
}

export function addUpCommand(program: Command, cli: Cli): void {
  serves(program.command('up'))
    .description('start a server and an agent on this machine, in the foreground')
    .option('--name <name>', "the agent's name; default: the host name")
    .option('--no-agent', 'only the server')
    .action(async (options: UpOptions) => {
      const output = cli.output({});
      const stop = cli.ports.stopSignal();
      const server = await startServerHere({ ...options, logTo: 'file' }, cli);
      const home = rotaHome(cli.ports);
      const isStranger = server.firstStart && joinedName(home) !== null;
      const agent =
        options.agent && !isStranger
          ? await startLocalAgent(cli, {
              url: server.url,
              joinToken: () => server.createLocalJoinToken(),
              ...(options.name !== undefined && { name: options.name }),
              ...(options.tlsCert !== undefined && { caFile: resolve(cli.ports.cwd, options.tlsCert) }),
            })
          : null;
      output.line(`${output.style('bold', 'Rota is up')} at ${server.url}   (Ctrl-C stops it)`);
      output.line(`  data   ${home}`);
      output.line(`  token  ${server.tokenFile}`);
      output.line(
        `  agent  ${agent ? await agentLine(cli, agent, server, stop) : noAgentLine(home, isStranger)}`,
      );
      if (!stop.aborted) {
        output.line('Now type, in another terminal:');
        output.line('  npx rota job add hello --every 10s -- echo hi');
        output.line('  npx rota logs -f hello');
        output.line('  npx rota import crontab /etc/crontab');
      }
      void agent?.failed.then((reason) => output.note(`The agent is not started any more: ${reason}`));
      await aborted(stop);
      const active = await server.activeRuns();
      output.line(`Stopping. ${farewell(active)}`);
      await agent?.stop();
      await server.stop();
    });
}

/** An agent of other data cannot join new data, and what its journal knows must not be lost unseen. */
function noAgentLine(home: string, isStranger: boolean): string {
  if (!isStranger) return 'none (--no-agent)';
  return `none: the one in ${join(home, 'agent')} joined another server; move that folder away and start again`;
}

function farewell(active: number): string {
  if (active === 0) return 'Nothing is running.';
  const runs = active === 1 ? '1 run goes' : `${active} runs go`;
  return `${runs} on without Rota; the results are reported after the next \`npx rota up\`.`;
}

interface OnlineSource {
  whenAgentOnline(name: string, signal: AbortSignal): Promise<void>;
}

async function agentLine(
  cli: Cli,
  agent: LocalAgent,
  server: OnlineSource,
  stop: AbortSignal,
): Promise<string> {
  const wait = new AbortController();
  const signal = AbortSignal.any([stop, wait.signal]);
  const log = join(rotaHome(cli.ports), 'agent.log');
  const online = server.whenAgentOnline(agent.name, signal).then(
    () => `${agent.name} is online`,
    () => `${agent.name} is still starting; see ${log}`,
  );
  const line = await Promise.race([
    online,
    agent.failed.then((reason) => `not running: ${reason}; see ${log}`),
    cli.ports.clock.sleep(AGENT_WAIT_MS, signal).then(() => `${agent.name} is still starting; see ${log}`),
  ]);
  wait.abort();
  return line;
}
