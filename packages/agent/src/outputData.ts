import type { Masker } from './masking.ts';

/** What a command says of itself by whole lines of its standard output; they stay in its output. */
export interface OutputData {
  write(data: Buffer): void;
  /** Nothing more comes: a last line without its end counts, too. */
  end(masker: Masker): ReportedData;
}

export interface ReportedData {
  /** JSON text. */
  result: string | null;
  summary: string | null;
  /** Why it has failed, as it says itself, whatever its exit status. */
  failure: string | null;
  /** What of it could not be taken, for people. */
  notes: string[];
}

/** As in LIMITS of the contract. */
export const RESULT_BYTES = 64 * 1024;
export const SUMMARY_LENGTH = 1_000;
/** A longer line says nothing. */
const LINE_BYTES = RESULT_BYTES + 1_024;
/** How Cronicle's plugins say that something went well, but for a warning. */
const WARNING_CODE = 255;

const RESULT = 'rota:result ';
const SUMMARY = 'rota:summary ';
const PROGRESS = 'rota:progress ';
/** `40%` alone on a line. */
const PERCENT = /^\d{1,3}(?:\.\d{1,6})?%$/;
const PERCENT_BYTES = 16;
/** `0.4`: a share. */
const SHARE = /^(?:0?\.\d{1,9}|0|1(?:\.0{1,9})?)$/;

/** `onProgress` hears how far it is, in whole percent, as often as it says so. */
export function createOutputData(onProgress: (percent: number) => void): OutputData {
  let parts: Buffer[] = [];
  let bytes = 0;
  let result: unknown;
  let summary: string | null = null;
  let failure: string | null = null;
  const notes = new Set<string>();

  function take(data: Buffer): void {
    if (bytes <= LINE_BYTES) parts.push(data);
    bytes += data.length;
  }

  function endLine(): void {
    if (bytes > LINE_BYTES) {
      if (beginsWith(RESULT)) notes.add(`the line of its result is longer than ${RESULT_BYTES} bytes`);
    } else if (beginsWith('rota:') || beginsWith('{') || isShortWithPercent())
      read(Buffer.concat(parts).toString().trim());
    parts = [];
    bytes = 0;
  }

  /** Most lines say nothing, and are not even put together. */
  function beginsWith(text: string): boolean {
    const [first] = parts;
    const start = first && first.length < text.length ? Buffer.concat(parts) : first;
    return start?.toString('latin1', 0, text.length) === text;
  }

  function isShortWithPercent(): boolean {
    return bytes <= PERCENT_BYTES && parts.some((part) => part.includes('%'));
  }

  function read(line: string): void {
    if (line.startsWith(PROGRESS)) progress(readProgress(line.slice(PROGRESS.length).trim()));
    else if (line.startsWith(SUMMARY)) summary = line.slice(SUMMARY.length).trim();
    else if (line.startsWith(RESULT)) {
      const json = readJson(line.slice(RESULT.length));
      if (json === undefined) notes.add('its result is no JSON');
      else result = json;
    } else if (line.startsWith('{')) readPlugin(line);
    else if (PERCENT.test(line)) progress(readProgress(line));
  }

  /** What is no number from 0 to 100 says nothing. */
  function progress(percent: number): void {
    // What a share lacks by the rounding of computers is no percent.
    if (percent >= 0 && percent <= 100) onProgress(Math.floor(percent + 1e-6));
  }

  /** A line of JSON as Cronicle's plugins write it. */
  function readPlugin(line: string): void {
    const isProgress = line.includes('"progress"');
    if (!isProgress && !line.includes('"complete"')) return;
    const said = readJson(line);
    const share = (said as { progress?: unknown } | undefined)?.progress;
    if (isProgress && typeof share === 'number') progress(share * 100);
    complete(said);
  }

  /** As Cronicle's plugins end: `{"complete": 1, "code": 0, "description": "…"}`. */
  function complete(said: unknown): void {
    const { complete, code = 0, description } = (said ?? {}) as Record<string, unknown>;
    if (!complete || (typeof code !== 'number' && typeof code !== 'string')) return;
    const text = typeof description === 'string' && description !== '' ? description : null;
    const isFailed = Number(code) !== 0 && Number(code) !== WARNING_CODE;
    failure = isFailed ? (text ?? `it reported the code ${code}`) : null;
    if (!isFailed) summary = text ?? summary;
  }

  return {
    write(data) {
      let from = 0;
      for (let end = data.indexOf(10); end !== -1; end = data.indexOf(10, from)) {
        take(data.subarray(from, end));
        endLine();
        from = end + 1;
      }
      if (from < data.length) take(data.subarray(from));
    },
    end(masker) {
      if (bytes > 0) endLine();
      let text: string | null = null;
      try {
        if (result !== undefined) text = JSON.stringify(masked(result, masker));
      } catch {
        notes.add('its result is nested too deeply');
      }
      if (text !== null && Buffer.byteLength(text) > RESULT_BYTES) {
        notes.add(`its result has more than ${RESULT_BYTES} bytes`);
        text = null;
      }
      const said = summary === null ? null : masker.text(summary);
      if (said !== null && said.length > SUMMARY_LENGTH)
        notes.add(`its summary was cut after ${SUMMARY_LENGTH} characters`);
      return {
        result: text,
        summary: said?.slice(0, SUMMARY_LENGTH) ?? null,
        failure,
        notes: [...notes],
      };
    },
  };
}

/** In percent; NaN when it is neither `40%` nor a share such as `0.4`. */
function readProgress(text: string): number {
  if (PERCENT.test(text)) return Number(text.slice(0, -1));
  return SHARE.test(text) ? Number(text) * 100 : Number.NaN;
}

/** Undefined when the text is no JSON. */
function readJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Texts are masked where they stand, so that it stays JSON. */
function masked(value: unknown, masker: Masker): unknown {
  if (typeof value === 'string') return masker.text(value);
  if (Array.isArray(value)) return value.map((each) => masked(each, masker));
  if (value !== null && typeof value === 'object')
    return Object.fromEntries(
      Object.entries(value).map(([name, each]) => [masker.text(name), masked(each, masker)]),
    );
  const text = String(value);
  const shown = masker.text(text);
  return shown === text ? value : shown;
}
