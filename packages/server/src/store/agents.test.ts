import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { JOINING } from '../server.testing.ts';
import { memoryStore, stillClock } from './store.testing.ts';
import type { Store } from './store.ts';

const NOW = Date.UTC(2026, 10, 21, 12, 0, 0);

async function join(store: Store, name: string): Promise<string> {
  const hash = createHash('sha256').update('secret').digest('base64url');
  await store.createJoinToken({
    tenantId: 't',
    id: `join-${name}`,
    hash,
    labelsJson: '{}',
    createdBy: null,
    expiresInMs: 1_000,
  });
  const agentId = `agent-${name}`;
  const joined = await store.joinAgent({
    token: { id: `join-${name}`, secret: 'secret' },
    agentId,
    name,
    publicKey: JOINING.publicKey,
    labels: {},
    orderNumber: 100,
    facts: JOINING.facts,
  });
  assert.deepEqual(joined, { tenantId: 't', tenantName: 'default' });
  return agentId;
}

/** A run of the ad hoc job that an agent was offered, and has accepted when `accepted`. */
async function give(store: Store, agentId: string, id: string, accepted: boolean) {
  await store.requestRuns({
    runs: [
      {
        id,
        tenantId: 't',
        jobId: 'adhoc',
        revision: 0,
        kind: 'adHoc',
        occurrenceKey: `t:${id}`,
        part: '',
        definitionJson: '{"title":"x"}',
        timeoutMs: null,
        createdBy: 'me',
        startDeadlineMs: 60_000,
        idempotencyKey: null,
      },
    ],
  });
  await store.queueDueRuns({ limit: 10 });
  const [run] = (await store.readQueuedRuns({ limit: 10 })).filter((each) => each.id === id);
  assert.ok(run);
  await store.decideRuns({ decisions: [{ run, action: 'offer', agentId, offerMs: 10_000, passed: [] }] });
  if (!accepted) return;
  const grant = await store.acceptOffer({
    tenantId: 't',
    agentId,
    attemptId: `${id}-1`,
    epoch: run.epoch + 1,
    bootId: 'boot',
    permitUntilBootMs: 1,
    journalSeq: 1,
  });
  assert.ok(grant);
}

test('An agent that holds runs is removed only as gone: what ran is unknown and frees its slot, what was offered waits again', async (t) => {
  const store = await memoryStore(t, stillClock(NOW));
  const agentId = await join(store, 'db-1');
  const one = 'a'.repeat(20);
  const two = 'b'.repeat(20);
  await give(store, agentId, one, true);
  await give(store, agentId, two, false);
  const states = async () =>
    (await store.runsByIds({ tenantId: 't', ids: [one, two] })).map(
      (run) => `${run.state} ${run.reason} ${run.slot} ${run.agentId === null}`,
    );
  assert.equal(await store.removeAgent({ tenantId: 't', name: 'db-1', gone: false }), 'active');
  assert.deepEqual(await store.removeAgent({ tenantId: 't', name: 'db-1', gone: true }), { agentId });
  assert.deepEqual(await states(), ['unknown agentGone 0 false', 'queued null 0 true']);
  assert.equal(await store.getAgent({ tenantId: 't', name: 'db-1' }), null);
  assert.equal(await store.removeAgent({ tenantId: 't', name: 'db-1', gone: true }), 'notFound');
});

test('A join token stops working when it expires', async (t) => {
  const clock = stillClock(NOW);
  const store = await memoryStore(t, clock);
  await join(store, 'db-1');
  await store.createJoinToken({
    tenantId: 't',
    id: 'late',
    hash: 'x',
    labelsJson: '{}',
    createdBy: null,
    expiresInMs: 1_000,
  });
  clock.set(NOW + 1_000);
  const joined = await store.joinAgent({
    token: { id: 'late', secret: 'secret' },
    agentId: 'x',
    name: 'db-2',
    publicKey: 'x',
    labels: {},
    orderNumber: 100,
    facts: JOINING.facts,
  });
  assert.equal(joined, 'tokenInvalid');
});
