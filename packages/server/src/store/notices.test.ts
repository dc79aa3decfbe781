import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { systemClock } from '../clock.ts';
import { ALL_RUNS } from '../hints.ts';
import { testPostgres } from '../postgres.testing.ts';
import { type Notices, openNotices } from './notices.ts';
import { openPostgres } from './postgres.ts';
import { createStore } from './store.ts';

/** One server's end of the notices, and what it has heard. */
async function join(t: TestContext, self: string) {
  address ??= await (await testPostgres()).database();
  const store = createStore(await openPostgres(address, systemClock));
  const heard: string[] = [];
  let wake = () => {};
  const notices = openNotices({
    address,
    clock: systemClock,
    log: pino({ level: 'silent' }),
    self,
    notify: store.notify,
    hear(topic) {
      heard.push(topic);
      wake();
    },
  });
  t.after(async () => {
    await notices.stop();
    await store.close();
  });
  const hears = async (topic: string) => {
    while (!heard.includes(topic)) await new Promise<void>((resolve) => (wake = resolve));
  };
  return { notices, heard, hears };
}

let address: Awaited<ReturnType<Awaited<ReturnType<typeof testPostgres>>['database']>> | null = null;

/** Says a topic until it is heard: who has only just begun to listen has missed it. */
async function until(heard: Promise<void>, notices: Notices, topic: string): Promise<void> {
  let isOver = false;
  void heard.then(() => (isOver = true));
  while (!isOver) {
    notices.tell(topic);
    await Promise.race([heard, new Promise<void>((resolve) => systemClock.after(20, resolve))]);
  }
}

test('What one server says the others hear, and it does not hear itself', async (t) => {
  const [a, b, c] = [await join(t, 'a'), await join(t, 'b'), await join(t, 'c')];
  await until(b.hears('first'), a.notices, 'first');
  await until(c.hears('second'), a.notices, 'second');
  a.notices.tell('agents');
  a.notices.tell('run:1');
  await Promise.all([b.hears('run:1'), c.hears('run:1')]);
  assert(b.heard.includes('agents'));
  await until(a.hears('back'), b.notices, 'back');
  assert(a.heard.every((topic) => topic === 'back'));
});

test('Very many runs are said in one notice', async (t) => {
  const [a, b] = [await join(t, 'a'), await join(t, 'b')];
  await until(b.hears('first'), a.notices, 'first');
  a.notices.tell('events');
  for (let n = 0; n < 2_000; n += 1) a.notices.tell(`run:${String(n).padStart(20, '0')}`);
  await b.hears(ALL_RUNS);
  assert(b.heard.includes('events'));
  assert(b.heard.length < 50, `${b.heard.length}`);
});

test('A server whose connection was cut hears again', async (t) => {
  const [a, b] = [await join(t, 'a'), await join(t, 'b')];
  await until(b.hears('before'), a.notices, 'before');
  const { admin } = await testPostgres();
  await admin(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rota notices' and datname = '${address?.database}'`,
  );
  await until(b.hears('after'), a.notices, 'after');
});

test('A server counts on notices only while its own come back', async (t) => {
  const { notices } = await join(t, 'alone');
  const becomes = async (areHeard: boolean) => {
    while (notices.areHeard !== areHeard) await new Promise<void>((resolve) => setImmediate(resolve));
  };
  assert.equal(notices.areHeard, false);
  await becomes(true);
  const { admin } = await testPostgres();
  await admin(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rota notices' and datname = '${address?.database}'`,
  );
  await becomes(false);
  await becomes(true);
});
