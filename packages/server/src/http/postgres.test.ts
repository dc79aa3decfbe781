// The tests of the API once more, on PostgreSQL. They are imported at once: the runner ends what is shared as soon as all tests
// that it knows of have ended, so none may become known later.
import '../onPostgres.testing.ts';
import './apply.test.ts';
import './badDocuments.test.ts';
import './chains.test.ts';
import './events.test.ts';
import './jobs.test.ts';
import './routes.test.ts';
import './secrets.test.ts';
import './tenants.test.ts';
import './tokens.test.ts';
