import { existsSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { type AnswerOptions, answers, type Cli } from '../cli.ts';
import { CliError } from '../errors.ts';

export function addInitCommand(program: Command, cli: Cli): void {
  answers(program.command('init'))
    .description('write a commented sample of a document of jobs')
    .argument('[file]', 'where to', 'jobs.yaml')
    .action((file: string, options: AnswerOptions) => {
      const output = cli.output(options);
      const path = resolve(cli.ports.cwd, file);
      if (existsSync(path)) throw new CliError(`${file} is there already`, { next: `rota diff -f ${file}` });
      writeFileSync(path, SAMPLE, { flag: 'wx' });
      if (output.json) return output.value({ file: path });
      output.line(`Wrote ${file}. See what it would do, then do it:`);
      output.line(`  rota diff -f ${file}`);
      output.line(`  rota apply -f ${file}`);
    });
}

/** Applies cleanly as it stands; every line that is commented out does too. */
export const SAMPLE = `# Jobs for Rota.  rota diff -f jobs.yaml  says what would change,  rota apply -f jobs.yaml  does it.
# Durations: 90s, 15m, 1h30m, 2d. An unknown field is an error, so a typing mistake does not pass silently.

# Whose document this is: rota apply --prune deletes what it listed before and no longer lists.
owner: sample

# For every job of this file. Without it, the server's own time zone.
# defaults:
#   timezone: Europe/Berlin

jobs:
  # The shortest job: a name, when, and what. It runs on any agent that is online.
  - name: hello
    schedule: every 1m
    command: echo "hello from $(hostname)"

  # The same with more said.
  - name: clean-tmp
    title: Clean temporary files
    description: Deletes what nobody has touched for a week.
    labels: { team: ops }
    # A text or a list: "30 2 * * *", "every 15m", "at 2030-12-24T08:00Z", @daily. H spreads jobs by their name.
    schedule: { cron: "H 3 * * *", jitter: 5m }
    # The lowest order that is online runs it; each next agent steps in after the stagger.
    # target:
    #   labels: { role: web }             # or agents: [web-1, web-2]
    #   pick: first
    #   stagger: 10s
    # A text runs in a shell, a list is a program and its arguments.
    command: [find, /tmp/rota-sample, -type, f, -mtime, "+7", -delete]
    cwd: /
    # env: { LC_ALL: C }
    # user: nobody                        # the agent must run as root for that
    timeout: 10m                          # end it when it runs longer
    startDeadline: 2h                     # not started by then: missed, never started later
    concurrency: forbid                   # an instant is skipped while the run before is still going on
    catchUp: latest                       # after an outage only the latest instant is made up for
    enabled: false                        # true once you want it

  # A request in place of a command.
  - name: health-check
    schedule: every 5m
    enabled: false
    http:
      method: GET
      url: http://127.0.0.1:7682/healthz
      timeout: 10s
      expect: { status: 200 }
`;
