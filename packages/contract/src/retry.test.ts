import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReasonCode } from './reasons.ts';
import { defineRetry, isRetried, type RetriedEnd, retryDelayMs } from './retry.ts';

const end = (fields: Partial<RetriedEnd> & { status?: number }): RetriedEnd => ({
  outcome: 'failed',
  reason: null,
  exitCode: null,
  http: fields.status === undefined ? null : { status: fields.status },
  ...fields,
});
const exit = (exitCode: number) => end({ reason: 'exitStatus', exitCode });
const answer = (status: number) => end({ reason: 'httpStatus', status });
const broken = (reason: ReasonCode) => end({ reason });
const late = end({ outcome: 'timedOut', reason: 'timeout' });

/** What a policy lists, how a try ended, and whether there is another. */
const CASES: [string[] | undefined, RetriedEnd, boolean][] = [
  [undefined, exit(1), true],
  [undefined, late, true],
  [undefined, answer(404), true],
  [undefined, end({ outcome: 'succeeded' }), false],
  [undefined, end({ outcome: 'cancelled' }), false],
  [['failed'], exit(1), true],
  [['failed'], late, false],
  [['timedOut'], late, true],
  [['timedOut'], exit(1), false],
  [['exit:75'], exit(75), true],
  [['exit:75'], exit(7), false],
  [['exit:75', 'exit:7'], exit(7), true],
  [['exit:0'], answer(200), false],
  [['http:5xx'], answer(503), true],
  [['http:5xx'], answer(404), false],
  [['http:429', 'http:503'], answer(429), true],
  [['http:429'], answer(428), false],
  [['http:5xx'], exit(5), false],
  [['network'], broken('httpDns'), true],
  [['network'], broken('httpRefused'), true],
  [['network'], broken('httpReset'), true],
  [['network'], broken('httpConnectTimeout'), true],
  [['network'], broken('httpFirstByteTimeout'), true],
  [['network'], end({ outcome: 'timedOut', reason: 'httpTimeout' }), true],
  [['network'], broken('httpTls'), false],
  [['network'], broken('httpBlocked'), false],
  [['network'], answer(503), false],
  [['network'], exit(1), false],
  [['failed', 'timedOut', 'network'], broken('exitStatusLost'), false],
  [['failed', 'timedOut', 'network'], broken('interrupted'), false],
  [['failed'], broken('hostRestarted'), true],
];

for (const [outcomes, ended, again] of CASES) {
  test(`Retrying ${outcomes?.join(', ') ?? 'by default'}: ${ended.outcome} ${ended.reason ?? ''} ${ended.exitCode ?? ended.http?.status ?? ''} is ${again ? '' : 'not '}tried again`, () => {
    const retry = defineRetry({ times: 1, ...(outcomes && { outcomes }) });
    assert.equal(isRetried(retry, ended), again);
  });
}

test('Each wait is longer by the back-off, up to the longest', () => {
  const waits = (field: Omit<Parameters<typeof defineRetry>[0], 'times'>, random = 0) =>
    [1, 2, 3, 4].map((number) => retryDelayMs(defineRetry({ times: 5, ...field }), number, () => random));
  assert.deepEqual(waits({}), [10_000, 20_000, 40_000, 80_000]);
  assert.deepEqual(waits({ delay: '1s', backoff: 3, maxDelay: '5s' }), [1_000, 3_000, 5_000, 5_000]);
  assert.deepEqual(waits({ delay: '5s', backoff: 1 }), [5_000, 5_000, 5_000, 5_000]);
  assert.deepEqual(waits({ delay: '0s' }), [0, 0, 0, 0]);
  assert.deepEqual(waits({ delay: '1s', jitter: '4s' }, 0.25), [2_000, 3_000, 5_000, 9_000]);
  assert.equal(
    retryDelayMs(defineRetry({ times: 100, backoff: 100 }), 100, () => 0),
    600_000,
  );
});
