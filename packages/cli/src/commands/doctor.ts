import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ApiError, type Client } from '@rota/contract';
import { resolveZone } from '@rota/schedule';
import type { Command } from 'commander';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { type Connection, rotaHome } from '../connection.ts';
import { EXIT, explain, isLoopback, isTlsFault } from '../errors.ts';
import { bytes, took } from '../output.ts';
import { VERSION } from '../version.ts';
import { recoveryText } from './status.ts';

/** One thing that `doctor` looked at. */
interface Finding {
  what: 'node' | 'zone' | 'disk' | 'server' | 'port' | 'token' | 'version' | 'clock' | 'agents' | 'database';
  state: 'ok' | 'warning' | 'fault';
  text: string;
  /** What to do about it. */
  remedy?: string;
}

const MARKS = { ok: 'ok', warning: 'warning', fault: 'FAULT' } as const;
const STYLES = { ok: 'green', warning: 'yellow', fault: 'red' } as const;
const LOW_DISK_BYTES = 1024 ** 3;
const NO_DISK_BYTES = 100 * 1024 ** 2;
const CLOCK_WARNING_MS = 2_000;
const DEFAULT_PORT = 7682;

export function addDoctorCommand(program: Command, cli: Cli): void {
  talks(program.command('doctor'))
    .description('check this machine and its way to the server: clock, zone, disk, port, versions, token')
    .action(async (options: ServerOptions) => {
      const output = cli.output(options);
      const findings = [
        nodeFinding(),
        zoneFinding(cli),
        await diskFinding(cli),
        ...(await serverFindings(cli, options)),
      ];
      if (findings.some(({ state }) => state === 'fault')) cli.exitCode = EXIT.failure;
      if (output.json) return output.value(findings);
      output.table(findings, [
        { head: 'CHECK', text: ({ what }) => what },
        { head: 'STATE', text: ({ state }) => output.style(STYLES[state], MARKS[state]) },
        { head: 'FOUND', text: ({ text }) => text },
      ]);
      for (const { what, remedy } of findings) if (remedy !== undefined) output.note(`${what}: ${remedy}`);
    });
}

function nodeFinding(): Finding {
  return { what: 'node', state: 'ok', text: `${process.version} on ${process.platform} ${process.arch}` };
}

function zoneFinding({ ports }: Cli): Finding {
  try {
    return { what: 'zone', state: 'ok', text: resolveZone(ports.timezone) };
  } catch (error) {
    return {
      what: 'zone',
      state: 'fault',
      text: (error as Error).message,
      remedy: 'set TZ to an IANA name such as Europe/Berlin',
    };
  }
}

async function diskFinding({ ports }: Cli): Promise<Finding> {
  for (let folder = rotaHome(ports); ; folder = dirname(folder)) {
    const stats = await statfs(folder).catch(() => null);
    if (stats === null && folder !== dirname(folder)) continue;
    const free = stats === null ? 0 : stats.bavail * stats.bsize;
    const text = `${bytes(free)} free at ${rotaHome(ports)}`;
    if (free < NO_DISK_BYTES)
      return {
        what: 'disk',
        state: 'fault',
        text,
        remedy: 'free some space: agents decline runs when the disk is full',
      };
    if (free < LOW_DISK_BYTES)
      return { what: 'disk', state: 'warning', text, remedy: 'free some space soon' };
    return { what: 'disk', state: 'ok', text };
  }
}

async function serverFindings(cli: Cli, options: ServerOptions): Promise<Finding[]> {
  let client: Client;
  try {
    client = cli.connect(options);
  } catch (error) {
    const { message, next } = explain(error);
    return [
      { what: 'server', state: 'fault', text: message, ...(next && { remedy: next }) },
      await portFinding(cli, DEFAULT_PORT),
    ];
  }
  const { url, urlFrom } = cli.connection as Connection;
  try {
    await client.call('health', {});
  } catch (error) {
    const { message, next } = explain(error);
    const { hostname, port } = new URL(url);
    const own =
      isLoopback(hostname) && !isTlsFault(error)
        ? [await portFinding(cli, Number(port) || DEFAULT_PORT)]
        : [];
    return [
      {
        what: 'server',
        state: 'fault',
        text: `${message} (address from ${urlFrom})`,
        ...(next && { remedy: next }),
      },
      ...own,
    ];
  }
  const reached: Finding = { what: 'server', state: 'ok', text: `${url} (from ${urlFrom})` };
  return [await readiness(client, reached), ...(await tokenFindings(cli, client))];
}

