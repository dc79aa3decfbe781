import type { AgentView, RouteBody, RouteQuery } from '@rota/contract';
import { type Command, Option } from 'commander';
import { labelOption, limitOption, pairs, repeated, wholeNumber } from '../arguments.ts';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { isLoopback } from '../errors.ts';
import { bytes, type Output } from '../output.ts';
import { readPages } from '../pages.ts';
import { agentColumns, agentState, labelsText } from '../views.ts';
import { addAgentStartCommand } from './agentStart.ts';

export function addAgentCommands(program: Command, cli: Cli): void {
  const agent = program.command('agent').description('agents: the machines that run the jobs');
  addAgentStartCommand(agent, cli);
  addJoinToken(agent, cli);
  addList(agent, cli);
  addShow(agent, cli);
  addSet(agent, cli);
  addRemove(agent, cli);
}

function addJoinToken(agent: Command, cli: Cli): void {
  talks(agent.command('join-token'))
    .description('print the command that makes another machine an agent')
    .addOption(labelOption('label of that agent; may be repeated'))
    .option('--expires-in <duration>', 'default 1h, at most 30d')
    .action(async (options: ServerOptions & { label?: Record<string, string>; expiresIn?: string }) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const { label, expiresIn } = options;
      const answer = await client.call('createJoinToken', {
        body: { ...(label && { labels: label }), ...(expiresIn !== undefined && { expiresIn }) },
      });
      const { protocol, hostname, origin } = new URL(cli.connection?.url ?? '');
      const insecure = protocol === 'http:' && !isLoopback(hostname) ? ' --insecure' : '';
      const command = `ROTA_JOIN_TOKEN=${answer.token} npx rota agent start --url ${origin}${insecure}`;
      if (output.json) return output.value({ ...answer, command });
      output.line(command);
      output.note(`Works once, until ${answer.joinToken.expiresAt}. Type it on the other machine.`);
      if (isLoopback(hostname)) {
        output.note(
          'This address is of this machine only. For other machines start the server with --listen 0.0.0.0:7682 (and --tls-cert, --tls-key), and put its address behind --url.',
        );
      }
    });
}

interface ListOptions extends ServerOptions {
  state?: AgentView['state'];
  label?: string;
  limit: number;
}

function addList(agent: Command, cli: Cli): void {
  talks(agent.command('list'))
    .description('agents by order and name')
    .addOption(
      new Option('--state <state>', 'only in this state').choices(['online', 'offline', 'quarantined']),
    )
    .option('-l, --label <key[=value]>', 'only agents with that label')
    .addOption(limitOption())
    .action(async (options: ListOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const filter: RouteQuery<'listAgents'> = {
        ...(options.state && { state: options.state }),
        ...(options.label !== undefined && { label: options.label }),
      };
      const { items, more } = await readPages(options.limit, (page) =>
        client.call('listAgents', { query: { ...filter, ...page } }),
      );
      if (output.json) return output.value(items);
      if (items.length === 0 && output.human) return output.note('No agents. Add one: rota agent join-token');
      output.table(items, agentColumns(output));
      if (more) output.note(`There are more; see them with --limit ${options.limit * 10}.`);
    });
}

function addShow(agent: Command, cli: Cli): void {
  talks(agent.command('show'))
    .description('one agent and its machine')
    .argument('<name>')
    .action(async (name: string, options: ServerOptions) => {
      const output = cli.output(options);
      const view = await cli.connect(options).call('getAgent', { params: { name } });
      if (output.json) return output.value(view);
      showAgent(output, view);
    });
}

function showAgent(output: Output, agent: AgentView): void {
  const { facts } = agent;
  output.facts([
    ['name', agent.name],
    ['state', agentState(output, agent)],
    ['detail', agent.detail],
    ['order', String(agent.order)],
    ['labels', labelsText(agent.labels)],
    ['active', `${agent.active} of at most ${agent.maxParallel}`],
    ['connected', agent.connectedAt && output.timeInFull(agent.connectedAt)],
    ['seen', output.timeInFull(agent.lastSeenAt)],
    ['made', output.timeInFull(agent.createdAt)],
    ...(facts === null
      ? []
      : ([
          ['host', facts.hostname],
          ['system', `${facts.os}, ${facts.kernel}, ${facts.arch}`],
          ['size', `${facts.cpus} CPUs, ${bytes(facts.memoryBytes)}`],
          ['addresses', facts.addresses.join(' ')],
          ['timezone', facts.timezone],
          [
            'agent',
            `version ${facts.agentVersion} on ${facts.runtime}, pid ${facts.pid}, user ${facts.user}`,
          ],
        ] as const)),
  ]);
}

interface SetOptions extends ServerOptions {
  name?: string;
  order?: number;
  label?: Record<string, string>;
  unlabel?: string[];
  enable?: boolean;
  disable?: boolean;
}

function addSet(agent: Command, cli: Cli): void {
  talks(agent.command('set'))
    .description('change an agent')
    .argument('<name>')
    .option('--name <name>', 'its new name')
    .option('--order <n>', 'who comes first: the lowest', wholeNumber(0, 1_000_000))
    .option('-l, --label <key=value>', 'add or change a label; may be repeated', pairs('label'))
    .option('--unlabel <key>', 'take a label away; may be repeated', repeated)
    .addOption(new Option('--disable', 'give it no new runs').conflicts('enable'))
    .option('--enable', 'give it runs again')
    .action(async (name: string, options: SetOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const body: RouteBody<'setAgent'> = {
        ...(options.name !== undefined && { name: options.name }),
        ...(options.order !== undefined && { order: options.order }),
        ...((options.enable || options.disable) && { enabled: options.enable === true }),
      };
      if (options.label || options.unlabel) {
        const { labels } = await client.call('getAgent', { params: { name } });
        body.labels = Object.fromEntries(
          Object.entries({ ...labels, ...options.label }).filter(([key]) => !options.unlabel?.includes(key)),
        );
      }
      const view = await client.call('setAgent', { params: { name }, body });
      if (output.json) return output.value(view);
      output.table([view], agentColumns(output));
    });
}

function addRemove(agent: Command, cli: Cli): void {
  const command = talks(agent.command('remove'))
    .description('remove an agent and its key')
    .argument('<name>')
    .option(
      '--gone',
      'the machine and its processes are gone for good: its runs become unknown, its job slots free',
    )
    .action(async (name: string, options: ServerOptions & { gone?: boolean }) => {
      const output = cli.output(options);
      const query: RouteQuery<'removeAgent'> = options.gone ? { gone: true } : {};
      await cli.connect(options).call('removeAgent', { params: { name }, query });
      if (output.json) return output.value({ removed: name });
      output.line(`${name}: removed`);
    });
  command.addHelpText('after', '\nWithout --gone it is refused while the agent is online or holds runs.');
}
