import type { HttpAction, MultipartPart } from './http.ts';
import type { Action, CommandAction, JobDefinition } from './job.ts';
import type { Scope } from './scope.ts';
import { faultInShellText, shellTextBefore } from './shellCommands.ts';
import { placeInShell } from './shellTemplate.ts';
import {
  parseTemplates,
  renderJson,
  renderText,
  secretOf,
  type Template,
  TemplateError,
  templateValue,
  textOf,
} from './template.ts';

/** Bytes of one argument or variable that Linux hands to a program, its name and end included. */
const ARGUMENT_BYTES = 131_072;

/** The action with all its templates rendered. Values that were put in are not looked at again. @throws TemplateError */
export function renderAction(action: Action, scope: Scope): Action {
  switch (action.kind) {
    case 'command':
      return renderCommand(action, scope);
    case 'http':
      return renderHttp(action, scope);
    default:
      return action satisfies never;
  }
}

function renderCommand(action: CommandAction, scope: Scope): CommandAction {
  const env = Object.fromEntries(
    Object.entries(action.env).map(([name, text]) => [name, rendered(text, scope, `env.${name}`, ARGUMENT)]),
  );
  const command =
    typeof action.command === 'string'
      ? renderShell(action.command, scope, env)
      : action.command.map((text, index) =>
          renderArgument(text, action.command.slice(0, index) as string[], scope, `command[${index}]`),
        );
  return {
    ...action,
    command,
    env,
    user: action.user && rendered(action.user, scope, 'user', USER),
    cwd: action.cwd && rendered(action.cwd, scope, 'cwd', PATH),
    stdin: renderText(action.stdin, scope),
  };
}

/** The shell text with variables in place of its templates; their values are put into `env`. */
function renderShell(text: string, scope: Scope, env: Record<string, string>): string {
  if (!text.includes('{{')) return text;
  let count = 0;
  return placeInShell(foldLiterals(parseTemplates(text)))
    .map((piece) => {
      if (typeof piece === 'string') return piece;
      let name: string;
      do name = `ROTA_VALUE_${++count}`;
      while (Object.hasOwn(env, name));
      const { template, inQuotes } = piece;
      env[name] = fitting(textOf(templateValue(template, scope), template), template.source, ARGUMENT);
      return inQuotes ? `\${${name}}` : `"\${${name}}"`;
    })
    .join('');
}

/** What a template says by itself is the author's own text, like what stands around it. */
export function foldLiterals(pieces: readonly (string | Template)[]): (string | Template)[] {
  return pieces.map((piece) =>
    typeof piece !== 'string' && 'literal' in piece.operand && piece.filters.length === 0
      ? piece.operand.literal
      : piece,
  );
}

function renderArgument(text: string, before: string[], scope: Scope, place: string): string {
  if (!text.includes('{{')) return text;
  const fault = argumentFault(parseTemplates(text), before);
  if (fault !== null) throw new TemplateError(fault);
  return rendered(text, scope, place, ARGUMENT);
}

/** Why templates must not stand in an argument, whose words before are `before`; null when they may. */
export function argumentFault(
  pieces: readonly (string | Template)[],
  before: readonly string[],
): string | null {
  let text = '';
  for (const piece of pieces) {
    if (typeof piece === 'string' || 'literal' in piece.operand) {
      text += typeof piece === 'string' ? piece : '';
      continue;
    }
    if (secretOf(piece) !== null)
      return `${piece.source}: a secret in an argument is visible in the machine's list of processes; use \`env\` or \`stdin\``;
    const textBefore = shellTextBefore(before, text);
    const fault = textBefore === null ? null : faultInShellText(piece, textBefore);
    if (fault !== null) return `${piece.source} ${fault.where}; ${fault.remedy}`;
  }
  return null;
}

function renderHttp(action: HttpAction, scope: Scope): HttpAction {
  const line = (text: string, place: string, rule: Rule = LINE) => rendered(text, scope, place, rule);
  const fields = (values: Record<string, string | string[]>): Record<string, string | string[]> =>
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [
        name,
        Array.isArray(value) ? value.map((each) => renderText(each, scope)) : renderText(value, scope),
      ]),
    );
  const { auth, tls, proxy, idempotencyKey } = action;
  return {
    ...action,
    url: line(action.url, 'http.url', ADDRESS),
    headers: Object.fromEntries(
      Object.entries(action.headers).map(([name, value]) => [
        name,
        line(value, `http.headers.${name}`, HEADER),
      ]),
    ),
    query: fields(action.query),
    body: renderBody(action.body, scope, fields),
    auth:
      auth === null
        ? null
        : 'bearer' in auth
          ? { bearer: line(auth.bearer, 'http.auth.bearer', TOKEN) }
          : {
              username: line(auth.username, 'http.auth.basic.username', USERNAME),
              password: line(auth.password, 'http.auth.basic.password'),
            },
    idempotencyKey:
      typeof idempotencyKey === 'string' ? line(idempotencyKey, 'http.idempotencyKey', KEY) : idempotencyKey,
    tls: {
      ca: tls.ca && line(tls.ca, 'http.tls.ca', PATH_OR_PEM),
      cert: tls.cert && line(tls.cert, 'http.tls.cert', PATH_OR_PEM),
      key: tls.key && line(tls.key, 'http.tls.key', PATH_OR_PEM),
      passphrase: tls.passphrase && line(tls.passphrase, 'http.tls.passphrase'),
      insecure: tls.insecure,
    },
    proxy: proxy && {
      url: line(proxy.url, 'http.proxy.url', ADDRESS),
      username: proxy.username && line(proxy.username, 'http.proxy.username', USERNAME),
      password: proxy.password && line(proxy.password, 'http.proxy.password'),
    },
  };
}

