import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expressionFault } from './expression.ts';
import { type Situation, type StepScope, Withheld } from './scope.ts';
import { defineWhen, unmetBy, WhenError, type WhenField } from './when.ts';

const FETCH: StepScope = {
  state: 'succeeded',
  status: 200,
  headers: { etag: '"7"' },
  json: {
    items: [
      { id: 1, tags: ['a', 'b'] },
      { id: 2, tags: [] },
    ],
    ratio: 0.5,
    none: null,
  },
  exitCode: null,
  output: 'two items',
  durationMs: 1_250,
  result: undefined,
  summary: null,
  tries: 2,
};
const SITUATION: Situation = {
  run: { id: 'r1', number: 1, scheduledFor: '2026-03-01T12:00:00.000Z', kind: 'scheduled' },
  job: { name: 'report' },
  agent: { name: 'db-1', labels: { role: 'db', 'rota/zone': 'eu' } },
  params: { mode: 'full', days: 7, dry: false },
  steps: { fetch: FETCH, 'clean-up': { ...FETCH, state: 'skipped', status: null, json: undefined } },
  local: { minute: 0, hour: 13, day: 1, month: 3, weekday: 0, timezone: 'Europe/Berlin' },
};
const unmet = (when: WhenField, situation = SITUATION) => unmetBy(defineWhen(when), situation);

/** A condition, and what is said of it; null when it holds. */
const CONDITIONS: [WhenField, string | null][] = [
  [{ hour: 13 }, null],
  [{ hour: [0, 12] }, 'hour is 13 (Europe/Berlin), not 0 or 12'],
  [{ minute: [0, 30], hour: 13, day: 1, month: 3 }, null],
  [{ minute: 5 }, 'minute is 0 (Europe/Berlin), not 5'],
  [{ month: 12 }, 'month is 3 (Europe/Berlin), not 12'],
  [{ day: 31 }, 'day is 1 (Europe/Berlin), not 31'],
  [{ weekday: 7 }, null],
  [{ weekday: 0 }, null],
  [{ weekday: [1, 5] }, 'weekday is Sunday (Europe/Berlin), not Monday or Friday'],
  [{ labels: { role: 'db', 'rota/zone': 'eu' } }, null],
  [{ labels: { role: 'web' } }, 'label role of agent db-1 is "db", not "web"'],
  [{ labels: { constructor: 'x' } }, 'agent db-1 has no label constructor'],
  [{ steps: { fetch: 'succeeded', 'clean-up': ['skipped', 'failed'] } }, null],
  [{ steps: { fetch: ['failed', 'timedOut'] } }, 'step fetch is succeeded, not failed or timedOut'],
  [{ hour: 12, expression: 'true' }, 'hour is 13 (Europe/Berlin), not 12'],
  [{ expression: 'steps.fetch.status >= 200 && steps.fetch.status < 300' }, null],
  [{ expression: 'steps.fetch.status == 500' }, 'not true: steps.fetch.status == 500'],
  [{ expression: 'steps.fetch.json.items[0].id + 1 == 2' }, null],
  [{ expression: 'steps.fetch.json.items.exists(i, "b" in i.tags)' }, null],
  [{ expression: 'steps.fetch.json.ratio < 1.0 && steps.fetch.json.none == null' }, null],
  [{ expression: 'steps.fetch.durationMs > 1000 && steps.fetch.tries == 2' }, null],
  [{ expression: 'steps["clean-up"].status == null' }, null],
  [{ expression: 'has(steps.fetch.json.items) && !has(steps.fetch.json.more)' }, null],
  [{ expression: 'steps["clean-up"].json == null' }, null],
  [{ expression: 'steps.fetch.headers.etag == "\\"7\\""' }, null],
  [{ expression: 'steps.fetch.output.matches("^two (items|things)$")' }, null],
  [{ expression: 'params.mode in ["full", "half"] && params.days % 7 == 0 && !params.dry' }, null],
  [{ expression: 'local.weekday == 0 && local.timezone.startsWith("Europe/")' }, null],
  [{ expression: 'agent.labels["rota/zone"] == "eu" && run.number == 1 && job.name == "report"' }, null],
];

