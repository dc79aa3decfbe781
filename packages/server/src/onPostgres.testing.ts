import { useStore } from './store.testing.ts';

// Imported for that alone, by test files that hold PostgreSQL to the tests of others.
useStore('postgres');
