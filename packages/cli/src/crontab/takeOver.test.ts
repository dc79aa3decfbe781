import assert from 'node:assert/strict';
import { chmod, chown, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseCrontab } from './parse.ts';
import { commentOut, takeOverFile } from './takeOver.ts';

const WHEN = '2026-11-20T10:15:30.123Z';
const TEXT = '# about a\n@daily root a\n@reboot root b\n@hourly root c\n';
const OPTIONS = { file: '/etc/cron.d/app', userField: true };
const { jobs } = parseCrontab(TEXT, OPTIONS);
const TAKEN_OVER = `# about a
# taken over by rota at ${WHEN}: @daily root a
@reboot root b
# taken over by rota at ${WHEN}: @hourly root c
`;

async function crontab(t: TestContext, content: string | Buffer = TEXT) {
  const folder = await mkdtemp(path.join(tmpdir(), 'crontab-'));
  t.after(() => rm(folder, { recursive: true }));
  const file = path.join(folder, 'app');
  await writeFile(file, content, { mode: 0o640 });
  return { folder, file };
}

test('the imported lines become comments, every other line stays', () => {
  assert.equal(commentOut(TEXT, jobs, WHEN), TAKEN_OVER);
});

test('what is left has no job any more, and the refused line is still there', () => {
  const left = parseCrontab(commentOut(TEXT, jobs, WHEN), OPTIONS);
  assert.deepEqual([left.jobs, left.faults.map(({ line }) => line)], [[], [3]]);
});

test('a line that no longer reads as imported stops it, and every such line is named', () => {
  const text = TEXT.replace('@daily root a', '@weekly root a').replace('@hourly root c\n', '');
  assert.throws(
    () => commentOut(text, jobs, WHEN),
    /line 2 was "@daily root a" and is now "@weekly root a"; line 4 was "@hourly root c" and is now ""/,
  );
});

test('a second take-over is refused, since the lines are comments now', () => {
  assert.throws(() => commentOut(TAKEN_OVER, jobs, WHEN), /has changed since it was imported/);
});

test('the file is replaced and its copy keeps the old content, both with the mode of before', async (t) => {
  const { folder, file } = await crontab(t);
  await chmod(file, 0o600);
  const { backup } = await takeOverFile(file, jobs, WHEN);
  assert.equal(backup, `${file}.rota-20261120T101530Z~`);
  assert.equal(await readFile(file, 'utf8'), TAKEN_OVER);
  assert.equal(await readFile(backup, 'utf8'), TEXT);
  for (const name of [file, backup]) assert.equal((await stat(name)).mode & 0o7777, 0o600);
  assert.deepEqual((await readdir(folder)).sort(), ['app', path.basename(backup)]);
});

test('owner and group are kept', {
  skip: process.getuid?.() !== 0 && 'only root may give files away',
}, async (t) => {
  const { file } = await crontab(t);
  await chown(file, 1234, 2345);
  const { backup } = await takeOverFile(file, jobs, WHEN);
  for (const name of [file, backup]) {
    const { uid, gid } = await stat(name);
    assert.deepEqual([uid, gid], [1234, 2345]);
  }
});

test('a symbolic link stays one, its target is changed', async (t) => {
  const { folder, file } = await crontab(t);
  const link = path.join(folder, 'link');
  await symlink(file, link);
  await takeOverFile(link, jobs, WHEN);
  assert.equal(await readFile(file, 'utf8'), TAKEN_OVER);
  assert.ok(
    (await readdir(folder, { withFileTypes: true })).find(({ name }) => name === 'link')?.isSymbolicLink(),
  );
});

test('a changed file is left alone, without a copy', async (t) => {
  const { folder, file } = await crontab(t, '@daily root other\n');
  await assert.rejects(takeOverFile(file, jobs, WHEN), /import it again/);
  assert.equal(await readFile(file, 'utf8'), '@daily root other\n');
  assert.deepEqual(await readdir(folder), ['app']);
});

test('a copy that is already there is never overwritten', async (t) => {
  const { file } = await crontab(t);
  await writeFile(`${file}.rota-20261120T101530Z~`, 'precious');
  await assert.rejects(takeOverFile(file, jobs, WHEN), { code: 'EEXIST' });
  assert.equal(await readFile(`${file}.rota-20261120T101530Z~`, 'utf8'), 'precious');
  assert.equal(await readFile(file, 'utf8'), TEXT);
});

test('a file that is not UTF-8 is left alone, since its other lines would change', async (t) => {
  const bytes = Buffer.concat([Buffer.from(TEXT), Buffer.from([0x23, 0xe4, 0x0a])]);
  const { file } = await crontab(t, bytes);
  await assert.rejects(takeOverFile(file, jobs, WHEN), /not UTF-8/);
  assert.deepEqual(await readFile(file), bytes);
});
