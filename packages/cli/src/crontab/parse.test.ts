import assert from 'node:assert/strict';
import { test } from 'node:test';
import { homesOf } from './homes.ts';
import { type CrontabOptions, hasUserField, parseCrontab } from './parse.ts';

const PASSWD =
  'root:x:0:0:root:/root:/bin/bash\nbob:x:1000:1000::/home/bob:/bin/sh\nlist:x:38:38::/nonexistent:/bin/sh\n';
const homes = homesOf(PASSWD);
const SYSTEM: CrontabOptions = {
  file: '/etc/cron.d/app',
  userField: true,
  homeOf: (user) => homes.get(user),
};
const BOBS: CrontabOptions = {
  file: 'crontab of bob',
  userField: false,
  defaultUser: 'bob',
  homeOf: SYSTEM.homeOf as never,
};

function only(text: string, options = SYSTEM) {
  const { jobs, faults } = parseCrontab(text, options);
  assert.deepEqual(faults, []);
  assert.equal(jobs.length, 1);
  return jobs[0] as NonNullable<(typeof jobs)[0]>;
}

function messages(text: string, options = SYSTEM) {
  return parseCrontab(text, options).notices.map(({ line, message }) => `${line}: ${message}`);
}

test('an entry becomes a document with all that cron gives to its command', () => {
  const { line, source, name, document } = only('# Dumps it.\n30 2 * * *  bob  /opt/dump -a%in\n');
  assert.deepEqual([line, source, name], [2, '30 2 * * *  bob  /opt/dump -a%in', 'dump']);
  assert.deepEqual(document, {
    name: 'dump',
    description: 'Dumps it.\n\nImported from /etc/cron.d/app.',
    labels: { importedFrom: 'crontab' },
    schedule: { cron: '30 2 * * *' },
    command: '/opt/dump -a',
    shell: 'sh',
    env: { SHELL: '/bin/sh', PATH: '/usr/bin:/bin', HOME: '/home/bob', LOGNAME: 'bob' },
    user: 'bob',
    cwd: '/home/bob',
    stdin: 'in\n',
  });
});

test("a user's crontab runs everything as its owner", () => {
  const { document } = only('@daily cmd\n', BOBS);
  assert.deepEqual([document.user, document.cwd], ['bob', '/home/bob']);
});

test('without a known user nothing is said of user, home and folder', () => {
  const { document } = only('@daily cmd\n', { file: 'x', userField: false });
  assert.deepEqual(document.env, { SHELL: '/bin/sh', PATH: '/usr/bin:/bin' });
  assert.equal('user' in document || 'cwd' in document, false);
});

test('a variable holds for the lines that follow it, until it is set again', () => {
  const { jobs } = parseCrontab('@daily root a\nA=1\n@daily root b\nA=2\n@daily root c\n', SYSTEM);
  assert.deepEqual(
    jobs.map(({ document }) => (document.env as Record<string, string>).A),
    [undefined, '1', '2'],
  );
});

test('HOME and PATH may be set by the crontab, LOGNAME may not', () => {
  const { document } = only('HOME=/srv\nPATH=/opt/bin\nLOGNAME=eve\n@daily root cmd\n');
  assert.deepEqual(document.env, { SHELL: '/bin/sh', PATH: '/opt/bin', HOME: '/srv', LOGNAME: 'root' });
  assert.equal(document.cwd, '/srv');
});

test('only /bin/sh is a shell of Rota, every other runs as cron would call it', () => {
  const { document } = only('SHELL=/bin/bash\n@daily root a | b\n');
  assert.deepEqual(document.command, ['/bin/bash', '-c', 'a | b']);
  assert.equal(document.shell, undefined);
  assert.deepEqual(only('@daily root a\n', { ...SYSTEM, shellDefault: '/bin/zsh' }).document.command, [
    '/bin/zsh',
    '-c',
    'a',
  ]);
});

