import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '../ports.ts';
import { createProgressNews } from './progressNews.ts';

/** A clock that stands still between what the test says. */
function open(isFirst = true) {
  let nowMs = 0;
  const timers = new Set<{ dueMs: number; callback(): void }>();
  const clock: Clock = {
    wallMs: () => nowMs,
    bootMs: () => nowMs,
    after(ms, callback) {
      const timer = { dueMs: nowMs + ms, callback };
      timers.add(timer);
      return { cancel: () => timers.delete(timer) };
    },
  };
  const told: (number | null)[] = [];
  const news = createProgressNews(
    'a',
    {
      clock,
      tell(message) {
        if (message.type === 'progress') told.push(message.percent);
      },
    },
    isFirst,
  );
  return {
    news,
    told,
    timers,
    pass(ms: number) {
      nowMs += ms;
      for (const timer of [...timers]) {
        if (timer.dueMs > nowMs) continue;
        timers.delete(timer);
        timer.callback();
      }
    },
  };
}

test('the first word is told at once, and then the newest one each second', () => {
  const { news, told, pass } = open();
  news.say(1);
  assert.deepEqual(told, [1]);
  for (let percent = 2; percent <= 50; percent++) news.say(percent);
  assert.deepEqual(told, [1]);
  pass(999);
  assert.deepEqual(told, [1]);
  pass(1);
  assert.deepEqual(told, [1, 50]);
  pass(1_000);
  assert.deepEqual(told, [1, 50]);
  news.say(51);
  assert.deepEqual(told, [1, 50, 51]);
});

test('what was told is not told twice, also when it was something else meanwhile', () => {
  const { news, told, pass } = open();
  for (const percent of [7, 7, 9, 7]) news.say(percent);
  pass(1_000);
  news.say(7);
  assert.deepEqual(told, [7]);
});

test('the last word always gets through, and nothing after the end', () => {
  const { news, told, timers, pass } = open();
  news.say(10);
  news.say(80);
  news.end();
  assert.deepEqual([told, timers.size], [[10, 80], 0]);
  news.say(90);
  pass(5_000);
  assert.deepEqual([told, timers.size], [[10, 80], 0]);
});

test('a step that has said nothing takes back what the one before said, and costs nothing else', () => {
  const { news, told, timers, pass } = open();
  news.say(null);
  assert.deepEqual([told, timers.size], [[], 0]);
  news.say(100);
  news.say(null);
  pass(1_000);
  assert.deepEqual(told, [100, null]);
});

test('a new session hears the newest word, if there was any', () => {
  const { news, told, pass } = open();
  news.again();
  news.say(10);
  news.say(20);
  news.again();
  pass(1_000);
  assert.deepEqual(told, [10, 20]);
  news.say(null);
  news.again();
  assert.deepEqual(told, [10, 20, null, null]);
});

test('after another helper the first step takes back what that may have said', () => {
  const { news, told } = open(false);
  news.again();
  assert.deepEqual(told, []);
  news.say(null);
  assert.deepEqual(told, [null]);
});
