import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { writeCertificate } from '../support/certificate.ts';
import { Installation } from '../support/installation.ts';
import { until } from '../support/until.ts';

/** A second machine over TLS, with a certificate that only `--ca-file` makes trusted. */
const installation = new Installation();
let files: { cert: string; key: string };

before(async () => {
  files = await writeCertificate(installation.folder);
  installation.start('server', [
    'server',
    'start',
    '--listen',
    '127.0.0.1:0',
    '--tls-cert',
    files.cert,
    '--tls-key',
    files.key,
  ]);
  await until('the server', () => installation.url().startsWith('https://'));
});

after(() => installation.remove());

function rota(...args: string[]) {
  return installation.run(args, { env: { NODE_EXTRA_CA_CERTS: files.cert } });
}

test('the CLI refuses a certificate that it cannot trust and says what to do', async () => {
  const { code, stderr } = await installation.run(['status']);
  assert.equal(code, 3);
  assert.match(stderr, /certificate/i);
});

test('an agent joins over TLS by the command that join-token prints, and runs what it is told', async () => {
  const printed = await rota('agent', 'join-token', '--label', 'role=db');
  assert.equal(printed.code, 0, printed.stderr);
  const token = /ROTA_JOIN_TOKEN=(\S+)/.exec(printed.stdout)?.[1] as string;
  assert.ok(printed.stdout.includes(`--url ${installation.url()}`), printed.stdout);
  installation.start(
    'second',
    ['agent', 'start', '--url', installation.url(), '--name', 'second', '--ca-file', files.cert],
    {
      ROTA_JOIN_TOKEN: token,
    },
  );
  const done = await until('the command to run', async () => {
    const ran = await rota('exec', '--label', 'role=db', '--wait', '--', 'echo', 'over tls');
    return ran.code === 0 ? ran : null;
  });
  assert.match(done.stdout, /over tls/);
});

test('an agent does not send its join token to a server that it cannot trust', async () => {
  const { code, stderr } = await installation.run(
    ['agent', 'start', '--url', installation.url(), '--name', 'third'],
    {
      name: 'third',
      env: { ROTA_JOIN_TOKEN: 'rotajoin_aaaaaaaaaaaa_not-a-real-one' },
    },
  );
  assert.notEqual(code, 0);
  assert.match(stderr, /certificate/i);
});