test('MAILTO is kept with the job and a notice says that Rota does not mail', () => {
  const text = 'MAILTO=ops@example.org\n@daily root cmd\n';
  const job = only(text);
  assert.equal(job.mailto, 'ops@example.org');
  assert.equal((job.document.env as Record<string, string>).MAILTO, 'ops@example.org');
  assert.match(String(job.document.description), /cron mailed its output to ops@example\.org\.$/);
  assert.match(messages(text)[0] ?? '', /^1: MAILTO=ops@example\.org is kept/);
});

test('an empty MAILTO needs no notice', () => {
  const text = 'MAILTO=""\n@daily root cmd\n';
  assert.equal(only(text).mailto, '');
  assert.deepEqual(messages(text), []);
});

test('an empty value without quotes is read, with a notice that cron refuses it', () => {
  assert.match(messages('MAILTO=\n@daily root cmd\n')[0] ?? '', /^1: Debian's cron refuses .* MAILTO=""/);
});

test('CRON_TZ is the zone of the schedules below it', () => {
  const { jobs, notices } = parseCrontab('@daily root a\nCRON_TZ=Asia/Tokyo\n@daily root b\n', {
    ...SYSTEM,
    timezone: 'Europe/Berlin',
  });
  assert.deepEqual(
    jobs.map(({ document }) => document.schedule),
    [
      { cron: '@daily', timezone: 'Europe/Berlin' },
      { cron: '@daily', timezone: 'Asia/Tokyo' },
    ],
  );
  assert.match(notices[0]?.message ?? '', /Debian's cron ignores it/);
});

test('a zone that does not exist is a fault of every entry below it', () => {
  const { faults } = parseCrontab('CRON_TZ=Europe/Berln\n@daily root a\n', SYSTEM);
  assert.equal(faults[0]?.line, 2);
  assert.match(faults[0]?.message ?? '', /Europe\/Berlin/);
});

test('a random delay is only kept, and the notice names the field for it', () => {
  assert.match(messages('RANDOM_DELAY=45\n')[0] ?? '', /schedule\.jitter, such as "45m"/);
});

test('@reboot is refused with its line and the remedy, and the others are still imported', () => {
  const { jobs, faults } = parseCrontab('# at boot\n@reboot root cmd\n@hourly root cmd\n', SYSTEM);
  assert.deepEqual(
    jobs.map(({ line }) => line),
    [3],
  );
  assert.deepEqual([faults[0]?.line, faults[0]?.text], [2, '@reboot root cmd']);
  assert.match(faults[0]?.message ?? '', /leave this line to cron, or make it a systemd service/);
});

test('the keywords of cron stay as they are, others are refused', () => {
  for (const time of ['@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually']) {
    assert.deepEqual(only(`${time} root cmd\n`).document.schedule, { cron: time });
  }
  assert.match(parseCrontab('@every_minute root cmd\n', SYSTEM).faults[0]?.message ?? '', /@hourly, @daily/);
});

test('a time that can never be is a fault with the reason', () => {
  const { jobs, faults } = parseCrontab('61 * * * * root a\n0 0 30 2 * root b\n', SYSTEM);
  assert.equal(jobs.length, 0);
  assert.deepEqual(
    faults.map(({ line }) => line),
    [1, 2],
  );
});

test('a variable whose name no environment takes is a fault', () => {
  assert.match(parseCrontab('A-B=c\n', SYSTEM).faults[0]?.message ?? '', /"A-B" cannot be the name/);
});

test('a range that goes backwards is imported with the warning that cron never ran it', () => {
  assert.match(messages('0 22-4 * * * root cmd\n')[0] ?? '', /"22-4" as empty/);
  assert.match(messages('0 0 * * fri-sun root cmd\n')[0] ?? '', /"fri-sun" as empty/);
  assert.deepEqual(messages('0-30/5 1-2 1-2 jan-feb mon-5 root cmd\n'), []);
});

test('a leading dash is left out with a notice', () => {
  assert.deepEqual(only('-*/5 * * * * root cmd\n').document.schedule, { cron: '*/5 * * * *' });
  assert.match(messages('-*/5 * * * * root cmd\n')[0] ?? '', /Rota records every run/);
});

test('a carriage return is left out of the command but not of the source', () => {
  const { document, source } = only('A=b\r\n\r\n@daily root cmd\r\n');
  assert.deepEqual([document.command, source], ['cmd', '@daily root cmd\r']);
  assert.equal((document.env as Record<string, string>).A, 'b');
});

test('a command whose home is not there runs in /, as cron would not fail either', () => {
  assert.equal(only('@daily list cmd\n').document.cwd, '/');
  assert.equal(only('@daily bob cmd\n', { ...SYSTEM, isFolder: () => false }).document.cwd, '/');
  const found = messages('@daily list cmd\n@hourly list cmd\n');
  assert.equal(found.length, 1);
  assert.match(found[0] ?? '', /"\/nonexistent" is not there/);
});

test('a user that the machine does not know is told once', () => {
  const found = messages('@daily eve a\n@daily eve b\n');
  assert.equal(found.length, 1);
  assert.match(found[0] ?? '', /^1: this machine has no user "eve"/);
});

test('a user field that was overlooked is guessed', () => {
  assert.match(messages('17 * * * * root cmd\n', BOBS)[0] ?? '', /--user-field/);
});

test('a file that cron ignores is told apart: by its name, or without a newline at its end', () => {
  const named = { ...SYSTEM, file: '/etc/cron.d/app.dpkg-old' };
  assert.match(
    messages('@daily root a\n', named)[0] ?? '',
    /^1: Debian's cron ignores files of this name \("app\.dpkg-old"\)/,
  );
  assert.match(messages('@daily root a\n@daily root b')[0] ?? '', /^2: .* does not end with a newline/);
  assert.equal(parseCrontab('@daily root a\n@daily root b', SYSTEM).jobs.length, 2);
});

test('only the comment directly above an entry describes it', () => {
  const describe = (text: string) =>
    String(only(text).document.description).replace(/\n*Imported from .*$/, '');
  assert.equal(describe('# far away\n\n@daily root a\n'), '');
  assert.equal(describe('# of the variable\nA=b\n@daily root a\n'), '');
  assert.equal(describe('#####\n# First.\n#\n#\n# Second.\n#\n@daily root a\n'), 'First.\n\nSecond.');
  assert.equal(describe('# m h dom mon dow user  command\n@daily root a\n'), '');
  assert.equal(describe('# old\n#*/5 * * * * root cmd\n# new\n@daily root a\n'), 'new');
  assert.equal(describe('# taken over by rota at 2026-01-01T00:00:00Z: @daily root b\n@daily root a\n'), '');
});

test('the header that crontab installs describes nothing', () => {
  const header =
    '# DO NOT EDIT THIS FILE - edit the master and reinstall.\n# (/tmp/crontab.x installed on Fri Nov 20 10:00:00 2026)\n# (Cron version -- $Id$)\n';
  assert.match(String(only(`${header}@daily a\n`, BOBS).document.description), /^Imported from/);
});

test('names are unique in the file and among those that are taken', () => {
  const { jobs } = parseCrontab('@daily root a\n@hourly root a\n', { ...SYSTEM, taken: ['a'] });
  assert.deepEqual(
    jobs.map(({ name }) => name),
    ['a-2', 'a-3'],
  );
});

test('a crontab without a line has no job and no fault', () => {
  assert.deepEqual(parseCrontab('', SYSTEM), { jobs: [], faults: [], notices: [] });
});

test('the paths of system crontabs have a user field, others do not', () => {
  for (const file of [
    '/etc/crontab',
    '/etc/cron.d/dma',
    '/mnt/old/etc/cron.d/dma',
    '/etc/cron.d/../crontab',
  ]) {
    assert.equal(hasUserField(file), true, file);
  }
  for (const file of [
    '/var/spool/cron/crontabs/bob',
    'crontab',
    '/home/bob/crontab',
    '/etc/cron.daily/dma',
  ]) {
    assert.equal(hasUserField(file), false, file);
  }
});

test('homes are read from a passwd file, the first line of a user counts', () => {
  assert.deepEqual([...homesOf('a:x:1:1::/a:/bin/sh\na:x:1:1::/b:\nbroken\n+\n')], [['a', '/a']]);
});
