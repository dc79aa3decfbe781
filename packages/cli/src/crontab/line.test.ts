import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readLine, splitInput } from './line.ts';

function variable(text: string) {
  const line = readLine(text, false);
  return line.kind === 'variable' ? [line.name, line.value] : line.kind;
}

function entry(text: string, userField = false) {
  const line = readLine(text, userField);
  return line.kind === 'entry' ? [line.time, line.user, line.command] : line;
}

function message(text: string, userField = false) {
  const line = readLine(text, userField);
  return line.kind === 'fault' ? line.message : line.kind;
}

test('a variable is NAME=value with blanks around either', () => {
  assert.deepEqual(variable('PATH=/bin:/usr/bin'), ['PATH', '/bin:/usr/bin']);
  assert.deepEqual(variable('  A  =   two words  '), ['A', 'two words']);
  assert.deepEqual(variable('"A" = b'), ['A', 'b']);
});

test('quotes around a value are taken off, quotes inside it stay', () => {
  assert.deepEqual(variable('A="  b c"'), ['A', '  b c']);
  assert.deepEqual(variable('A=\'b "c"\''), ['A', 'b "c"']);
  assert.deepEqual(variable('BAR= it\'s "q"'), ['BAR', 'it\'s "q"']);
});

test('blanks at the end of a value are lost even inside quotes, as in cron', () => {
  assert.deepEqual(variable('FOO = "a b  "'), ['FOO', 'a b']);
});

test('nothing in a value is expanded', () => {
  assert.deepEqual(variable('PATH=$HOME/bin:$PATH'), ['PATH', '$HOME/bin:$PATH']);
  assert.deepEqual(variable('A=b # c'), ['A', 'b # c']);
});

test('an empty value is marked when no quotes stand for it', () => {
  assert.deepEqual(readLine('MAILTO=""', false), {
    kind: 'variable',
    name: 'MAILTO',
    value: '',
    bare: false,
  });
  assert.deepEqual(readLine('MAILTO=', false), { kind: 'variable', name: 'MAILTO', value: '', bare: true });
});

test('a quote that is not closed, or has something after it, is a fault of its own', () => {
  assert.match(message('A="b'), /not closed by the quote/);
  assert.match(message('A="b" c'), /something follows that quote/);
});

test('an entry that sets variables for its command is no variable', () => {
  assert.deepEqual(entry('* * * * * A=b cmd'), ['* * * * *', undefined, 'A=b cmd']);
  assert.deepEqual(entry('@daily A=b'), ['@daily', undefined, 'A=b']);
});

test('blank lines and comments may be indented', () => {
  assert.deepEqual(readLine(' \t', false), { kind: 'blank' });
  assert.deepEqual(readLine('\t # hi', false), { kind: 'comment', text: ' hi' });
});

test('the time of an entry is passed on as it is, its fields one blank apart', () => {
  assert.deepEqual(entry('  5,35\t*/2  1-7 jan-mar,JUN\tMon cmd a  b '), [
    '5,35 */2 1-7 jan-mar,JUN Mon',
    undefined,
    'cmd a  b ',
  ]);
});

test('a # inside an entry belongs to the command', () => {
  assert.deepEqual(entry('0 0 * * * cmd # not a comment'), ['0 0 * * *', undefined, 'cmd # not a comment']);
});

test('a system crontab has the user between time and command', () => {
  assert.deepEqual(entry('17 *\t* * *\troot  cd / && run-parts /etc/cron.hourly', true), [
    '17 * * * *',
    'root',
    'cd / && run-parts /etc/cron.hourly',
  ]);
  assert.deepEqual(entry('@weekly www-data cmd', true), ['@weekly', 'www-data', 'cmd']);
});

test('what is missing in an entry is named', () => {
  assert.match(message('0 0 * *'), /five time fields and a command/);
  assert.match(message('0 0 * * *'), /a command after the time/);
  assert.match(message('0 0 * * * root', true), /the user and then the command/);
  assert.match(message('0 0 * * * * cmd'), /one time field too many/);
});

test('the leading dash of other crons is taken off and marked', () => {
  const line = readLine('-*/5 * * * * cmd', false);
  assert.deepEqual(line, { kind: 'entry', time: '*/5 * * * *', command: 'cmd', stdin: '', quiet: true });
});

// What the commands and inputs below became was seen with cron 3.0pl1-162 itself.
test('the first unescaped % ends the command, the further ones are newlines of its input', () => {
  assert.deepEqual(splitInput('mail joe%Joe,%%Where are your kids?%'), {
    command: 'mail joe',
    stdin: 'Joe,\n\nWhere are your kids?\n',
  });
});

test('the input gets a newline at its end unless it has one or is empty', () => {
  assert.equal(splitInput('cat%no newline').stdin, 'no newline\n');
  assert.equal(splitInput('cat%a%').stdin, 'a\n');
  assert.equal(splitInput('cat%').stdin, '');
  assert.equal(splitInput('cat').stdin, '');
});

test('an escaped % is a plain one and ends nothing', () => {
  assert.deepEqual(splitInput('date +\\%H\\%M'), { command: 'date +%H%M', stdin: '' });
});

test('in the command two backslashes become one, other escapes stay', () => {
  assert.equal(
    splitInput(String.raw`printf 'a\\b' 'c\d' "e\\\\f"`).command,
    String.raw`printf 'a\b' 'c\d' "e\\f"`,
  );
  assert.deepEqual(splitInput(String.raw`a\\%b`), { command: 'a\\', stdin: 'b\n' });
});

test('in the input only a backslash before % is lost', () => {
  assert.equal(
    splitInput(String.raw`cat%Where \% are \x \\ \\% your kids?`).stdin,
    'Where % are \\x \\\\ \\% your kids?\n',
  );
});
