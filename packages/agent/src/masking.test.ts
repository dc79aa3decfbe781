import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '@rota/contract';
import fc from 'fast-check';
import { createMasker, MASKED_LENGTH, type Masker, NO_MASKER } from './masking.ts';

const SECRET = 'pä/ß+wörd <&>\'"$x\\ ?~*';

/** What comes out when the data comes in these pieces. */
function inPieces(masker: Masker, pieces: Buffer[], isCut = false): Buffer {
  const stream = masker.stream();
  return Buffer.concat([...pieces.map((piece) => stream.write(piece)), stream.flush(isCut)]);
}

function cutAt(data: Buffer, places: number[]): Buffer[] {
  const ends = [...places, data.length];
  return ends.map((end, index) => data.subarray(ends[index - 1] ?? 0, end));
}

const base64 = (text: string | Buffer) => Buffer.from(text).toString('base64');
const ascii = (text: string, isUpper: boolean) =>
  text.replace(/[\u0080-\uffff]/g, (character) => {
    const code = character.charCodeAt(0).toString(16).padStart(4, '0');
    return `\\u${isUpper ? code.toUpperCase() : code}`;
  });
const inside = JSON.stringify(SECRET).slice(1, -1);

const spellings: Record<string, string> = {
  'as it is': SECRET,
  'for a URL': encodeURIComponent(SECRET),
  'for a URL in lower case': encodeURIComponent(SECRET).replace(/%../g, (part) => part.toLowerCase()),
  'for a form': new URLSearchParams({ x: SECRET }).toString().slice(2),
  'in a query that a URL parser wrote': new URL(`http://h/?${SECRET}`).search.slice(1),
  'in JSON': inside,
  'in JSON with slashes escaped': inside.replaceAll('/', '\\/'),
  'in JSON of ASCII': ascii(inside, false),
  'in JSON of ASCII in upper case': ascii(inside, true),
  'in JSON of ASCII with slashes escaped': ascii(inside, false).replaceAll('/', '\\/'),
  'in JSON for HTML': inside.replaceAll('<', '\\u003c').replaceAll('>', '\\u003e').replaceAll('&', '\\u0026'),
  'in JSON in JSON': JSON.stringify(inside).slice(1, -1),
  'in single quotes of a shell': SECRET.replaceAll("'", "'\\''"),
  'in double quotes of a shell': SECRET.replace(/[$`"\\]/g, '\\$&'),
};

test('a value is masked however it is spelled, wherever the output is cut', () => {
  const masker = createMasker([SECRET]);
  for (const [name, spelled] of Object.entries(spellings)) {
    assert.equal(masker.text(`a ${spelled} b`), 'a *** b', name);
    const data = Buffer.from(`x${spelled}y`);
    for (let one = 0; one <= data.length; one++)
      assert.equal(inPieces(masker, cutAt(data, [one])).toString(), 'x***y', `${name}, cut at ${one}`);
  }
});

test('a value is masked over three pieces, cut anywhere', () => {
  const masker = createMasker(['hunter2/hunter2']);
  for (const spelled of ['hunter2/hunter2', encodeURIComponent('hunter2/hunter2'), 'hunter2\\/hunter2']) {
    const data = Buffer.from(`x${spelled}y`);
    for (let one = 0; one <= data.length; one++)
      for (let two = one; two <= data.length; two++)
        assert.equal(
          inPieces(masker, cutAt(data, [one, two])).toString(),
          'x***y',
          `${spelled} ${one} ${two}`,
        );
  }
});

test('a value in base64 is masked behind and before anything, but for what its neighbours decide on', () => {
  const value = 'þÿ?~pass>word';
  const masker = createMasker([value]);
  for (const before of ['', 'u', 'us', 'usr', 'user:'])
    for (const after of ['', '\n', '!!', '!!!'])
      for (const alphabet of ['base64', 'base64url'] as const) {
        const text = Buffer.from(`${before}${value}${after}`).toString(alphabet);
        const masked = masker.text(text);
        assert.match(masked, /\*\*\*/, text);
        const rest = masked.replace('***', '').replaceAll('=', '');
        const neighbours = Math.ceil((Buffer.byteLength(before) * 8) / 6) + Math.ceil((after.length * 8) / 6);
        assert.ok(rest.length <= neighbours + 1, `${text} is ${masked}`);
      }
});

test('base64 that is broken into lines is masked as one', () => {
  const value = 'a long value '.repeat(20);
  const masker = createMasker([value]);
  for (const [columns, end] of [
    [64, '\n'],
    [76, '\n'],
    [76, '\r\n'],
  ] as const) {
    const lines = base64(value).match(new RegExp(`.{1,${columns}}`, 'g')) as string[];
    assert.match(masker.text(lines.join(end)), /^\*\*\*.?=*$/);
  }
});

test('each line of a value of several lines is masked, but for short ones', () => {
  const masker = createMasker(['-----BEGIN KEY-----\nline one of it\r\nend\n-----END KEY-----']);
  assert.equal(masker.text('> line one of it\n> end\n> -----END KEY-----'), '> ***\n> end\n> ***');
});

test('of values that overlap nothing is left, and the longest counts', () => {
  const masker = createMasker(['abcdefgh', 'efghijkl', 'abcdefghij']);
  assert.equal(masker.text('<abcdefghijkl>'), '<***>');
  assert.equal(masker.text('<abcdefghi>'), '<***i>');
  assert.equal(masker.text('<abcdefghabcdefgh>'), '<******>');
  assert.equal(createMasker(['aaaaaa']).text('a'.repeat(100)), '***');
});

test('output that is no text comes out as it went in', () => {
  const data = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 7919) % 256));
  const masker = createMasker([SECRET]);
  assert.ok(inPieces(masker, cutAt(data, [1, 2, 300, 65_536])).equals(data));
});

test('only what may be the beginning of a value is held back, until it is known', () => {
  const stream = createMasker(['password1']).stream();
  assert.equal(stream.write(Buffer.from('the password')).toString(), 'the ');
  assert.equal(stream.write(Buffer.from(' is ')).toString(), 'password is ');
  assert.equal(stream.write(Buffer.from('pass')).toString(), '');
  assert.equal(stream.isHit, false);
  assert.equal(stream.flush().toString(), 'pass');
  assert.equal(stream.write(Buffer.from('password1')).toString(), '***');
  assert.equal(stream.isHit, true);
});

test('where a text was cut, the beginning of a value at its end is masked', () => {
  const masker = createMasker(['password1']);
  assert.equal(masker.text('it is "passwor… and pass… or pa…'), 'it is "***… and ***… or pa…');
  assert.equal(inPieces(masker, [Buffer.from('it is passwor')], true).toString(), 'it is ***');
  assert.equal(masker.text('it is passwor'), 'it is passwor');
});

test('a value that is too short is not masked', () => {
  assert.equal(MASKED_LENGTH, LIMITS.secretMinLength);
  assert.equal(createMasker(['12345']), NO_MASKER);
  assert.equal(createMasker(['12345', '123456']).text('12345 123456'), '12345 ***');
});

test('a long value is masked as one, and so is a long part of it', () => {
  const value = Array.from({ length: 300 }, (_, index) => (index * 7_919).toString(36)).join('-');
  const masker = createMasker([value]);
  assert.equal(masker.text(`<${value}>`), '<***>');
  assert.match(masker.text(`<${base64(value)}>`), /^<\*\*\*.?=*>$/);
  const part = masker.text(`<${value.slice(100, 400)}>`);
  assert.ok(part.includes('***') && part.length < 130, part);
  const data = Buffer.from(`<${value}>`);
  for (const cut of [1, 63, 64, 65, 300, value.length])
    assert.equal(inPieces(masker, cutAt(data, [cut])).toString(), '<***>');
});

/** The plain way: marks every byte of every occurrence. */
function maskedPlainly(data: Buffer, values: string[]): string {
  const spans: [number, number][] = [];
  for (const value of new Set(values))
    for (let at = data.indexOf(value); at !== -1; at = data.indexOf(value, at + 1))
      spans.push([at, at + Buffer.byteLength(value)]);
  spans.sort(([a], [b]) => a - b);
  let text = '';
  let from = 0;
  for (const [start, end] of spans) {
    if (start >= from) text += `${data.toString('latin1', from, start)}***`;
    from = Math.max(from, end);
  }
  return text + data.toString('latin1', from);
}

test('however output is cut, what comes out is what masking it as a whole gives', () => {
  const letters = fc.constantFrom('a', 'b');
  const value = fc.string({ unit: letters, minLength: 6, maxLength: 12 });
  const text = fc.array(fc.oneof(value, fc.string({ unit: letters, maxLength: 8 }), fc.constant('-')));
  fc.assert(
    fc.property(
      fc.array(value, { minLength: 1, maxLength: 3 }),
      text,
      fc.array(fc.nat(200)),
      (values, parts, cuts) => {
        // Half of the time the values stand in the text.
        const data = Buffer.from(parts.map((part, index) => (index % 2 ? part : values[0])).join(''));
        const places = cuts.map((cut) => Math.min(cut, data.length)).sort((a, b) => a - b);
        const masked = inPieces(createMasker(values), cutAt(data, places)).toString('latin1');
        assert.equal(masked, maskedPlainly(data, values));
      },
    ),
    { numRuns: 200 },
  );
});
