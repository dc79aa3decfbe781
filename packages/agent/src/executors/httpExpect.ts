import { isDeepStrictEqual } from 'node:util';
import { type HttpAction, type JsonExpectation, parseJsonPath, readJsonPath } from '@rota/contract';
import { ANSWER_BYTES, type Answer, type AnswerHeaders, cut, textOf } from './httpAnswer.ts';
import { matchPatterns } from './httpPatterns.ts';

/** Whether a status is among `200`, `2xx` or `200-204`. */
export function isExpected(status: number, expected: string[]): boolean {
  return expected.some((text) => {
    if (text.endsWith('xx')) return Math.floor(status / 100) === Number(text[0]);
    const [from, to] = text.split('-').map(Number) as [number, number | undefined];
    return status >= from && status <= (to ?? from);
  });
}

/** One thing that is expected of an answer: known already, or asked of a pattern; and what is said when it is not so. */
interface Check {
  isMet: boolean | { pattern: string; text: string; found: boolean };
  fault: string;
}

/** What of an answer's content is not as expected; null when all is. Rejects when `signal` ends it. */
export async function contentFault(
  step: Pick<HttpAction, 'expectMatch' | 'expectNoMatch' | 'expectJson'>,
  answer: Answer,
  headers: AnswerHeaders,
  signal: AbortSignal,
): Promise<string | null> {
  const { expectMatch, expectNoMatch, expectJson } = step;
  if (expectMatch.length + expectNoMatch.length + expectJson.length === 0) return null;
  // What was not read may have what must not be there.
  if (!answer.isWhole && expectNoMatch.length + expectJson.length > 0)
    return `the answer has more than ${ANSWER_BYTES} bytes: too long for \`noMatch\` and \`json\``;
  const text = textOf(answer, headers);
  const part = answer.isWhole ? '' : ` in its first ${ANSWER_BYTES} bytes`;
  const checks: Check[] = [
    ...expectNoMatch.map((pattern) => ({
      isMet: { pattern, text, found: false },
      fault: `the answer matches ${pattern}, which it must not`,
    })),
    ...expectMatch.map((pattern) => ({
      isMet: { pattern, text, found: true },
      fault: `the answer does not match ${pattern}${part}`,
    })),
    ...jsonChecks(expectJson, text),
  ];
  const questions = checks.flatMap(({ isMet }) => (typeof isMet === 'object' ? [isMet] : []));
  const answers = questions.length === 0 ? [] : await matchPatterns(questions, signal);
  const isMet = (check: Check) =>
    typeof check.isMet === 'boolean'
      ? check.isMet
      : answers[questions.indexOf(check.isMet)] === check.isMet.found;
  return checks.find((check) => !isMet(check))?.fault ?? null;
}

function jsonChecks(expected: JsonExpectation[], text: string): Check[] {
  if (expected.length === 0) return [];
  let json: unknown;
  try {
    json = JSON.parse(text.replace(/^\ufeff/, ''));
  } catch (error) {
    // Without the piece of the text that the message shows: it may begin within a secret's value.
    const [what] = (error as Error).message.split(/, (?:\.\.\.)?"/);
    return [{ isMet: false, fault: `the answer is not JSON: ${what}` }];
  }
  return expected.flatMap((each) => conditionChecks(each, json));
}

function conditionChecks(expected: JsonExpectation, json: unknown): Check[] {
  const { path, match, min, max, exists } = expected;
  const { found, value } = readJsonPath(json, parseJsonPath(path));
  if (!found) return [{ isMet: exists === false, fault: `the answer has nothing at ${path}` }];
  const says = `${path} of the answer is ${shown(value)}`;
  const checks: Check[] = [];
  if (exists === false) checks.push({ isMet: false, fault: `${says}; it must not be there` });
  if ('equals' in expected)
    checks.push({
      isMet: isDeepStrictEqual(value, expected.equals),
      fault: `${says}; expected ${shown(expected.equals)}`,
    });
  if (min !== undefined)
    checks.push({
      isMet: typeof value === 'number' && value >= min,
      fault: `${says}; expected at least ${min}`,
    });
  if (max !== undefined)
    checks.push({
      isMet: typeof value === 'number' && value <= max,
      fault: `${says}; expected at most ${max}`,
    });
  if (match !== undefined) {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    checks.push({
      isMet: { pattern: match, text, found: true },
      fault: `${says}; it does not match ${match}`,
    });
  }
  return checks;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return cut(text, 200);
}
