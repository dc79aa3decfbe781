// Adds tenants for ever, and prints how many are acknowledged; a test kills it.
import { systemClock } from '../../clock.ts';
import { openSqlite } from '../sqlite.ts';
import { createStore } from '../store.ts';

const store = createStore(await openSqlite(process.argv[2] as string, systemClock));
let acknowledged = 0;
for (let from = 0; ; from += 10) {
  const batch = Array.from({ length: 10 }, (_, n) => `t${from + n}`);
  await Promise.all(
    batch.map(async (id) => {
      await store.createTenant({ id, name: id, timezone: 'UTC' });
      acknowledged += 1;
      process.stdout.write(`${acknowledged}\n`);
    }),
  );
}
