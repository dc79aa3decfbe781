import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiError, type JobView } from '@rota/contract';
import type { Command } from 'commander';
import { parseDocument, stringify } from 'yaml';
import { type Cli, type ServerOptions, talks } from '../cli.ts';
import { CliError, EXIT, explain } from '../errors.ts';
import { oneLine } from '../output.ts';
import { nextText } from '../views.ts';

export function addJobEditCommand(job: Command, cli: Cli): void {
  talks(job.command('edit'))
    .description("change a job's document in $EDITOR")
    .argument('<name>')
    .action(async (name: string, options: ServerOptions) => {
      const output = cli.output(options);
      const client = cli.connect(options);
      const before = await client.call('getJob', { params: { name } });
      const folder = mkdtempSync(join(tmpdir(), 'rota-edit-'));
      const file = join(folder, `${name}.yaml`);
      const save = (document: unknown) =>
        client.call('putJob', { params: { name }, query: { revision: before.revision }, body: document });
      let keep = false;
      try {
        const answer = await editUntilValid(file, before, cli, save).catch((error) => {
          keep = error instanceof NotSavedError;
          throw error;
        });
        if (answer === null) return output.note(`${name}: nothing changed`);
        if (output.json) return output.value(answer);
        output.line(`${name}: ${answer.change.action}; ${nextText(output, answer.job)}`);
      } finally {
        if (!keep) rmSync(folder, { recursive: true, force: true });
      }
    });
}

type Saved = { job: JobView; change: { action: string } };

/** Opens the editor again and again, the faults as comments on top, until the document is saved or left alone. */
async function editUntilValid(
  file: string,
  job: JobView,
  cli: Cli,
  save: (document: unknown) => Promise<Saved>,
): Promise<Saved | null> {
  const original = stringify(job.document);
  let text = `${header(job)}${original}`;
  let faults: string[] = [];
  for (;;) {
    writeFileSync(file, `${faults.map(commentOf).join('')}${text}`, { mode: 0o600 });
    await openEditor(file, cli);
    const edited = withoutFaults(readFileSync(file, 'utf8'));
    if (edited.trim() === '') return null;
    if (edited === text) {
      if (faults.length === 0) return null;
      throw new NotSavedError('the document still has faults', EXIT.conflict, file);
    }
    text = edited;
    const parsed = parseDocument(text);
    faults = parsed.errors.map(({ message }) => message.split('\n')[0] ?? 'not YAML');
    if (faults.length > 0) continue;
    try {
      return await save(parsed.toJS());
    } catch (error) {
      if (!(error instanceof ApiError) || error.problem.code !== 'document.invalid') {
        const { message, exitCode } = explain(error);
        throw new NotSavedError(message, exitCode, file);
      }
      faults = (error.problem.faults ?? []).map(({ path, message }) =>
        path === '' ? message : `${path}: ${message}`,
      );
      if (faults.length === 0) faults = [error.message];
    }
  }
}

/** Nothing was saved, and what the person wrote must not be lost. */
class NotSavedError extends CliError {
  constructor(message: string, exitCode: number, file: string) {
    super(`${message}; nothing was saved, your text is in ${file}`, { exitCode });
  }
}

const FAULT = '# FAULT ';

function commentOf(fault: string): string {
  return `${FAULT}${oneLine(fault)}\n`;
}

function withoutFaults(text: string): string {
  return text
    .split('\n')
    .filter((line) => !line.startsWith(FAULT))
    .join('\n');
}

function header(job: JobView): string {
  return `# Job ${job.name}, revision ${job.revision}. Save to change it; leave it as it is to change nothing.\n`;
}

/** The editor is a shell text (it may have arguments), as git and crontab take it. */
async function openEditor(file: string, { ports }: Cli): Promise<void> {
  const editor = ports.env.VISUAL || ports.env.EDITOR || 'vi';
  const child = spawn('sh', ['-c', `${editor} "$1"`, 'sh', file], { stdio: 'inherit', env: ports.env });
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.on('error', reject).on('exit', (...ended) => resolve(ended));
  });
  if (code !== 0)
    throw new CliError(
      `the editor (${editor}) ended with ${signal ?? `exit code ${code}`}; nothing was saved`,
    );
}
