import { useStore } from '../store.testing.ts';

// The tests of the handshake, the gateway and the dispatcher once more, on PostgreSQL.
useStore('postgres');
await import('./handshake.test.ts');
await import('./gateway.test.ts');
await import('./dispatch.test.ts');
await import('./retries.test.ts');
