import { AUDIT_ACTIONS, type AuditAction } from '@rota/contract';
import { type Command, Option } from 'commander';
import { limitOption } from '../arguments.ts';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { readPages } from '../pages.ts';

interface ListOptions extends ServerOptions {
  limit: number;
  action?: AuditAction;
  secret?: string;
  job?: string;
  run?: string;
}

export function addAuditCommands(program: Command, cli: Cli): void {
  const audit = program.command('audit').description('the audit trail: who changed and used which secrets');
  talks(audit.command('list'))
    .description('what was done with secrets, newest first')
    .addOption(new Option('--action <action>', 'only this').choices(AUDIT_ACTIONS))
    .option('--secret <name>', 'only of this secret')
    .option('--job <job>', 'only of this job')
    .option('--run <id>', 'only of this run, by its whole id')
    .addOption(limitOption())
    .action(async (options: ListOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const { action, secret, job, run } = options;
      const filter = {
        ...(action !== undefined && { action }),
        ...(secret !== undefined && { secret }),
        ...(job !== undefined && { job }),
        ...(run !== undefined && { run }),
      };
      const { items } = await readPages(options.limit, (query) =>
        client.call('listAudit', { query: { ...query, ...filter } }),
      );
      if (output.json) return output.value(items);
      output.table(items, [
        { head: 'WHEN', text: (each) => output.time(each.at) },
        { head: 'WHAT', text: (each) => each.action },
        { head: 'SECRETS', text: (each) => each.secrets.join(', ') },
        { head: 'BY', text: (each) => each.by ?? (each.agent === null ? '-' : `agent ${each.agent}`) },
        { head: 'JOB', text: (each) => each.job ?? '-' },
        { head: 'RUN', text: (each) => each.run ?? '-' },
        { head: 'DETAIL', text: (each) => each.detail ?? '-' },
      ]);
    });
}
