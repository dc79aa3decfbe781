import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LIMITS } from '@rota/contract';
import type { OpenSecrets } from '../permits.ts';
import type { SecretContent } from '../secrets.ts';
import type { AuditRow } from '../tables.ts';
import { DAY, MINUTE, type Open, SECOND, World } from './world.ts';

const sealed = (text: string, keyId = 'k1'): SecretContent => ({
  kind: 'server',
  keyId,
  sealed: Buffer.from(text),
  reference: null,
});

/** What is kept of secrets, who gets them, and what is put on record of that. */
export function secretsSuite(open: Open): void {
  const set = (world: World, name: string, text: string, job = '', keyId = 'k1') =>
    world.store.setSecret({
      tenantId: world.tenantId,
      job,
      name,
      content: sealed(text, keyId),
      by: 'ann',
    });
  const drop = (world: World, name: string, job = '') =>
    world.store.deleteSecret({ tenantId: world.tenantId, job, name, by: 'ann' });
  const readFor = async (world: World, job: string, names: string[]) => {
    const { secrets, missing } = await world.store.readSecretsFor({
      tenantId: world.tenantId,
      job,
      names,
      required: names,
    });
    const texts = secrets.map((each) => `${each.name}=${Buffer.from(each.sealed ?? []).toString()}`);
    return missing ?? texts.sort().join(' ');
  };
  const trail = async (world: World, filter = {}) => {
    const { tenantId } = world;
    return (await world.store.listAudit({ tenantId, filter, before: null, limit: 100 })).rows;
  };
  const said = (row: AuditRow) => `${row.action} ${JSON.parse(row.secretsJson)} ${row.by ?? row.agentId}`;
  const worldWithJob = async (command = 'echo "{{ TOKEN }} {{ secrets.PIN }}"') => {
    const world = await World.open(open);
    await world.online('one');
    await world.online('two');
    await world.job('a', { command });
    return world;
  };

  describe('a secret', () => {
    it('is set, changed and deleted, and each of it is on record', async () => {
      const world = await World.open(open);
      const first = await set(world, 'TOKEN', 'one');
      assert.deepEqual([first?.created, first?.secret.version], [true, 1]);
      world.pass(5);
      const second = await set(world, 'TOKEN', 'two');
      assert.deepEqual([second?.created, second?.secret.version], [false, 2]);
      assert.deepEqual(
        [second?.secret.createdAt, second?.secret.updatedAt],
        [first?.secret.createdAt, world.now],
      );
      assert.equal(await readFor(world, 'a', ['TOKEN']), 'TOKEN=two');
      assert.equal(await drop(world, 'TOKEN'), true);
      assert.equal(await drop(world, 'TOKEN'), false);
      assert.equal(await readFor(world, 'a', ['TOKEN']), 'TOKEN does not exist');
      assert.deepEqual((await trail(world)).map(said), [
        'delete TOKEN ann',
        'set TOKEN ann',
        'set TOKEN ann',
      ]);
      const events = await world.rows<{ dataJson: string }>(
        `select "dataJson" from "events" where "type" = 'secret' order by "id"`,
      );
      assert.deepEqual(
        events.map(({ dataJson }) => JSON.parse(dataJson).action),
        ['set', 'set', 'deleted'],
      );
    });

    it('of a job stands before that of all jobs, and is for no other job', async () => {
      const world = await World.open(open);
      await set(world, 'TOKEN', 'of all');
      await set(world, 'TOKEN', 'of a', 'a');
      await set(world, 'PIN', 'of a', 'a');
      assert.equal(await readFor(world, 'a', ['TOKEN', 'PIN']), 'PIN=of a TOKEN=of a');
      assert.equal(await readFor(world, 'b', ['TOKEN']), 'TOKEN=of all');
      assert.equal(await readFor(world, 'b', ['TOKEN', 'PIN']), 'PIN does not exist');
      assert.equal(await drop(world, 'TOKEN', 'a'), true);
      assert.equal(await readFor(world, 'a', ['TOKEN']), 'TOKEN=of all');
      assert.equal(await readFor(world, '', []), '');
    });

    it('stays when its job is deleted, and is there when the name is used again', async () => {
      const world = await worldWithJob();
      await set(world, 'TOKEN', 'kept', 'a');
      assert(await world.store.deleteJob({ tenantId: world.tenantId, name: 'a', by: 'ann' }));
      await world.job('a');
      assert.equal(await readFor(world, 'a', ['TOKEN']), 'TOKEN=kept');
    });

    it('of one tenant is not there for another', async () => {
      const world = await World.open(open);
      const other = await world.other();
      await set(world, 'TOKEN', 'ours');
      assert.equal(await readFor(other, 'a', ['TOKEN']), 'TOKEN does not exist');
      assert.equal(await drop(other, 'TOKEN'), false);
      assert.deepEqual(await trail(other), []);
      assert.deepEqual(
        await other.store.listSecrets({ tenantId: 'other', job: null, after: null, limit: 9 }),
        [],
      );
    });

    it('is listed page by page, without its value', async () => {
      const world = await World.open(open);
      for (const [name, job] of [
        ['B', ''],
        ['A', ''],
        ['A', 'z'],
        ['C', 'b'],
      ] as const)
        await set(world, name, 'text', job);
      const { tenantId } = world;
      const seen: string[] = [];
      for (let after: { job: string; name: string } | null = null; ; ) {
        const page: { job: string; name: string }[] = await world.store.listSecrets({
          tenantId,
          job: null,
          after,
          limit: 2,
        });
        const last = page.at(-1);
        if (!last) break;
        seen.push(...page.map(({ job, name }) => `${job}/${name}`));
        assert(page.every((each) => !Object.hasOwn(each, 'sealed')));
        after = last;
      }
      assert.deepEqual(seen, ['/A', '/B', 'b/C', 'z/A']);
      const ofJob = await world.store.listSecrets({ tenantId, job: 'z', after: null, limit: 9 });
      assert.deepEqual(
        ofJob.map(({ name }) => name),
        ['A'],
      );
    });

    it('is refused when there are too many', async () => {
      const world = await World.open(open);
      const values = Array.from({ length: LIMITS.secrets }, (_, n) => `('acme', '', 'S${n}')`).join(', ');
      await world.change(
        `insert into "secrets" ("tenantId", "job", "name", "kind", "version", "createdAt", "createdBy", "updatedAt", "updatedBy")
         select "column1", "column2", "column3", 'agentEnv', 1, 1, 'x', 1, 'x' from (values ${values}) v`,
      );
      assert.equal(await set(world, 'ONE_MORE', 'text'), null);
      assert((await set(world, 'S1', 'text'))?.created === false);
    });
  });

  describe('a permit', () => {
    it('gets exactly the secrets that its steps name, and that is on record', async () => {
      const world = await worldWithJob();
      for (const name of ['TOKEN', 'PIN', 'OTHER']) await set(world, name, `the ${name}`);
      await set(world, 'PIN', 'of a', 'a');
      const id = await world.inState('offered', 'a', 'one');
      const key = await world.key(id);
      const grant = await world.accept(key);
      assert.deepEqual(
        grant?.secrets.map((each) => `${each.name} ${each.job} ${Buffer.from(each.sealed ?? [])}`).sort(),
        ['PIN a of a', 'TOKEN  the TOKEN'],
      );
      const [use, ...others] = await trail(world, { action: 'use' });
      assert.deepEqual(others, []);
      assert.deepEqual(JSON.parse(use?.secretsJson ?? ''), ['PIN', 'TOKEN']);
      assert.deepEqual(
        [use?.job, use?.runId, use?.attemptId, use?.agentId, use?.by],
        ['a', id, key.attemptId, 'one', null],
      );
    });

    it('that is given again is on record again', async () => {
      const world = await worldWithJob();
      await set(world, 'TOKEN', 'text');
      await set(world, 'PIN', 'text');
      const id = await world.inState('starting', 'a', 'one');
      assert.equal((await world.accept(await world.key(id)))?.secrets.length, 2);
      assert.equal((await trail(world, { action: 'use' })).length, 2);
    });

    it('of a job without secrets leaves no record', async () => {
      const world = await worldWithJob('echo hi');
      await set(world, 'TOKEN', 'text');
      const id = await world.inState('offered', 'a', 'one');
      assert.deepEqual((await world.accept(await world.key(id)))?.secrets, []);
      assert.deepEqual(await trail(world, { action: 'use' }), []);
    });

    it('is not given when a secret is gone: the run has failed, and nothing was started', async () => {
      const world = await worldWithJob();
      await set(world, 'PIN', 'text');
      const id = await world.inState('offered', 'a', 'one');
      const key = await world.key(id);
      assert.equal(await world.accept(key), null);
      const detail = 'TOKEN does not exist';
      await world.expect(id, 'failed', {
        reason: 'secretMissing',
        detail,
        slot: 0,
        agentId: null,
        startedAt: null,
        attempt: 0,
      });
      assert.deepEqual(await world.rows('select * from "attempts"'), []);
      assert.deepEqual(await trail(world, { action: 'use' }), []);
      const ended = await world.run(id);
      // The agent was told that the offer no longer stands, and says so.
      await world.refuse(key);
      assert.equal(await world.accept(key), null);
      await world.start(key);
      assert.deepEqual(await world.run(id), ended);
    });

    it('is not given again when a secret is gone by then; the agent refuses, and the next try ends the run', async () => {
      const world = await worldWithJob();
      await set(world, 'TOKEN', 'text');
      await set(world, 'PIN', 'text');
      const id = await world.inState('starting', 'a', 'one');
      const key = await world.key(id);
      await drop(world, 'PIN');
      assert.equal(await world.accept(key), null);
      await world.expect(id, 'starting');
      await world.refuse(key);
      await world.expect(id, 'queued');
      assert(await world.offer(id, 'two'));
      assert.equal(await world.accept(await world.key(id)), null);
      await world.expect(id, 'failed', { reason: 'secretMissing', detail: 'PIN does not exist' });
    });

    it('goes without a secret that has a default', async () => {
      const world = await worldWithJob('echo "{{ TOKEN | default: "none" }} {{ PIN }}"');
      await set(world, 'PIN', 'text');
      const id = await world.inState('offered', 'a', 'one');
      const grant = await world.accept(await world.key(id));
      assert.deepEqual(
        grant?.secrets.map(({ name }) => name),
        ['PIN'],
      );
      const [use] = await trail(world, { action: 'use' });
      assert.equal(use?.secretsJson, '["PIN"]');
    });

    it('that its server cannot open is not given: the run waits longer each time, without an attempt or a record', async () => {
      const world = await worldWithJob();
      for (const name of ['TOKEN', 'PIN']) await set(world, name, 'text');
      const id = await world.inState('offered', 'a', 'one');
      const accept = async (open: OpenSecrets) =>
        world.store.acceptOffer({
          ...(await world.key(id)),
          bootId: 'boot',
          permitUntilBootMs: 1,
          journalSeq: 1,
          open,
        });
      const waits: number[] = [];
      const begin = world.now;
      while (waits.length < 9) {
        // The last one after it has waited for very long.
        if (waits.length === 8) world.pass(60 * MINUTE);
        assert.equal(await accept(() => 'its key is not here'), null);
        await world.expect(id, 'queued', {
          reason: 'secretUnreadable',
          detail: 'its key is not here',
          agentId: null,
          attempt: 0,
          unreadableSince: begin,
          passedJson: '["one"]',
        });
        const wait = ((await world.run(id)).wakeAt as number) - world.now;
        waits.push(wait);
        world.pass(wait);
        assert(await world.offer(id, 'one'));
      }
      assert.deepEqual(
        waits,
        waits.toSorted((one, other) => one - other),
      );
      assert.deepEqual([waits[0], waits.at(-1)], [SECOND, 5 * MINUTE]);
      assert.deepEqual(await world.rows('select * from "attempts"'), []);
      assert.deepEqual(await trail(world, { action: 'use' }), []);
      assert.equal((await accept(() => null))?.secrets.length, 2);
      await world.expect(id, 'starting', { attempt: 1, unreadableSince: null });
      assert.equal((await trail(world, { action: 'use' })).length, 1);
    });

    it('that cannot be opened when it is asked for again is not given again, nor on record', async () => {
      const world = await worldWithJob();
      for (const name of ['TOKEN', 'PIN']) await set(world, name, 'text');
      const id = await world.inState('starting', 'a', 'one');
      const again = {
        ...(await world.key(id)),
        bootId: 'boot',
        permitUntilBootMs: 1,
        open: () => 'its key is not here',
      };
      assert.equal(await world.store.permitAgain(again), null);
      assert.equal(await world.store.continueAttempt(again), null);
      await world.expect(id, 'starting', { attempt: 1 });
      assert.equal((await trail(world, { action: 'use' })).length, 1);
    });

    it('carries no more than a message can', async () => {
      const world = await worldWithJob();
      const half = 'x'.repeat(LIMITS.secretBytesOfPermit / 2 + 1);
      await set(world, 'TOKEN', half);
      await set(world, 'PIN', half);
      const id = await world.inState('offered', 'a', 'one');
      assert.equal(await world.accept(await world.key(id)), null);
      await world.expect(id, 'failed', { reason: 'secretMissing' });
    });
  });

  describe('a change of the master key', () => {
    const toRotate = (world: World, limit = 10) =>
      world.store.readSecretsToRotate({ keyId: 'k2', after: null, limit });
    const rotated = (world: World, rows: Awaited<ReturnType<typeof toRotate>>) =>
      world.store.rotateSecrets({
        keyId: 'k2',
        by: 'ann',
        secrets: rows.map(({ tenantId, job, name, version, keyId }) => ({
          tenantId,
          job,
          name,
          version,
          oldKeyId: keyId ?? '',
          sealed: Buffer.from('new'),
        })),
      });

    it('has one active key at a time', async () => {
      const { store } = await World.open(open);
      const active = async () => (await store.readMasterKeys({})).filter((each) => each.active === 1);
      assert.equal((await store.registerMasterKey({ id: 'k1', check: 'c1' })).id, 'k1');
      assert.equal((await store.registerMasterKey({ id: 'x', check: 'c' })).id, 'k1');
      assert.equal(await store.activateMasterKey({ id: 'k2', check: 'c2', instead: 'k0' }), false);
      assert.equal(await store.activateMasterKey({ id: 'k2', check: 'c2', instead: 'k1' }), true);
      assert.equal(await store.activateMasterKey({ id: 'k2', check: 'c2', instead: 'k1' }), true);
      assert.deepEqual(
        (await active()).map(({ id, check }) => id + check),
        ['k2c2'],
      );
      assert.equal(await store.activateMasterKey({ id: 'k1', check: 'other', instead: 'k2' }), true);
      assert.deepEqual(
        (await active()).map(({ id, check }) => id + check),
        ['k1c1'],
      );
    });

    it('goes on where it was, and leaves alone what was changed meanwhile', async () => {
      const world = await World.open(open);
      for (const name of ['A', 'B', 'C']) await set(world, name, 'old');
      await world.store.setSecret({
        tenantId: 'acme',
        job: '',
        name: 'REFERENCE',
        content: { kind: 'agentEnv', keyId: null, sealed: null, reference: 'HOME' },
        by: 'ann',
      });
      const read = await toRotate(world, 2);
      assert.deepEqual(
        read.map(({ name }) => name),
        ['A', 'B'],
      );
      await set(world, 'B', 'changed meanwhile');
      assert.equal(await rotated(world, read), 1);
      assert.deepEqual(
        (await toRotate(world)).map(({ name }) => name),
        ['B', 'C'],
      );
      assert.equal(await rotated(world, await toRotate(world)), 2);
      assert.deepEqual(await toRotate(world), []);
      const counted = await world.store.countSecretsByKey({});
      assert.deepEqual(
        counted.map(({ keyId, count }) => `${keyId} ${count}`),
        ['k2 3'],
      );
      assert.deepEqual((await trail(world, { action: 'rotate' })).map(said), [
        'rotate B,C ann',
        'rotate A ann',
      ]);
    });

    it('can give up a key that is lost, with what nobody can read any more', async () => {
      const world = await World.open(open);
      await world.store.registerMasterKey({ id: 'k1', check: 'c1' });
      await set(world, 'A', 'lost', 'job');
      await set(world, 'B', 'kept', '', 'k2');
      assert.equal(await world.store.forgetMasterKeys({ ids: ['k1'], by: 'ann' }), 1);
      assert.deepEqual(await world.store.readMasterKeys({}), []);
      assert.equal(await readFor(world, 'job', ['B']), 'B=kept');
      const [row] = await trail(world, { action: 'delete' });
      assert.deepEqual([row?.job, row?.detail], ['job', 'its master key is lost']);
    });
  });

  describe('the audit trail', () => {
    it('is read page by page, also by what it is about', async () => {
      const world = await World.open(open);
      for (let n = 0; n < 7; n += 1) await set(world, n % 2 === 0 ? 'A_B' : 'AXB', 'text', n < 3 ? '' : 'j');
      const pages = async (filter: object, limit: number) => {
        const ids: number[] = [];
        let before: number | null = null;
        do {
          const page: { rows: AuditRow[]; next: number | null } = await world.store.listAudit({
            tenantId: 'acme',
            filter,
            before,
            limit,
          });
          assert(page.rows.length <= limit);
          ids.push(...page.rows.map(({ id }) => id));
          before = page.next;
        } while (before !== null);
        return ids;
      };
      const all = await pages({}, 100);
      assert.equal(all.length, 7);
      assert.deepEqual(await pages({}, 3), all);
      assert.deepEqual(
        all,
        all.toSorted((a, b) => b - a),
      );
      assert.equal((await pages({ secret: 'A_B' }, 3)).length, 4);
      assert.equal((await pages({ secret: 'A' }, 3)).length, 0);
      assert.equal((await pages({ job: 'j', secret: 'AXB' }, 1)).length, 2);
      assert.equal((await pages({ action: 'use' }, 1)).length, 0);
      assert.equal((await pages({ runId: 'r' }, 1)).length, 0);
    });

    it('is deleted when it is old, batch by batch', async () => {
      const world = await World.open(open);
      for (const name of ['A', 'B', 'C']) await set(world, name, 'text');
      world.pass(DAY);
      await set(world, 'D', 'text');
      const pass = () => world.store.deleteOldAudit({ before: world.now - 1, limit: 2 });
      assert.deepEqual([await pass(), await pass(), await pass()], [2, 1, 0]);
      assert.deepEqual((await trail(world)).map(said), ['set D ann']);
    });
  });
}
