import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SCOPE } from './scope.testing.ts';
import { type StepScope, Withheld } from './scope.ts';
import { plainBraces, renderJson, renderText, TemplateError } from './template.ts';

/** A text and what becomes of it. */
const RENDERED: [string, string][] = [
  ['nothing to do } }} {', 'nothing to do } }} {'],
  ['{{BASE_URL}}/report', 'https://api.example.com/report'],
  ['{{ secrets.TOKEN }}', 's3cret/+ "x"'],
  ['{{ secrets["TOKEN"] }}', 's3cret/+ "x"'],
  ['{{run_id}}', 'lower'],
  [
    '{{ run.id }}/{{run.number}} {{ run.scheduledFor }} {{ run.kind }}',
    'r1/2 2026-03-01T12:00:00.000Z scheduled',
  ],
  ['{{ job.name }} on {{ agent.name }} {{ agent.labels["rota/zone"] }}', 'report on db-1 eu'],
  ['{{ params.mode }}, {{ params.days }}, {{ params.dry }}', 'full & fast, 7, false'],
  ['{{ steps.fetch.state }} {{ steps.fetch.status }} {{ steps.fetch.tries }}', 'succeeded 200 1'],
  ['{{ steps.fetch.headers.ETag }} {{ steps.fetch.headers.x-request-id }}', '"7" abc'],
  ['{{ steps.fetch.json.items[1].id }} {{ steps.fetch.json.items[-1].id }}', '2 2'],
  ['{{ steps.fetch.json.items[0]["a b"] }}', 'x'],
  ['{{ steps.fetch.json.items }}', '[{"id":1,"a b":"x"},{"id":2}]'],
  ['{{ steps.fetch.result.rows }} rows in {{ steps.fetch.durationMs }} ms', '3 rows in 1250 ms'],
  ['{{ steps.clean-up.state }}', 'skipped'],
  ['{{ steps["clean-up"].json.a | default: "none" }}', 'none'],
  ['{{ params.mode | url }}', 'full%20%26%20fast'],
  ['{{ TOKEN | url }}', 's3cret%2F%2B%20%22x%22'],
  ['{{ TOKEN | json }}', '"s3cret/+ \\"x\\""'],
  ['{{ params.mode | shell }}', "'full & fast'"],
  [`{{ "it's" | shell }}`, `'it'\\''s'`],
  ['{{ MISSING | default: "a \\"b\\"" }}', 'a "b"'],
  ["{{ MISSING | default: 'x' | url }}", 'x'],
  ['{{ MISSING | url | default: 7 }}', '7'],
  ['{{ steps.fetch.summary | default: "" }}', ''],
  ['{{ steps.fetch.json.none | json }}', 'null'],
  ['{{ "{{" }} plain }}', '{{ plain }}'],
  ['{{ params.braces }}', '{{ TOKEN }}'],
  ['{"a":{"b":{{ params.days }}}}', '{"a":{"b":7}}'],
];

for (const [text, rendered] of RENDERED) {
  test(`${text} is rendered`, () => assert.equal(renderText(text, SCOPE), rendered));
}

