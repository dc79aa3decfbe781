import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AgentLogLevel, createAgentLog } from './agentLog.ts';
import type { Clock, Sink } from './ports.ts';

function logged(level: AgentLogLevel, write: (log: ReturnType<typeof createAgentLog>) => void): string {
  const lines: string[] = [];
  const sink = { write: (data: string) => lines.push(data) } as unknown as Sink;
  write(createAgentLog(sink, { now: () => 0 } as Clock, level));
  return lines.join('');
}

test('a line of the log is short, and its values stay on it', () => {
  const text = logged('info', (log) => {
    log.info({ url: 'http://x', tries: 2 }, 'online');
    log.error({ err: new Error('it\nbroke') }, 'lost');
  });
  assert.equal(
    text,
    '1970-01-01T00:00:00Z info online url=http://x tries=2\n1970-01-01T00:00:00Z error lost error="it broke"\n',
  );
});

test('what is below the level is not logged', () => {
  const text = logged('warn', (log) => {
    log.debug({}, 'a');
    log.info({}, 'b');
    log.warn({}, 'c');
  });
  assert.match(text, /^\S+ warn c\n$/);
});
