import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { type Permit, permitProof } from '@rota/contract';
import {
  applyRecord,
  decideOffer,
  decidePermit,
  type Entry,
  isDroppable,
  isToBeRefused,
  type Situation,
} from './attempts.ts';
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
    done: false,
    ...changes,
  };
}

test('an offer is declined with the reason that stands in its way', () => {
  const cases: [string, Parameters<typeof decideOffer>, string | null][] = [
    ['nothing', [undefined, { attemptId: 'a', epoch: 1, kind: 'command' }, free], null],
    ['a kind', [undefined, { attemptId: 'a', epoch: 1, kind: 'magic' }, free], 'unsupported'],
    [
      'an id that leaves the folder',
      [undefined, { attemptId: '../a', epoch: 1, kind: 'http' }, free],
      'unsupported',
    ],
    [
      'a stop',
      [undefined, { attemptId: 'a', epoch: 1, kind: 'http' }, { ...free, draining: true }],
      'draining',
    ],
    [
      'the disk',
      [undefined, { attemptId: 'a', epoch: 1, kind: 'http' }, { ...free, diskFull: true }],
      'diskFull',
    ],
    [
      'the journal',
      [undefined, { attemptId: 'a', epoch: 1, kind: 'http' }, { ...free, journalFull: true }],
      'journalFull',
    ],
    ['others', [undefined, { attemptId: 'a', epoch: 1, kind: 'http' }, { ...free, active: 4 }], 'full'],
    ['the same epoch', [entry(), { attemptId: 'a', epoch: 2, kind: 'http' }, free], 'alreadyKnown'],
    ['a lower epoch', [entry(), { attemptId: 'a', epoch: 1, kind: 'http' }, free], 'alreadyKnown'],
    ['a higher epoch', [entry(), { attemptId: 'a', epoch: 3, kind: 'http' }, free], null],
    [
      'a withdrawal',
      [entry({ state: 'refused', reason: 'withdrawn' }), { attemptId: 'a', epoch: 3, kind: 'http' }, free],
      null,
    ],
    [
      'a cancel',
      [entry({ state: 'refused', reason: 'cancelled' }), { attemptId: 'a', epoch: 3, kind: 'http' }, free],
      'alreadyKnown',
    ],
    [
      'a permit',
      [
        entry({ state: 'refused', reason: 'permitExpired', permitUntilBootMs: 5 }),
        { attemptId: 'a', epoch: 3, kind: 'http' },
        free,
      ],
      'alreadyKnown',
    ],
    [
      'a start',
      [entry({ state: 'started' }), { attemptId: 'a', epoch: 3, kind: 'http' }, free],
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

test('an entry may be forgotten when it is done and its permit is worth nothing', () => {
  assert.equal(isDroppable(entry({ permitUntilBootMs: 5 }), now), false);
  assert.equal(isDroppable(entry({ done: true }), now), true);
  assert.equal(isDroppable(entry({ done: true, permitUntilBootMs: 1_000 }), now), false);
  assert.equal(isDroppable(entry({ done: true, permitUntilBootMs: 999 }), now), true);
  assert.equal(isDroppable(entry({ done: true, permitUntilBootMs: 9_999, bootId: 'former' }), now), true);
});

test('a record of an attempt that is forgotten changes nothing', () => {
  const entries = new Map<string, Entry>();
  applyRecord(entries, { type: 'done', attemptId: 'a' });
  applyRecord(entries, { type: 'nonce', nonce: 'n' });
  assert.equal(entries.size, 0);
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
    run: { id: 'r', tenant: 't', job: 'j', number: 1, scheduledFor: 0, kind: 'scheduled' },
    step: {
      kind: 'command',
      command: 'x',
      shell: 'sh',
      env: {},
      user: null,
      cwd: null,
      umask: null,
      stdin: '',
    },
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
    message(JSON.stringify({ ...permit, step: undefined })),
  ];
  for (const each of bad) assert.equal(readPermit(each, keyRing, 'me').permit, null);
  assert.equal(readPermit(good, keyRing, 'someone else').permit, null);
});
