import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JsonPathError, parseJsonPath, readJsonPath } from './jsonPath.ts';

const JSON_TEXT =
  '{"a":{"b":[{"id":1},{"id":2}]},"full name":"x","it\'s":3,"ünï":4,"n":null,"0":"zero","__proto__":{"x":5}}';

test('A path reads one place, or finds nothing', () => {
  const value: unknown = JSON.parse(JSON_TEXT);
  const at = (path: string) => readJsonPath(value, parseJsonPath(path));
  for (const [path, expected] of [
    ['$', value],
    ['$.a.b[0].id', 1],
    ['$.a.b[-1].id', 2],
    ["$['full name']", 'x'],
    ['$["full name"]', 'x'],
    ["$['it\\'s']", 3],
    ['$.ünï', 4],
    ['$.n', null],
    ["$['0']", 'zero'],
    ['$.__proto__.x', 5],
  ] as const)
    assert.deepEqual(at(path), { found: true, value: expected }, path);
  for (const path of [
    '$.x',
    '$.a.b[2]',
    '$.a.b[-3]',
    '$.a[0]',
    '$[0]',
    '$.n.x',
    '$.constructor',
    '$.a.b.length',
    "$.a.b['0']",
  ])
    assert.deepEqual(at(path), { found: false, value: undefined }, path);
});

test('What is no path is refused where it stops to be one', () => {
  for (const path of [
    '',
    'a',
    '.a',
    '$a',
    '$.',
    '$..a',
    '$.*',
    '$[*]',
    '$[?@.a]',
    '$[0:1]',
    '$[01]',
    '$[-0]',
    '$.a-b',
    '$[a]',
    '$.1',
    "$['a",
    '$ .a',
  ])
    assert.throws(() => parseJsonPath(path), JsonPathError, path);
  assert.throws(() => parseJsonPath('$.a-b'), /"-b" is no step of a path/);
});
