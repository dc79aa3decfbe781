import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { change, type Operation, row } from '../operation.ts';
import { type Open, World } from './world.ts';

/** What an operation may rely on. */
export function commitsSuite(open: Open): void {
  const count = (world: World) =>
    world.driver
      .read(() => row<{ n: number }>('select count(*) as "n" from "tenants"'))
      .then((found) => found?.n);

  function* add(id: string, then?: () => void): Operation<string> {
    yield* change(
      'insert into "tenants" ("id", "name", "timezone", "createdAt") values (?, ?, ?, 0)',
      id,
      id,
      'UTC',
    );
    then?.();
    return id;
  }

  describe('a write', () => {
    it('is undone alone when it throws, whatever waits with it', async () => {
      const world = await World.open(open);
      const fail = () => {
        throw new Error('no');
      };
      const answers = await Promise.allSettled(
        Array.from({ length: 1_000 }, (_, n) =>
          world.driver.write(() => add(`t${n}`, n % 10 === 3 ? fail : undefined)),
        ),
      );
      assert.equal(answers.filter((answer) => answer.status === 'rejected').length, 100);
      assert.equal(await count(world), 901);
      assert.deepEqual(answers[4], { status: 'fulfilled', value: 't4' });
    });

    it('that breaks a rule of the tables is refused alone', async () => {
      const world = await World.open(open);
      const answers = await Promise.allSettled(
        ['x', 'x', 'y'].map((id) => world.driver.write(() => add(id))),
      );
      const [one, other, third] = answers.map((answer) => answer.status);
      assert.deepEqual([[one, other].sort(), third], [['fulfilled', 'rejected'], 'fulfilled']);
    });

    it('is answered after its commit, in the order in which writes with its key were asked for', async () => {
      const world = await World.open(open);
      const order: string[] = [];
      await Promise.all(
        Array.from({ length: 600 }, async (_, n) => {
          order.push(await world.driver.write(() => add(`t${n}`), 'one'));
          assert(((await count(world)) as number) > n);
        }),
      );
      assert.deepEqual(
        order,
        Array.from({ length: 600 }, (_, n) => `t${n}`),
      );
    });

    it('that fails takes those with its key along that wait behind it, and no others', async () => {
      const world = await World.open(open);
      const fail = () => {
        throw new Error('no');
      };
      const answers = await Promise.allSettled([
        world.driver.write(() => add('a'), 'one'),
        world.driver.write(() => add('b', fail), 'one'),
        world.driver.write(() => add('c'), 'one'),
        world.driver.write(() => add('d'), 'other'),
        world.driver.write(() => add('e')),
      ]);
      assert.deepEqual(
        answers.map((answer) => answer.status),
        ['fulfilled', 'rejected', 'rejected', 'fulfilled', 'fulfilled'],
      );
      assert.equal(await world.driver.write(() => add('f'), 'one'), 'f');
    });

    it('has one instant for all that it does', async () => {
      const world = await World.open(open);
      const seen = await world.driver.write(function* (transaction) {
        const first = transaction.now;
        world.pass(5);
        yield* add('t');
        return [first, transaction.now];
      });
      assert.equal(seen[0], seen[1]);
    });
  });
}
