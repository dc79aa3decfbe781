import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { type AttemptEnd, LOSS_WINDOW_MS, type Permit, permitProof } from '@rota/contract';
import {
  applyRecord,
  decideOffer,
  decidePermit,
  decideToGoOn,
  type Entry,
  historyOf,
  isDroppable,
  isToBeRefused,
  keptEnd,
  type Situation,
} from './attempts.ts';
import { key, LOCAL_TIME, plainStep } from './fakeServer.testing.ts';
import { createKeyRing, readPermit } from './permit.ts';

const free: Situation = { draining: false, diskFull: false, journalFull: false, active: 0, maxParallel: 4 };
const now = { bootId: 'boot', bootMs: 1_000 };

function entry(changes: Partial<Entry> = {}): Entry {
  return {
    attemptId: 'a',
    epoch: 2,
    bootId: 'boot',
    state: 'accepted',
    helperId: null,
    permitUntilBootMs: null,
    reason: null,
    key: null,
    startedBootMs: null,
    done: null,
    ...changes,
  };
}

test('an offer is declined with the reason that stands in its way', () => {
  const cases: [string, Parameters<typeof decideOffer>, string | null][] = [
    ['nothing', [undefined, { attemptId: 'a', epoch: 1, kinds: ['command'] }, free], null],
    ['a kind', [undefined, { attemptId: 'a', epoch: 1, kinds: ['magic'] }, free], 'unsupported'],
    [
      'an id that leaves the folder',
      [undefined, { attemptId: '../a', epoch: 1, kinds: ['http'] }, free],
      'unsupported',
    ],
    [
      'a stop',
      [undefined, { attemptId: 'a', epoch: 1, kinds: ['http'] }, { ...free, draining: true }],
      'draining',
    ],
    [
      'the disk',
      [undefined, { attemptId: 'a', epoch: 1, kinds: ['http'] }, { ...free, diskFull: true }],
      'diskFull',
    ],
    [
      'the journal',
      [undefined, { attemptId: 'a', epoch: 1, kinds: ['http'] }, { ...free, journalFull: true }],
      'journalFull',
    ],
    ['others', [undefined, { attemptId: 'a', epoch: 1, kinds: ['http'] }, { ...free, active: 4 }], 'full'],
    ['the same epoch', [entry(), { attemptId: 'a', epoch: 2, kinds: ['http'] }, free], 'alreadyKnown'],
    ['a lower epoch', [entry(), { attemptId: 'a', epoch: 1, kinds: ['http'] }, free], 'alreadyKnown'],
    ['a higher epoch', [entry(), { attemptId: 'a', epoch: 3, kinds: ['http'] }, free], null],
    [
      'a withdrawal',
      [entry({ state: 'refused', reason: 'withdrawn' }), { attemptId: 'a', epoch: 3, kinds: ['http'] }, free],
      null,
    ],
    [
      'a cancel',
      [entry({ state: 'refused', reason: 'cancelled' }), { attemptId: 'a', epoch: 3, kinds: ['http'] }, free],
      'alreadyKnown',
    ],
    [
      'a permit',
      [
        entry({ state: 'refused', reason: 'permitExpired', permitUntilBootMs: 5 }),
        { attemptId: 'a', epoch: 3, kinds: ['http'] },
        free,
      ],
      'alreadyKnown',
    ],
    [
      'a start',
      [entry({ state: 'started' }), { attemptId: 'a', epoch: 3, kinds: ['http'] }, free],
      'alreadyKnown',
    ],
  ];
  for (const [what, input, code] of cases) {
    const decision = decideOffer(...input);
    assert.equal(decision.accept ? null : decision.code, code, what);
  }
});

test('only a fresh permit for what was accepted in this boot starts', () => {
  const permit = { epoch: 2, bootId: 'boot', validUntilBootMs: 1_000 };
  const cases: [string, Parameters<typeof decidePermit>, string | null][] = [
    ['in time', [entry(), permit, now], 'start'],
    ['late', [entry(), permit, { ...now, bootMs: 1_001 }], 'permitExpired'],
    ['another boot', [entry(), { ...permit, bootId: 'other' }, now], 'permitInvalid'],
    ['restarted', [entry({ bootId: 'former' }), permit, now], 'hostRestarted'],
    ['never accepted', [undefined, permit, now], 'permitInvalid'],
    ['of a later offer', [entry({ epoch: 1 }), permit, now], 'permitInvalid'],
    ['of an earlier offer', [entry({ epoch: 3 }), permit, now], null],
    ['again', [entry({ state: 'started' }), permit, now], null],
    ['after a refusal', [entry({ state: 'refused', reason: 'withdrawn' }), permit, now], null],
  ];
  for (const [what, input, expected] of cases) {
    const decision = decidePermit(...input);
    assert.equal(decision.start ? 'start' : decision.refuse, expected, what);
  }
});

test('a withdrawal is answered with a refusal unless the attempt has started or the withdrawal is stale', () => {
  assert.equal(isToBeRefused(undefined, 1), true);
  assert.equal(isToBeRefused(entry(), 2), true);
  assert.equal(isToBeRefused(entry(), 1), false);
  assert.equal(isToBeRefused(entry({ state: 'started' }), 2), false);
  assert.equal(isToBeRefused(entry({ state: 'refused' }), 2), false);
  assert.equal(isToBeRefused(entry({ state: 'refused' }), 3), true);
});

const done = (bootMs: number, end: AttemptEnd | null = null) => ({ bootId: 'boot', bootMs, end });

