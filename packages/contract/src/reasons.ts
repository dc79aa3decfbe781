/**
 * Why a run waits, was skipped, was missed, is unknown or failed: a closed list.
 * Each has the sentence that people read and what they can do about it; `remedyOf` fills the names in.
 */
export const REASONS = {
  // waits
  noAgentOnline: {
    sentence: 'No agent that matches the target is online.',
    remedy:
      'Start an agent with a matching name or labels, or change the target. `rota agent list` shows what is online.',
  },
  noAgentMatches: {
    sentence: 'No agent matches the target.',
    remedy: 'Check the target against `rota agent list`: names and labels must match exactly.',
  },
  agentsFull: {
    sentence: 'Every matching agent already runs as many attempts as it may.',
    remedy: 'Wait, raise `--max-parallel` of an agent, or add an agent.',
  },
  agentsDeclined: {
    sentence: 'Every matching agent declined the run.',
    remedy: "See the agent's status for its reason (`rota agent show {agent}`).",
  },
  agentReturning: {
    sentence: 'The agent whose turn it is has just lost its server, and is likely to come back at once.',
    remedy: 'Nothing to do: after a second the run goes to the next agent.',
  },
  recovering: {
    sentence:
      'The database went on from an older state; an agent that can have run this has not told yet what it did.',
    remedy:
      'Bring the agents back that `rota status` names, or, when one is gone for good, `rota agent remove NAME --gone`.',
  },
  jobUnreadable: {
    sentence: 'The stored job cannot be read by this version of Rota.',
    remedy: 'Save the job again: `rota job edit {job}`. The log says what is wrong with it.',
  },
  secretUnreadable: {
    sentence: 'No server that was asked can open a secret that it names; nothing was started.',
    remedy:
      'Give each server a master key file that has the key, as the detail says, or set the secret anew: `rota secret set NAME`. It looks again by itself, after 5 minutes at most.',
  },
  retryWait: {
    sentence: 'An attempt has failed; the next one waits for its time.',
    remedy:
      'Wait, or begin it at once with `rota run retry {run} --now`; `rota run retry {run} --drop` gives up.',
  },
  // skipped
  previousRunActive: {
    sentence: 'The previous run of the job had not ended (concurrency: forbid).',
    remedy: 'Make the job shorter or rarer, or give it a timeout.',
  },
  previousRunUnknown: {
    sentence: 'The previous run of the job is unknown and may still be running (concurrency: forbid).',
    remedy: 'Bring its agent back, or decide with `rota run resolve {run}`.',
  },
  superseded: {
    sentence: 'A later instant came due before this one could start (catchUp: latest).',
    remedy: 'Nothing to do: the later run stands for it.',
  },
  catchUp: {
    sentence: 'It passed while Rota was not running; only the latest instant is caught up (catchUp: latest).',
    remedy: 'Run the job by hand if each instant counts.',
  },
  jobPaused: {
    sentence: 'The job was paused when the instant came.',
    remedy: '`rota job resume {job}` starts it again.',
  },
  // missed
  startDeadline: {
    sentence: 'It could not start before its start deadline.',
    remedy: 'See why it waited; raise `startDeadline` when a later start is still of use.',
  },
  restored: {
    sentence: 'The database was put back from a backup; whether it had run by then nobody remembers.',
    remedy: 'Look on the machine whether it ran; run the job by hand if not.',
  },
  // cancelled
  cancelledByUser: {
    sentence: 'Someone cancelled it.',
    remedy: 'Run the job again when it is wanted.',
  },
  jobEdited: {
    sentence: 'The job was changed or deleted before the run had started.',
    remedy: 'Nothing to do: the new revision has its own runs.',
  },
  // unknown
  agentLost: {
    sentence: 'The agent went away while it held the permit to start.',
    remedy: 'It settles when the agent comes back; else decide with `rota run resolve {run}`.',
  },
  timeoutUnheard: {
    sentence: "The agent has not been heard since before the run's timeout.",
    remedy: 'It settles when the agent comes back; else decide with `rota run resolve {run}`.',
  },
  agentGone: {
    sentence: 'The agent was removed as gone.',
    remedy: 'Find out what the machine did, then decide with `rota run resolve {run}`.',
  },
  journalDamaged: {
    sentence: 'The agent came back but its journal does not know the attempt; that proves nothing.',
    remedy: 'Look on the machine whether the job ran, then decide with `rota run resolve {run}`.',
  },
  // failed
  exitStatus: {
    sentence: 'The command ended with an exit status other than 0.',
    remedy: 'Read its output: `rota logs {run}`.',
  },
  killedBySignal: {
    sentence: 'The command was ended by a signal.',
    remedy:
      "Look for the sender: the kernel's out-of-memory killer (dmesg), an operator, or the command itself.",
  },
  reportedFailure: {
    sentence: 'The command said itself that it has failed.',
    remedy: 'See the error beside it, and its output: `rota logs {run}`.',
  },
  spawnFailed: {
    sentence: 'The command could not be started.',
    remedy: 'Check that the program, the folder and the user exist on that machine and may be used.',
  },
  httpStatus: {
    sentence: 'The answer had a status that the job does not expect.',
    remedy: 'See the sample of the answer; set `expect.status` if it was fine.',
  },
  httpDns: {
    sentence: 'The host name could not be resolved.',
    remedy: "Check the name and the agent's resolver.",
  },
  httpRefused: {
    sentence: 'The connection was refused.',
    remedy: 'Check that the service listens and the port is right.',
  },
  httpTls: {
    sentence: 'The TLS connection failed.',
    remedy: 'Check that the port speaks TLS, and the certificate, its names and its chain.',
  },
  httpTimeout: {
    sentence: 'The request took longer than its timeout.',
    remedy: 'Raise `timeout`, or look into the service.',
  },
  httpConnectTimeout: {
    sentence: 'No connection stood within its time.',
    remedy: 'Check the address, the network between and firewalls on the way; or raise `connectTimeout`.',
  },
  httpFirstByteTimeout: {
    sentence: 'The connection stood, but no answer began within its time.',
    remedy: 'Look into the service, or raise `firstByteTimeout`.',
  },
  httpProxy: {
    sentence: 'The proxy did not let the request through.',
    remedy: 'Check the address of the proxy, its user name and password, and what it allows.',
  },
  httpBlocked: {
    sentence: "The agent's guard forbids the address of the request, or of a redirect.",
    remedy: 'Where it is meant to be reached: `rota agent start --http-allow ADDRESS` on that machine.',
  },
  httpAnswer: {
    sentence: "The answer's content was not what the job expects.",
    remedy: 'See the sample of the answer, and `expect` of the job.',
  },
  httpReset: {
    sentence: 'The connection was cut before the answer was complete.',
    remedy: 'Look into the service or what stands before it.',
  },
  httpRedirect: {
    sentence: 'The redirects could not be followed.',
    remedy: 'Check the address, or raise `redirects`.',
  },
  httpFailed: { sentence: 'The request failed.', remedy: 'See the error beside it.' },
  templateFailed: {
    sentence: 'A template names something that is not there, or its value does not fit its place.',
    remedy: 'See the error beside it; `| default: "…"` gives a value for what may be missing.',
  },
  conditionFailed: {
    sentence: 'The condition of a step could not be evaluated.',
    remedy: 'See the error beside it; `has(…)` asks whether something is there.',
  },
  secretMissing: {
    sentence: 'A secret that it names could not be given to it; nothing was started.',
    remedy: '`rota secret set NAME` sets it; `rota secret list` shows those that there are.',
  },
  stepNotWritten: {
    sentence: "The agent's disk did not take the note that the step begins, so the step was not begun.",
    remedy: "Make room on the disk of the agent's state folder, then run the job again.",
  },
  chainInterrupted: {
    sentence: 'The helper process of the agent ended between two steps, and the rest could not go on.',
    remedy: 'See which steps ran (`rota run show {run}`), then run the job again when that is safe.',
  },
  exitStatusLost: {
    sentence: 'The process ended while nothing watched it; its exit status is lost.',
    remedy: 'Read its output and look on the machine.',
  },
  interrupted: {
    sentence: 'The agent was ended during the request; the other side may have received it.',
    remedy: 'Ask the other side; it had the attempt id as `Idempotency-Key`.',
  },
  hostRestarted: {
    sentence: 'The machine restarted while the run was going on.',
    remedy: 'Run the job again when it is safe to.',
  },
  timeout: {
    sentence: 'It ran longer than its timeout and was ended.',
    remedy: 'Raise `timeout`, or make the job shorter.',
  },
  resolvedByUser: { sentence: 'Someone decided its outcome.', remedy: 'Nothing to do.' },
} as const satisfies Record<string, { sentence: string; remedy: string }>;

export type ReasonCode = keyof typeof REASONS;

/** What to do about a reason, as it can be typed for this run, job and agent. */
export function remedyOf(
  code: ReasonCode,
  names: { run?: string; job?: string | null; agent?: string | null },
): string {
  return REASONS[code].remedy
    .replaceAll('{run}', names.run ?? 'RUN')
    .replaceAll('{job}', names.job ?? 'JOB')
    .replaceAll('{agent}', names.agent ?? 'AGENT');
}
export const REASON_CODES = Object.keys(REASONS) as ReasonCode[];

/** Why an agent says no to an offer. */
export const DECLINE_CODES = [
  'full',
  'draining',
  'diskFull',
  'journalFull',
  'unsupported',
  'alreadyKnown',
] as const;
export type DeclineCode = (typeof DECLINE_CODES)[number];
