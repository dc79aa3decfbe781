import { AS_CODE, faultInCommand, readsCommands } from './shellCommands.ts';
import { type Template, TemplateError } from './template.ts';

/**
 * Where templates stand in a shell text. Their values never become part of it: a template outside of quotes is replaced by
 * `"${VARIABLE}"`, one in double quotes by `${VARIABLE}`, and everywhere else it is refused. So is one whose value a command would
 * read as code or as arithmetic again, and one in a text that shells do not read alike.
 */

/** A text in which each template has a place. */
export type Placed = (string | { template: Template; inQuotes: boolean })[];

/** Stands for a template while the text is read: no command may hold it. */
const MARK = '\u0000';
const IN_ENV = 'put the value into `env` and use that variable';
const RESERVED = ['if', 'then', 'elif', 'else', 'fi', 'while', 'until', 'do', 'done', '{', '}', '!', 'time'];

/** Gives each template its place. @throws TemplateError when one cannot have any */
export function placeInShell(pieces: readonly (string | Template)[]): Placed {
  const templates = pieces.filter((piece) => typeof piece !== 'string');
  if (templates.length === 0) return [pieces.join('')];
  const source = pieces.map((piece) => (typeof piece === 'string' ? piece : MARK)).join('');
  const reader = new ShellReader(source, templates);
  const inQuotes = reader.read();
  const placed: Placed = [];
  source.split(MARK).forEach((text, index) => {
    if (text !== '') placed.push(text);
    const template = templates[index];
    if (template) placed.push({ template, inQuotes: inQuotes[index] === true });
  });
  return placed;
}

/** A command of the text as far as it has been read. */
interface Frame {
  words: string[];
  /** The word that is being read, as written. */
  word: string;
  /** What comes next is where a redirection leads, or the text that it gives. */
  redirection: '' | 'file' | 'text';
  /** In `[[ … ]]`. */
  inTest: boolean;
  /** In the list of values of an array. */
  inArray: boolean;
  /** `case` statements that are open: whether a pattern is being read, or the word before `in`. */
  cases: ('word' | 'pattern' | 'commands')[];
}

const PLAIN = { inTest: false, inArray: false };
/** Commands, words and braces may stand in each other so deep. */
const DEPTH_MAX = 100;

class ShellReader {
  readonly #source: string;
  readonly #templates: readonly Template[];
  readonly #inQuotes: boolean[] = [];
  readonly #hereDocuments: { end: string; tabs: boolean; quoted: boolean }[] = [];
  /** Some variables are given arithmetic, or names. */
  readonly #evaluated: boolean;
  #at = 0;
  #inBraces = 0;
  #depth = 0;

  constructor(source: string, templates: readonly Template[]) {
    this.#source = source;
    this.#templates = templates;
    this.#evaluated = /\b(declare|typeset|local)\b[^;&|\n]*\s-\w*[in]/.test(source);
  }

  /** For each template, whether it stands in double quotes. */
  read(): boolean[] {
    this.#commands('');
    return this.#inQuotes;
  }

  /** Reads commands up to `end` (or the end of the text), outside of quotes. */
  #commands(end: '' | ')', inside: Pick<Frame, 'inTest' | 'inArray'> = PLAIN): void {
    if (++this.#depth > DEPTH_MAX) throw this.#unclear('it is nested too deeply');
    this.#readCommands(end, { words: [], word: '', redirection: '', cases: [], ...inside });
    this.#depth--;
  }

