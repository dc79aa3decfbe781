import { type AgentMessage, type HistoryAttempt, type JournalledAttempt, LIMITS } from '@rota/contract';
import type { Logger } from 'pino';
import { SecretUnreadableError, type Vault } from '../auth/secrets.ts';
import type { Hints } from '../hints.ts';
import type { Metrics } from '../metrics.ts';
import type { Definitions } from '../runs/definitions.ts';
import { parseAttemptId } from '../runs/ids.ts';
import type { AttemptKey } from '../store/attemptMessages.ts';
import type { BootReading, OpenSecrets, PermitGrant } from '../store/permits.ts';
import type { ResumeStep } from '../store/sessions.ts';
import type { Store } from '../store/store.ts';
import { KILL_GRACE_MS, PERMIT_MS } from '../store/unknownRuns.ts';
import type { Dispatcher } from './dispatch.ts';
import { type ServerKeys, signPermit } from './permits.ts';
import type { Session, Sessions } from './sessions.ts';

type ProgressMessage = Extract<AgentMessage, { type: 'progress' }>;

/** The reading that permits of a session count from. */
export interface BootClock {
  bootId: string;
  bootMs: number;
}

/** What an operation needs that grants a permit. */
type PermitRequest = AttemptKey & BootReading & { open: OpenSecrets };

export interface ReportPorts {
  store: Store;
  hints: Hints;
  log: Logger;
  metrics: Pick<Metrics, 'runEnded'>;
  definitions: Definitions;
  dispatcher: Dispatcher;
  keys: ServerKeys;
  vault: Pick<Vault, 'sourcesOf'>;
  sessions: Sessions;
}

/**
 * Carries out what an agent says about attempts: commit first, then answer. The store is called before anything is
 * awaited, so that messages of one agent take effect in the order in which they came.
 */
