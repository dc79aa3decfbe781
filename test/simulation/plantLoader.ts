import { registerHooks } from 'node:module';
import { PLANTS } from './plants.ts';

/** Loaded before all else in a child process: replaces texts of the source by those of one plant, as modules are read. */
const plant = PLANTS.find(({ name }) => name === process.env.PLANT);
if (!plant) throw new Error(`there is no plant ${process.env.PLANT}`);

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const edits = plant.edits.filter(({ file }) => url.endsWith(`/${file}`));
    if (edits.length === 0) return loaded;
    let source = String(loaded.source);
    for (const { find, replace } of edits) source = source.replace(find, () => replace);
    return { ...loaded, source };
  },
});
