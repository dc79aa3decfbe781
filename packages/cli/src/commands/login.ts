import { createClient } from '@rota/contract';
import type { Command } from 'commander';
import { type AnswerOptions, answers, type Cli } from '../cli.ts';
import { checkedUrl, writeLogin } from '../connection.ts';
import { isLoopback, usageError } from '../errors.ts';

interface LoginOptions extends AnswerOptions {
  insecure?: boolean;
}

export function addLoginCommand(program: Command, cli: Cli): void {
  answers(program.command('login'))
    .description(
      'keep the address of a server and a token for it; the token is asked for or read from the input',
    )
    .argument('[url]', 'address of the server; default: ROTA_URL')
    .option('--insecure', 'allow http:// to another machine, where everyone on the way can read the token')
    .action(async (given: string | undefined, options: LoginOptions) => {
      const { ports } = cli;
      const output = cli.output(options);
      const url = checkedUrl(given ?? (await askedUrl(cli)), 'url');
      const { protocol, hostname } = new URL(url);
      if (protocol === 'http:' && !isLoopback(hostname) && !options.insecure) {
        throw usageError(`${url} is not encrypted: use https://, or --insecure in a network that you trust`);
      }
      const token = (
        ports.stdin.isTTY ? await ports.stdin.ask('Token: ', true) : await ports.stdin.text()
      ).trim();
      if (token === '')
        throw usageError('no token was given', 'rota token create NAME --role editor   (on the server)');
      const whoami = await createClient({ url, token, fetch: ports.fetch }).call('whoami', {});
      const file = writeLogin({ url, token }, ports);
      if (output.json)
        return output.value({ url, file, token: whoami.token, role: whoami.role, tenant: whoami.tenant });
      output.line(`Logged in at ${url} as ${whoami.token} (${whoami.role}); kept in ${file}`);
    });
}

async function askedUrl({ ports }: Cli): Promise<string> {
  if (ports.env.ROTA_URL) return ports.env.ROTA_URL;
  if (!ports.stdin.isTTY)
    throw usageError('which server? Give its address', 'rota login https://rota.example.org');
  return (await ports.stdin.ask('Address of the server: ', false)).trim();
}
