import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import * as os from 'node:os';
import type { AgentFacts } from '@rota/contract';
import type { Clock } from './ports.ts';

/** What is known of this machine and process. */
export function readFacts(agentVersion: string, clock: Clock): AgentFacts {
  const user = os.userInfo();
  return {
    hostname: os.hostname().slice(0, 255),
    os: readOsName(),
    arch: os.arch(),
    kernel: os.release(),
    cpus: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    bootedAt: Math.round(clock.wallMs() - clock.bootMs()),
    addresses: readAddresses(),
    timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    agentVersion,
    runtime: `node ${process.version}`,
    pid: process.pid,
    user: user.username.slice(0, 64),
  };
}

/** Names this boot of the machine: another one proves that every process of the former is gone. */
export function readBootId(): string {
  if (process.platform === 'linux') return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  if (process.platform === 'darwin')
    return execFileSync('sysctl', ['-n', 'kern.bootsessionuuid'], { encoding: 'utf8' }).trim();
  throw new Error(`an agent cannot run on ${process.platform}: there is no way to tell its boots apart`);
}

function readOsName(): string {
  try {
    const name = /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
    if (name) return name.slice(0, 200);
  } catch {
    // Not every system has that file.
  }
  return `${os.type()} ${os.release()}`.slice(0, 200);
}

function readAddresses(): string[] {
  const all = Object.values(os.networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all
    .filter((address) => !address.internal && !address.address.startsWith('fe80:'))
    .map((address) => address.address)
    .slice(0, 50);
}
