import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { LOSS_WINDOW_MS } from '@rota/contract';
import type { JournalRecord } from './attempts.ts';
import { systemDisk } from './disk.ts';
import { key } from './fakeServer.testing.ts';
import { type Journal, type JournalOptions, openJournal, readJournal } from './journal.ts';
import type { Disk, DiskFile } from './ports.ts';

const now = { bootId: 'boot', bootMs: 1_000 };
const folders: string[] = [];
const journals: Journal[] = [];

after(async () => {
  for (const journal of journals) await journal.close();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function makeFolder(): string {
  const folder = mkdtempSync(`${tmpdir()}/rota-journal-`);
  folders.push(folder);
  return folder;
}

async function open(folder: string, changes: Partial<JournalOptions> = {}): Promise<Journal> {
  const { journal } = await openJournal({ folder, disk: systemDisk, now, ...changes });
  journals.push(journal);
  return journal;
}

const accepted = (attemptId: string, epoch = 1): JournalRecord => ({
  type: 'accepted',
  attemptId,
  epoch,
  bootId: 'boot',
});

const fileOf = (folder: string) => readFileSync(`${folder}/journal`);

/** The file without the zeros ahead. */
function contentOf(folder: string): Buffer {
  const data = fileOf(folder);
  let end = data.length;
  while (data[end - 1] === 0) end--;
  return data.subarray(0, end);
}

test('what was appended is there after a reopening, with its sequence number and the last nonce', async () => {
  const folder = makeFolder();
  const first = await open(folder);
  assert.equal(await first.append(accepted('a')), 1);
  assert.equal(await first.append({ type: 'nonce', nonce: 'n1' }), 2);
  assert.equal(await first.append(accepted('b', 7)), 3);
  await first.close();
  const second = await open(folder);
  assert.deepEqual([...second.entries.keys()], ['a', 'b']);
  assert.equal(second.entries.get('b')?.epoch, 7);
  assert.equal(second.seq, 3);
  assert.equal(second.nonce, 'n1');
  await second.close();
});

test('a journal that is cut at any byte of its last record has lost that record and nothing else', async () => {
  const folder = makeFolder();
  const journal = await open(folder);
  await journal.append(accepted('a'));
  const before = contentOf(folder).length;
  await journal.append(accepted('b'));
  await journal.close();
  const whole = contentOf(folder);
  for (let length = before; length < whole.length; length++) {
    for (const padding of [0, 64]) {
      const cut = Buffer.concat([whole.subarray(0, length), Buffer.alloc(padding)]);
      const content = readJournal(cut);
      assert.deepEqual([...content.entries.keys()], ['a'], `cut at ${length}`);
      assert.equal(content.seq, 1);
      assert.equal(content.damagedAt, null);
    }
  }
});

test('a flipped bit anywhere before the last record is noticed, and what comes after is still read', async () => {
  const folder = makeFolder();
  const journal = await open(folder);
  await journal.append(accepted('a'));
  const before = contentOf(folder).length;
  await journal.append(accepted('b'));
  await journal.close();
  const whole = contentOf(folder);
  for (let bit = 0; bit < before * 8; bit += 3) {
    const bent = Buffer.from(whole);
    bent[bit >> 3] = (bent[bit >> 3] as number) ^ (1 << (bit & 7));
    const content = readJournal(bent);
    assert.notEqual(content.damagedAt, null, `bit ${bit}`);
    assert.ok(content.entries.has('b'), `bit ${bit}`);
    assert.equal(content.seq, 2);
  }
});

test('a damaged journal is kept aside and reported, and the next opening is sound', async () => {
  const folder = makeFolder();
  const journal = await open(folder);
  await journal.append(accepted('a'));
  await journal.append(accepted('b'));
  await journal.close();
  const data = fileOf(folder);
  data[20] = (data[20] as number) ^ 1;
  writeFileSync(`${folder}/journal`, data);
  const { journal: opened, damage } = await openJournal({ folder, disk: systemDisk, now });
  assert.equal(damage?.offset, 0);
  assert.ok(readFileSync(`${folder}/${damage?.keptAs}`).equals(data));
  assert.equal(opened.seq, 2);
  await opened.close();
  const next = await openJournal({ folder, disk: systemDisk, now });
  assert.equal(next.damage, null);
  await next.journal.close();
});

test('records that wait for the disk share one sync, and keep their order', async () => {
  const folder = makeFolder();
  let syncs = 0;
  const disk = watched((operation) => {
    if (operation === 'sync') syncs++;
  });
  const journal = await open(folder, { disk });
  syncs = 0;
  const seqs = await Promise.all(
    Array.from({ length: 100 }, (_, index) => journal.append(accepted(`a${index}`))),
  );
  assert.deepEqual(
    seqs,
    Array.from({ length: 100 }, (_, index) => index + 1),
  );
  assert.ok(syncs <= 2, `${syncs} syncs`);
  await journal.close();
});

const started = (attemptId: string): JournalRecord => ({
  type: 'started',
  attemptId,
  epoch: 1,
  bootId: 'boot',
  helperId: 'h',
  permitUntilBootMs: 2_000,
  key,
  bootMs: 1_000,
});
const done = (attemptId: string, bootMs: number): JournalRecord => ({
  type: 'done',
  attemptId,
  end: null,
  bootId: 'boot',
  bootMs,
});

test('an entry is forgotten once it is done, its permit has expired, and no loss can reach it, not before', async () => {
  const folder = makeFolder();
  const journal = await open(folder);
  await journal.append(accepted('a'));
  await journal.append(started('a'));
  const late = 1_500 + LOSS_WINDOW_MS;
  journal.prune({ bootId: 'boot', bootMs: late }, late);
  assert.equal(journal.entries.size, 1);
  await journal.append(done('a', 1_500));
  journal.prune({ bootId: 'boot', bootMs: 2_000 }, late);
  journal.prune({ bootId: 'boot', bootMs: late }, late - 1);
  assert.equal(journal.entries.size, 1);
  await journal.close();
  const again = await open(folder, { now: { bootId: 'boot', bootMs: late } });
  assert.deepEqual(again.entries.get('a')?.key, key);
  again.prune({ bootId: 'boot', bootMs: late }, late);
  assert.equal(again.entries.size, 0);
  assert.equal(again.seq, 3);
  await again.close();
});

test('what was done before the machine restarted counts as done at the restart', async () => {
  const folder = makeFolder();
  const journal = await open(folder);
  await journal.append(started('a'));
  await journal.append(done('a', 1_500));
  await journal.close();
  const later = (bootMs: number) => ({ bootId: 'later', bootMs });
  const again = await open(folder, { now: later(50) });
  again.prune(later(LOSS_WINDOW_MS), LOSS_WINDOW_MS);
  assert.equal(again.entries.size, 1);
  again.prune(later(LOSS_WINDOW_MS + 50), LOSS_WINDOW_MS + 50);
  assert.equal(again.entries.size, 0);
  await again.close();
});

test("what is done stands in nobody's way, and of too much the oldest goes", async () => {
  const folder = makeFolder();
  const journal = await open(folder, { maxEntries: 2, maxHistory: 3 });
  for (const attemptId of ['a', 'b', 'c', 'd', 'e']) {
    await journal.append(started(attemptId));
    await journal.append(done(attemptId, 1_500));
  }
  assert.equal(journal.full, false);
  await journal.append(started('f'));
  await journal.append(started('g'));
  assert.equal(journal.full, true);
  journal.prune({ bootId: 'boot', bootMs: 2_000 }, null);
  assert.equal(journal.entries.size, 7);
  journal.prune({ bootId: 'boot', bootMs: 2_001 }, null);
  assert.deepEqual([...journal.entries.keys()], ['c', 'd', 'e', 'f', 'g']);
  await journal.close();
});

test('a journal of much history is rewritten, and its sequence goes on', async () => {
  const folder = makeFolder();
  const journal = await open(folder, { compactBytes: 10_000, extentBytes: 4_096 });
  for (let number = 0; number < 300; number++) {
    await journal.append(accepted('same', number));
    await journal.append({ type: 'nonce', nonce: `n${number}` });
  }
  assert.ok(fileOf(folder).length < 30_000, `${fileOf(folder).length} bytes`);
  await journal.close();
  const again = await open(folder);
  assert.equal(again.seq, 600);
  assert.equal(again.entries.get('same')?.epoch, 299);
  assert.equal(again.nonce, 'n299');
  await again.close();
});

test('a crash at any disk operation of a rewriting leaves every acknowledged record', async () => {
  for (let fatal = 1; ; fatal++) {
    const folder = makeFolder();
    let left = Number.POSITIVE_INFINITY;
    const disk = watched(() => {
      if (--left < 0) throw new Error('crashed');
    });
    const journal = await open(folder, { disk, compactBytes: 2_000, extentBytes: 1_024 });
    const known: string[] = [];
    left = fatal;
    let isDead = false;
    for (let number = 0; number < 60 && !isDead; number++) {
      await journal.append(accepted(`a${number}`)).then(
        () => known.push(`a${number}`),
        () => {
          isDead = true;
        },
      );
    }
    const after = await open(folder);
    for (const attemptId of known)
      assert.ok(after.entries.has(attemptId), `${attemptId} after operation ${fatal}`);
    assert.ok(after.seq >= known.length);
    await after.close();
    if (!isDead) break;
  }
});

test('on a full disk nothing more is promised, and what was written stays', async () => {
  const folder = makeFolder();
  let isFull = false;
  const disk = watched((operation, length) => {
    if (isFull && operation === 'write' && length > 500)
      throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
  });
  const journal = await open(folder, { disk, extentBytes: 1_024 });
  isFull = true;
  let written = 0;
  for (;;) {
    const seq = await journal.append(accepted(`a${written}`)).catch(() => null);
    if (seq === null) break;
    written++;
    assert.ok(written < 1_000);
  }
  assert.ok(journal.full);
  assert.ok(written > 0);
  isFull = false;
  journal.prune(now, null);
  await journal.idle();
  assert.equal(journal.full, false);
  await journal.append(accepted('later'));
  await journal.close();
  const again = await open(folder);
  assert.equal(again.entries.size, written + 1);
  await again.close();
});

test('a journal is opened on a full disk too, with room for what must still be said', async () => {
  const folder = makeFolder();
  const journal = await open(folder);
  await journal.append(accepted('a'));
  await journal.close();
  const disk = watched((operation, length) => {
    if (operation === 'write' && length > 1_000 && isFresh)
      throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
  });
  let isFresh = true;
  const opened = await open(folder, {
    disk: {
      ...disk,
      open: (path) => {
        isFresh = path.endsWith('.new');
        return disk.open(path);
      },
    },
  });
  assert.equal(opened.full, true);
  await opened.append(accepted('b'));
  await opened.close();
  const again = await open(folder);
  assert.deepEqual([...again.entries.keys()], ['a', 'b']);
});

test('after a failed sync nothing is promised any more', async () => {
  const folder = makeFolder();
  let fails = false;
  const disk = watched((operation) => {
    if (fails && operation === 'sync') throw new Error('EIO');
  });
  const journal = await open(folder, { disk });
  fails = true;
  await assert.rejects(journal.append(accepted('a')), /could not be written: EIO/);
  fails = false;
  await assert.rejects(journal.append(accepted('b')));
  assert.ok(journal.full);
  assert.equal(journal.entries.size, 0);
});

test('a journal of many entries says that it is full', async () => {
  const journal = await open(makeFolder(), { maxEntries: 2 });
  await journal.append(accepted('a'));
  assert.equal(journal.full, false);
  await journal.append(accepted('b'));
  assert.equal(journal.full, true);
  await journal.close();
});

test('it can be read by its owner only', async () => {
  const folder = makeFolder();
  const journal = await open(folder);
  await journal.close();
  assert.equal(statSync(`${folder}/journal`).mode & 0o777, 0o600);
});

/** The machine's disk, with a look at each operation before it happens. */
function watched(look: (operation: string, length: number) => void): Disk {
  return {
    read: systemDisk.read,
    async open(path) {
      look('open', 0);
      const file = await systemDisk.open(path);
      return {
        async write(data, position) {
          look('write', data.length);
          await file.write(data, position);
        },
        async sync() {
          look('sync', 0);
          await file.sync();
        },
        async truncate(length) {
          look('truncate', 0);
          await file.truncate(length);
        },
        close: file.close,
      } satisfies DiskFile;
    },
    async rename(from, to) {
      look('rename', 0);
      await systemDisk.rename(from, to);
    },
    async syncFolder(path) {
      look('syncFolder', 0);
      await systemDisk.syncFolder(path);
    },
  };
}
