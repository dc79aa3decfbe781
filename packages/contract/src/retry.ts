import { type Static, Type } from 'typebox';

/** Trying again: of a step within its attempt (tries), and of a run (attempts). */

const DurationText = Type.String({ maxLength: 40, description: 'A duration such as 90s, 15m, 1h30m or 2d.' });

export const RetryField = Type.Object(
  {
    times: Type.Integer({ minimum: 1, maximum: 100, description: 'Extra tries, 1 to 100.' }),
    delay: Type.Optional(DurationText),
    backoff: Type.Optional(Type.Number({ minimum: 1, maximum: 100 })),
    maxDelay: Type.Optional(DurationText),
    jitter: Type.Optional(DurationText),
    outcomes: Type.Optional(
      Type.Array(
        Type.String({
          pattern: '^(failed|timedOut|network|exit:[0-9]{1,3}|http:[1-5](xx|[0-9][0-9]))$',
          description: 'must be failed, timedOut, network, exit:75, http:503 or http:5xx',
        }),
        { minItems: 1, maxItems: 50 },
      ),
    ),
  },
  { additionalProperties: false },
);
export type RetryField = Static<typeof RetryField>;

export interface Retry {
  /** Extra tries. */
  times: number;
  /** Before the second try; each later one waits `backoff` times as long, up to `maxDelayMs`. */
  delayMs: number;
  backoff: number;
  maxDelayMs: number;
  /** Up to so much is added by chance. */
  jitterMs: number;
  /** What is tried again: `failed`, `timedOut`, `network`, `exit:75`, `http:503`, `http:5xx`. */
  outcomes: string[];
}

export const RETRY_DEFAULTS = {
  delayMs: 10_000,
  backoff: 2,
  maxDelayMs: 600_000,
  outcomes: ['failed', 'timedOut'],
} as const;
