import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createFormSearch } from './formSearch.ts';

const scan = (forms: string[], data: string) =>
  createFormSearch(forms.map((form) => Buffer.from(form))).scan(Buffer.from(data));

test('places that overlap are one, those that touch are two', () => {
  assert.deepEqual(scan(['abcdef', 'efghij'], '-abcdefghij-abcdefabcdef-').found, [1, 11, 12, 18, 18, 24]);
  assert.deepEqual(scan(['cdef', 'abcdefgh'], 'abcdefgh').found, [0, 8]);
});

test('what may be the beginning of a form is told, and a form that nothing can follow is none', () => {
  assert.equal(scan(['abcd', 'abcdef'], 'xxabcde').openFrom, 2);
  assert.equal(scan(['abcd', 'abcdef'], 'xxabcd').openFrom, 2);
  assert.equal(scan(['abcd'], 'xxabcd').openFrom, 6);
  assert.equal(scan(['ababac'], 'xababa').openFrom, 1);
  assert.equal(scan(['ababac'], 'xababab').openFrom, 3);
});

test('it finds what a plain search finds', () => {
  const form = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 2, maxLength: 9 });
  const data = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '-'), maxLength: 300 });
  fc.assert(
    fc.property(fc.array(form, { minLength: 1, maxLength: 12 }), data, (forms, text) => {
      const isFound = new Array<boolean>(text.length).fill(false);
      for (const each of forms)
        for (let at = text.indexOf(each); at !== -1; at = text.indexOf(each, at + 1))
          isFound.fill(true, at, at + each.length);
      const { found, openFrom } = scan(forms, text);
      const told = new Array<boolean>(text.length).fill(false);
      for (let index = 0; index < found.length; index += 2) told.fill(true, found[index], found[index + 1]);
      assert.deepEqual(told, isFound);
      const open = [...text].findIndex((_, at) =>
        forms.some((each) => each.length > text.length - at && each.startsWith(text.slice(at))),
      );
      assert.equal(openFrom, open === -1 ? text.length : open);
    }),
    { numRuns: 500 },
  );
});

test('neither forms that have much in common nor data that nearly has them make it slow', () => {
  const forms = Array.from({ length: 240 }, (_, index) => Buffer.from(`${'a'.repeat(8 + index)}b`));
  const search = createFormSearch(forms);
  const data = Buffer.alloc(64 * 1024, 'a');
  const before = process.cpuUsage();
  for (let chunk = 0; chunk < 16; chunk++) assert.equal(search.scan(data).openFrom, data.length - 247);
  const { user } = process.cpuUsage(before);
  assert.ok(user < 5_000_000, `${user / 1_000} ms of processor time for a MiB`);
});
