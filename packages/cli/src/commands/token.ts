import { ROLES, type Role } from '@rota/contract';
import { type Command, Option } from 'commander';
import { limitOption } from '../arguments.ts';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { readPages } from '../pages.ts';

export function addTokenCommands(program: Command, cli: Cli): void {
  const token = program.command('token').description('tokens: who may do what');
  addList(token, cli);
  addCreate(token, cli);
  addRevoke(token, cli);
}

function addList(token: Command, cli: Cli): void {
  talks(token.command('list'))
    .description('tokens by name, without their secret')
    .addOption(limitOption())
    .action(async (options: ServerOptions & { limit: number }) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const { items } = await readPages(options.limit, (query) => client.call('listTokens', { query }));
      if (output.json) return output.value(items);
      output.table(items, [
        { head: 'NAME', text: (each) => each.name },
        { head: 'ROLE', text: (each) => each.role },
        { head: 'CREATED', text: (each) => output.time(each.createdAt) },
        { head: 'EXPIRES', text: (each) => output.time(each.expiresAt) },
        { head: 'LAST USED', text: (each) => output.time(each.lastUsedAt) },
        { head: 'ID', text: (each) => each.id },
      ]);
    });
}

function addCreate(token: Command, cli: Cli): void {
  talks(token.command('create'))
    .description('make a token; it is shown once')
    .argument('<name>')
    .addOption(new Option('--role <role>', 'what it may do').choices(ROLES).makeOptionMandatory())
    .option('--expires-in <duration>', 'until when, such as 90d; default: for ever')
    .action(async (name: string, options: ServerOptions & { role: Role; expiresIn?: string }) => {
      const output = cli.output(options);
      const { role, expiresIn } = options;
      const body = { name, role, ...(expiresIn !== undefined && { expiresIn }) };
      const answer = await cli.connect(options).call('createToken', { body });
      if (output.json) return output.value(answer);
      output.line(answer.token);
      output.note(
        `Shown once; keep it in a file of mode 0600 and pass it by --token-file, ROTA_TOKEN_FILE or ROTA_TOKEN.`,
      );
    });
}

function addRevoke(token: Command, cli: Cli): void {
  talks(token.command('revoke'))
    .description('take tokens back, at once')
    .argument('<name-or-id...>')
    .action(async (ids: string[], options: ServerOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      for (const id of ids) {
        await client.call('deleteToken', { params: { id } });
        if (!output.json) output.line(`${id}: revoked`);
      }
      if (output.json) output.value({ revoked: ids });
    });
}
