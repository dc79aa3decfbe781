import type { AgentMessage, AttemptEnd, OutputChunk, StepResult } from '@rota/contract';
import type { Log } from './ports.ts';
import { SPOOL_START, type Spool, type SpoolCursor } from './spool.ts';
import type { OutputRecord } from './spoolFile.ts';

/**
 * Brings what the spool has of each attempt to the server: `started`, output, `ended`, in this order.
 * A report's seq says how far it reaches: `started` is 1, output up to byte n is n + 1, the end is one more than that
 * of all output. So an ack says from which byte on to go on, also to a session that has just begun.
 * Nothing is kept in memory: what was not acknowledged is read again. At most a window of unacknowledged output is
 * on the way, so a slow server slows the reporting and nothing else.
 * How a chain's steps get on and how far an attempt is are told beside that, without acknowledgement: the end has all of the steps.
 */
export interface Reports {
  /** The attempt runs (or has run, when `end` is there). */
  add(attempt: { attemptId: string; epoch: number; pid: number | null }): void;
  /** How a step gets on: told now, and again when a session begins. */
  step(attemptId: string, step: StepResult): void;
  /** How far it is: told now, and again when a session begins. */
  progress(attemptId: string, percent: number | null): void;
  /** There is more output. */
  grown(attemptId: string): void;
  ended(attemptId: string, end: AttemptEnd): void;
  remove(attemptId: string): void;
  ack(attemptId: string, seq: number): void;
  /** A proven session begins: everything that is not acknowledged is reported again. */
  connected(send: (message: AgentMessage) => void): void;
  disconnected(): void;
}

/** Unacknowledged output on the way, of one attempt and of all. */
const WINDOW_BYTES = 256 * 1024;
const WINDOW_ALL_BYTES = 2 * 1024 * 1024;
const READ_BYTES = 128 * 1024;
const CHUNKS_PER_MESSAGE = 64;
const STARTED_SEQ = 1;

interface Report {
  attemptId: string;
  epoch: number;
  pid: number | null;
  end: AttemptEnd | null;
  /** Highest seq that the server has committed; 0 for none known. */
  acked: number;
  /** The server may have more than we know of: its first ack says where to go on. */
  isResumed: boolean;
  /** Where the output that was sent ends, and where the reader stands. */
  sentBytes: number;
  cursor: SpoolCursor;
  droppedBytes: number;
  wasEndSent: boolean;
  isPumping: boolean;
  hasNews: boolean;
}