  #readCommands(end: '' | ')', frame: Frame): void {
    for (;;) {
      const char = this.#source[this.#at];
      if (char === undefined) {
        this.#endWord(frame);
        if (end !== '') throw this.#unclear('a parenthesis is not closed');
        return;
      }
      if (char === MARK) this.#place(frame, false);
      else if (char === '\\') this.#escape(frame);
      else if (char === "'") this.#single(frame);
      else if (char === '"') this.#double(frame);
      else if (char === '`') this.#backticks(frame);
      else if (char === '$') this.#dollar(frame, false);
      else if (char === '#' && frame.word === '') this.#comment();
      else if (char === '\n') this.#newline(frame);
      else if (char === ' ' || char === '\t') this.#step(() => this.#endWord(frame));
      else if (char === '<' && this.#source.startsWith('<<', this.#at)) this.#hereDocument(frame);
      else if (char === '<' || char === '>') this.#step(() => this.#endWord(frame, true));
      else if (char === ';' || char === '&' || char === '|') this.#separator(frame, char);
      else if (char === '(') this.#open(frame);
      else if (char === ')') {
        this.#endWord(frame);
        this.#at++;
        if (frame.cases.at(-1) === 'pattern') frame.cases[frame.cases.length - 1] = 'commands';
        else if (end === ')') {
          if (this.#hereDocuments.length > 0) throw this.#unclear('a here-document begins before )');
          return;
        }
        frame.words = [];
      } else this.#step(() => (frame.word += char));
    }
  }

  #step(act: () => void): void {
    act();
    this.#at++;
  }

