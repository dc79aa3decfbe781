import type { Command } from 'commander';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { took } from '../output.ts';

const NAMES_SHOWN = 10;

/** What a database had lost that went on from an older state, and whom it still has to hear. */
export function recoveryText(
  { cause, awaited, heldRuns }: { cause: 'failover' | 'restore'; awaited: string[]; heldRuns: number },
  since: string,
): string {
  const what =
    cause === 'failover' ? 'a standby took over that may lack the last commits' : 'it was put back';
  const more = awaited.length > NAMES_SHOWN ? ` and ${awaited.length - NAMES_SHOWN} more` : '';
  const whom =
    awaited.length === 0 ? '' : `; not heard yet: ${awaited.slice(0, NAMES_SHOWN).join(', ')}${more}`;
  return `${what}, ${since}; ${heldRuns} runs held${whom}`;
}

export function addStatusCommand(program: Command, cli: Cli): void {
  talks(program.command('status'))
    .description('the state of everything in a few numbers')
    .action(async (options: ServerOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const status = await client.call('status', {});
      if (output.json) return output.value({ url: cli.connection?.url, ...status });
      const { jobs, servers, agents, runs, lateness, recovery } = status;
      const alarming = (count: number, text: string) => (count > 0 ? output.style('red', text) : text);
      output.facts([
        [
          'server',
          `${cli.connection?.url}, version ${status.version}, started ${output.time(status.startedAt)}`,
        ],
        [
          'servers',
          servers.length === 1
            ? null
            : servers
                .map(({ name, state, startedAt, lastSeenAt, agents: held }) => {
                  const since = `since ${output.time(startedAt)}, ${held} agents`;
                  if (state === 'live') return `${name} (${since})`;
                  if (state === 'leaving') return `${name} (leaving, ${since})`;
                  return output.style(
                    'red',
                    `${name} (lost, last seen ${output.time(lastSeenAt)}, ${held} agents)`,
                  );
                })
                .join('; '),
        ],
        [
          'database',
          recovery === null ? null : output.style('red', recoveryText(recovery, output.time(recovery.since))),
        ],
        ['timezone', status.timezone],
        [
          'jobs',
          `${jobs.total}: ${jobs.enabled} enabled, ${jobs.paused} paused, ${jobs.total - jobs.enabled - jobs.paused} disabled`,
        ],
        [
          'agents',
          `${agents.online} online, ${alarming(agents.offline, `${agents.offline} offline`)}, ${alarming(agents.quarantined, `${agents.quarantined} quarantined`)}`,
        ],
        [
          'runs now',
          `${runs.active} active, ${runs.queued} queued, ${alarming(runs.unknown, `${runs.unknown} unknown`)}`,
        ],
        [
          'last day',
          `${runs.succeededLastDay} succeeded, ${alarming(runs.failedLastDay, `${runs.failedLastDay} failed`)}, ${alarming(runs.missedLastDay, `${runs.missedLastDay} missed`)}`,
        ],
        [
          'lateness',
          lateness.runs === 0
            ? null
            : `half within ${took(lateness.p50Ms)}, 99 % within ${took(lateness.p99Ms)}, at most ${took(lateness.maxMs)} (${lateness.runs} runs)`,
        ],
      ]);
      if (recovery !== null && recovery.awaited.length > 0)
        output.note(
          `Start these agents, or say of one that is gone for good: rota agent remove ${recovery.awaited[0]} --gone`,
        );
      if (runs.unknown > 0)
        output.note('Unknown runs wait for their agent or for you: rota run list --state unknown');
    });
}