function renderBody(
  body: HttpAction['body'],
  scope: Scope,
  fields: (values: Record<string, string | string[]>) => Record<string, string | string[]>,
): HttpAction['body'] {
  switch (body.type) {
    case 'json':
      return { type: 'json', json: renderJson(body.json, scope) };
    case 'form':
      return { type: 'form', form: fields(body.form) };
    case 'multipart':
      return { type: 'multipart', parts: body.parts.map((part) => renderPart(part, scope)) };
    case 'raw':
      return { type: 'raw', text: renderText(body.text, scope) };
    case 'file':
      return { type: 'file', path: rendered(body.path, scope, 'http.file', PATH) };
    case 'none':
      return body;
    default:
      return body satisfies never;
  }
}

function renderPart(part: MultipartPart, scope: Scope): MultipartPart {
  const place = `http.multipart.${part.name}`;
  if ('value' in part) return { ...part, value: renderText(part.value, scope) };
  return {
    ...part,
    file: rendered(part.file, scope, `${place}.file`, PATH),
    filename: part.filename && rendered(part.filename, scope, `${place}.filename`, LINE),
    type: part.type && rendered(part.type, scope, `${place}.type`, MEDIA_TYPE),
  };
}

/** What a rendered value must be, so that it cannot become more than a value. */
type Rule = { fits: (text: string) => boolean; says: string };
const matching = (pattern: RegExp, says: string): Rule => ({ fits: (text) => pattern.test(text), says });

const LINE = matching(/^[^\r\n\0]*$/, 'must be one line');
const HEADER = matching(/^[\t\x20-\x7e\x80-\xff]*$/, 'must be one line of Latin-1 characters');
const TOKEN = matching(/^[\x21-\x7e]+$/, 'must be a token without spaces');
const KEY = matching(/^[\x20-\x7e]{1,200}$/, 'must be one line of at most 200 ASCII characters');
const MEDIA_TYPE = matching(/^[\x20-\x7e]{1,200}$/, 'must be a media type, such as text/csv');
const USERNAME = matching(/^[^\r\n\0:]*$/, 'must be one line without ":"');
const PATH = matching(/^\/[^\0]*$/, 'must be an absolute path');
const PATH_OR_PEM = matching(/^(\/[^\0\n]*|\s*-----BEGIN [^\0]*)$/, 'must be an absolute path or PEM text');
const USER = matching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\$?$/, 'must be the name of a user');
const ARGUMENT: Rule = {
  fits: (text) => !text.includes('\0') && new TextEncoder().encode(text).length < ARGUMENT_BYTES - 300,
  says: 'must not contain NUL, and have less than 128 KiB; use `stdin` or a file for more',
};
const ADDRESS: Rule = {
  fits: (text) => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    if (/[\x00-\x20]/.test(text)) return false;
    const url = URL.parse(text);
    return url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '';
  },
  says: 'must be a URL with http:// or https://, without user name, password or spaces; `| url` encodes a part of it',
};

/** A text with its templates rendered, if it then is what it has to be. The value is not told: it may be a secret. */
function rendered(text: string, scope: Scope, place: string, rule: Rule): string {
  if (!text.includes('{{')) return text;
  return fitting(renderText(text, scope), place, rule);
}

function fitting(text: string, place: string, { fits, says }: Rule): string {
  if (!fits(text)) throw new TemplateError(`${place}: what the templates give does not fit; it ${says}`);
  return text;
}

/** The secrets that a job's steps name, each once. */
export function secretNamesOf({ steps }: Pick<JobDefinition, 'steps'>): string[] {
  return namesIn(steps, () => true);
}

/** Those of them that must be there: the others have a default. */
export function requiredSecretsOf({ steps }: Pick<JobDefinition, 'steps'>): string[] {
  return namesIn(steps, ({ filters }) => !filters.some(({ name }) => name === 'default'));
}

function namesIn(steps: JobDefinition['steps'], counts: (template: Template) => boolean): string[] {
  const names = new Set<string>();
  for (const { action } of steps) {
    for (const template of templatesIn(action)) {
      const name = counts(template) ? secretOf(template) : null;
      if (name !== null) names.add(name);
    }
  }
  return [...names].sort();
}

/** The templates in the texts of an action; a text that is broken has none. */
function* templatesIn(action: Action): Generator<Template> {
  const fields = Object.entries(action).filter(([name]) => !name.startsWith('expect'));
  for (const text of textsOf(Object.fromEntries(fields))) {
    try {
      for (const piece of parseTemplates(text)) if (typeof piece !== 'string') yield piece;
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
    }
  }
}

function* textsOf(value: unknown): Generator<string> {
  if (typeof value === 'string') {
    if (value.includes('{{')) yield value;
  } else if (value !== null && typeof value === 'object') {
    for (const field of Object.values(value)) yield* textsOf(field);
  }
}
