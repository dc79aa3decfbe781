import { makeWorld, type World, type WorldOptions } from '../world.ts';

/** A bug planted in a copy of the source: each text is replaced where it stands, which must be in exactly one place. */
export interface Plant {
  name: string;
  edits: Edit[];
  /** Which one must see it. */
  invariant: string;
  /** The worlds that bring it out soonest, and the seed of one that does. */
  world: WorldOptions;
  seed: number;
}

export interface Edit {
  file: string;
  find: string;
  replace: string;
}

export const STORE = 'packages/server/src/store';
export const SERVER = 'packages/server/src';
export const AGENT = 'packages/agent/src';

/** Worlds with little time between instants, and jobs that take a good part of it. */
export const BUSY: WorldOptions = {
  fields: { schedule: 'every 15s', target: {}, timeout: '20s', startDeadline: '1d' },
  behaviour: { minMs: 500, maxMs: 9_000 },
  actionsPerHour: 0,
};

/** Busy worlds that are struck at these moments, and by nothing else. */
export const struck = (
  kinds: NonNullable<WorldOptions['kinds']>,
  moments: string[],
  faultsPerHour = 150,
): WorldOptions => ({ ...BUSY, kinds, moments, faultsPerHour });

/** Some minutes, and the time in which all has to settle. */
const HOURS = 0.34;

/** The world of a seed that brings the bug out, if it is one of those that do. */
export function worldOf({ world }: Plant, seed: number): World {
  return makeWorld(seed, { hours: HOURS, maxAgents: 3, chains: 0, retries: 0, ...world });
}
