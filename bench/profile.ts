import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { shown, table } from './figures.ts';

/** What V8's profiler gives. */
export interface CpuProfile {
  nodes: {
    id: number;
    callFrame: { functionName: string; url: string; lineNumber: number };
    children?: number[];
  }[];
  samples: number[];
  timeDeltas: number[];
}

const ROOT = path.resolve(import.meta.dirname, '..');
const FOLDERS = 8;
const FUNCTIONS = 10;

/** Where a process's main thread was: the parts of its time by folder and by function, the largest first. */
export function describeProfile({ nodes, samples, timeDeltas }: CpuProfile): string {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  const byFolder = new Map<string, number>();
  const byFunction = new Map<string, number>();
  let all = 0;
  let idle = 0;
  const add = (to: Map<string, number>, name: string, us: number) => to.set(name, (to.get(name) ?? 0) + us);
  for (const [index, id] of samples.entries()) {
    const us = timeDeltas[index] as number;
    const { functionName, url, lineNumber } = (byId.get(id) as CpuProfile['nodes'][number]).callFrame;
    all += us;
    if (functionName === '(idle)') {
      idle += us;
      continue;
    }
    if (url === '' && functionName.startsWith('(')) {
      add(byFolder, functionName, us);
      add(byFunction, functionName, us);
      continue;
    }
    const place = placeOf(frameUrl(callerOf(id, (url) => url === '')));
    // What Node does itself counts for the folder that has asked for it.
    const folder = folderOf(placeOf(frameUrl(callerOf(id, (url) => url === '' || url.startsWith('node:')))));
    add(byFolder, folder, us);
    const where = url === '' ? 'native, called there' : String(lineNumber + 1);
    const asked = place.startsWith('node') ? ` for ${folder}` : '';
    add(byFunction, `\`${functionName || '(anonymous)'}\` ${place} (${where})${asked}`, us);
  }
  function frameUrl(id: number): string {
    return byId.get(id)?.callFrame.url ?? '';
  }
  /** The nearest that is not passed over. */
  function callerOf(id: number, isPassed: (url: string) => boolean): number {
    let caller = id;
    while (isPassed(frameUrl(caller)) && parents.has(caller)) caller = parents.get(caller) as number;
    return caller;
  }
  const largest = (of: Map<string, number>, count: number) =>
    [...of].toSorted(([, one], [, other]) => other - one).slice(0, count);
  const share = (us: number) => `${shown((us / all) * 100)} %`;
  return [
    `${shown(all / 1_000)} ms in all, ${share(idle)} of them with nothing to do.`,
    '',
    table(
      ['folder', 'of the time'],
      largest(byFolder, FOLDERS).map(([name, us]) => [name, share(us)]),
    ),
    '',
    table(
      ['function', 'of the time'],
      largest(byFunction, FUNCTIONS).map(([name, us]) => [name, share(us)]),
    ),
  ].join('\n');
}

/** A file as the reader knows it: in this repository, in a package, or of Node itself. */
function placeOf(url: string): string {
  if (!url.startsWith('file:')) return url || 'node';
  const file = path.relative(ROOT, fileURLToPath(url));
  return file.replace(/^.*node_modules\//, '');
}

function folderOf(place: string): string {
  if (place.startsWith('node')) return 'Node itself';
  if (place.startsWith('packages/')) return path.dirname(place);
  return place.split('/', place.startsWith('@') ? 2 : 1).join('/');
}
