import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { LIMITS } from '@rota/contract';
import { change, type Operation, type Transaction } from './operation.ts';
import type { JobPlan } from './planning.ts';
import { both, checkHistory, ROUNDS, runs, type TwoServers, twoServers } from './races.testing.ts';
import { request } from './suite/planning.ts';
import { DAY, MINUTE, SECOND, START, type World } from './suite/world.ts';

/** Jobs and whatever else is stored for long, when two servers write it at one instant. */
describe('two servers at one instant', () => {
  const time = { now: START };
  let servers: TwoServers;
  let a: World;
  let b: World;

  before(async () => {
    servers = await twoServers(time);
    ({ a, b } = servers);
  });

  after(() => servers.close());

  beforeEach(() => servers.empty());

  it('plan a job once', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const names = [1, 2, 3].map((n) => `plan${round}-${n}`);
      for (const name of names) await a.job(name);
      const plan = async (world: World, order: string[]) => {
        const plans: JobPlan[] = [];
        for (const name of order) {
          const job = await world.readJob(name);
          plans.push({
            tenantId: 'acme',
            jobId: name,
            revision: 1,
            recoveryId: 0,
            expectedThrough: job.plannedThrough,
            plannedThrough: time.now + MINUTE,
            nextAt: time.now + MINUTE,
            runs: [world.instant(name, time.now + SECOND)],
            gaps: [],
          });
        }
        return () => world.store.storePlans({ plans });
      };
      const [one, other] = [await plan(a, names), await plan(b, names.toReversed())];
      const planned = await both(round, one, other);
      assert.equal(planned[0] + planned[1], 3);
    }
    assert.equal((await runs(a)).length, 3 * ROUNDS);
  });

  it('make one run of an idempotency key', async () => {
    await a.job('key');
    for (let round = 0; round < ROUNDS; round += 1) {
      const answers = await both(
        round,
        () => request(a, 'key', `k${round}-`),
        () => request(b, 'key', `k${round}-`),
      );
      assert.equal(answers.filter(({ created }) => created).length, 1);
    }
  });

  const save = (world: World, name: string, command: string, expectedRevision: number | null) => () =>
    world.store.saveJobs({
      tenantId: 'acme',
      by: 'test',
      jobs: [
        {
          id: `${name}-${command}`,
          name,
          documentJson: JSON.stringify({ name, schedule: 'every 1m', command }),
          enabled: true,
          scheduled: true,
          everyTexts: ['1m'],
        },
      ],
      paused: false,
      owner: null,
      prune: false,
      expectedRevision,
    });

  it('write a new job one after the other', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const answers = await both(round, save(a, `new${round}`, 'x', null), save(b, `new${round}`, 'y', null));
      const actions = answers.map((answer) => ('changes' in answer ? answer.changes[0]?.action : 'conflict'));
      assert.deepEqual(actions.sort(), ['created', 'updated']);
      assert.equal((await a.readJob(`new${round}`)).revision, 2);
    }
  });

  it('refuse one of two edits of the revision that both have seen', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `edit${round}`;
      await a.job(name);
      const answers = await both(round, save(a, name, 'x', 1), save(b, name, 'y', 1));
      assert.equal(answers.filter((answer) => 'conflict' in answer).length, 1);
    }
  });

  it('edit a job and plan and queue it without losing or doubling an instant', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      time.now += DAY;
      const name = `atomic${round}`;
      await a.job(name);
      const due = a.instant(name, time.now);
      const later = a.instant(name, time.now + SECOND);
      await a.plan(name, [due], time.now);
      const job = await a.readJob(name);
      const plan = {
        tenantId: 'acme',
        jobId: name,
        revision: 1,
        recoveryId: 0,
        expectedThrough: job.plannedThrough,
        plannedThrough: time.now + 2 * SECOND,
        nextAt: time.now + 2 * SECOND,
        runs: [later],
        gaps: [],
      };
      await Promise.all([
        save(a, name, 'x', null)(),
        b.store.storePlans({ plans: [plan] }),
        b.store.queueDueRuns({ limit: 10 }),
        a.store.queueDueRuns({ limit: 10 }),
      ]);
      const edited = await a.readJob(name);
      const found = (await runs(a)).filter((run) => run.jobId === name);
      assert.equal(found.filter((run) => run.scheduledFor === due.scheduledFor).length, 1);
      // Planned by the old revision, it was taken back; the cursor stands before it, so that the new one plans it.
      assert.equal(found.filter((run) => run.scheduledFor === later.scheduledFor).length, 0);
      assert.equal(edited.plannedThrough, time.now);
    }
    await checkHistory(a);
  });

  it('delete a job and queue its run, and leave nothing that waits', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `delete${round}`;
      await a.job(name);
      const id = await a.planned(name);
      await both<unknown>(
        round,
        () => a.store.deleteJob({ tenantId: 'acme', name, by: 'me' }),
        () => b.queueDue(),
      );
      await a.expect(id, 'cancelled');
    }
    await checkHistory(a);
  });

  it('keep the last admin token, and make one token of a name', async () => {
    const create = (world: World, id: string, name: string) => () =>
      world.store.createToken({
        tenantId: 'acme',
        id,
        name,
        hash: '',
        role: 'admin',
        createdBy: null,
        expiresInMs: null,
      });
    for (let round = 0; round < ROUNDS; round += 1) {
      await a.change('delete from "tokens"');
      const made = await both(round, create(a, 'x', 'same'), create(b, 'y', 'same'));
      assert.equal(made.filter((token) => token === null).length, 1);
      await create(a, 'z', 'other')();
      const gone = await both(
        round,
        () => a.store.deleteToken({ tenantId: 'acme', idOrName: 'same' }),
        () => b.store.deleteToken({ tenantId: 'acme', idOrName: 'other' }),
      );
      assert.deepEqual(gone.sort(), ['deleted', 'lastAdmin']);
    }
  });

  it('are set up once', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const setUp = (world: World, id: string) => () =>
        world.store.setUp({
          tenant: { id, name: `tenant${round}`, timezone: 'UTC' },
          token: { id, name: 'admin', hash: '', role: 'admin' },
          key: { id, publicKey: '', privateKey: '' },
        });
      const answers = await both(round, setUp(a, `a${round}`), setUp(b, `b${round}`));
      assert.equal(answers.filter(({ created }) => created).length, 1);
    }
  });

  it('set no more secrets than a tenant may have', async () => {
    await a.change(
      `insert into "secrets" ("tenantId", "job", "name", "kind", "version", "createdAt", "createdBy", "updatedAt", "updatedBy")
       select 'acme', '', 'S' || n, 'agentEnv', 1, 1, 'x', 1, 'x' from generate_series(2, ${LIMITS.secrets}) n`,
    );
    const set = (world: World, name: string) => () =>
      world.store.setSecret({
        tenantId: 'acme',
        job: '',
        name,
        content: { kind: 'agentEnv', keyId: null, sealed: null, reference: 'HOME' },
        by: 'ann',
      });
    for (let round = 0; round < ROUNDS; round += 1) {
      const answers = await both(round, set(a, 'ONE'), set(b, 'OTHER'));
      assert.equal(answers.filter((answer) => answer === null).length, 1);
      assert.equal(await a.change(`delete from "secrets" where "name" in ('ONE', 'OTHER')`), 1);
    }
    await a.change('delete from "secrets"');
  });

  it("delete what is old without getting in each other's way", async () => {
    for (let n = 0; n < 40; n += 1) {
      const name = `old${n}`;
      await a.job(name);
      for (let run = 0; run < 3; run += 1) {
        await a.planned(name, { startBy: time.now - 1 });
        await a.queueDue();
        time.now += SECOND;
      }
    }
    time.now += 100 * DAY;
    const sweep = async (world: World) => {
      let after = null;
      do {
        ({ next: after } = await world.store.deleteOldRuns({ before: time.now, after, limit: 10 }));
      } while (after !== null);
      while ((await world.store.deleteOldEvents({ before: time.now, limit: 10 })) > 0);
    };
    await Promise.all([sweep(a), sweep(b)]);
    await sweep(a);
    assert.equal((await runs(a)).length, 40, 'the last of each job');
  });

  it('show every event to a reader, whatever the order of commits', async () => {
    const record = (world: World, n: number) =>
      world.driver.write(function* (transaction: Transaction): Operation<void> {
        yield* change(
          `insert into "events" ("tenantId", "type", "subjectId", "jobId", "at", "dataJson") values ('acme', 'job', ?, null, ?, '{}')`,
          String(n),
          transaction.now,
        );
        // The id is taken; the commit comes when the database is done with this.
        yield* change(`select pg_sleep(0.002 * ?)`, n % 7);
      });
    const seen: string[] = [];
    let cursor = await a.store.lastEventId({});
    let writing = true;
    const reader = (async () => {
      for (;;) {
        const last = !writing;
        const events = await b.store.readEvents({ tenantId: 'acme', after: cursor, limit: 7 });
        for (const event of events) {
          cursor = event.id;
          seen.push(event.subjectId);
        }
        if (last && events.length === 0) return;
      }
    })();
    await Promise.all(Array.from({ length: 400 }, (_, n) => record(n % 2 === 0 ? a : b, n)));
    writing = false;
    await reader;
    assert.equal(seen.length, 400);
    assert.equal(new Set(seen).size, 400);
  });
});
