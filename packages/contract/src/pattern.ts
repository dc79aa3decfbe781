import { RE2JS, RE2JSSyntaxException } from 're2js';

/** The time that a pattern takes grows with this and with the length of the text, and with nothing else. */
const PROGRAM_MAX = 5_000;

/** What is wrong with a pattern of RE2's syntax, which matches in linear time; null when it is one. */
export function patternFault(text: string): string | null {
  try {
    const size = RE2JS.compile(text).programSize();
    return size > PROGRAM_MAX ? 'the pattern is too complex; make its repetitions smaller' : null;
  } catch (error) {
    if (!(error instanceof RE2JSSyntaxException)) throw error;
    const cause = error.message.replace('error parsing regexp: ', '');
    const unknown = /\(\?<?[=!]|`\\\d`/.test(cause);
    return unknown ? `${cause} (RE2 has no look-around and no back-references)` : cause;
  }
}
