import { RE2JS, RE2JSSyntaxException } from 're2js';

/** The time that a pattern takes grows with this and with the length of the text, and with nothing else. */
const PROGRAM_MAX = 5_000;

/** A pattern of RE2's syntax, which matches in linear time; or what is wrong with it. */
export function readPattern(text: string): { pattern: RE2JS } | { fault: string } {
  try {
    const pattern = RE2JS.compile(text);
    if (pattern.programSize() <= PROGRAM_MAX) return { pattern };
    return { fault: 'the pattern is too complex; make its repetitions smaller' };
  } catch (error) {
    if (!(error instanceof RE2JSSyntaxException)) throw error;
    const cause = error.message.replace('error parsing regexp: ', '');
    const unknown = /\(\?<?[=!]|`\\\d`/.test(cause);
    return { fault: unknown ? `${cause} (RE2 has no look-around and no back-references)` : cause };
  }
}

/** What is wrong with a pattern of RE2's syntax; null when it is one. */
export function patternFault(text: string): string | null {
  const read = readPattern(text);
  return 'fault' in read ? read.fault : null;
}
