import { nearest, shown } from './faults.ts';
import { type Scope, Withheld, withheldIn } from './scope.ts';

/**
 * `{{ path | filter | filter: "argument" }}` in a text. `{{ "{{" }}` stands for two plain braces. A value that is put in is not
 * looked at again, whatever it holds.
 */

/** A template that is none, that cannot be rendered, or whose value does not fit its place. */
export class TemplateError extends Error {}

type Scalar = string | number | boolean | null;

export interface Template {
  /** As written, with its braces. */
  source: string;
  /** Where the value is to be found; or the value itself. */
  operand: { path: (string | number)[] } | { literal: string };
  filters: { name: string; argument: Scalar | undefined }[];
}

const SPACE = /\s*/y;
const FIRST = /[A-Za-z_]\w*/y;
const NAME = /\.([\p{L}_][\p{L}\p{N}_-]*)/uy;
const INDEX = /\[(0|-?[1-9]\d{0,8})\]/y;
const QUOTED = /\[("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\]/y;
const STRING = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/y;
const SCALAR = /-?\d+(?:\.\d+)?|true|false|null/y;
const FILTER = /\|\s*([A-Za-z]\w*)/y;
const COLON = /\s*:\s*/y;
const END = /\}\}/y;

/** The plain texts and templates of a text, in their order. @throws TemplateError */
export function parseTemplates(text: string): (string | Template)[] {
  const pieces: (string | Template)[] = [];
  let from = 0;
  for (let at = text.indexOf('{{'); at >= 0; at = text.indexOf('{{', from)) {
    if (at > from) pieces.push(text.slice(from, at));
    const template = parseTemplate(text, at);
    pieces.push(template);
    from = at + template.source.length;
  }
  if (from < text.length) pieces.push(text.slice(from));
  return pieces;
}

/** A text that renders as this one: its braces are no templates. */
export function plainBraces(text: string): string {
  return text.replaceAll('{{', '{{ "{{" }}');
}

function parseTemplate(text: string, start: number): Template {
  let at = start + 2;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  const broken = (wanted: string) =>
    new TemplateError(
      `${shown(/^[^}]{0,40}(}})?/.exec(text.slice(start))?.[0])} is no template: ${wanted} is missing after ${at - start} characters; for plain braces write {{ "{{" }}`,
    );
  const string = (): string | undefined => {
    const found = take(STRING)?.[0];
    return found === undefined ? undefined : unquoted(found);
  };
  take(SPACE);
  const literal = string();
  let operand: Template['operand'];
  if (literal !== undefined) operand = { literal };
  else {
    const first = take(FIRST);
    if (!first) throw broken('a name');
    const path: (string | number)[] = [first[0]];
    for (;;) {
      const name = take(NAME)?.[1];
      const index = name === undefined ? take(INDEX)?.[1] : undefined;
      const quoted = name === undefined && index === undefined ? take(QUOTED)?.[1] : undefined;
      const step = name ?? (index === undefined ? undefined : Number(index)) ?? (quoted && unquoted(quoted));
      if (step === undefined) break;
      path.push(step);
    }
    operand = { path };
  }
  const filters: Template['filters'] = [];
  for (take(SPACE); !take(END); take(SPACE)) {
    const name = take(FILTER)?.[1];
    if (name === undefined) throw broken('}}');
    let argument: Scalar | undefined;
    if (take(COLON)) {
      argument = string();
      const scalar = argument === undefined ? take(SCALAR)?.[0] : undefined;
      if (scalar !== undefined) argument = JSON.parse(scalar) as Scalar;
      if (argument === undefined) throw broken('an argument');
    }
    filters.push({ name, argument });
  }
  return { source: text.slice(start, at), operand, filters };
}

function unquoted(text: string): string {
  const escapes: Record<string, string> = { n: '\n', t: '\t', r: '\r' };
  return text.slice(1, -1).replace(/\\(.)/gs, (_, letter: string) => escapes[letter] ?? letter);
}