for (const [when, said] of CONDITIONS) {
  test(`The condition ${JSON.stringify(when)} ${said === null ? 'holds' : 'does not hold, and says so'}`, () => {
    assert.equal(unmet(when), said);
  });
}

test('A condition that has no answer is an error, not a no', () => {
  for (const when of [
    { steps: { later: 'succeeded' } },
    { steps: { constructor: 'succeeded' } },
    { expression: 'steps.later.status == 1' },
    { expression: 'steps["clean-up"].status > 1' },
    { expression: 'steps.fetch.json.more == 1' },
    { expression: 'steps.fetch.json' },
    { expression: 'steps.fetch.constructor == 1' },
    { expression: 'secrets.TOKEN == "x"' },
    { expression: '1 +' },
  ] as WhenField[]) {
    assert.throws(() => unmet(when), WhenError, JSON.stringify(when));
  }
});

test('A condition that looks at what is withheld has no answer, and says why; the rest can be looked at', () => {
  const result = { tokens: [new Withheld('it is gone'), 'fine'], rows: 3 };
  const fetch = { ...FETCH, result, summary: new Withheld('it is lost') };
  const situation = { ...SITUATION, steps: { fetch } };
  for (const [expression, why] of [
    ['steps.fetch.result.tokens[0] == "***"', /it is gone/],
    ['steps.fetch.result.tokens.exists(token, token == "fine")', /it is gone/],
    ['steps.fetch.summary == null', /it is lost/],
  ] as const)
    assert.throws(
      () => unmet({ expression }, situation),
      (error) => error instanceof WhenError && why.test(error.message),
      expression,
    );
  const rest = 'steps.fetch.result.rows == 3 && steps.fetch.result.tokens[1] == "fine" && size(steps) == 1';
  assert.equal(unmet({ expression: rest }, situation), null);
});

test('What an expression says of itself is one short line', () => {
  const expression = `${'true && '.repeat(100)}local.hour == 1`;
  assert.equal(unmet({ expression })?.length, 500);
  assert.throws(
    () => unmet({ expression: `params.mode > 1 &&\n${'true && '.repeat(100)}true` }),
    (error: Error) => !error.message.includes('\n') && error.message.length < 300,
  );
});

const NAMES = {
  params: { mode: { type: 'string' }, days: { type: 'number' }, dry: { type: 'boolean' } },
  steps: ['fetch', 'clean-up'],
} as const;

/** An expression of a job that is saved, and what is wrong with it. */
const FAULTS: [string, RegExp | null][] = [
  ['params.mode == "full" && params.days > 2 && params.dry', null],
  ['steps["clean-up"].exitCode == 75', null],
  ['steps.fetch.json.items.all(i, i.id > 0)', null],
  ['local.hour in [0, 12]', null],
  ['steps.fech.status == 200', /nothing is known as fech \(did you mean "fetch"\?\)/],
  ['steps.fetch.stat == 200', /nothing is known as stat/],
  ['params.mod == "x"', /nothing is known as mod \(did you mean "mode"\?\)/],
  ['param.mode == "x"', /nothing is known as param \(did you mean "params"\?\)/],
  ['secrets.A == "x"', /nothing is known as secrets/],
  ['params.mode > 3', /string > int/],
  ['local.hour == "12"', /int == string/],
  ['params.mode', /is text; a condition is true or false/],
  ['local.hour + 1', /is a number/],
  ['[1, 2]', /is a list/],
  ['local.hour ==', /./],
  ['evil()', /./],
  ['params.mode.matches("(")', /missing closing/],
  ['params.mode.matches("(?=a)")', /no look-around/],
  ['cel.bind(a, "x", a == "x")', /cel\.bind is not supported/],
  [`steps.fetch.json.all(a, a.all(b, b.all(c, c.all(d, d))))`, /at most 3 loops/],
  [`[${'1, '.repeat(300)}1].size() > 1`, /./],
  [`${'('.repeat(200)}true${')'.repeat(200)}`, /./],
];

