import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JOB_NAME } from '@rota/contract';
import { nameOf, uniqueName } from './name.ts';

const NAMES = {
  '/usr/local/bin/backup.sh': 'backup',
  'echo hi': 'echo-hi',
  'echo "run at 5, every day"': 'echo',
  '$HOME/bin/daily.job >> $HOME/tmp/out 2>&1': 'daily.job',
  '[ -x /usr/sbin/dma ] && /usr/sbin/dma -q': 'dma',
  '/usr/bin/test -x /usr/bin/mlmmj-maintd && /usr/bin/mlmmj-maintd -F': 'mlmmj-maintd',
  'if [ -x /usr/bin/mailman ]; then /usr/bin/mailman notify; fi': 'mailman-notify',
  'test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }': 'cron.daily',
  'if [ -x /a ] && [ $(date +%d) -le 7 ]; then /usr/share/mdadm/checkarray --cron; fi': 'checkarray',
  "perl -e 'sleep int(rand(43200))' && certbot -q renew": 'certbot',
  'php /usr/share/cacti/site/poller.php 2>&1 >/dev/null | ts': 'poller',
  'LANG=C nice -n 10 ionice -c3 /opt/x/report --all': 'report',
  'flock -n /run/lock/sync timeout 30m rsync-all': 'rsync-all',
  'sudo -u postgres pg_dumpall -f /x': 'pg_dumpall',
  'cd /srv/app && git pull origin main extra': 'git-pull-origin',
  'cd /srv': 'cd',
  'sh -c "exit 0"': 'sh',
  constructor: 'constructor',
  '/opt/Ünïcode/ÄÖ': 'job',
};

for (const [command, name] of Object.entries(NAMES)) {
  test(`\`${command}\` becomes ${name}`, () => {
    assert.equal(nameOf(command), name);
  });
}

test('every name is a job name, whatever the command', () => {
  for (const command of [
    '',
    '%',
    '((',
    '"',
    "'a b",
    '; ; ;',
    'x'.repeat(500),
    `a-${'-'.repeat(200)}b`,
    '...',
    '|',
  ]) {
    assert.match(nameOf(command), new RegExp(JOB_NAME));
  }
});

test('a name that is taken gets the first free number, within the allowed length', () => {
  assert.equal(uniqueName('a', new Set()), 'a');
  assert.equal(uniqueName('a', new Set(['a', 'a-2'])), 'a-3');
  const long = 'x'.repeat(100);
  assert.equal(uniqueName(long, new Set([long])), `${'x'.repeat(98)}-2`);
});
