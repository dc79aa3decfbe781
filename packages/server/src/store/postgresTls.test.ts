import assert from 'node:assert/strict';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { generate } from 'selfsigned';
import { systemClock } from '../clock.ts';
import { startPostgres, testPostgres, user } from '../postgres.testing.ts';
import { DatabaseUntrustedError } from './driver.ts';
import { row } from './operation.ts';
import { openPostgres } from './postgres.ts';
import type { PostgresAddress } from './postgresConnection.ts';

const certificateOf = (...names: string[]) =>
  generate([{ name: 'commonName', value: 'rota test' }], {
    algorithm: 'sha256',
    extensions: [{ name: 'subjectAltName', altNames: names.map((value) => ({ type: 2, value })) }],
  });

describe('TLS to PostgreSQL', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rota-tls-'));
  let address: PostgresAddress;
  let ca = '';
  let other = '';

  before(async () => {
    const made = await certificateOf('localhost');
    ca = made.cert;
    other = (await certificateOf('localhost')).cert;
    const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
    writeFileSync(files.cert, made.cert);
    writeFileSync(files.key, made.private, { mode: 0o600 });
    const { uid, gid } = user();
    if (uid !== undefined && gid !== undefined)
      for (const path of [folder, files.cert, files.key]) chownSync(path, uid, gid);
    const settings = ['fsync=off', 'ssl=on', `ssl_cert_file=${files.cert}`, `ssl_key_file=${files.key}`];
    address = await (await startPostgres(settings)).emptyDatabase();
  });
  after(() => rmSync(folder, { recursive: true }));

  const over = (host: string, tls: PostgresAddress['tls']) =>
    openPostgres({ ...address, host, tls, poolSize: 2 }, systemClock);

  /** What the database itself says of the connection. */
  async function speaks(host: string, tls: PostgresAddress['tls']): Promise<boolean> {
    const driver = await over(host, tls);
    try {
      const found = await driver.read(() =>
        row<{ ssl: boolean }>('select "ssl" from pg_stat_ssl where "pid" = pg_backend_pid()'),
      );
      return found?.ssl === true;
    } finally {
      await driver.close();
    }
  }

  const refuses = (host: string, tls: PostgresAddress['tls'], words: RegExp) =>
    assert.rejects(
      over(host, tls),
      (error) => error instanceof DatabaseUntrustedError && words.test(error.message),
    );

  it('is used as far as it is asked for', async () => {
    assert.equal(await speaks('localhost', { verify: 'full', ca }), true);
    assert.equal(await speaks('127.0.0.1', { verify: 'chain', ca }), true);
    assert.equal(await speaks('127.0.0.1', { verify: 'none', ca: null }), true);
    assert.equal(await speaks('127.0.0.1', null), false);
  });

  it('refuses a certificate of an unknown authority, and says where to name it', async () => {
    await refuses(
      'localhost',
      { verify: 'full', ca: null },
      /name the file of the one that has by databaseCa/,
    );
    await refuses('localhost', { verify: 'chain', ca: other }, /no authority in databaseCa/);
  });

  it('refuses a certificate of another host, also where the host is an address', async () => {
    await refuses('127.0.0.1', { verify: 'full', ca }, /not for 127\.0\.0\.1: .*sslmode=verify-ca/);
  });
});

it('A database without TLS is not spoken to when TLS is asked for', async () => {
  const plain = await (await testPostgres()).emptyDatabase();
  await assert.rejects(
    openPostgres({ ...plain, tls: { verify: 'none', ca: null } }, systemClock),
    (error) => error instanceof DatabaseUntrustedError && /switch ssl on there/.test(error.message),
  );
});
