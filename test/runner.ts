import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

/**
 * Everything that must hold before a change lands: lint with its zones, types, and all tests.
 * `npm test -- PATH…` runs only the test files whose path has one of these texts in it.
 * Ends with the plain line `N passed, N failed`; each gate counts as one test.
 */
const root = path.resolve(import.meta.dirname, '..');
const wanted = process.argv.slice(2);
let passed = 0;
let failed = 0;

function gate(name: string, packageName: string, binary: string, args: string[]): void {
  const require = createRequire(path.join(root, 'package.json'));
  const script = path.join(path.dirname(require.resolve(`${packageName}/package.json`)), binary);
  const { status } = spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' });
  console.log(`${status === 0 ? '✔' : '✖'} ${name}`);
  if (status === 0) passed += 1;
  else failed += 1;
}

if (wanted.length === 0) {
  gate('lint and format', '@biomejs/biome', 'bin/biome', ['check', '--error-on-warnings', '.']);
  gate('types', 'typescript', 'bin/tsc', ['--noEmit']);
}

const files = globSync(['packages/*/src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: root })
  .filter((file) => wanted.length === 0 || wanted.some((text) => file.includes(text)))
  .sort()
  .map((file) => path.join(root, file));

/** A file that takes longer hangs: it fails instead of the whole run. */
const FILE_TIMEOUT_MS = 900_000;

const tests = run({
  files,
  timeout: FILE_TIMEOUT_MS,
  cwd: root,
  concurrency: Math.max(2, availableParallelism()),
  execArgv: ['--disable-warning=ExperimentalWarning'],
});
// A file is reported as a test of its own when it holds none or when its process fails; suites are not tests.
tests.on('test:pass', (event) => {
  if (event.details.type !== 'suite' && !event.skip && !event.todo) passed += 1;
});
tests.on('test:fail', (event) => {
  if (event.details.type !== 'suite') failed += 1;
});
const report = tests.compose(spec);
report.pipe(process.stdout, { end: false });
report.on('end', () => {
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
  console.log(`\n${passed} passed, ${failed} failed`);
});
