import { DAY_OF_MONTH, DAY_OF_WEEK, type Field, fieldError, rangeOf, readStep, readValue } from './field.ts';
import { chosenBelow } from './hash.ts';

/** The days that every month has: an open spread stays inside them, so that no month is left out. */
const DAYS_OF_EVERY_MONTH = 28;

/**
 * Replaces the items of one field that leave the value to Rota by values, stable for a key: `H`, `H/15`, `H(0-29)`,
 * `H(0-29)/10` as in Jenkins, `0~30`, `~`, `0~30/10` as in OpenBSD. Fields choose independently of each other.
 */
export function spreadField(field: Field, text: string, spreadKey: string): string {
  if (!/[H~]/i.test(text)) return text;
  return text
    .split(',')
    .map((item) => spreadItem(field, item, spreadKey))
    .join(',');
}

const HASHED = /^H(?:\(([^()]*)\))?(?:\/(.*))?$/i;
const RANDOM = /^([^~]*)~([^~/]*)(?:\/(.*))?$/;

function spreadItem(field: Field, item: string, spreadKey: string): string {
  const hashed = HASHED.exec(item);
  if (hashed !== null) {
    const [, range, step] = hashed;
    if (range === undefined) return chosen(field, lowest(field), highest(field), step, spreadKey);
    const [first = '', last, ...more] = range.split('-');
    if (last === undefined || more.length > 0) throw fieldError(field, item);
    return chosen(field, readValue(field, first), readValue(field, last), step, spreadKey);
  }
  const random = RANDOM.exec(item);
  if (random === null) return item;
  const [, first = '', last = '', step] = random;
  const low = first === '' ? lowest(field) : readValue(field, first);
  const high = last === '' ? highest(field) : readValue(field, last);
  if (low > high) throw fieldError(field, item, '; the first value of a~b is not larger than the second');
  return chosen(field, low, high, step, spreadKey);
}

function chosen(
  field: Field,
  first: number,
  last: number,
  step: string | undefined,
  spreadKey: string,
): string {
  const values = rangeOf(field, first, last, 1);
  const text = `${spreadKey}:${field.name}`;
  if (step === undefined) return String(values[chosenBelow(values.length, text)]);
  const every = readStep(field, step);
  const start = chosenBelow(Math.min(every, values.length), text);
  return values.filter((_, index) => index >= start && (index - start) % every === 0).join(',');
}

function lowest(field: Field): number {
  return field.min;
}

function highest(field: Field): number {
  if (field === DAY_OF_MONTH) return DAYS_OF_EVERY_MONTH;
  return field === DAY_OF_WEEK ? 6 : field.max;
}