/** A text that cannot be rendered, and why. */
const REFUSED: [string, RegExp][] = [
  ['{{ MISSING }}', /^\{\{ MISSING \}\}: there is no such thing$/],
  ['{{ secrets.constructor }}', /no such thing/],
  ['{{ constructor }}', /no such thing/],
  ['{{ params.x }}', /no such thing/],
  ['{{ steps.later.status }}', /no such thing/],
  ['{{ steps.fetch.json.items[9].id }}', /no such thing/],
  ['{{ steps.fetch.json.items.length }}', /no such thing/],
  ['{{ steps.fetch.output.length }}', /no such thing/],
  ['{{ steps.fetch.json.ok.x | url }}', /no such thing/],
  ['{{ steps.clean-up.json }}', /no such thing/],
  ['{{ steps.fetch.exitCode }}', /has no value; `\| default/],
  ['{{ steps.fetch.json.none | url }}', /has no value/],
  ['{{ TOKEN | upper }}', /unknown filter upper/],
  ['{{ TOKEN | uri }}', /did you mean "url"/],
  ['{{}}', /a name is missing/],
  ['{{ .Names }}', /for plain braces write \{\{ "\{\{" \}\}/],
  ['{{ TOKEN', /\}\} is missing/],
  ['{{ TOKEN }', /\}\} is missing/],
  ['{{ TOKEN | }}', /\}\} is missing/],
  ['{{ TOKEN x }}', /\}\} is missing/],
  ['{{ TOKEN | default: }}', /an argument is missing/],
  ['{{ TOKEN | default: x }}', /an argument is missing/],
  ['{{ steps.fetch.json[x] }}', /\}\} is missing/],
  ['{{{ TOKEN }}}', /a name is missing/],
];

for (const [text, why] of REFUSED) {
  test(`${text} is refused`, () => {
    assert.throws(
      () => renderText(text, SCOPE),
      (error) => error instanceof TemplateError && why.test(error.message),
    );
  });
}

test('In JSON a text that is one template keeps the type of its value', () => {
  const json = {
    days: '{{ params.days }}',
    text: '{{ params.days }} days',
    dry: '{{params.dry}}',
    items: ['{{ steps.fetch.json.items }}', 1, null, true],
    none: '{{ steps.fetch.exitCode }}',
    other: '{{ MISSING | default: 0 }}',
    '{{ params.days }}': 'names of fields stay',
    quoted: '{{ params.days | json }}',
  };
  assert.deepEqual(renderJson(json, SCOPE), {
    days: 7,
    text: '7 days',
    dry: false,
    items: [[{ id: 1, 'a b': 'x' }, { id: 2 }], 1, null, true],
    none: null,
    other: 0,
    '{{ params.days }}': 'names of fields stay',
    quoted: '7',
  });
});

test('A field called __proto__ is a field like any other', () => {
  const json = JSON.parse('{"__proto__": "{{ params.days }}"}');
  assert.equal(JSON.stringify(renderJson(json, SCOPE)), '{"__proto__":7}');
});

test('A value that is withheld fails what names it or holds it, and says why; the rest can be used', () => {
  const fetch = { ...SCOPE.steps.fetch, result: { token: new Withheld('it is gone'), rows: 3 } } as StepScope;
  const scope = { ...SCOPE, steps: { fetch: { ...fetch, output: new Withheld('it is lost') } } };
  const why = (text: string, message: RegExp) =>
    assert.throws(
      () => renderText(text, scope),
      (error) => error instanceof TemplateError && message.test(error.message),
      text,
    );
  why('{{ steps.fetch.result.token }}', /^\{\{ steps\.fetch\.result\.token \}\}: it is gone$/);
  why('{{ steps.fetch.result.token.more | default: "x" }}', /it is gone/);
  why('{{ steps.fetch.result | json }}', /it is gone/);
  why('{{ steps.fetch.output }}', /it is lost/);
  assert.equal(renderText('{{ steps.fetch.result.rows }}', scope), '3');
});

test('What a value holds is never a template', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (value, before) => {
      const scope = { ...SCOPE, params: { v: value } };
      const text = plainBraces(before.replace(/\{$/, ''));
      assert.equal(renderText(`${text}{{ params.v }}`, scope), before.replace(/\{$/, '') + value);
      assert.deepEqual(renderJson(['{{ params.v }}'], scope), [value]);
    }),
  );
});

test('Any text stays as it is when its braces are plain', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('{', '}', '"', 'a', '|', ' ') }), (text) => {
      assert.equal(renderText(plainBraces(text), SCOPE), text);
    }),
  );
});

test('A text that is none is refused quickly, however long it is', () => {
  for (const text of [
    '{{ '.repeat(40_000),
    `{{ a${'.a'.repeat(60_000)}`,
    `{{ ${' '.repeat(120_000)}`,
    `{{ "${'\\"'.repeat(60_000)}`,
  ]) {
    assert.throws(() => renderText(text, SCOPE), TemplateError);
  }
});
