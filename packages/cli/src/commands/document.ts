import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { ApiError, type ApplyChange, type Problem } from '@rota/contract';
import type { Command } from 'commander';
import { isCollection, isNode, LineCounter, parseDocument, stringify } from 'yaml';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { EXIT, usageError, whyUnreadable } from '../errors.ts';
import { type Output, oneLine, printable } from '../output.ts';

export function addDocumentCommands(program: Command, cli: Cli): void {
  addApply(program, cli);
  addDiff(program, cli);
  addExport(program, cli);
}

interface ApplyOptions extends ServerOptions {
  file: string;
  dryRun?: boolean;
  prune?: boolean;
  paused?: boolean;
}

function addApply(program: Command, cli: Cli): void {
  talks(program.command('apply'))
    .description('make the jobs of a document: all of it or nothing')
    .requiredOption('-f, --file <file>', 'YAML or JSON; - reads the input')
    .option('--dry-run', 'only say what would change')
    .option('--prune', "delete jobs that the document's owner applied before and no longer lists")
    .option('--paused', 'jobs that are new start paused')
    .action(async (options: ApplyOptions) => {
      const output = cli.output(options);
      const answer = await applyFile(cli, options, options.dryRun === true);
      if (output.json) return output.value(answer);
      showChanges(output, answer.changes);
      output.note(summary(answer.changes) + (answer.dryRun ? ' (dry run: nothing was saved)' : ''));
    });
}

interface DiffOptions extends ServerOptions {
  file: string;
  prune?: boolean;
  exitCode?: boolean;
}

function addDiff(program: Command, cli: Cli): void {
  talks(program.command('diff'))
    .description('what applying a document would change')
    .requiredOption('-f, --file <file>', 'YAML or JSON; - reads the input')
    .option('--prune', "count jobs that the document's owner no longer lists as deleted")
    .option('--exit-code', 'end with 1 when there is a difference')
    .action(async (options: DiffOptions) => {
      const output = cli.output(options);
      const answer = await applyFile(cli, options, true);
      const changes = answer.changes.filter(({ action }) => action !== 'unchanged');
      if (options.exitCode && changes.length > 0) cli.exitCode = EXIT.failure;
      if (output.json) return output.value(answer);
      showChanges(output, changes);
      if (changes.length === 0) output.note('No difference.');
    });
}

async function applyFile(cli: Cli, options: Omit<ApplyOptions, 'dryRun'>, dryRun: boolean) {
  const document = await readText(options.file, cli);
  const client = cli.connect(options);
  const { prune, paused } = options;
  const body = { document, dryRun, ...(prune && { prune }), ...(paused && { paused }) };
  return client.call('apply', { body }).catch((error) => {
    throw error instanceof ApiError ? withLines(error, document, options.file) : error;
  });
}

async function readText(file: string, { ports }: Cli): Promise<string> {
  if (file === '-') return ports.stdin.text();
  try {
    return readFileSync(resolve(ports.cwd, file), 'utf8');
  } catch (error) {
    throw usageError(`cannot read ${file}: ${whyUnreadable(error)}`, 'rota init   writes a sample');
  }
}

/** The same problem, each fault behind the place in the file that it is about: `jobs.yaml:12: jobs[0].name: …`. */
function withLines(error: ApiError, text: string, file: string): ApiError {
  const { faults } = error.problem;
  if (faults === undefined) return error;
  const name = file === '-' ? 'line ' : `${file}:`;
  const lineOf = lineFinder(text);
  const placed: Problem['faults'] = faults.map((fault) => {
    const line = lineOf(fault.path);
    return line === null ? fault : { ...fault, path: `${name}${line}: ${fault.path}` };
  });
  return new ApiError({ ...error.problem, faults: placed });
}

/** Finds the line of a path such as `jobs[2].schedule.cron`; the nearest part that is there counts. */
export function lineFinder(text: string): (path: string) => number | null {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  return (path) => {
    if (path === '') return null;
    let node: unknown = document.contents;
    let offset: number | null = null;
    for (const [, key, index] of path.matchAll(/([^.[\]]+)|\[(\d+)\]/g)) {
      if (!isCollection(node)) break;
      const step = index === undefined ? (key as string) : Number(index);
      const pair = node.items.find((item) => keyOf(item) === step);
      const next = node.get(step, true);
      const at = pair === undefined ? next : (pair as { key: unknown }).key;
      if (!isNode(at) || !at.range) break;
      offset = at.range[0];
      node = next;
    }
    return offset === null ? null : lines.linePos(offset).line;
  };
}

function keyOf(item: unknown): unknown {
  const key = (item as { key?: unknown } | null)?.key;
  return isNode(key) ? (key as { value?: unknown }).value : undefined;
}

const MARKS = { created: '+', updated: '~', unchanged: '=', deleted: '-' } as const;
const STYLES = { created: 'green', updated: 'yellow', unchanged: 'dim', deleted: 'red' } as const;

function showChanges(output: Output, changes: readonly ApplyChange[]): void {
  for (const { name, action, fields } of changes) {
    output.line(output.style(STYLES[action], `${MARKS[action]} ${name} ${action}`));
    for (const { path, before, after } of fields) {
      output.line(`    ${path}: ${valueText(before)} → ${valueText(after)}`);
    }
  }
}

function valueText(value: unknown): string {
  return value === undefined || value === null ? '(none)' : oneLine(JSON.stringify(value), 200);
}

function summary(changes: readonly ApplyChange[]): string {
  const count = (action: ApplyChange['action']) =>
    changes.filter((change) => change.action === action).length;
  return (
    (['created', 'updated', 'unchanged', 'deleted'] as const)
      .map((action) => ({ action, n: count(action) }))
      .filter(({ n }) => n > 0)
      .map(({ action, n }) => `${n} ${action}`)
      .join(', ') || 'The document lists no jobs.'
  );
}

interface ExportOptions extends ServerOptions {
  owner?: string;
  label?: string;
}

function addExport(program: Command, cli: Cli): void {
  talks(program.command('export'))
    .description('all jobs as one document that `rota apply` takes')
    .option('--owner <text>', 'only jobs of that owner')
    .option('-l, --label <key[=value]>', 'only jobs with that label')
    .action(async (options: ExportOptions) => {
      const output = cli.output(options);
      const { owner, label } = options;
      const query = { ...(owner !== undefined && { owner }), ...(label !== undefined && { label }) };
      const document = await cli.connect(options).call('export', { query });
      if (output.json) return output.value(document);
      cli.ports.out.write(printable(stringify(document)));
    });
}