async function readiness(client: Client, reached: Finding): Promise<Finding> {
  try {
    await client.call('ready', {});
    return reached;
  } catch (error) {
    return {
      ...reached,
      state: 'warning',
      text: `${reached.text}, not ready: ${explain(error).message}`,
      remedy: 'wait, or see its log',
    };
  }
}

async function portFinding({ ports }: Cli, port: number): Promise<Finding> {
  return (await ports.canListen('127.0.0.1', port))
    ? { what: 'port', state: 'ok', text: `${port} is free for a server` }
    : {
        what: 'port',
        state: 'fault',
        text: `${port} is taken by another program`,
        remedy: `start with --listen 127.0.0.1:${port + 1}`,
      };
}

async function tokenFindings(cli: Cli, client: Client): Promise<Finding[]> {
  const connection = cli.connection as Connection;
  const { clock } = cli.ports;
  try {
    const whoami = await client.call('whoami', {});
    const token: Finding = {
      what: 'token',
      state: 'ok',
      text: `${whoami.token}, ${whoami.role} (from ${connection.tokenFrom})`,
    };
    const before = clock.now();
    const status = await client.call('status', {});
    const trip = clock.now() - before;
    const { online, offline, quarantined } = status.agents;
    return [
      token,
      versionFinding(status.version),
      clockFinding(Date.parse(status.now) - (before + trip / 2), trip),
      {
        what: 'agents',
        state: online === 0 || quarantined > 0 ? 'warning' : 'ok',
        text: `${online} online, ${offline} offline, ${quarantined} quarantined`,
        ...(online === 0 && { remedy: 'nothing can run: start an agent (rota agent join-token)' }),
        ...(quarantined > 0 && { remedy: 'rota agent list --state quarantined' }),
      },
      ...(status.recovery === null ? [] : [recoveryFinding(status.recovery)]),
    ];
  } catch (error) {
    const { message, next } = explain(error);
    const why =
      error instanceof ApiError && connection.tokenMissing !== null
        ? `${message} (${connection.tokenMissing})`
        : message;
    return [{ what: 'token', state: 'fault', text: why, ...(next && { remedy: next }) }];
  }
}

function recoveryFinding(recovery: Parameters<typeof recoveryText>[0] & { since: string }): Finding {
  return {
    what: 'database',
    state: 'warning',
    text: recoveryText(recovery, recovery.since),
    ...(recovery.awaited.length > 0 && {
      remedy: `start these agents, or say of one that is gone for good: rota agent remove ${recovery.awaited[0]} --gone`,
    }),
  };
}

function versionFinding(server: string): Finding {
  if (server === VERSION) return { what: 'version', state: 'ok', text: VERSION };
  return {
    what: 'version',
    state: 'warning',
    text: `this is ${VERSION}, the server is ${server}`,
    remedy: 'update the older of the two',
  };
}

/** Nothing in Rota compares clocks of two machines, but schedules follow the server's. */
function clockFinding(aheadMs: number, tripMs: number): Finding {
  const away = Math.max(0, Math.abs(aheadMs) - tripMs / 2);
  if (away < CLOCK_WARNING_MS)
    return {
      what: 'clock',
      state: 'ok',
      text: `as the server's (within ${took(Math.max(1, away + tripMs / 2))})`,
    };
  const text = `${took(Math.abs(aheadMs))} ${aheadMs > 0 ? 'behind' : 'ahead of'} the server's`;
  return {
    what: 'clock',
    state: 'warning',
    text,
    remedy: "synchronise both clocks (NTP): schedules follow the server's",
  };
}
