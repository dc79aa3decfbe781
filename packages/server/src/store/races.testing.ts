import assert from 'node:assert/strict';
import { isTerminal, type RunState } from '@rota/contract';
import { systemClock } from '../clock.ts';
import { testPostgres } from '../postgres.testing.ts';
import { isLegal, RUN_EVENTS, type RunEvent } from '../runs/machine.ts';
import { openPostgres } from './postgres.ts';
import { DAY, World } from './suite/world.ts';
import type { EventRow, RunRow } from './tables.ts';

/** How often each race is run: who is first differs from one to the next. */
export const ROUNDS = 25;

/** Two servers on one database, with two agents. */
export interface TwoServers {
  readonly a: World;
  readonly b: World;
  /** Forgets all jobs and runs, a day later. */
  empty(): Promise<void>;
  close(): Promise<void>;
}

/** Opens them on an empty database; the time is theirs and its own. */
export async function twoServers(time: { now: number }): Promise<TwoServers> {
  const address = await (await testPostgres()).database();
  const open = () => openPostgres(address, systemClock, { now: () => time.now });
  const drivers = [await open(), await open()] as const;
  const a = new World(drivers[0], time, 'acme');
  const b = new World(drivers[1], time, 'acme');
  await a.store.createTenant({ id: 'acme', name: 'acme', timezone: 'UTC' });
  await a.online('one');
  await a.online('two');
  return {
    a,
    b,
    async empty() {
      time.now += DAY;
      for (const table of [
        'runs',
        'attempts',
        'steps',
        'jobs',
        'jobRevisions',
        'events',
        'idempotencyKeys',
        'output',
      ])
        await a.change(`delete from "${table}"`);
    },
    async close() {
      for (const driver of drivers) await driver.close();
      await (await testPostgres()).release(address);
    },
  };
}

/** Both at once, in either order of asking. */
export const both = <T>(round: number, one: () => Promise<T>, other: () => Promise<T>): Promise<[T, T]> =>
  round % 2 === 0
    ? Promise.all([one(), other()])
    : Promise.all([other(), one()]).then(([second, first]) => [first, second]);

export const runs = (world: World) => world.rows<RunRow>('select * from "runs" order by "scheduledFor"');

/** Every change of state that was recorded is an arrow of the machine, and each run came to where it is by them. */
export async function checkHistory(world: World): Promise<void> {
  const states = new Map<string, RunState>();
  for (const event of await world.rows<EventRow>(
    `select * from "events" where "type" = 'run' order by "txid", "id"`,
  )) {
    const to = JSON.parse(event.dataJson).state as RunState;
    const from = states.get(event.subjectId) ?? 'planned';
    const legal = (Object.keys(RUN_EVENTS) as RunEvent[]).some((each) => isLegal(each, from, to));
    assert(legal, `${from} became ${to}`);
    states.set(event.subjectId, to);
  }
  const slots = new Set<string>();
  for (const run of await runs(world)) {
    assert.equal(states.get(run.id) ?? 'planned', run.state);
    assert.equal(run.endedAt !== null, isTerminal(run.state));
    if (run.slot === 1) {
      assert(!slots.has(run.jobId), 'one run at most has the slot of a job');
      slots.add(run.jobId);
    }
  }
}
