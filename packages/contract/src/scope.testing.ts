import type { Scope } from './scope.ts';

/** Something of everything that a template can name. */
export const SCOPE: Scope = {
  secrets: { TOKEN: 's3cret/+ "x"', BASE_URL: 'https://api.example.com', run_id: 'lower' },
  run: { id: 'r1', number: 2, scheduledFor: '2026-03-01T12:00:00.000Z', kind: 'scheduled' },
  job: { name: 'report' },
  agent: { name: 'db-1', labels: { role: 'db', 'rota/zone': 'eu' } },
  params: { mode: 'full & fast', days: 7, dry: false, braces: '{{ TOKEN }}' },
  steps: {
    fetch: {
      state: 'succeeded',
      status: 200,
      headers: { etag: '"7"', 'x-request-id': 'abc' },
      json: { items: [{ id: 1, 'a b': 'x' }, { id: 2 }], none: null, ok: true },
      exitCode: null,
      output: 'two\nlines',
      durationMs: 1_250,
      result: { rows: 3 },
      summary: null,
      tries: 1,
    },
    'clean-up': {
      state: 'skipped',
      status: null,
      headers: {},
      json: undefined,
      exitCode: null,
      output: '',
      durationMs: null,
      result: undefined,
      summary: null,
      tries: 0,
    },
  },
};
