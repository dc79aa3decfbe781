import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isAlive, membersOf, type ProcessInfo, parseStat } from './processTree.ts';

function info(pid: number, changes: Partial<ProcessInfo> = {}): ProcessInfo {
  return {
    pid,
    parent: 1,
    group: pid,
    session: pid,
    startTime: 100,
    cpuTicks: 0,
    isZombie: false,
    ...changes,
  };
}

const root = { pid: 10, startTime: 100 };
const pids = (members: ProcessInfo[]) => members.map(({ pid }) => pid).sort((a, b) => a - b);
const none = () => false;

test('the name of a process may contain brackets and spaces', () => {
  const stat = '42 (a) b) (c) S 7 8 9 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 555 1 2';
  assert.deepEqual(parseStat(stat), {
    pid: 42,
    isZombie: false,
    parent: 7,
    group: 8,
    session: 9,
    cpuTicks: 100,
    startTime: 555,
  });
});

test('members are the root, its descendants, its session and group, and what is marked, with descendants', () => {
  const processes = [
    info(1),
    info(10),
    info(11, { parent: 10, group: 10, session: 10 }),
    info(12, { parent: 11 }),
    info(13, { parent: 1, session: 10 }),
    info(20),
    info(21, { parent: 20 }),
    info(30),
  ];
  assert.deepEqual(pids(membersOf(processes, root, ({ pid }) => pid === 20)), [10, 11, 12, 13, 20, 21]);
});

test('when the root is gone, its session still tells its members', () => {
  assert.deepEqual(pids(membersOf([info(11, { session: 10 }), info(20)], root, none)), [11]);
});

test('a pid that is in use again belongs to someone else, as do its session and children', () => {
  const processes = [info(10, { startTime: 900 }), info(11, { parent: 10, session: 10, startTime: 901 })];
  assert.deepEqual(membersOf(processes, root, none), []);
});

test('what was there before the root is not of it', () => {
  assert.deepEqual(pids(membersOf([info(9, { session: 10, startTime: 50 }), info(10)], root, none)), [10]);
});

test('zombies do not count', () => {
  assert.deepEqual(membersOf([info(10, { isZombie: true })], root, none), []);
});

test('a process is known by pid and start time together', {
  skip: process.platform !== 'linux' && 'needs /proc',
}, () => {
  assert.equal(isAlive({ pid: process.pid, startTime: null }), true);
  assert.equal(isAlive({ pid: process.pid, startTime: 1 }), false);
});