test('an entry may be forgotten when it is done and its permit is worth nothing', () => {
  const late = 1_000 + LOSS_WINDOW_MS;
  assert.equal(isDroppable(entry({ permitUntilBootMs: 5 }), now, late), false);
  assert.equal(isDroppable(entry({ done: done(1_000) }), now, null), true);
  assert.equal(isDroppable(entry({ done: done(1_000), permitUntilBootMs: 1_000 }), now, late), false);
  assert.equal(isDroppable(entry({ done: done(1_000), permitUntilBootMs: 999 }), now, late), true);
  const former = entry({ done: done(1_000), permitUntilBootMs: 9_999, bootId: 'former' });
  assert.equal(isDroppable(former, now, late), true);
});

test('what a permit was seen for is remembered until the server has acknowledged something much later', () => {
  const old = entry({ state: 'started', done: done(1_000), permitUntilBootMs: 999 });
  assert.equal(isDroppable(old, now, null), false);
  assert.equal(isDroppable(old, now, 999 + LOSS_WINDOW_MS), false);
  assert.equal(isDroppable(old, now, 1_000 + LOSS_WINDOW_MS), true);
});

const end: AttemptEnd = {
  outcome: 'failed',
  reason: null,
  exitCode: 7,
  signal: null,
  error: 'x'.repeat(2_000),
  durationMs: 5,
  cpuMs: null,
  maxRssBytes: null,
  outputBytes: 0,
  outputDroppedBytes: 0,
  http: { status: 500, url: 'http://a', redirects: 0, headers: {} },
  steps: [],
  result: null,
  summary: null,
};

test('the history says what was started, what became of it, and what was refused', () => {
  const started = entry({ state: 'started', key, startedBootMs: 400, permitUntilBootMs: 900 });
  const told = { attemptId: 'a', epoch: 2, permitted: true, key, startedMsAgo: 600 };
  assert.equal(historyOf(entry(), now), null);
  assert.deepEqual(historyOf(started, now), { ...told, state: 'started', endedMsAgo: null, end: null });
  const settled = { ...started, done: done(700, keptEnd(end)) };
  assert.deepEqual(historyOf(settled, now), {
    ...told,
    state: 'ended',
    endedMsAgo: 300,
    end: { ...end, error: 'x'.repeat(300), http: null },
  });
  assert.equal(historyOf(settled, { bootId: 'later', bootMs: 10 })?.startedMsAgo, null);
  const refused = historyOf(entry({ state: 'refused', done: done(700) }), now);
  assert.deepEqual([refused?.state, refused?.permitted, refused?.key], ['refused', false, null]);
});

test('a record of an attempt that is forgotten changes nothing', () => {
  const entries = new Map<string, Entry>();
  applyRecord(entries, { type: 'done', attemptId: 'a', end: null, bootId: 'boot', bootMs: 1 });
  applyRecord(entries, { type: 'nonce', nonce: 'n' });
  assert.equal(entries.size, 0);
});

test('a permit lets a chain go on only where it was started: same epoch, same boot, in time', () => {
  const started = entry({ state: 'started' });
  const permit = { epoch: 2, bootId: 'boot', validUntilBootMs: 1_000 };
  assert.equal(decideToGoOn(started, permit, now), 'yes');
  assert.equal(decideToGoOn(started, { ...permit, validUntilBootMs: 999 }, now), 'expired');
  const others = [
    decideToGoOn(undefined, permit, now),
    decideToGoOn(entry(), permit, now),
    decideToGoOn(started, { ...permit, epoch: 1 }, now),
    decideToGoOn(started, { ...permit, epoch: 3 }, now),
    decideToGoOn(started, { ...permit, bootId: 'former' }, now),
    decideToGoOn(entry({ state: 'started', bootId: 'former' }), permit, now),
  ];
  assert.deepEqual(new Set(others), new Set(['no']));
});

test('a permit is read only when a trusted key signed it for this agent', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const other = generateKeyPairSync('ed25519');
  const spki = publicKey.export({ format: 'der', type: 'spki' }).toString('base64url');
  const keyRing = createKeyRing([{ id: 'k', publicKey: spki }]);
  const permit: Permit = {
    attemptId: 'a',
    epoch: 1,
    agentId: 'me',
    bootId: 'boot',
    validUntilBootMs: 1,
    run: {
      id: 'r',
      tenant: 't',
      job: 'j',
      number: 1,
      scheduledFor: 0,
      kind: 'scheduled',
      local: LOCAL_TIME,
      params: {},
    },
    key,
    agent: { name: 'agent', labels: {} },
    secrets: {},
    steps: [
      plainStep({
        kind: 'command',
        command: 'x',
        shell: 'sh',
        env: {},
        user: null,
        cwd: null,
        umask: null,
        stdin: '',
      }),
    ],
    timeoutMs: null,
    killGraceMs: 0,
    output: { headBytes: 1, tailBytes: 1 },
  };
  const message = (payload: string, key = privateKey, keyId = 'k') => ({
    keyId,
    payload,
    signature: sign(null, Buffer.from(permitProof(payload)), key).toString('base64url'),
  });
  const good = message(JSON.stringify(permit));
  assert.deepEqual(readPermit(good, keyRing, 'me').permit, permit);
  const bad = [
    message(JSON.stringify(permit), other.privateKey),
    message(JSON.stringify(permit), privateKey, 'unknown'),
    { ...good, payload: `${good.payload} ` },
    { ...good, signature: '' },
    { ...good, signature: sign(null, Buffer.from(good.payload), privateKey).toString('base64url') },
    message('null'),
    message('{'),
    message(JSON.stringify({ ...permit, steps: undefined })),
  ];
  for (const each of bad) assert.equal(readPermit(each, keyRing, 'me').permit, null);
  assert.equal(readPermit(good, keyRing, 'someone else').permit, null);
});
