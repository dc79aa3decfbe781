// Starts /bin/true as fast as child_process.spawn can, from a process that does nothing else, and prints starts per second:
// node bench/bareStarts.ts <at one time> <milliseconds> <bytes that the process holds>
import { spawn } from 'node:child_process';
import { holdMemory } from './holdMemory.ts';

const [atOneTime = 1, forMs = 1_000, bytes = 0] = process.argv.slice(2).map(Number);
const held = holdMemory(bytes);
let started = 0;
const begin = performance.now();

function next(): void {
  if (performance.now() - begin > forMs) return;
  started += 1;
  spawn('/bin/true', { stdio: 'ignore', env: {} }).once('exit', next);
}

for (let slot = 0; slot < atOneTime; slot++) next();
process.once('exit', () => {
  if (held.length === 0 && bytes > 0) throw new Error('the memory was not held');
  console.log((started / (performance.now() - begin)) * 1_000);
});
