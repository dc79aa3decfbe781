/** Texts that are kept, and of those the ones that the database keeps prepared on each connection. */
const TEXTS_KEPT = 2_000;
const NAMED_MAX = 300;
/** A text with a list of some length may never come again; one that came so often will. */
const USES_BEFORE_NAMED = 5;

/** Puts `$1`, `$2`, … in place of each `?` that is not in quotes. */
export function numbered(text: string): string {
  let count = 0;
  return text.replace(/'[^']*'|"[^"]*"|\?/g, (found) => {
    if (found !== '?') return found;
    count += 1;
    return `$${count}`;
  });
}

/** Turns statements' texts into PostgreSQL's, each once; with `named`, those in steady use get a name, so that they are parsed once. */
export function createTexts({ named }: { named: boolean }) {
  const texts = new Map<string, { text: string; name: string | null; uses: number }>();
  let names = 0;
  return (text: string): { text: string; name?: string } => {
    let known = texts.get(text);
    if (known === undefined) {
      if (texts.size >= TEXTS_KEPT) {
        for (const [old, { name }] of texts) if (name === null) texts.delete(old);
      }
      known = { text: numbered(text), name: null, uses: 0 };
      texts.set(text, known);
    }
    known.uses += 1;
    if (named && known.name === null && known.uses > USES_BEFORE_NAMED && names < NAMED_MAX) {
      names += 1;
      known.name = `rota${names}`;
    }
    return known.name === null ? { text: known.text } : { text: known.text, name: known.name };
  };
}
