/** What one line of a crontab says, read as Debian's cron 3.0pl1 reads it. */
export type Line =
  | { kind: 'blank' }
  | { kind: 'comment'; text: string }
  | { kind: 'variable'; name: string; value: string; bare: boolean }
  | { kind: 'entry'; time: string; user?: string; command: string; stdin: string; quiet: boolean }
  | { kind: 'fault'; message: string };

const COMMENT = /^[ \t]*#(.*)$/;
const VARIABLE =
  /^[ \t]*(?:'([^'=]*)'|"([^"=]*)"|([^\s='"][^\s=]*))\s*=\s*(?:'([^']*)'|"([^"]*)"|([^\s'"].*?))?\s*$/;
const ENTRY = /^[ \t]*(-?)(@[^ \t]+|[^ \t]+(?:[ \t]+[^ \t]+){4})(?:[ \t]+(.*))?$/;
const LOOKS_LIKE_VARIABLE = /^[ \t]*["']?[A-Za-z_]\w*["']?\s*=/;

/**
 * Reads one line, given without its newline. A system crontab has the user's name after the time (`userField`).
 * Whether the time itself makes sense is not checked here.
 */
export function readLine(line: string, userField: boolean): Line {
  if (/^[ \t]*$/.test(line)) return { kind: 'blank' };
  const comment = COMMENT.exec(line);
  if (comment) return { kind: 'comment', text: comment[1] as string };
  const variable = VARIABLE.exec(line);
  if (variable) return readVariable(variable);
  return readEntry(line, userField);
}

function readVariable(match: RegExpExecArray): Line {
  const [, single, double, plain, ...values] = match;
  const name = single ?? double ?? plain ?? '';
  const value = values.find((text) => text !== undefined);
  return { kind: 'variable', name, value: unquote(value ?? ''), bare: value === undefined };
}

/** cron drops blanks at the end even inside quotes, and then one more pair of quotes. */
function unquote(text: string): string {
  const value = text.trimEnd();
  const quote = value[0];
  const paired = value.length >= 2 && (quote === '"' || quote === "'") && value.endsWith(quote);
  return paired ? value.slice(1, -1) : value;
}

function readEntry(line: string, userField: boolean): Line {
  const match = ENTRY.exec(line);
  if (match === null) {
    if (LOOKS_LIKE_VARIABLE.test(line)) {
      return fault('the value is not closed by the quote that opens it, or something follows that quote');
    }
    return fault('expected NAME=value, or five time fields and a command');
  }
  const [, dash, time = '', rest = ''] = match;
  const entry = userField ? /^([^ \t]+)[ \t]+(.*)$/.exec(rest) : ['', '', rest];
  if (entry === null) {
    return fault(
      'expected the user and then the command after the time; without a user field it is a user crontab',
    );
  }
  const [, user = '', text = ''] = entry;
  if (/^\s*$/.test(text)) return fault('expected a command after the time');
  if (!userField && text.startsWith('*'))
    return fault('the command begins with "*"; is there one time field too many?');
  return {
    kind: 'entry',
    time: time.replace(/[ \t]+/g, ' '),
    ...(userField && { user }),
    ...splitInput(text),
    quiet: dash === '-',
  };
}

/**
 * Divides an entry's text at its first unescaped `%`: before it the command, after it what the command reads, each
 * further `%` a newline. In the command `\%` and `\\` lose their backslash, in the input only `\%` does; the input
 * gets a newline at its end unless it has one or is empty.
 */
export function splitInput(text: string): { command: string; stdin: string } {
  const [command = ''] = /^(?:\\.|[^%\\]|\\$)*/s.exec(text) ?? [];
  const input = text
    .slice(command.length + 1)
    .replace(/\\*%/g, (run) => (run === '%' ? '\n' : `${run.slice(0, -2)}%`));
  return {
    command: command.replace(/\\([%\\])/g, '$1'),
    stdin: /[^\n\\]\\*$/.test(input) ? `${input}\n` : input,
  };
}

function fault(message: string): Line {
  return { kind: 'fault', message };
}
