// biome-ignore-all lint/suspicious/noTemplateCurlyInString: shell texts have such places, too
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import type { CommandAction } from './job.ts';
import { renderAction } from './renderAction.ts';
import { SCOPE } from './scope.testing.ts';
import { TemplateError } from './template.ts';

function render(command: string | string[], value: string, shell: 'sh' | 'bash' = 'sh'): CommandAction {
  const action: CommandAction = {
    kind: 'command',
    command,
    shell,
    env: {},
    user: null,
    cwd: null,
    umask: null,
    stdin: '',
  };
  const scope = { ...SCOPE, secrets: { ...SCOPE.secrets, V: value }, params: { v: value } };
  return renderAction(action, scope) as CommandAction;
}

/** A text, and what stands in place of its templates. */
const PLACED: [string, string][] = [
  ['echo {{V}}', 'echo "${1}"'],
  ['echo a{{V}}b{{ V }}', 'echo a"${1}"b"${2}"'],
  ['echo "a {{V}} b"', 'echo "a ${1} b"'],
  ['X={{V}} cmd; export Y={{V}}', 'X="${1}" cmd; export Y="${2}"'],
  [`echo 'it''s' "it's" {{V}}`, `echo 'it''s' "it's" "\${1}"`],
  ['echo "\\"" {{V}} \\" {{V}}', 'echo "\\"" "${1}" \\" "${2}"'],
  ['echo "$(cmd {{V}} "{{V}}")" {{V}}', 'echo "$(cmd "${1}" "${2}")" "${3}"'],
  ['echo "`date`" {{V}}', 'echo "`date`" "${1}"'],
  ["echo $((1 + (2 << 3))) {{V}} $'a b' \"$'\" {{V}}", 'echo $((1 + (2 << 3))) "${1}" $\'a b\' "$\'" "${2}"'],
  ['echo ${A:-"x y"} "${B%/*}" {{V}}', 'echo ${A:-"x y"} "${B%/*}" "${1}"'],
  ['echo a#b {{V}} # no {\n echo {{V}}', 'echo a#b "${1}" # no {\n echo "${2}"'],
  ["cat <<EOF\nit's\nEOF\necho {{V}}", 'cat <<EOF\nit\'s\nEOF\necho "${1}"'],
  ["cat <<-'E' {{V}}\n\t\"\n\tE\necho {{V}}", 'cat <<-\'E\' "${1}"\n\t"\n\tE\necho "${2}"'],
  ['cat <<A; cat <<B\n"\nA\n\'\nB\n: {{V}}', 'cat <<A; cat <<B\n"\nA\n\'\nB\n: "${1}"'],
  ['cat <<< {{V}}', 'cat <<< "${1}"'],
  [
    'case {{V}} in (a) b {{V}};; c|d) e;; esac; f {{V}}',
    'case "${1}" in (a) b "${2}";; c|d) e;; esac; f "${3}"',
  ],
  ['x=$(case a in a) b {{V}};; esac) {{V}}', 'x=$(case a in a) b "${1}";; esac) "${2}"'],
  ['(cd /x && cmd {{V}}) > {{V}} 2>&1', '(cd /x && cmd "${1}") > "${2}" 2>&1'],
  ['f() { cmd {{V}}; }', 'f() { cmd "${1}"; }'],
  ['if [ "{{V}}" = x ]; then cmd {{V}}; fi', 'if [ "${1}" = x ]; then cmd "${2}"; fi'],
  ['for i in {{V}} b; do echo "$i"; done', 'for i in "${1}" b; do echo "$i"; done'],
  ["cmd \\\n  # a comment with ' in it\n  {{V}}", 'cmd \\\n  # a comment with \' in it\n  "${1}"'],
  [`docker ps --format '{{ "{{" }}.Names}}' {{V}}`, `docker ps --format '{{.Names}}' "\${1}"`],
  [`sh -c 'echo "$1"' sh {{V}}`, `sh -c 'echo "$1"' sh "\${1}"`],
  ['sh -c "echo {{V | shell}}"', 'sh -c "echo ${1}"'],
  ['eval "X={{V | shell}}"', 'eval "X=${1}"'],
  ['ssh -p 22 {{V}} uptime', 'ssh -p 22 "${1}" uptime'],
  ['ssh host "rm {{V | shell}}"', 'ssh host "rm ${1}"'],
  ['printf %s {{V}}', 'printf %s "${1}"'],
  ['> {{V}} cmd {{V}}; read -r x < {{V}}', '> "${1}" cmd "${2}"; read -r x < "${3}"'],
  ['a=({{V}} [1]={{V}}) # {', 'a=("${1}" [1]="${2}") # {'],
  ['sh -s <<< "$x" a {{V}}; sh x.sh <<< {{V}}', 'sh -s <<< "$x" a "${1}"; sh x.sh <<< "${2}"'],
  ['function f { cmd {{V}}; }; command -v {{V}}', 'function f { cmd "${1}"; }; command -v "${2}"'],
  [
    'ssh host "cd /x && rm {{V | shell}}; psql -c {{V | shell}}"',
    'ssh host "cd /x && rm ${1}; psql -c ${2}"',
  ],
];

