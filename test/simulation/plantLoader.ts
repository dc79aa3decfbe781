import { registerHooks, stripTypeScriptTypes } from 'node:module';
import { PLANTS } from './plants.ts';

/**
 * Gives each planted bug a graph of modules of its own in one process: a module that is imported as `…?plant=3` has its texts
 * replaced by those of the third plant, and so has whatever it imports of the project.
 */
const OWN = new URL('../../', import.meta.url).href;
const FOREIGN = '/node_modules/';
const MARK = '?plant=';
/** Without their types, so that a graph comes up soon. */
const sources = new Map<string, string>();

registerHooks({
  resolve(specifier, context, nextResolve) {
    const resolved = nextResolve(specifier, context);
    const mark = context.parentURL?.lastIndexOf(MARK) ?? -1;
    const { url } = resolved;
    if (mark === -1 || !url.startsWith(OWN) || url.includes(FOREIGN) || url.includes(MARK)) return resolved;
    return { ...resolved, url: `${url}${context.parentURL?.slice(mark)}` };
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