export function createReports(ports: { spool: Spool; log: Log; journalSeq(): number }): Reports {
  const reports = new Map<string, Report>();
  /** The newest of each step of attempts that have not ended; it may come before the report is added. */
  const steps = new Map<string, Map<number, StepResult>>();
  /** How far attempts are, or were when they ended. */
  const progress = new Map<string, number | null>();
  /** Attempts that wait for the shared window. */
  const waiting = new Set<Report>();
  let send: ((message: AgentMessage) => void) | null = null;
  let onTheWay = 0;

  const ackedBytes = (report: Report) => Math.max(0, report.acked - STARTED_SEQ);
  const unackedBytes = (report: Report) => Math.max(0, report.sentBytes - ackedBytes(report));

  function begin(report: Report): void {
    report.cursor = SPOOL_START;
    report.sentBytes = ackedBytes(report);
    report.wasEndSent = false;
    const { attemptId, epoch, pid } = report;
    send?.({ type: 'started', attemptId, epoch, seq: STARTED_SEQ, pid, journalSeq: ports.journalSeq() });
    for (const step of steps.get(attemptId)?.values() ?? []) send?.({ type: 'step', attemptId, epoch, step });
    sendProgress(report);
  }

  function sendProgress({ attemptId, epoch }: Report): void {
    const percent = progress.get(attemptId);
    if (percent !== undefined) send?.({ type: 'progress', attemptId, epoch, percent });
  }

  function wake(report: Report): void {
    report.hasNews = true;
    if (report.isPumping) return;
    report.isPumping = true;
    pump(report)
      .catch((error) =>
        ports.log.error({ err: error, attemptId: report.attemptId }, 'the spool could not be read'),
      )
      .finally(() => {
        report.isPumping = false;
      });
  }

  async function pump(report: Report): Promise<void> {
    while (report.hasNews) {
      report.hasNews = false;
      while (await sendMore(report)) {
        // Until there is nothing more, or no window.
      }
    }
  }

  /** @returns true when there may be more to send at once */
  async function sendMore(report: Report): Promise<boolean> {
    const connection = send;
    if (!connection || !isCurrent(report) || report.wasEndSent) return false;
    if (report.isResumed && report.acked === 0) return false;
    if (unackedBytes(report) >= WINDOW_BYTES) return false;
    if (onTheWay >= WINDOW_ALL_BYTES) {
      waiting.add(report);
      return false;
    }
    const { end } = report;
    if (end && report.sentBytes >= end.outputBytes) {
      sendEnd(report, end, connection);
      return false;
    }
    const read = await ports.spool.read(report.attemptId, report.cursor, READ_BYTES);
    if (connection !== send || !isCurrent(report)) return send !== null;
    report.cursor = read.cursor;
    if (read.output.length > 0) {
      sendOutput(report, read.output, connection);
      return true;
    }
    if (!end) return false;
    sendEnd(report, end, connection);
    return false;
  }

  function isCurrent(report: Report): boolean {
    return reports.get(report.attemptId) === report;
  }

  function sendOutput(report: Report, output: OutputRecord[], connection: NonNullable<typeof send>): void {
    const before = unackedBytes(report);
    const chunks: OutputChunk[] = [];
    for (const piece of output) {
      const endsAt = piece.position + piece.data.length;
      if (endsAt <= report.sentBytes) continue;
      const droppedBytes = Math.max(0, piece.position - report.sentBytes);
      report.droppedBytes += droppedBytes;
      report.sentBytes = endsAt;
      chunks.push({
        seq: endsAt + STARTED_SEQ,
        stream: piece.stream,
        atMs: Math.round(piece.atMs),
        droppedBytes,
        data: piece.data.toString('base64'),
      });
    }
    for (let from = 0; from < chunks.length; from += CHUNKS_PER_MESSAGE) {
      const part = chunks.slice(from, from + CHUNKS_PER_MESSAGE);
      connection({ type: 'output', attemptId: report.attemptId, epoch: report.epoch, chunks: part });
    }
    onTheWay += unackedBytes(report) - before;
  }

  function sendEnd(report: Report, end: AttemptEnd, connection: NonNullable<typeof send>): void {
    report.wasEndSent = true;
    const lost = Math.max(0, end.outputBytes - report.sentBytes);
    connection({
      type: 'ended',
      attemptId: report.attemptId,
      epoch: report.epoch,
      seq: end.outputBytes + STARTED_SEQ + 1,
      end: { ...end, outputDroppedBytes: Math.min(end.outputBytes, report.droppedBytes + lost) },
      journalSeq: ports.journalSeq(),
    });
  }

  function release(bytes: number): void {
    onTheWay -= bytes;
    if (bytes <= 0 || onTheWay >= WINDOW_ALL_BYTES) return;
    const next = [...waiting];
    waiting.clear();
    for (const report of next) wake(report);
  }

  return {
    add({ attemptId, epoch, pid }) {
      const known = reports.get(attemptId);
      if (known) {
        known.pid = pid;
        return;
      }
      const report: Report = {
        attemptId,
        epoch,
        pid,
        end: null,
        acked: 0,
        isResumed: false,
        sentBytes: 0,
        cursor: SPOOL_START,
        droppedBytes: 0,
        wasEndSent: false,
        isPumping: false,
        hasNews: false,
      };
      reports.set(attemptId, report);
      if (send) begin(report);
      wake(report);
    },
    step(attemptId, step) {
      const report = reports.get(attemptId);
      if (report?.end) return;
      const known = steps.get(attemptId) ?? new Map<number, StepResult>();
      steps.set(attemptId, known.set(step.index, step));
      if (report) send?.({ type: 'step', attemptId, epoch: report.epoch, step });
    },
    progress(attemptId, percent) {
      const report = reports.get(attemptId);
      if (report?.end) return;
      progress.set(attemptId, percent);
      if (report) sendProgress(report);
    },
    grown(attemptId) {
      const report = reports.get(attemptId);
      if (report) wake(report);
    },
    ended(attemptId, end) {
      const report = reports.get(attemptId);
      if (!report) return;
      report.end = end;
      steps.delete(attemptId);
      wake(report);
    },
    remove(attemptId) {
      steps.delete(attemptId);
      progress.delete(attemptId);
      const report = reports.get(attemptId);
      if (!report) return;
      reports.delete(attemptId);
      waiting.delete(report);
      release(unackedBytes(report));
    },
    ack(attemptId, seq) {
      const report = reports.get(attemptId);
      if (!report) return;
      const before = unackedBytes(report);
      report.acked = Math.max(report.acked, seq);
      report.sentBytes = Math.max(
        report.sentBytes,
        Math.min(ackedBytes(report), report.end?.outputBytes ?? Infinity),
      );
      release(before - unackedBytes(report));
      wake(report);
    },
    connected(connection) {
      send = connection;
      onTheWay = 0;
      for (const report of reports.values()) {
        report.isResumed = true;
        report.acked = 0;
        begin(report);
        wake(report);
      }
    },
    disconnected() {
      send = null;
      onTheWay = 0;
      waiting.clear();
    },
  };
}