  /** Skips to behind `index`, all of it part of the word. @throws when a template stands there, or when it has no end */
  #skip(frame: Frame, index: number, what: string): void {
    if (index < 0) throw this.#unclear(`${what} has no end`);
    const text = this.#source.slice(this.#at, index + 1);
    if (text.includes(MARK)) throw this.#refused(`stands in ${what}`);
    frame.word += text;
    this.#at = index + 1;
  }

  #escape(frame: Frame): void {
    const next = this.#source[this.#at + 1];
    if (next === MARK) throw this.#refused('stands behind a backslash');
    // A line that goes on: both characters are gone before anything is read.
    if (next !== '\n') frame.word += this.#source.slice(this.#at, this.#at + 2);
    this.#at += 2;
  }

  #single(frame: Frame): void {
    this.#skip(frame, this.#source.indexOf("'", this.#at + 1), 'single quotes');
  }

  #double(frame: Frame): void {
    if (++this.#depth > DEPTH_MAX) throw this.#unclear('it is nested too deeply');
    frame.word += '"';
    this.#at++;
    for (;;) {
      const char = this.#source[this.#at];
      if (char === undefined) throw this.#unclear('a quote is not closed');
      if (char === MARK) this.#place(frame, true);
      else if (char === '\\') this.#escape(frame);
      else if (char === '`') this.#backticks(frame);
      else if (char === '$') this.#dollar(frame, true);
      else {
        this.#step(() => (frame.word += char));
        if (char === '"') break;
      }
    }
    this.#depth--;
  }

  #backticks(frame: Frame): void {
    let end = this.#at + 1;
    while (end < this.#source.length && this.#source[end] !== '`') end += this.#source[end] === '\\' ? 2 : 1;
    this.#skip(frame, end < this.#source.length ? end : -1, 'backticks');
  }

  #dollar(frame: Frame, inQuotes: boolean): void {
    const next = this.#source[this.#at + 1];
    if (next === MARK) throw this.#refused('stands behind a $');
    if (this.#source.startsWith('\\\n', this.#at + 1)) throw this.#unclear('a line ends in $');
    if (next === "'" && !inQuotes) {
      const rest = /^\$'(?:[^'\\]|\\.)*'/s.exec(this.#source.slice(this.#at));
      if (rest?.[0].includes("\\'")) throw this.#unclear("shells do not agree on \\' in $'…'");
      this.#skip(frame, rest ? this.#at + rest[0].length - 1 : -1, "$'…'");
    } else if (next === '(' && this.#source[this.#at + 2] === '(') {
      this.#at++;
      if (!this.#arithmetic(frame)) throw this.#unclear('$(( does not end with ))');
    } else if (next === '(') {
      frame.word += '$(';
      this.#at += 2;
      this.#commands(')');
      frame.word += ')';
    } else if (next === '{') this.#braces(frame, inQuotes);
    else if (next === '[') {
      if (this.#inBrackets().includes(MARK)) throw this.#refused('stands in arithmetic', AS_CODE);
      this.#step(() => (frame.word += '$'));
    } else this.#step(() => (frame.word += '$'));
  }

  /** The text of the `$[…]` that begins here. */
  #inBrackets(): string {
    let depth = 0;
    for (let at = this.#at + 1; at < this.#source.length; at++) {
      if (this.#source[at] === '[') depth++;
      else if (this.#source[at] === ']' && --depth === 0) return this.#source.slice(this.#at, at);
    }
    return this.#source.slice(this.#at);
  }

  /** Reads `((…))`, and says whether it is that: it may also be two subshells. */
  #arithmetic(frame: Frame): boolean {
    let depth = 0;
    for (let at = this.#at; at < this.#source.length; at++) {
      const char = this.#source[at];
      if (char === '(') depth++;
      else if (char === ')') depth--;
      else if (char === MARK) throw this.#refused('stands in arithmetic', AS_CODE);
      if (char === ')' && depth === 1 && this.#source[at + 1] !== ')') return false;
      if (depth === 0) {
        this.#skip(frame, at, 'arithmetic');
        return true;
      }
    }
    return false;
  }

  /** Reads `${…}`, in which no template may stand. */
  #braces(frame: Frame, inQuotes: boolean): void {
    frame.word += '${';
    this.#at += 2;
    if (++this.#inBraces > DEPTH_MAX) throw this.#unclear('it is nested too deeply');
    for (;;) {
      const char = this.#source[this.#at];
      if (char === undefined) throw this.#unclear('the braces of a parameter have no end');
      if (char === "'" && inQuotes)
        throw this.#unclear('shells do not agree on single quotes in the braces of a parameter');
      if (char === MARK) this.#place(frame, inQuotes);
      else if (char === '\\') this.#escape(frame);
      else if (char === "'") this.#single(frame);
      else if (char === '"') this.#double(frame);
      else if (char === '`') this.#backticks(frame);
      else if (char === '$') this.#dollar(frame, inQuotes);
      else {
        this.#step(() => (frame.word += char));
        if (char === '}') break;
      }
    }
    this.#inBraces--;
  }

  #comment(): void {
    const end = this.#source.indexOf('\n', this.#at);
    const to = end < 0 ? this.#source.length : end;
    if (this.#source.slice(this.#at, to).includes(MARK)) throw this.#refused('stands in a comment');
    this.#at = to;
  }

  #hereDocument(frame: Frame): void {
    this.#endWord(frame, true);
    if (this.#source.startsWith('<<<', this.#at)) {
      frame.redirection = 'text';
      this.#at += 3;
      return;
    }
    frame.redirection = '';
    const found = /<<(-?)[ \t]*([^\s;&|<>()]*)/y;
    found.lastIndex = this.#at;
    const [all, dash, word = ''] = found.exec(this.#source) as RegExpExecArray;
    if (word.includes(MARK)) throw this.#refused('stands in the name of a here-document');
    if (word === '' || /[$`]/.test(word)) throw this.#unclear('a here-document has an odd name');
    if (/['"]/.test(word) && !/^(['"])[^'"]*\1$/.test(word))
      throw this.#unclear('a here-document has an odd name');
    const quoted = /['"\\]/.test(word);
    this.#hereDocuments.push({ end: word.replace(/['"\\]/g, ''), tabs: dash === '-', quoted });
    this.#at += all.length;
  }

  #newline(frame: Frame): void {
    this.#endCommand(frame);
    this.#at++;
    for (const { end, tabs, quoted } of this.#hereDocuments.splice(0)) {
      let continued = false;
      for (;;) {
        if (this.#at >= this.#source.length) break;
        const next = this.#source.indexOf('\n', this.#at);
        const line = this.#source.slice(this.#at, next < 0 ? undefined : next);
        if (line.includes(MARK)) throw this.#refused('stands in a here-document');
        this.#at += line.length + 1;
        if ((tabs ? line.replace(/^\t+/, '') : line) === end) {
          if (continued) throw this.#unclear('a here-document may or may not end');
          break;
        }
        continued = !quoted && line.endsWith('\\');
      }
    }
  }

  #separator(frame: Frame, char: string): void {
    const before = this.#source[this.#at - 1];
    // `2>&1`, `>|`: part of a redirection.
    if (char !== ';' && (before === '>' || before === '<')) {
      this.#at++;
      return;
    }
    this.#endCommand(frame);
    if (char === ';' && /^;(;&?|&)/.test(this.#source.slice(this.#at)) && frame.cases.length > 0) {
      frame.cases[frame.cases.length - 1] = 'pattern';
      this.#at += 1;
    }
    this.#at++;
  }

  #open(frame: Frame): void {
    if (frame.cases.at(-1) === 'pattern' && frame.word === '') {
      this.#at++;
      return;
    }
    if (frame.word === '' && this.#source[this.#at + 1] === '(' && this.#arithmetic(frame)) return;
    if (/^\([ \t]*\)/.test(this.#source.slice(this.#at))) {
      // A function: its body begins with a command.
      frame.word = '';
      frame.words = [];
      this.#at = this.#source.indexOf(')', this.#at) + 1;
      return;
    }
    const inside = { inTest: frame.inTest, inArray: /^[A-Za-z_]\w*\+?=$/.test(frame.word) };
    frame.word += '(';
    this.#at++;
    this.#commands(')', inside);
    frame.word += ')';
  }

  #endCommand(frame: Frame): void {
    this.#endWord(frame);
    frame.redirection = '';
    if (!frame.inTest) frame.words = [];
  }

  /** Ends the word; `redirects` when what follows is the target of a redirection. */
  #endWord(frame: Frame, redirects = false): void {
    const { word, redirection } = frame;
    frame.word = '';
    if (redirects || word !== '') frame.redirection = redirects ? 'file' : '';
    if (word === '' || redirection !== '' || (redirects && /^\d+$/.test(word))) return;
    const last = frame.cases.length - 1;
    if (frame.cases[last] === 'word') {
      if (word === 'in') frame.cases[last] = 'pattern';
      return;
    }
    if (word === 'esac' && last >= 0 && frame.words.length === 0) {
      frame.cases.pop();
      return;
    }
    if (word === ']]' && frame.inTest) {
      frame.inTest = false;
      return;
    }
    if (frame.words.length === 0) {
      if (word === 'case' && frame.cases[last] !== 'pattern') {
        frame.cases.push('word');
        return;
      }
      if (word === '[[') frame.inTest = true;
      if (RESERVED.includes(word) || isAssignment(word)) return;
    }
    // A function or a coprocess of this name: what follows is a command.
    if (word === '{' && ['function', 'coproc'].includes(frame.words[0] as string)) frame.words = [];
    else frame.words.push(word);
  }

  #place(frame: Frame, inQuotes: boolean): void {
    const fault = this.#faultAt(frame);
    if (fault !== null) throw fault;
    this.#inQuotes.push(inQuotes);
    frame.word += MARK;
    this.#at++;
  }

  /** What a command would make of the value: some read it once more. */
  #faultAt({ words, word, redirection, inTest, inArray }: Frame): TemplateError | null {
    const template = this.#templates[this.#inQuotes.length] as Template;
    if (this.#inBraces > 0) return this.#refused('stands in the braces of a parameter');
    if (inTest) return this.#refused('stands in [[ … ]]', 'bash may read it as arithmetic there; use [ … ]');
    if (/^[A-Za-z_]\w*\[[^\]]*$/.test(word) || (inArray && /^\[[^\]]*$/.test(word)))
      return this.#refused('stands in a subscript', AS_CODE);
    if (redirection === 'text' && (readsCommands(words) || this.#evaluated))
      return this.#refused('may be read as code', AS_CODE);
    const fault = redirection === '' ? faultInCommand(template, words, word) : null;
    if (fault !== null) return this.#refused(fault.where, fault.remedy);
    if (this.#evaluated && isAssignment(word))
      return this.#refused('may be given to a variable of type integer or nameref', AS_CODE);
    return null;
  }

  #refused(where: string, remedy = `${IN_ENV}, or write it in double quotes`): TemplateError {
    const template = this.#templates[this.#inQuotes.length];
    return new TemplateError(`${template?.source ?? 'a template'} ${where}; ${remedy}`);
  }

  #unclear(why: string): TemplateError {
    const text = this.#templates.map(({ source }) => source).join(', ');
    return new TemplateError(`it cannot be told how a shell reads ${text}: ${why}; ${IN_ENV}`);
  }
}

function isAssignment(word: string): boolean {
  return /^[A-Za-z_]\w*(\[[^\]]*\])?\+?=/.test(word);
}