export function createReports(ports: ReportPorts) {
  const { store, hints, log, metrics, definitions, dispatcher, keys, vault, sessions } = ports;

  /** The newest word of attempts that tell how far they are, while a commit of it is under way. */
  const progress = new Map<string, number | null>();

  /** Whoever looks at the run sees it; in lists nothing has changed. */
  function watched(attemptId: string): void {
    const runId = parseAttemptId(attemptId)?.runId;
    if (runId !== undefined) hints.give(`run:${runId}`);
  }

  function told(attemptId: string): void {
    watched(attemptId);
    hints.give('events');
  }

  function free(session: Session, attemptId: string, epoch: number): void {
    session.cancelled.delete(`${attemptId}/${epoch}`);
    if (session.active.delete(attemptId)) dispatcher.roomFor(session.tenantId);
  }

  /** Sends what was granted for an attempt; or that it must not start, whose answer, `refused`, frees the room. */
  async function permit(
    session: Session,
    attempt: { attemptId: string; epoch: number },
    clock: BootClock,
    ask: (input: PermitRequest) => Promise<PermitGrant | null>,
  ): Promise<void> {
    const { tenantId, agentId } = session;
    const reading = { bootId: clock.bootId, permitUntilBootMs: clock.bootMs + PERMIT_MS };
    let sources: ReturnType<typeof vault.sourcesOf> = {};
    const open: OpenSecrets = (secrets) => {
      try {
        sources = vault.sourcesOf(secrets);
        return null;
      } catch (error) {
        if (!(error instanceof SecretUnreadableError)) throw error;
        log.error({ attempt: attempt.attemptId, why: error.message }, 'a permit could not be given');
        return error.message;
      }
    };
    const grant = await ask({ tenantId, agentId, ...attemptKey(attempt), ...reading, open });
    if (grant === null) {
      session.send({ type: 'withdraw', ...attemptKey(attempt) });
      return;
    }
    const definition = definitions.ofRun({ ...grant.run, documentJson: grant.documentJson });
    session.send(signPermit(keys, grant, definition, { agentId, ...reading }, sources));
  }

  async function accept(
    session: Session,
    attempt: { attemptId: string; epoch: number },
    clock: BootClock,
    journalSeq: number,
  ): Promise<void> {
    await permit(session, attempt, clock, (input) => store.acceptOffer({ ...input, journalSeq }));
    told(attempt.attemptId);
  }

  async function refused(
    session: Session,
    attempt: { attemptId: string; epoch: number },
    journalSeq: number,
    why: string,
  ): Promise<void> {
    const { tenantId, agentId } = session;
    await store.refuseAttempt({ tenantId, agentId, ...attemptKey(attempt), journalSeq, why });
    session.send({ type: 'ack', ...attemptKey(attempt), seq: 0, done: true });
    free(session, attempt.attemptId, attempt.epoch);
    told(attempt.attemptId);
    hints.give('dispatch');
  }

  async function goOn(session: Session, message: Extract<AgentMessage, { type: 'continue' }>): Promise<void> {
    await permit(session, message, message, store.continueAttempt);
    told(message.attemptId);
  }

  /** One commit at a time for each attempt, and then only the newest word: however often an agent tells of it. */
  async function progressed(session: Session, { percent, ...message }: ProgressMessage): Promise<void> {
    const key = progressKey(session, message);
    const isStoring = progress.has(key);
    progress.set(key, percent);
    if (isStoring) return;
    try {
      for (let stored: number | null | undefined; stored !== progress.get(key); ) {
        stored = progress.get(key) ?? null;
        await storeProgress(session, message, stored);
      }
    } finally {
      progress.delete(key);
    }
    watched(message.attemptId);
  }

  function storeProgress(
    { tenantId, agentId }: Session,
    message: { attemptId: string; epoch: number },
    percent: number | null,
  ): Promise<boolean> {
    return store.storeProgress({ tenantId, agentId, ...attemptKey(message), percent });
  }

  /** The word that waits for a commit comes before the end, after which it would count no more. */
  async function storeLastProgress(
    session: Session,
    message: { attemptId: string; epoch: number },
  ): Promise<void> {
    const percent = progress.get(progressKey(session, message));
    if (percent !== undefined) await storeProgress(session, message, percent);
  }

  async function report(session: Session, message: AgentMessage): Promise<void> {
    const { tenantId, agentId } = session;
    switch (message.type) {
      case 'accept':
        sessions.answered(session, message.attemptId);
        await accept(session, message, message, message.journalSeq);
        return;
      case 'decline': {
        sessions.answered(session, message.attemptId);
        const detail = `agent declined: ${message.code}${message.detail === '' ? '' : ` (${message.detail})`}`;
        await store.declineOffer({ tenantId, agentId, ...attemptKey(message), detail });
        if (message.code !== 'alreadyKnown' && message.code !== 'unsupported' && message.code !== 'full')
          session.blocked = message.code;
        session.active.delete(message.attemptId);
        hints.give('dispatch');
        return;
      }
      case 'refused':
        sessions.answered(session, message.attemptId);
        await refused(session, message, message.journalSeq, message.reason);
        return;
      case 'started':
        await store.startAttempt({
          tenantId,
          agentId,
          ...attemptKey(message),
          seq: message.seq,
          pid: message.pid,
          journalSeq: message.journalSeq,
        });
        session.send({ type: 'ack', ...attemptKey(message), seq: message.seq, done: false });
        told(message.attemptId);
        return;
      case 'output': {
        const chunks = message.chunks.map(({ data, ...chunk }) => ({
          ...chunk,
          data: Buffer.from(data, 'base64'),
        }));
        if (chunks.some((chunk) => chunk.data.byteLength > LIMITS.outputChunkBytes)) {
          session.close('an output chunk is too large');
          return;
        }
        const seq = await store.storeOutput({ tenantId, agentId, attemptId: message.attemptId, chunks });
        // Output of an attempt that nobody knows any more is dropped, and the agent may forget it.
        session.send({
          type: 'ack',
          ...attemptKey(message),
          seq: seq ?? (message.chunks.at(-1)?.seq as number),
          done: false,
        });
        told(message.attemptId);
        return;
      }
      case 'ended': {
        const last = storeLastProgress(session, message);
        const ending = store.endAttempt({
          tenantId,
          agentId,
          ...attemptKey(message),
          seq: message.seq,
          end: message.end,
          journalSeq: message.journalSeq,
        });
        const [ended] = await Promise.all([ending, last]);
        session.send({ type: 'ack', ...attemptKey(message), seq: message.seq, done: true });
        free(session, message.attemptId, message.epoch);
        told(message.attemptId);
        hints.give('dispatch');
        if (ended) metrics.runEnded(ended.state, ended.latenessMs);
        return;
      }
      case 'step': {
        const { step } = message;
        if (await store.storeStep({ tenantId, agentId, ...attemptKey(message), step }))
          watched(message.attemptId);
        return;
      }
      case 'progress':
        await progressed(session, message);
        return;
      case 'continue':
        await goOn(session, message);
        return;
      case 'status':
      case 'goodbye':
      case 'hello':
      case 'resume':
      case 'history':
      case 'ready':
        return;
      default:
        message satisfies never;
    }
  }

  /** Takes over what the database has lost of an agent's history. @returns false when the session is over */
  async function adopt(session: Session, attempts: HistoryAttempt[]): Promise<boolean> {
    const { tenantId, agentId, sessionEpoch } = session;
    const adopted = await store.adoptAttempts({ tenantId, agentId, sessionEpoch, attempts });
    if (adopted === null) return false;
    const { found, lost, doubled } = adopted;
    if (found > 0 || lost > 0)
      log.warn({ agent: agentId, found, lost }, 'learned from an agent what the database had lost');
    if (doubled.length > 0)
      log.error(
        { agent: agentId, doubled },
        'another agent has had the same attempts: this one was said to be gone',
      );
    hints.give('events');
    return true;
  }

  /** Settles what an agent's journal says when its session begins. */
  async function reconcile(
    session: Session,
    attempts: JournalledAttempt[],
    clock: BootClock,
    journalSeq: number,
  ): Promise<void> {
    const { tenantId, agentId, sessionEpoch } = session;
    for (const attempt of attempts) {
      if (attempt.state === 'accepted' || attempt.state === 'started') session.active.add(attempt.attemptId);
    }
    const steps = await store.reconcileSession({ tenantId, agentId, sessionEpoch, attempts });
    // All at once, so that they share commits; and none after the session's end, which would undo what that has settled.
    if (!session.ended) await Promise.all(steps.map((step) => resume(session, step, clock, journalSeq)));
    log.debug({ agent: agentId, attempts: attempts.length }, 'agent resumed');
    hints.give('events');
  }

  async function resume(
    session: Session,
    step: ResumeStep,
    clock: BootClock,
    journalSeq: number,
  ): Promise<void> {
    const { tenantId, agentId } = session;
    switch (step.action) {
      case 'accept':
        return accept(session, step.attempt, clock, journalSeq);
      case 'permitAgain':
        return permit(session, step.attempt, clock, store.permitAgain);
      case 'withdraw':
        session.send({ type: 'withdraw', ...attemptKey(step.attempt) });
        return;
      case 'started':
        await store.startAttempt({
          tenantId,
          agentId,
          ...attemptKey(step.attempt),
          seq: 0,
          pid: null,
          journalSeq,
        });
        told(step.attempt.attemptId);
        return;
      case 'refused':
        return refused(session, step.attempt, journalSeq, 'refused before');
      case 'cancel':
        session.cancelled.add(`${step.attemptId}/${step.epoch}`);
        session.send({
          type: 'cancel',
          attemptId: step.attemptId,
          epoch: step.epoch,
          graceMs: KILL_GRACE_MS,
        });
        return;
      default:
        step satisfies never;
    }
  }

  return { report, adopt, reconcile };
}

function progressKey(
  { agentId }: Session,
  { attemptId, epoch }: { attemptId: string; epoch: number },
): string {
  return `${agentId}/${attemptId}/${epoch}`;
}

function attemptKey({ attemptId, epoch }: { attemptId: string; epoch: number }): {
  attemptId: string;
  epoch: number;
} {
  return { attemptId, epoch };
}