for (const [text, placed] of PLACED) {
  test(`A value has its place in ${JSON.stringify(text)}`, () => {
    const { command, env } = render(text, 'value');
    assert.equal(command, placed.replace(/\$\{(\d)\}/g, '${ROTA_VALUE_$1}'));
    assert.ok(Object.values(env).every((value) => value === 'value' || value === "'value'"));
    assert.doesNotMatch(String(command), /value/);
  });
}

/** A text in which a template has no place, and why. */
const REFUSED: [string | string[], RegExp][] = [
  ["echo '{{V}}'", /single quotes/],
  ["echo $'{{V}}'", /\$'…'/],
  ['echo `cmd {{V}}`', /backticks/],
  ['echo "`cmd {{V}}`"', /backticks/],
  ['echo \\{{V}}', /behind a backslash/],
  ['echo "\\{{V}}"', /behind a backslash/],
  ['echo ${{V}}', /behind a \$/],
  ['echo "${{V}}"', /behind a \$/],
  ['echo ${X:-{{V}}}', /braces of a parameter/],
  ['echo "${X:-$(cmd {{V}})}"', /braces of a parameter/],
  ['echo $(( 1 + {{V}} ))', /arithmetic/],
  ['(( x = {{V}} ))', /arithmetic/],
  ['echo $[{{V}}]', /arithmetic/],
  ['let x={{V}}', /arithmetic/],
  ['for ((i=0; i<{{V}}; i++)); do :; done', /arithmetic/],
  ['[[ {{V}} -eq 1 ]]', /\[\[ … \]\]/],
  ['[[ a && "{{V}}" > b ]]', /\[\[ … \]\]/],
  ['a[{{V}}]=1', /subscript/],
  ['a["{{V}}"]=1', /subscript/],
  ['cat <<EOF\n{{V}}\nEOF', /here-document/],
  ['cat <<{{V}}\nx\n', /here-document/],
  ['# {{V}}', /comment/],
  ['echo x # {{V}}', /comment/],
  ['eval {{V}}', /shell text/],
  ['eval "x={{V}}"', /shell text/],
  ['command eval {{V}}', /shell text/],
  ['if true; then eval {{V}}; fi', /shell text/],
  ['f() { eval {{V}}; }', /shell text/],
  ['x && { X=1 eval {{V}}; }', /shell text/],
  ['trap "rm {{V}}" EXIT', /shell text/],
  ['alias x={{V}}', /shell text/],
  ['sh -c "echo {{V}}"', /shell text/],
  ['sudo -u bob /bin/bash -lc "echo {{V}}"', /shell text/],
  ['su bob -c "echo {{V}}"', /shell text/],
  ['find . -exec sh -c "x {{V}}" ";"', /shell text/],
  [`sh -c "echo '{{V | shell}}'"`, /shell text/],
  ['sh -c "echo \\"{{V | shell}}\\""', /shell text/],
  ['ssh host rm {{V}}', /shell text/],
  ['ssh -o A=b -p 22 host "rm {{V}}"', /shell text/],
  ['> /dev/null eval {{V}}', /shell text/],
  ['2>&1 eval {{V}}', /shell text/],
  ['time -p eval {{V}}', /shell text/],
  ['command -p eval {{V}}', /shell text/],
  ['function f { eval {{V}}; }', /shell text/],
  ['coproc eval {{V}}', /shell text/],
  ['\\eval {{V}}', /shell text/],
  ["'eval' {{V}}", /shell text/],
  ['compgen -W {{V}}', /shell text/],
  ['watch -n 1 "ls {{V}}"', /shell text/],
  ['bash -c -- "echo {{V}}"', /shell text/],
  ['bash -Ec "echo {{V}}"', /shell text/],
  ['bash -c -o pipefail "echo {{V}}"', /shell text/],
  ['"bash" -c "echo {{V}}"', /shell text/],
  ['"$SHELL" -c "echo {{V}}"', /shell text/],
  ['su bob --command="echo {{V}}"', /shell text/],
  ['su bob -c"echo {{V}}"', /shell text/],
  [`sh -c 'echo "'{{V | shell}}'"'`, /shell text/],
  [`eval "echo '" {{V | shell}} "'"`, /shell text/],
  ['eval sh -c {{V | shell}}', /shell text/],
  ['sh -c "eval {{V | shell}}"', /shell text/],
  ['sh -c "echo # {{V | shell}}"', /shell text/],
  ['sh -c "unset {{V | shell}}"', /shell text/],
  ['bash <<< "echo {{V}}"', /as code/],
  ['typeset -i n; read n <<< {{V}}', /as code/],
  ['unset {{V}}', /name of a variable/],
  ['< x read {{V}}', /name of a variable/],
  ['builtin read {{V}}', /name of a variable/],
  ['command test -v {{V}}', /name of a variable/],
  ['declare -a "x=({{V}})"', /name of a variable/],
  ['echo $[ a[0] + {{V}} ]', /arithmetic/],
  ['[[ ( {{V}} -eq 1 ) ]]', /\[\[ … \]\]/],
  ['a=([{{V}}]=1)', /subscript/],
  ['declare -r -i n={{V}}', /integer/],
  ['declare -n r={{V}}', /nameref/],
  ['read -r {{V}}', /name of a variable/],
  ['export {{V}}=1', /name of a variable/],
  ['printf -v {{V}} x', /name of a variable/],
  ['declare -i n; n={{V}}', /integer/],
  ['echo "{{V}}', /a quote is not closed/],
  ["echo {{V}} 'x", /no end/],
  ['echo $(cmd {{V}}', /parenthesis is not closed/],
  ['echo "${X%\'}\'}" {{V}}', /do not agree/],
  ["echo $'a\\'b' {{V}}", /do not agree/],
  [['cmd', '{{V}}'], /list of processes/],
  [['sh', '-c', 'echo {{ params.v }}'], /shell text/],
  [['ssh', 'host', 'rm "{{ params.v | shell }}"'], /shell text/],
];

