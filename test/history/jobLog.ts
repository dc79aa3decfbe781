import { existsSync, readFileSync } from 'node:fs';
import type { LogEntry } from './history.ts';

/**
 * The command of a job that keeps its own log: one line for its start and one for its end, each appended by one write.
 * It runs in bash, whose clock needs no further process; `work` is what it does in between.
 */
export function loggingCommand(file: string, work = ':'): string {
  return [
    `echo "S $ROTA_ATTEMPT $ROTA_RUN $ROTA_SCHEDULED_FOR $ROTA_AGENT $EPOCHREALTIME" >> ${file}`,
    `code=0; { ${work}; } || code=$?`,
    `echo "E $ROTA_ATTEMPT $code $EPOCHREALTIME" >> ${file}`,
    'exit $code',
  ].join('\n');
}

/** What the jobs have logged so far, or since the log was `from` bytes long; nothing while there is no log. */
export function readLog(file: string, from = 0): LogEntry[] {
  if (!existsSync(file)) return [];
  const text = readFileSync(file).toString('utf8', from);
  // A line that is being written has no end yet.
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => parseLine(line));
}

function parseLine(line: string): LogEntry {
  const [mark, attemptId = '', second = '', third = '', fourth = '', fifth = ''] = line.split(' ');
  if (mark === 'S')
    return {
      kind: 'start',
      attemptId,
      runId: second,
      scheduledFor: Date.parse(third),
      agent: fourth,
      at: Math.floor(Number(fifth) * 1_000),
    };
  if (mark === 'E')
    return { kind: 'end', attemptId, exitCode: Number(second), at: Math.floor(Number(third) * 1_000) };
  throw new Error(`a job's log has the line ${JSON.stringify(line)}`);
}
