import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { shrink } from './shrink.ts';
import { makeWorld, type World } from './world.ts';

const QUIET = () => {};

/** A world with many faults and actions. */
function crowded(): World {
  return makeWorld(1, {
    kinds: ['cut', 'killSession', 'killReplica'],
    faultsPerHour: 30,
    actionsPerHour: 20,
  });
}

/** In place of a life: what a bug does that needs some of the world's faults and actions. */
function brokenBy(invariant: string, world: World, faults: number[], actions: number[]) {
  const needed = [
    ...faults.map((index) => world.faults[index]),
    ...actions.map((index) => world.actions[index]),
  ];
  return async (candidate: World) => {
    const there = new Set<unknown>([...candidate.faults, ...candidate.actions]);
    const comesAbout = needed.every((each) => there.has(each));
    return { violations: comesAbout ? [{ invariant, sentence: 'it broke' }] : [] };
  };
}

describe('a world that breaks something', () => {
  it('is made smaller, down to the faults and actions that it takes', async () => {
    const world = crowded();
    const lines: string[] = [];
    const small = await shrink(
      world,
      (line) => lines.push(line),
      brokenBy('atMostOneStart', world, [4, 17], [9]),
    );
    assert.deepEqual(small.faults, [world.faults[4], world.faults[17]]);
    assert.deepEqual(small.actions, [world.actions[9]]);
    assert.deepEqual({ ...small, faults: [], actions: [] }, { ...world, faults: [], actions: [] });
    assert.equal(lines.at(-1), '2 faults and 1 actions are enough');
  });

  it('is made empty when it breaks by itself', async () => {
    const world = crowded();
    const small = await shrink(world, QUIET, brokenBy('atMostOneStart', world, [], []));
    assert.deepEqual([small.faults, small.actions], [[], []]);
  });

  it('is not taken for one that breaks something else', async () => {
    const world = crowded();
    const own = brokenBy('atMostOneStart', world, [4], []);
    const live = async (candidate: World) => {
      const { violations } = await own(candidate);
      return violations.length > 0 ? { violations } : { violations: [{ invariant: 'other', sentence: '' }] };
    };
    const small = await shrink(world, QUIET, live);
    assert.deepEqual([small.faults, small.actions], [[world.faults[4]], []]);
  });

  it('is left as it is when it breaks nothing', async () => {
    const world = crowded();
    assert.equal(await shrink(world, QUIET, async () => ({ violations: [] })), world);
  });
});