for (const [text, why] of REFUSED) {
  test(`A value has no place in ${JSON.stringify(text)}`, () => {
    assert.throws(
      () => render(text, 'value'),
      (error) => error instanceof TemplateError && why.test(error.message) && error.message.includes('{{'),
    );
  });
}

test('A text that is nested too deeply is refused', () => {
  for (const nest of ['$(', '"$(', '(', '${x:-', '"${x:-"'])
    assert.throws(() => render(`${nest.repeat(20_000)}{{V}}`, 'value'), TemplateError, nest);
});

test('In a list a value is a part of its argument, whatever it holds', () => {
  const value = `'; $(x) "\n*`;
  assert.deepEqual(render(['cmd', 'a={{ params.v }}', '{{ "{{" }}'], value).command, [
    'cmd',
    `a=${value}`,
    '{{',
  ]);
  assert.deepEqual(render(['sh', '-c', 'echo {{ params.v | shell }}'], 'a b').command, [
    'sh',
    '-c',
    "echo 'a b'",
  ]);
});

test('A variable that the job has by itself is not taken', () => {
  const action = {
    ...render('true', ''),
    command: 'echo {{V}} "$ROTA_VALUE_1"',
    env: { ROTA_VALUE_1: 'own' },
  };
  const rendered = renderAction(action, { ...SCOPE, secrets: { V: 'v' } }) as CommandAction;
  assert.equal(rendered.command, 'echo "${ROTA_VALUE_2}" "$ROTA_VALUE_1"');
  assert.deepEqual(rendered.env, { ROTA_VALUE_1: 'own', ROTA_VALUE_2: 'v' });
});

test('A value that no process can be given is refused', () => {
  assert.throws(() => render('echo {{V}}', 'a\0b'), /must not contain NUL/);
  assert.throws(() => render('echo {{V}}', 'x'.repeat(140_000)), /less than 128 KiB/);
});

/** Where the shells run: a value that became a pattern would find `a`, one that became a command would leave a file. */
const folder = mkdtempSync(join(tmpdir(), 'rota-shell-template-'));
writeFileSync(join(folder, 'a'), '');
after(() => rmSync(folder, { recursive: true }));

/** Runs the text as an agent does, and gives what it printed between NULs. */
function run(text: string, value: string, shell: 'sh' | 'bash'): string[] {
  const { command, env } = render(text, value, shell);
  const args = shell === 'sh' ? ['-c'] : ['-eo', 'pipefail', '-c'];
  const { status, stdout, stderr } = spawnSync(shell, [...args, command as string], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
  });
  assert.equal(status, 0, `${command}\n${stderr}`);
  assert.equal(stderr, '');
  return stdout.split('\0').slice(0, -1);
}

const HOSTILE = [
  '$(touch made)',
  '`touch made`',
  "'; touch made; '",
  '"; touch made; "',
  '\ntouch made\n',
  '&& touch made',
  '| touch made',
  '> made',
  '${ROTA_VALUE_1}',
  '{{ V }}',
  'a[$(touch made)]',
  '*',
  '~',
  '-n',
  '',
  '\\',
  '  two  words  ',
  "$'\\x41'",
  '#',
  '!!',
  '\u0001\u007f é 漢',
];
const hostileValue = fc.oneof(
  fc.constantFrom(...HOSTILE),
  fc
    .array(fc.constantFrom(...HOSTILE, ...`'"$\`\\(){}[]<>|&;*?~#! \n\t=%ax1`), { maxLength: 12 })
    .map((parts) => parts.join('')),
);

