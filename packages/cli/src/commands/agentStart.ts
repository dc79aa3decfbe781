import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { AGENT_LOG_LEVELS, type AgentLogLevel, createAgentLog } from '../agentLog.ts';
import { labelOption, repeated, wholeNumber } from '../arguments.ts';
import type { Cli } from '../cli.ts';
import { checkedUrl, readSecret, rotaHome } from '../connection.ts';
import { CliError, usageError } from '../errors.ts';
import { agentNameOf, STOP_WITH_INPUT } from '../localAgent.ts';
import { aborted } from './server.ts';

interface StartOptions {
  url?: string[];
  name?: string;
  label?: Record<string, string>;
  order?: number;
  maxParallel?: number;
  insecure?: boolean;
  caFile?: string;
  httpAllow?: string[];
  httpDeny?: string[];
  httpStrict?: boolean;
  joinTokenFile?: string;
  logLevel: AgentLogLevel;
}

export function addAgentStartCommand(agent: Command, cli: Cli): void {
  agent
    .command('start')
    .description('run an agent in the foreground; the first time it joins with ROTA_JOIN_TOKEN')
    .option(
      '--url <url>',
      'address of a server; may be repeated, the first that answers serves (else ROTA_URL, else those it joined with)',
      repeated,
    )
    .option('--name <name>', 'its name when it joins; default: the host name')
    .addOption(labelOption('its label when it joins; may be repeated'))
    .option(
      '--order <n>',
      'its order when it joins: the lowest runs first; default 100',
      wholeNumber(0, 1_000_000),
    )
    .option('--max-parallel <n>', 'how many attempts it runs at one time', wholeNumber(1, 10_000))
    .option('--join-token-file <file>', 'file with the join token (else ROTA_JOIN_TOKEN)')
    .option('--insecure', 'allow http:// to another machine, where everyone on the way can read along')
    .option('--ca-file <file>', "certificate (PEM) that signed the server's")
    .option(
      '--http-allow <range>',
      'address or range that requests may reach; may be repeated (else ROTA_HTTP_ALLOW)',
      repeated,
    )
    .option(
      '--http-deny <range>',
      'address or range that they may not reach; may be repeated (else ROTA_HTTP_DENY). The narrowest range decides',
      repeated,
    )
    .option('--http-strict', 'let requests reach public addresses only (else ROTA_HTTP_STRICT=true)')
    .addOption(new Option('--log-level <level>', 'what is logged').choices(AGENT_LOG_LEVELS).default('info'))
    .action(async (options: StartOptions) => {
      const { ports } = cli;
      const stop = ports.stopSignal();
      const { hasJoined, joinServer, startAgent } = await import('@rota/agent');
      const common = commonOptions(options, cli);
      const log = createAgentLog(ports.err, ports.clock, options.logLevel);
      if (!(await hasJoined(common.stateFolder))) {
        const joined = await joinServer({ ...common, ...joinOptions(options, cli, common.urls) });
        log.info({ name: joined.name }, 'joined');
      }
      const running = await startAgent({
        ...common,
        ...(options.maxParallel !== undefined && { maxParallel: options.maxParallel }),
        http: httpSettings(options, ports.env),
        log,
      });
      const asked = [aborted(stop), ...(ports.env[STOP_WITH_INPUT] ? [ports.stdin.closed()] : [])];
      const ended = await Promise.race([...asked.map((each) => each.then(() => null)), running.closed]);
      if (ended !== null) throw new CliError(`the agent stopped: ${ended.reason}`);
      if (running.active > 0)
        log.info({ active: running.active }, 'stopping; what runs goes on and is reported later');
      await running.stop();
    });
}

function commonOptions({ url, insecure, caFile }: StartOptions, { ports }: Cli) {
  const urls = url ?? ports.env.ROTA_URL?.split(/[\s,]+/).filter(Boolean) ?? [];
  return {
    stateFolder: join(rotaHome(ports), 'agent'),
    ...(urls.length > 0 && { urls: urls.map((each) => checkedUrl(each, url ? '--url' : 'ROTA_URL')) }),
    ...(insecure && { insecure }),
    ...(caFile !== undefined && { ca: readFileSync(resolve(ports.cwd, caFile), 'utf8') }),
  };
}

/** What the agent's requests may reach, and the proxies that its environment names as it does for other programs. */
function httpSettings(options: StartOptions, env: Record<string, string | undefined>) {
  const list = (text: string | undefined) => text?.split(/[\s,]+/).filter(Boolean) ?? [];
  const strict = env.ROTA_HTTP_STRICT ?? 'false';
  if (strict !== 'true' && strict !== 'false')
    throw usageError(`ROTA_HTTP_STRICT is ${strict}; it must be true or false`);
  const named = (name: string) => env[name.toLowerCase()] || env[name] || null;
  const proxy = (name: string) => named(name)?.replace(/^(?![a-z][a-z0-9+.-]*:\/\/)/i, 'http://') ?? null;
  return {
    allow: options.httpAllow ?? list(env.ROTA_HTTP_ALLOW),
    deny: options.httpDeny ?? list(env.ROTA_HTTP_DENY),
    strict: options.httpStrict ?? strict === 'true',
    proxies: { http: proxy('HTTP_PROXY'), https: proxy('HTTPS_PROXY'), exempt: named('NO_PROXY') ?? '' },
  };
}

function joinOptions(options: StartOptions, { ports }: Cli, urls: string[] | undefined) {
  const next = 'rota agent join-token   (on the server; it prints the whole command)';
  if (urls === undefined)
    throw usageError('this agent has not joined a server yet, and no --url says which', next);
  const token = options.joinTokenFile
    ? readSecret(resolve(ports.cwd, options.joinTokenFile), '--join-token-file')
    : ports.env.ROTA_JOIN_TOKEN?.trim();
  if (!token)
    throw usageError('this agent has not joined a server yet, and there is no ROTA_JOIN_TOKEN', next);
  return {
    urls,
    token,
    name: options.name ?? agentNameOf(hostname()),
    ...(options.label && { labels: options.label }),
    ...(options.order !== undefined && { order: options.order }),
  };
}
