// The tests of the handshake, the gateway and the dispatcher once more, on PostgreSQL. They are imported at once: the runner
// ends what is shared as soon as all tests that it knows of have ended, so none may become known later.
import '../onPostgres.testing.ts';
import './handshake.test.ts';
import './gateway.test.ts';
import './dispatch.test.ts';
import './retries.test.ts';
