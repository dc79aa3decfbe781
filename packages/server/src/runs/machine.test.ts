import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { RUN_STATES, type RunState, TERMINAL_STATES } from '@rota/contract';
import { isLegal, RUN_EVENTS, type RunEvent } from './machine.ts';

const EVENTS = Object.keys(RUN_EVENTS) as RunEvent[];
const DOCS = join(import.meta.dirname, '../../../../docs/run-states.md');

/** All changes that some event allows, as `event from to`. */
function arrows(): string[] {
  return EVENTS.flatMap((event) =>
    RUN_STATES.flatMap((from) =>
      RUN_STATES.filter((to) => isLegal(event, from, to)).map((to) => `${event} ${from} ${to}`),
    ),
  );
}

describe('the run machine', () => {
  it('lets no event leave a terminal state', () => {
    for (const event of EVENTS)
      for (const from of TERMINAL_STATES)
        for (const to of RUN_STATES) assert.equal(isLegal(event, from, to), false, `${event} ${from} ${to}`);
  });

  it('names no terminal state on the left side of any arrow', () => {
    for (const event of EVENTS) {
      const from: readonly RunState[] = RUN_EVENTS[event].from;
      assert.deepEqual(
        from.filter((state) => (TERMINAL_STATES as readonly RunState[]).includes(state)),
        [],
      );
    }
  });

  it('lets every run come to an end, from every state', () => {
    const ends = new Set<RunState>(TERMINAL_STATES);
    for (let known = 0; known !== ends.size; ) {
      known = ends.size;
      for (const arrow of arrows()) {
        const [, from, to] = arrow.split(' ') as [string, RunState, RunState];
        if (ends.has(to)) ends.add(from);
      }
    }
    assert.deepEqual([...ends].sort(), [...RUN_STATES].sort());
  });

  it('reaches every state from planned', () => {
    const reached = new Set<RunState>(['planned']);
    for (let known = 0; known !== reached.size; ) {
      known = reached.size;
      for (const arrow of arrows()) {
        const [, from, to] = arrow.split(' ') as [string, RunState, RunState];
        if (reached.has(from)) reached.add(to);
      }
    }
    assert.deepEqual([...reached].sort(), [...RUN_STATES].sort());
  });

  it('makes a run missed or dropped only before a permit may be out, or when no start is proven', () => {
    for (const to of ['missed', 'skipped'] as const) {
      const from = arrows()
        .filter((arrow) => arrow.endsWith(` ${to}`) && !arrow.startsWith('notStarted'))
        .map((arrow) => arrow.split(' ')[1]);
      for (const state of from) assert(['planned', 'queued', 'offered'].includes(state as string), state);
    }
  });
});

describe('docs/run-states.md', () => {
  const text = readFileSync(DOCS, 'utf8');

  it('has the table of events as the machine has it', () => {
    const lines = [...text.matchAll(/^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|/gm)].map(([, event, from, to]) => [
      event,
      states(from as string),
      states(to as string),
    ]);
    assert.deepEqual(
      lines,
      EVENTS.map((event) => [event, [...RUN_EVENTS[event].from], [...RUN_EVENTS[event].to]]),
    );
  });

  it('draws each arrow of the machine and no other', () => {
    const drawn = [...text.matchAll(/^ {4}(\w+) --> (\w+): (.+)$/gm)].flatMap(([, from, to, events]) =>
      (events as string).split(', ').map((event) => `${event} ${from} ${to}`),
    );
    assert.deepEqual(drawn.sort(), arrows().sort());
  });

  it('explains every state', () => {
    const explained = [...text.matchAll(/^- \*\*(\w+)\*\*/gm)].map(([, state]) => state);
    assert.deepEqual(explained, [...RUN_STATES]);
  });
});

function states(cell: string): string[] {
  return cell.trim().split(', ');
}
