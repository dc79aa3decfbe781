import { type Static, Type } from 'typebox';
import { LIMITS } from './names.ts';

/** The `http` step: its schema as people write it, and what agents get. `defineHttp.ts` leads from one to the other. */

const strict = { additionalProperties: false } as const;
const DurationText = Type.String({ maxLength: 40, description: 'A duration such as 90s, 15m, 1h30m or 2d.' });

export const HTTP_METHODS = [
  ...['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'QUERY'],
  ...['PURGE', 'PROPFIND', 'PROPPATCH', 'MKCOL', 'COPY', 'MOVE', 'LOCK', 'UNLOCK', 'REPORT', 'SEARCH'],
  ...['LINK', 'UNLINK', 'BIND', 'UNBIND', 'REBIND', 'ACL', 'MERGE', 'CHECKOUT', 'MKACTIVITY', 'MKCALENDAR'],
  ...['NOTIFY', 'SUBSCRIBE', 'UNSUBSCRIBE', 'M-SEARCH'],
] as const;

const Scalar = Type.Union([Type.String({ maxLength: LIMITS.headerLength }), Type.Number(), Type.Boolean()]);
const Fields = Type.Record(
  Type.String({ minLength: 1, maxLength: 200 }),
  Type.Union([...Scalar.anyOf, Type.Array(Scalar, { maxItems: LIMITS.headers })]),
  { maxProperties: LIMITS.headers },
);
const StatusText = Type.String({
  pattern: '^([1-5]xx|[1-5][0-9][0-9](-[1-5][0-9][0-9])?)$',
  description: 'must be 200, 2xx or 200-204',
});
const StatusNumber = Type.Integer({ minimum: 100, maximum: 599 });
const Path = Type.String({
  pattern: '^(/|\\{\\{)[^\\u0000]*$',
  maxLength: LIMITS.pathLength,
  description: 'must be an absolute path',
});
const PathOrPem = Type.String({
  pattern: '^((/|\\{\\{)[^\\u0000\\n]*|\\s*-----BEGIN [^\\u0000]*)$',
  maxLength: LIMITS.pemLength,
  description: 'must be an absolute path or PEM text',
});
const Pattern = Type.String({ minLength: 1, maxLength: LIMITS.patternLength });
const Patterns = Type.Union([Pattern, Type.Array(Pattern, { minItems: 1, maxItems: LIMITS.patterns })]);
const Credential = Type.String({
  maxLength: LIMITS.headerLength,
  pattern: '^[^\\r\\n\\u0000]*$',
  description: 'must be one line',
});

const FilePart = Type.Object(
  {
    file: Path,
    filename: Type.Optional(Credential),
    type: Type.Optional(
      Type.String({
        pattern: '^[\\x20-\\x7e]{1,200}$',
        description: 'must be a media type, such as text/csv',
      }),
    ),
  },
  strict,
);
const Part = Type.Union([
  Type.String({ maxLength: LIMITS.httpBodyLength }),
  Type.Number(),
  Type.Boolean(),
  FilePart,
]);
const Multipart = Type.Record(
  Type.String({ minLength: 1, maxLength: 200 }),
  Type.Union([...Part.anyOf, Type.Array(Part, { minItems: 1, maxItems: LIMITS.headers })]),
  { minProperties: 1, maxProperties: LIMITS.headers },
);

const JsonCondition = Type.Object(
  {
    equals: Type.Optional(Type.Unknown()),
    match: Type.Optional(Pattern),
    min: Type.Optional(Type.Number()),
    max: Type.Optional(Type.Number()),
    exists: Type.Optional(Type.Boolean()),
  },
  strict,
);
const Expect = Type.Object(
  {
    status: Type.Optional(
      Type.Union([
        StatusNumber,
        StatusText,
        Type.Array(Type.Union([StatusNumber, StatusText]), { minItems: 1, maxItems: 50 }),
      ]),
    ),
    match: Type.Optional(Patterns),
    noMatch: Type.Optional(Patterns),
    json: Type.Optional(
      Type.Record(
        Type.String({ minLength: 1, maxLength: LIMITS.patternLength }),
        Type.Union([
          Type.String({ maxLength: LIMITS.headerLength }),
          Type.Number(),
          Type.Boolean(),
          Type.Null(),
          JsonCondition,
        ]),
        { minProperties: 1, maxProperties: LIMITS.patterns },
      ),
    ),
  },
  strict,
);

export const HttpField = Type.Object(
  {
    method: Type.Optional(Type.Enum([...HTTP_METHODS])),
    url: Type.String({ minLength: 1, maxLength: LIMITS.urlLength }),
    headers: Type.Optional(
      Type.Record(
        Type.String({ pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}$" }),
        Type.String({
          maxLength: LIMITS.headerLength,
          pattern: '^[\\t\\x20-\\x7e\\x80-\\xff]*$',
          description: 'must be one line of Latin-1 characters',
        }),
        { additionalProperties: false, maxProperties: LIMITS.headers },
      ),
    ),
    query: Type.Optional(Fields),
    json: Type.Optional(Type.Unknown()),
    form: Type.Optional(Fields),
    multipart: Type.Optional(Multipart),
    body: Type.Optional(Type.String({ maxLength: LIMITS.httpBodyLength })),
    file: Type.Optional(Path),
    auth: Type.Optional(
      Type.Object(
        {
          basic: Type.Optional(Type.Object({ username: Credential, password: Credential }, strict)),
          bearer: Type.Optional(
            Type.String({
              maxLength: LIMITS.headerLength,
              pattern: '^([\\x21-\\x7e]+|[\\x20-\\x7e]*\\{\\{[\\x20-\\x7e]*)$',
              description: 'must be a token without spaces',
            }),
          ),
        },
        strict,
      ),
    ),
    timeout: Type.Optional(DurationText),
    connectTimeout: Type.Optional(DurationText),
    firstByteTimeout: Type.Optional(DurationText),
    redirects: Type.Optional(Type.Integer({ minimum: 0, maximum: 20 })),
    redirectTo: Type.Optional(Type.Enum(['any', 'sameOrigin'])),
    tls: Type.Optional(
      Type.Object(
        {
          ca: Type.Optional(PathOrPem),
          cert: Type.Optional(PathOrPem),
          key: Type.Optional(PathOrPem),
          passphrase: Type.Optional(Credential),
          insecure: Type.Optional(Type.Boolean()),
        },
        strict,
      ),
    ),
    proxy: Type.Optional(
      Type.Union([
        Type.String({ maxLength: LIMITS.urlLength }),
        Type.Boolean(),
        Type.Object(
          {
            url: Type.String({ maxLength: LIMITS.urlLength }),
            username: Type.Optional(Credential),
            password: Type.Optional(Credential),
          },
          strict,
        ),
      ]),
    ),
    compression: Type.Optional(Type.Boolean()),
    idempotencyKey: Type.Optional(
      Type.Union([
        Type.Boolean(),
        Type.String({
          pattern: `^[\\x20-\\x7e]{1,${LIMITS.idempotencyKeyLength}}$`,
          description: `must be one line of at most ${LIMITS.idempotencyKeyLength} ASCII characters`,
        }),
      ]),
    ),
    sampleBytes: Type.Optional(Type.Integer({ minimum: 0, maximum: LIMITS.httpSampleBytes })),
    expect: Type.Optional(Expect),
  },
  strict,
);
export type HttpField = Static<typeof HttpField>;

export type MultipartPart =
  | { name: string; value: string }
  /** A null name is the file's own; a null type is `application/octet-stream`. */
  | { name: string; file: string; filename: string | null; type: string | null };

/** What must hold at one place of a JSON answer; every field that is there. */
export type JsonExpectation = Static<typeof JsonCondition> & {
  /** A singular query of RFC 9535. */
  path: string;
};

export interface HttpAction {
  kind: 'http';
  method: (typeof HTTP_METHODS)[number];
  url: string;
  headers: Record<string, string>;
  query: Record<string, string | string[]>;
  body:
    | { type: 'none' }
    | { type: 'json'; json: unknown }
    | { type: 'form'; form: Record<string, string | string[]> }
    | { type: 'multipart'; parts: MultipartPart[] }
    | { type: 'raw'; text: string }
    /** A file on the agent's machine. */
    | { type: 'file'; path: string };
  auth: { username: string; password: string } | { bearer: string } | null;
  /** True: the attempt's id. */
  idempotencyKey: boolean | string;
  /** The whole request: its redirects, its answer and what is checked of it. */
  timeoutMs: number;
  /** Until a connection stands: name, TCP, proxy and TLS. */
  connectTimeoutMs: number | null;
  /** From then until the answer begins. */
  firstByteTimeoutMs: number | null;
  redirects: number;
  redirectTo: 'any' | 'sameOrigin';
  /** `ca`, `cert` and `key` are absolute paths on the agent's machine or PEM text. */
  tls: {
    ca: string | null;
    cert: string | null;
    key: string | null;
    passphrase: string | null;
    insecure: boolean;
  };
  /** Null: as the agent's own environment says; false: none. */
  proxy: { url: string; username: string | null; password: string | null } | false | null;
  compression: boolean;
  /** How much of the answer is kept as output. */
  sampleBytes: number;
  /** Each entry is `200`, `2xx` or `200-204`. */
  expectStatus: string[];
  /** Patterns that the answer must have, and must not have. */
  expectMatch: string[];
  expectNoMatch: string[];
  expectJson: JsonExpectation[];
}
