import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { JobDefinition } from '@rota/contract';
import { type Candidate, candidatesOf, choose, type Presence } from './select.ts';

type Target = JobDefinition['target'];

const ANY: Target = { agents: null, labels: {}, pick: 'first', staggerMs: 10_000, max: null };

function agent(name: string, more: Partial<Candidate> = {}): Candidate {
  return { id: name, name, order: 100, labels: {}, enabled: true, ...more };
}

function chosen(presences: Record<string, Presence>, passed: string[] = [], disabled: string[] = []) {
  const candidates = Object.keys(presences).map((name) => agent(name, { enabled: !disabled.includes(name) }));
  const choice = choose(candidates, (id) => presences[id] as Presence, new Set(passed));
  return choice.kind === 'offer' ? choice.agentId : choice.reason;
}

describe('candidatesOf', () => {
  const names = (agents: Candidate[], target: Partial<Target>) =>
    candidatesOf(agents, { ...ANY, ...target }).map((each) => each.name);

  it('goes by order, then by name, whatever the order in which agents are read', () => {
    const agents = [agent('c'), agent('b'), agent('a', { order: 200 }), agent('d', { order: 1 })];
    assert.deepEqual(names(agents, {}), ['d', 'b', 'c', 'a']);
    assert.deepEqual(names(agents.toReversed(), {}), ['d', 'b', 'c', 'a']);
  });

  it('takes only agents with all labels, and of the names given', () => {
    const agents = [
      agent('a', { labels: { role: 'db', site: 'x' } }),
      agent('b', { labels: { role: 'db' } }),
      agent('c', { labels: { role: 'web', site: 'x' } }),
    ];
    assert.deepEqual(names(agents, { labels: { role: 'db' } }), ['a', 'b']);
    assert.deepEqual(names(agents, { labels: { role: 'db', site: 'x' } }), ['a']);
    assert.deepEqual(names(agents, { agents: ['c', 'b', 'nobody'] }), ['b', 'c']);
    assert.deepEqual(names(agents, { agents: ['c'], labels: { role: 'db' } }), []);
  });

  it('takes the first so many, also when they are disabled', () => {
    const agents = [agent('a', { enabled: false }), agent('b'), agent('c')];
    assert.deepEqual(names(agents, { max: 2 }), ['a', 'b']);
  });
});

describe('choose', () => {
  it('takes the first that is ready', () => {
    assert.equal(chosen({ a: 'ready', b: 'ready' }), 'a');
    assert.equal(chosen({ a: 'away', b: 'full', c: 'blocked', d: 'ready' }), 'd');
  });

  it('takes none that let the run pass in this round, none that is disabled', () => {
    assert.equal(chosen({ a: 'ready', b: 'ready' }, ['a']), 'b');
    assert.equal(chosen({ a: 'ready', b: 'ready' }, [], ['a']), 'b');
  });

  it('says why it takes none', () => {
    assert.equal(chosen({}), 'noAgentMatches');
    assert.equal(chosen({ a: 'away' }), 'noAgentOnline');
    assert.equal(chosen({ a: 'ready' }, [], ['a']), 'noAgentOnline');
    assert.equal(chosen({ a: 'away', b: 'full' }), 'agentsFull');
    assert.equal(chosen({ a: 'blocked', b: 'full' }), 'agentsDeclined');
    assert.equal(chosen({ a: 'ready', b: 'away' }, ['a']), 'agentsDeclined');
  });
});
