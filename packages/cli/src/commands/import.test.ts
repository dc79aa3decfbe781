import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type FakeServer, fakeServer, type Handlers, jobView } from '../fakeServer.testing.ts';
import { rota, temporaryFolder } from '../rota.testing.ts';

const CRONTAB =
  'MAILTO=root\n# Nightly.\n30 2 * * * backup.sh\n@reboot start.sh\n0 5 * * 1 report --weekly\n';
const here = { name: 'this-machine', facts: { hostname: hostname() } };

interface Body {
  document: { owner: string; jobs: { name: string; target?: { agents: string[] } }[] };
}

async function machine(
  t: TestContext,
  handlers: Handlers = {},
): Promise<{ server: FakeServer; file: string }> {
  const file = join(temporaryFolder(t), 'crontab');
  writeFileSync(file, CRONTAB);
  const server = await fakeServer(t, {
    listAgents: () => ({ json: { items: [here], nextCursor: null } }),
    listJobs: () => ({ json: { items: [], nextCursor: null } }),
    apply: ({ body }) => ({
      json: {
        dryRun: false,
        changes: (body as Body).document.jobs.map(({ name }) => ({
          name,
          action: 'created',
          revision: 1,
          fields: [],
        })),
      },
    }),
    resumeJob: ({ params }) => ({ json: jobView({ name: params.name as string }) }),
    ...handlers,
  });
  return { server, file };
}

test('import crontab makes paused jobs for the agent of this machine and leaves the file alone', async (t) => {
  const { server, file } = await machine(t);
  const { code, out, err } = await rota(['import', 'crontab', '--no-user-field', file], server);
  assert.equal(code, 1, 'a line was not imported');
  assert.match(out, /\t?3\tbackup\t30 2 \* \* \*\t-\tcreated\n/);
  assert.match(err, /crontab:4: not imported: .*\n {4}@reboot start\.sh/);
  assert.match(err, new RegExp(`rota import crontab --take-over --no-user-field ${file}`));
  const { document, paused } = server.body<
    Body & {
      paused: boolean;
    }
  >('apply');
  assert.equal(paused, true);
  assert.equal(document.owner, `crontab ${hostname()}:${file}`);
  assert.deepEqual(
    document.jobs.map(({ target }) => target?.agents),
    [['this-machine'], ['this-machine']],
  );
  assert.equal(readFileSync(file, 'utf8'), CRONTAB);
});

test('--take-over comments the lines out before the first job is started', async (t) => {
  const seen: string[] = [];
  const { server, file } = await machine(t, {
    resumeJob: ({ params }) => {
      seen.push(`${params.name}: ${readFileSync(file, 'utf8').match(/^# taken over by rota/gm)?.length}`);
      return { json: jobView() };
    },
  });
  const { out } = await rota(['import', 'crontab', '--take-over', file], server);
  assert.deepEqual(seen, ['backup: 2', 'report: 2']);
  assert.match(
    readFileSync(file, 'utf8'),
    /^# taken over by rota at 2026-03-01T12:00:00.000Z: 30 2 \* \* \* backup\.sh$/m,
  );
  assert.match(readFileSync(file, 'utf8'), /^@reboot start\.sh$/m);
  assert.match(out, /Taken over: cron no longer runs them/);
  const copy = readdirSync(join(file, '..')).find((name) => name.startsWith('crontab.rota-'));
  assert.equal(readFileSync(join(file, '..', copy ?? ''), 'utf8'), CRONTAB);
});

test('when a job cannot be started after its line is a comment, the error says which and how', async (t) => {
  const { server, file } = await machine(t, {
    resumeJob: ({ params }) =>
      params.name === 'backup' ? { json: jobView() } : { problem: 'server.draining', detail: 'stopping' },
  });
  const { code, err } = await rota(['import', 'crontab', '--take-over', file], server);
  assert.equal(code, 1);
  assert.match(err, /still paused, so NOBODY runs them: report \(stopping\)/);
  assert.match(err, /next: rota job resume report\n/);
});

test('a second --take-over changes nothing, and reminds of jobs that are still paused', async (t) => {
  const { server, file } = await machine(t);
  await rota(['import', 'crontab', '--take-over', file], server);
  const text = readFileSync(file, 'utf8');
  const left = await machine(t, {
    listJobs: ({ query }) => ({
      json: { items: query.paused ? [jobView({ name: 'report' })] : [], nextCursor: null },
    }),
  });
  const { err } = await rota(['import', 'crontab', '--take-over', file], left.server);
  assert.equal(readFileSync(file, 'utf8'), text);
  assert.ok(!left.server.calls.some(({ route }) => route === 'resumeJob'));
  assert.match(err, /rota job resume report/);
});

test('when the jobs cannot be saved the crontab is not touched', async (t) => {
  const { server, file } = await machine(t, { apply: () => ({ problem: 'auth.forbidden' }) });
  const { code } = await rota(['import', 'crontab', '--take-over', file], server);
  assert.equal(code, 4);
  assert.equal(readFileSync(file, 'utf8'), CRONTAB);
});

test("a name that another owner's job has is not overwritten", async (t) => {
  const other = jobView({
    name: 'backup',
    document: { name: 'backup', owner: 'crontab other:/etc/crontab' },
  });
  const { server, file } = await machine(t, {
    listJobs: () => ({ json: { items: [other], nextCursor: null } }),
  });
  await rota(['import', 'crontab', file], server);
  const { document } = server.body<Body>('apply');
  assert.deepEqual(
    document.jobs.map(({ name }) => name),
    ['backup-2', 'report'],
  );
});

test('without an agent of this machine it asks which one', async (t) => {
  const { server, file } = await machine(t, {
    listAgents: () => ({
      json: { items: [{ name: 'web-1', facts: { hostname: 'web-1' } }], nextCursor: null },
    }),
  });
  const { code, err } = await rota(['import', 'crontab', file], server);
  assert.equal(code, 2);
  assert.match(err, /agents: web-1\nnext: .*--agent NAME/);
  assert.equal((await rota(['import', 'crontab', '--any-agent', file], server)).code, 1);
});

test('a crontab from the input is imported, but cannot be taken over', async (t) => {
  const { server } = await machine(t);
  const { out } = await rota(['import', 'crontab', '-'], { ...server, input: '@daily true\n' });
  assert.match(out, /1\ttrue\t@daily/);
  assert.equal((await rota(['import', 'crontab', '-', '--take-over'], { ...server, input: '' })).code, 2);
});