for (const [expression, fault] of FAULTS) {
  test(`Saving ${expression.slice(0, 60)} ${fault === null ? 'is fine' : 'is a fault'}`, () => {
    const told = expressionFault(expression, NAMES);
    if (fault === null) assert.equal(told, null);
    else assert.match(told ?? '', fault);
  });
}

test('A pattern that is slow in JavaScript is not slow here', () => {
  const situation = { ...SITUATION, params: { text: `${'a'.repeat(50_000)}!` } };
  assert.equal(unmet({ expression: '!params.text.matches("^(a+)+$")' }, situation), null);
});

test('Large patterns over long texts are refused, however many conditions they are in; over short ones, and small ones, are not', () => {
  const long = { ...SITUATION, params: { text: 'ab'.repeat(32_000) } };
  const short = { ...SITUATION, params: { text: 'ab'.repeat(1_000) } };
  const whole = 'params.text.matches("[ab]{1,900}[cd]")';
  const parts = Array.from({ length: 30 }, (_, n) => `params.text.matches("[ab]{1,9}[cd]${n}")`);
  for (const expression of [`!${whole}`, `!(${parts.join(' || ')})`]) {
    const when = defineWhen({ expression });
    assert.equal(unmetBy(when, short), null);
    assert.throws(() => unmetBy(when, long), /too long for its patterns/, expression);
  }
  assert.equal(unmetBy(defineWhen({ expression: '!params.text.matches("err(or)?s? [0-9]+$")' }), long), null);
  const items = Array.from({ length: 10_000 }, (_, n) => ({ name: `item ${n}` }));
  const many = { ...SITUATION, steps: { fetch: { ...FETCH, json: { items } } } };
  const each = 'steps.fetch.json.items.all(i, i.name.matches("^item [0-9]+$"))';
  assert.equal(unmetBy(defineWhen({ expression: each }), many), null);
});

test('Loops that read or split a long text again and again are refused, and short ones are not', () => {
  const list = `[${Array.from({ length: 60 }, (_, index) => index)}]`;
  const search = `${list}.all(a, ${list}.all(b, !steps.fetch.output.contains("ab")))`;
  const split = 'steps.fetch.output.split("").all(a, steps.fetch.output.split("").all(b, b == "a"))';
  const long = { ...SITUATION, steps: { fetch: { ...FETCH, output: 'a'.repeat(60_000) } } };
  const short = { ...SITUATION, steps: { fetch: { ...FETCH, output: 'a'.repeat(200) } } };
  for (const expression of [search, split]) {
    const when = defineWhen({ expression });
    assert.equal(unmetBy(when, short), null);
    assert.throws(() => unmetBy(when, long), /too long for loops/, expression);
  }
  const lines = defineWhen({ expression: 'steps.fetch.output.split("a").all(a, !a.contains("b"))' });
  assert.equal(unmetBy(lines, short), null);
  assert.match(
    expressionFault('["a"].all(x, ["b"].join() == x)', { params: {}, steps: [] }) ?? '',
    /join must not/,
  );
});

test('Loops in loops over long lists are refused, one loop is not', () => {
  const list = Array.from({ length: 20_000 }, (_, index) => index);
  const situation = { ...SITUATION, steps: { fetch: { ...FETCH, json: list } } };
  assert.equal(unmet({ expression: 'steps.fetch.json.all(a, a >= 0)' }, situation), null);
  for (const expression of [
    'steps.fetch.json.all(a, steps.fetch.json.exists(b, a == b))',
    'steps.fetch.json.all(a, a in steps.fetch.json)',
    'steps.fetch.json.map(a, steps.fetch.json + steps.fetch.json).size() > 1',
  ]) {
    assert.throws(() => unmet({ expression }, situation), /too long for loops/, expression);
  }
});
