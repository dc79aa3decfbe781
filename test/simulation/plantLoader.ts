import { registerHooks, stripTypeScriptTypes } from 'node:module';
import { PLANTS } from './plants.ts';

/**
 * Plants bugs in one process: a module that is imported as `…?plant=3` has its texts replaced by those of the third plant, and
 * so has whatever it imports of the project. Modules from which no edited one can be reached stay those of the process, which are
 * compiled once and warm; they must have been imported without a mark before.
 */
const OWN = new URL('../../', import.meta.url).href;
const FOREIGN = '/node_modules/';
const MARK = '?plant=';
/** Who imports a module of the project, by its URL. */
const importers = new Map<string, Set<string>>();
/** The modules that each plant has of its own. */
const planted = new Map<string, Set<string>>();
/** Without their types, so that a graph comes up soon. */
const sources = new Map<string, string>();

/** The edited modules, and all from which one of them can be reached. */
function modulesOf(plant: string): Set<string> {
  let found = planted.get(plant);
  if (found) return found;
  found = new Set(PLANTS[Number(plant)]?.edits.map(({ file }) => `${OWN}${file}`));
  for (const module of found) for (const importer of importers.get(module) ?? []) found.add(importer);
  planted.set(plant, found);
  return found;
}

registerHooks({
  resolve(specifier, context, nextResolve) {
    const resolved = nextResolve(specifier, context);
    const { url } = resolved;
    if (!url.startsWith(OWN) || url.includes(FOREIGN) || url.includes(MARK)) return resolved;
    const [parent = '', plant] = context.parentURL?.split(MARK) ?? [];
    if (plant !== undefined)
      return modulesOf(plant).has(url) ? { ...resolved, url: `${url}${MARK}${plant}` } : resolved;
    const known = importers.get(url);
    if (known) known.add(parent);
    else importers.set(url, new Set([parent]));
    return resolved;
  },
  load(url, context, nextLoad) {
    const [module, index] = url.split(MARK);
    if (module === undefined || index === undefined) return nextLoad(url, context);
    const edits = PLANTS[Number(index)]?.edits.filter(({ file }) => module === `${OWN}${file}`) ?? [];
    const known = sources.get(module);
    if (known !== undefined && edits.length === 0)
      return { format: 'module', source: known, shortCircuit: true };
    let text = String(nextLoad(module, { ...context, format: 'module-typescript' }).source);
    for (const { find, replace } of edits) text = text.replace(find, () => replace);
    const source = stripTypeScriptTypes(text);
    if (edits.length === 0) sources.set(module, source);
    return { format: 'module', source, shortCircuit: true };
  },
});
