import { constants } from 'node:os';
import type { AgentView, JobView, RunView } from '@rota/contract';
import { commandText } from './arguments.ts';
import { type Column, type Output, oneLine, type Style, took } from './output.ts';

const RUN_STYLES: Record<RunView['state'], Style> = {
  planned: 'dim',
  queued: 'cyan',
  offered: 'cyan',
  starting: 'cyan',
  running: 'blue',
  unknown: 'magenta',
  succeeded: 'green',
  failed: 'red',
  timedOut: 'red',
  cancelled: 'yellow',
  skipped: 'yellow',
  missed: 'red',
};

/** A run's state in its colour. */
export function runState(output: Output, state: RunView['state']): string {
  return output.style(RUN_STYLES[state], state);
}

/** Why a run is as it is, in a few words: exit code, signal, or the sentence of its reason. */
export function runResult(run: RunView): string {
  if (run.state === 'failed' && run.exitCode !== null) return `exit ${run.exitCode}`;
  if (run.state === 'failed' && run.signal !== null)
    return run.signal in constants.signals ? run.signal : 'signal';
  return run.reason?.sentence ?? '';
}

export function runColumns(output: Output): Column<RunView>[] {
  return [
    // So much of it is enough to name it.
    { head: 'ID', text: (run) => (output.human ? run.id.slice(0, 8) : run.id) },
    { head: 'JOB', text: (run) => run.job ?? `(${oneLine(run.title, 40)})` },
    { head: 'STATE', text: (run) => runState(output, run.state) },
    { head: 'DUE', text: (run) => output.time(run.dueAt) },
    { head: 'TOOK', text: (run) => took(run.durationMs) },
    { head: 'AGENT', text: (run) => run.agent ?? '-' },
    { head: 'RESULT', text: (run) => oneLine(runResult(run), 60) },
  ];
}

/** `enabled`, `paused` or `disabled`. */
export function jobState(output: Output, job: JobView): string {
  if (!job.enabled) return output.style('dim', 'disabled');
  return job.paused ? output.style('yellow', 'paused') : output.style('green', 'enabled');
}

export function jobColumns(output: Output): Column<JobView>[] {
  return [
    { head: 'NAME', text: (job) => job.name },
    { head: 'STATE', text: (job) => jobState(output, job) },
    { head: 'SCHEDULE', text: (job) => oneLine(job.schedules.map(({ text }) => text).join('; '), 40) },
    { head: 'NEXT', text: (job) => output.time(job.next[0] ?? null) },
    { head: 'LAST', text: (job) => (job.lastRun ? runState(output, job.lastRun.state) : '-') },
    { head: 'WHEN', text: (job) => output.time(job.lastRun?.endedAt ?? job.lastRun?.scheduledFor ?? null) },
  ];
}

/** When a job runs next, as the end of a sentence. */
export function nextText(output: Output, job: JobView): string {
  if (job.paused) return `paused; \`rota job resume ${job.name}\` starts it`;
  if (!job.enabled) return 'disabled';
  const [next] = job.next;
  if (next !== undefined) return `next run ${output.timeInFull(next)}`;
  return job.schedules.length === 0 ? 'no schedule; `rota job run` runs it' : 'no next run';
}

/** What a job does, on one line. */
export function jobAction(job: JobView): string {
  const { command, http, steps } = job.document;
  if (steps) return steps.map(({ name }) => name).join(' → ');
  return command !== undefined ? commandText(command) : `${http?.method ?? 'GET'} ${http?.url ?? ''}`;
}

export function agentColumns(output: Output): Column<AgentView>[] {
  return [
    { head: 'NAME', text: (agent) => agent.name },
    { head: 'STATE', text: (agent) => agentState(output, agent) },
    { head: 'ORDER', text: (agent) => String(agent.order) },
    { head: 'ACTIVE', text: (agent) => `${agent.active}/${agent.maxParallel}` },
    { head: 'SEEN', text: (agent) => seenText(output, agent) },
    { head: 'VERSION', text: (agent) => agent.facts?.agentVersion ?? '-' },
    { head: 'LABELS', text: (agent) => labelsText(agent.labels) },
  ];
}

/** An agent that is online is seen all the time; on record is that only now and then. */
function seenText(output: Output, { state, lastSeenAt }: AgentView): string {
  return output.human && state === 'online' ? 'now' : output.time(lastSeenAt);
}

const AGENT_STYLES: Record<AgentView['state'], Style> = {
  online: 'green',
  offline: 'red',
  quarantined: 'magenta',
};

export function agentState(output: Output, agent: AgentView): string {
  const remarks = [agent.enabled ? '' : 'disabled', agent.draining ? 'draining' : ''].filter(Boolean);
  return output.style(AGENT_STYLES[agent.state], [agent.state, ...remarks].join(', '));
}

/** Parameters as they are given on the command line. */
export function paramsText(params: RunView['params']): string {
  return Object.entries(params)
    .map(([name, value]) => `${name}=${oneLine(String(value), 100)}`)
    .join('\n');
}

export function labelsText(labels: Record<string, string>): string {
  return Object.entries(labels)
    .map(([key, value]) => (value === '' ? key : `${key}=${value}`))
    .join(' ');
}
