import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type AttemptMessage, type Open, World } from './world.ts';

/** What an attempt has printed, and what of it is kept. */
export function outputSuite(open: Open): void {
  const worldWithJob = () => World.withJob(open);

  describe('output', () => {
    const send = (
      world: World,
      key: AttemptMessage,
      ...chunks: [seq: number, bytes: number, dropped?: number][]
    ) =>
      world.store.storeOutput({
        ...key,
        chunks: chunks.map(([seq, bytes, droppedBytes = 0]) => ({
          seq,
          stream: 'stdout',
          atMs: seq,
          droppedBytes,
          data: Buffer.alloc(bytes, seq),
        })),
      });
    const KIB = 1024;

    it('is stored once however often it comes', async () => {
      const world = await worldWithJob();
      const key = await world.key(await world.inState('running', 'a', 'one'));
      assert.equal(await send(world, key, [2, 10], [3, 10]), 3);
      assert.equal(await send(world, key, [2, 10], [3, 10], [5, 10, 7]), 5);
      assert.equal(await send(world, key, [2, 10]), 5);
      const attempt = await world.attempt(key.attemptId);
      assert.deepEqual(
        [attempt.outputBytes, attempt.headBytes, attempt.tailBytes, attempt.outputDroppedBytes],
        [37, 30, 0, 7],
      );
    });

    it('keeps the first MiB and the last, and says what is missing between', async () => {
      const world = await worldWithJob();
      const key = await world.key(await world.inState('running', 'a', 'one'));
      let seq = 1;
      for (let message = 0; message < 12; message++) {
        const chunks: [number, number, number][] = [];
        for (let n = 0; n < 10; n++) chunks.push([++seq, 32 * KIB, n === 5 ? 100 : 0]);
        await send(world, key, ...chunks);
      }
      const stored = await world.rows<{ bytes: number; dropped: number; head: number }>(
        'select "head", sum(length("data")) as "bytes", sum("droppedBytes") as "dropped" from "output" group by "head" order by "head"',
      );
      const all = 120 * 32 * KIB + 1_200;
      const kept = stored.reduce((sum, part) => sum + part.bytes, 0);
      const dropped = stored.reduce((sum, part) => sum + part.dropped, 0);
      assert.equal(stored[1]?.bytes, 1024 * KIB);
      assert.equal(stored[0]?.bytes, 1024 * KIB);
      assert.equal(kept + dropped, all, 'every byte is there or counted as missing');
      const attempt = await world.attempt(key.attemptId);
      assert.deepEqual([attempt.outputBytes, attempt.outputDroppedBytes], [all, dropped]);
      await world.end(key, { outputBytes: all, outputDroppedBytes: 1_200 });
      assert.equal((await world.attempt(key.attemptId)).outputDroppedBytes, dropped);
    });

    it('keeps its bound when large chunks follow very many small ones', async () => {
      const world = await worldWithJob();
      const key = await world.key(await world.inState('running', 'a', 'one'));
      let seq = 1;
      const part = (count: number, bytes: number) =>
        send(world, key, ...Array.from({ length: count }, (): [number, number] => [++seq, bytes]));
      await part(32, 32 * KIB);
      for (let message = 0; message < 32; message++) await part(64, 512);
      for (let message = 0; message < 2; message++) await part(32, 32 * KIB);
      const attempt = await world.attempt(key.attemptId);
      assert.equal(attempt.tailBytes, 1024 * KIB);
      const [stored] = await world.rows<{ bytes: number }>(
        'select sum(length("data")) as "bytes" from "output"',
      );
      assert.equal(stored?.bytes, 2048 * KIB);
    });

    it('is not taken after the end of its attempt', async () => {
      const world = await worldWithJob();
      const key = await world.key(await world.inState('running', 'a', 'one'));
      await send(world, key, [2, 10]);
      await world.end(key, { outputBytes: 10 });
      assert.equal(await send(world, key, [3, 10]), 1_000);
      assert.equal((await world.attempt(key.attemptId)).outputBytes, 10);
      assert.equal((await world.rows('select * from "output"')).length, 1);
    });
  });
}