export const TEMPLATE_ROOTS = ['secrets', 'run', 'job', 'agent', 'params', 'steps'] as const;

/** The name of the secret that a template names. */
export function secretOf({ operand }: Template): string | null {
  if (!('path' in operand)) return null;
  const [first, second] = operand.path as [string, ...unknown[]];
  if (first === 'secrets') return typeof second === 'string' ? second : null;
  return operand.path.length > 1 || (TEMPLATE_ROOTS as readonly string[]).includes(first) ? null : first;
}

type Filter = (value: unknown, template: Template, argument: Scalar | undefined) => unknown;

/** What a filter makes of a value; undefined is a place that is not there. */
const FILTERS: Record<string, Filter> = {
  url: (value, template) =>
    encodeURIComponent(textOf(value, template)).replace(
      /[!'()*]/g,
      (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
    ),
  json: (value) => JSON.stringify(value),
  shell: (value, template) => `'${textOf(value, template).replaceAll("'", `'\\''`)}'`,
  default: (value, _, argument) => value ?? argument,
};
export const FILTER_NAMES = Object.keys(FILTERS);

/** The value of a template, with its type. @throws TemplateError when its place is not there */
export function templateValue(template: Template, scope: Scope): unknown {
  const { operand, filters } = template;
  let value: unknown = 'literal' in operand ? operand.literal : placeOf(operand.path, scope);
  const why = withheldIn(value);
  if (why !== null) throw new TemplateError(`${template.source}: ${why}`);
  for (const { name, argument } of filters) {
    const filter = Object.hasOwn(FILTERS, name) ? FILTERS[name] : undefined;
    if (!filter)
      throw new TemplateError(`${template.source}: unknown filter ${name}${nearest(name, FILTER_NAMES)}`);
    if (value !== undefined || name === 'default') value = filter(value, template, argument);
  }
  if (value === undefined) throw new TemplateError(`${template.source}: there is no such thing`);
  return value;
}

function placeOf(path: (string | number)[], scope: Scope): unknown {
  const [first, , third] = path;
  const rooted = (TEMPLATE_ROOTS as readonly unknown[]).includes(first) ? path : ['secrets', ...path];
  let at: unknown = scope;
  rooted.forEach((step, index) => {
    const isHeader = first === 'steps' && third === 'headers' && index === 3 && typeof step === 'string';
    at = fieldOf(at, isHeader ? step.toLowerCase() : step);
  });
  return at;
}

function fieldOf(value: unknown, step: string | number): unknown {
  if (value instanceof Withheld) return value;
  if (Array.isArray(value)) return typeof step === 'number' ? value.at(step) : undefined;
  if (value === null || typeof value !== 'object' || !Object.hasOwn(value, step)) return undefined;
  return (value as Record<string | number, unknown>)[step];
}

/** The value of a template as text: JSON where it is none. @throws TemplateError */
export function textOf(value: unknown, template: Template): string {
  if (typeof value === 'string') return value;
  if (value === null)
    throw new TemplateError(`${template.source}: has no value; \`| default: "…"\` gives it one`);
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** A text with its templates rendered. @throws TemplateError */
export function renderText(text: string, scope: Scope): string {
  if (!text.includes('{{')) return text;
  return parseTemplates(text)
    .map((piece) => (typeof piece === 'string' ? piece : textOf(templateValue(piece, scope), piece)))
    .join('');
}

/** JSON with the templates in its strings rendered; a string that is one template becomes its value. @throws TemplateError */
export function renderJson(value: unknown, scope: Scope): unknown {
  if (typeof value === 'string') {
    if (!value.includes('{{')) return value;
    const [piece, more] = parseTemplates(value);
    return typeof piece === 'object' && more === undefined
      ? templateValue(piece, scope)
      : renderText(value, scope);
  }
  if (Array.isArray(value)) return value.map((each) => renderJson(each, scope));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, renderJson(field, scope)]));
}
