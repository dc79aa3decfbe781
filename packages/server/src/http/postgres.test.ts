import { useStore } from '../store.testing.ts';

// The tests of the API once more, on PostgreSQL.
useStore('postgres');
for (const file of [
  'apply',
  'badDocuments',
  'chains',
  'events',
  'jobs',
  'routes',
  'secrets',
  'tenants',
  'tokens',
])
  await import(`./${file}.test.ts`);
