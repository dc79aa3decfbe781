import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StepResult } from '@rota/contract';
import { BEGUN } from '../attemptReports.testing.ts';
import { Composition } from './composition.testing.ts';
import { permitOf, type ScriptedAgent } from './scriptedAgent.testing.ts';

const CHAIN = {
  command: undefined,
  steps: [
    { name: 'fetch', command: 'true' },
    { name: 'store', command: 'true' },
  ],
};

/** Takes the next offer and reports its start. */
async function take(agent: ScriptedAgent) {
  const offer = await agent.next('offer');
  agent.accept(offer);
  const permit = permitOf(await agent.next('permit'));
  agent.started(offer);
  return { offer, permit };
}

describe('a chain', () => {
  it('is seen as it gets on, and its steps and its progress stand when it has ended', async () => {
    const server = await Composition.start();
    await server.job('a', CHAIN);
    const agent = await server.online('one');
    const runId = await server.trigger('a');
    const { offer } = await take(agent);
    const { attemptId, epoch } = offer;
    agent.send({ type: 'step', attemptId, epoch, step: BEGUN });
    agent.send({ type: 'progress', attemptId, epoch, percent: 40 });
    const read = async () => (await server.store.attemptsOfRun({ tenantId: 'acme', runId }))[0];
    await server.until(async () => (await read())?.progress === 40 && (await read())?.steps.length === 1);
    assert.equal((await read())?.steps[0]?.state, 'running');
    const done: StepResult = { ...BEGUN, state: 'failed', reason: 'exitStatus', exitCode: 3, outputTo: 0 };
    const rest: StepResult = {
      ...BEGUN,
      index: 1,
      name: 'store',
      state: 'notRun',
      tries: 0,
      startedMs: null,
    };
    agent.ended(offer, { outcome: 'failed', exitCode: 3, steps: [done, rest], summary: 'half' });
    await server.becomes(runId, 'failed');
    assert.deepEqual(
      (await read())?.steps.map(({ name, state }) => `${name} ${state}`),
      ['fetch failed', 'store notRun'],
    );
    assert.equal((await read())?.summary, 'half');
  });

  it('takes back how far it was, and keeps its last word though the end comes right behind it', async () => {
    const server = await Composition.start();
    await server.job('a', CHAIN);
    const agent = await server.online('one');
    const runId = await server.trigger('a');
    const { offer } = await take(agent);
    const { attemptId, epoch } = offer;
    const tell = (percent: number | null) => agent.send({ type: 'progress', attemptId, epoch, percent });
    const progress = async () =>
      (await server.store.attemptsOfRun({ tenantId: 'acme', runId }))[0]?.progress ?? null;
    tell(100);
    await server.until(async () => (await progress()) === 100);
    tell(null);
    await server.until(async () => (await progress()) === null);
    for (let percent = 1; percent <= 70; percent++) tell(percent);
    agent.ended(offer, { outcome: 'failed', exitCode: 3 });
    tell(90);
    await server.becomes(runId, 'failed');
    await server.until(async () => (await progress()) === 70);
    tell(95);
    await server.quiet(agent);
    assert.equal(await progress(), 70);
  });

  it('whose helper died gets its permit again, and no more once it is to be cancelled', async () => {
    const server = await Composition.start();
    await server.job('a', CHAIN);
    const agent = await server.online('one');
    const runId = await server.trigger('a');
    const { offer, permit } = await take(agent);
    await server.becomes(runId, 'running');
    const { attemptId, epoch } = offer;
    const question = { type: 'continue', attemptId, epoch, bootId: 'boot', bootMs: 60_000 } as const;
    for (let time = 0; time < 2; time++) {
      agent.send(question);
      const again = permitOf(await agent.next('permit'));
      assert.deepEqual([again.attemptId, again.epoch, again.run.number], [attemptId, epoch, 1]);
      assert.deepEqual(again.steps, permit.steps);
      assert(again.validUntilBootMs > permit.validUntilBootMs);
    }
    await server.parts.runs.cancel({ tenantId: 'acme', runId, by: 'me' });
    agent.send(question);
    const answer = await agent.next('withdraw', 'permit');
    assert.equal(answer.type, 'withdraw');
    assert.equal((await server.run(runId)).state, 'running');
  });
});

describe('a failed run with tries left', () => {
  it('is offered again when its time has come, also to another agent, and by a server that came later', async () => {
    const server = await Composition.start();
    await server.job('a', { retry: { times: 1, delay: '2s' } });
    const one = await server.online('one', { orderNumber: 1 });
    const runId = await server.trigger('a');
    const { offer } = await take(one);
    await one.settle(offer, { outcome: 'failed', exitCode: 3 });
    const waiting = await server.becomes(runId, 'queued');
    assert.equal(waiting.reason, 'retryWait');
    await one.cut();
    const two = await server.online('two', { orderNumber: 2 });
    await server.quiet(two);
    assert.equal((await server.run(runId)).state, 'queued');
    server.clock.advance(2_000);
    const next = await take(two);
    assert.deepEqual([next.permit.attemptId, next.permit.run.number], [`${runId}-2`, 2]);
    two.ended(next.offer);
    await server.becomes(runId, 'succeeded');
  });

  it('is hurried by an operator', async () => {
    const server = await Composition.start();
    await server.job('a', { retry: { times: 1, delay: '10m' } });
    const agent = await server.online('one');
    const runId = await server.trigger('a');
    const { offer } = await take(agent);
    await agent.settle(offer, { outcome: 'failed', exitCode: 3 });
    await server.becomes(runId, 'queued');
    assert.equal(await server.parts.runs.retry({ tenantId: 'acme', runId, action: 'now', by: 'me' }), 'done');
    const next = await take(agent);
    assert.equal(next.permit.run.number, 2);
  });
});