/** A word of shell text, and what it is once a shell has read it. */
interface Word {
  text: string;
  means: (value: string) => string;
}
const fixed = (text: string, meaning: string): Word => ({ text, means: () => meaning });
const TEMPLATE: Word = { text: '{{V}}', means: (value) => value };

const { word } = fc.letrec<{ word: Word; bare: Word; quoted: Word }>((tie) => ({
  word: fc.array(tie('bare'), { minLength: 1, maxLength: 4 }).map(joined),
  bare: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant(TEMPLATE),
    fc.constantFrom(
      fixed('ab', 'ab'),
      fixed("'it;(`$x#\"'", 'it;(`$x#"'),
      fixed('\\\'\\"\\$\\(', '\'"$('),
      fixed("''", ''),
      fixed('x#y', 'x#y'),
      fixed('${Q:-z}', 'z'),
      fixed('$((1 + (2)))', '3'),
      fixed('`echo k`', 'k'),
      fixed('a\\\nb', 'ab'),
    ),
    fc.array(tie('quoted'), { maxLength: 4 }).map((words) => wrapped('"', joined(words), '"')),
  ),
  quoted: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant(TEMPLATE),
    fc.constantFrom(
      fixed("it's (a) # `echo k`", "it's (a) # k"),
      fixed('\\" \\$ \\`', '" $ `'),
      fixed('${Q:-z}', 'z'),
      fixed('$((2))', '2'),
      fixed('<<E', '<<E'),
    ),
    tie('word').map((inner) => printed(inner, '$(printf %s ', '; printf .)')),
    tie('word').map((inner) => printed(inner, '$(case x in (y) :;; x) printf %s ', ';; esac; printf .)')),
  ),
}));

function joined(words: readonly Word[]): Word {
  return {
    text: words.map(({ text }) => text).join(''),
    means: (value) => words.map(({ means }) => means(value)).join(''),
  };
}

function wrapped(before: string, { text, means }: Word, behind: string): Word {
  return { text: before + text + behind, means };
}

/** A command that prints a word and a dot, which keeps line breaks at its end. */
function printed({ text, means }: Word, before: string, behind: string): Word {
  return { text: before + text + behind, means: (value) => `${means(value)}.` };
}

/** A command that prints a word and NUL, in the ways that words come to commands. */
const statement = fc.oneof(
  ...[
    ["printf '%s\\0' ", ''],
    ["# it's a \"comment\nprintf '%s\\0' ", ' # `'],
    ["cat <<'E' > /dev/null\nit's $( \"\nE\nprintf '%s\\0' ", ''],
    ["cat <<E > /dev/null\nit's \"here\nE\nprintf '%s\\0' ", ' 2>&1'],
    ['x=', '; printf \'%s\\0\' "$x"'],
    ['for i in ', '; do printf \'%s\\0\' "$i"; done'],
    ['f() { printf \'%s\\0\' "$1"; }; f ', ''],
    ["if true; then (printf '%s\\0' ", '); fi'],
    ["case a in (b) ;; a) printf '%s\\0' ", ';; esac'],
    ['sh -c \'printf "%s\\0" "$1"\' sh ', ''],
  ].map(([before = '', behind = '']) => word.map((inner) => wrapped(before, inner, behind))),
  fc.constantFrom(
    { text: 'eval "printf \'%s\\\\0\' {{V | shell}}"', means: TEMPLATE.means },
    { text: 'sh -c "printf \'%s\\\\0\' {{V | shell}}"', means: TEMPLATE.means },
    { text: 'case {{V}} in "{{V}}") printf \'%s\\0\' same;; esac', means: () => 'same' },
  ),
);

for (const shell of ['sh', 'bash'] as const) {
  test(`In ${shell} a value is never code, a pattern or two words, wherever its template stands`, () => {
    const script = fc.array(statement, { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(script, hostileValue, (statements, value) => {
        const text = statements.map((each) => each.text).join('\n');
        assert.deepEqual(
          run(text, value, shell),
          statements.map(({ means }) => means(value)),
        );
        assert.deepEqual(readdirSync(folder), ['a']);
      }),
      { numRuns: 60 },
    );
  });
}

test('A shell reads here-strings and process substitutions as the placing does', () => {
  const text = 'cat <<< "{{V}}" > /dev/null; printf "%s\\0" {{V}} "$(cat <(printf %s {{V}}; printf .))"';
  for (const value of HOSTILE) assert.deepEqual(run(text, value, 'bash'), [value, `${value}.`]);
  assert.deepEqual(readdirSync(folder), ['a']);
});
