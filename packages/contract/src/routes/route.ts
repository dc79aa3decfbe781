import { type TSchema, Type } from 'typebox';
import type { ErrorCode } from '../errors.ts';
import { LIMITS } from '../names.ts';
import type { Role } from '../roles.ts';

/** A route of the REST API: method, path, who may, what goes in and out, which errors. */
export interface Route {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With `:name` parameters, from the root. */
  path: string;
  summary: string;
  /** The least role; `open` needs no token. */
  permission: Role | 'open';
  params?: TSchema;
  query?: TSchema;
  body?: TSchema;
  /** Answer of a success; absent for streams and texts. */
  response?: TSchema;
  status: 200 | 201 | 202 | 204;
  /** What the answer is when it is not JSON. */
  produces?: 'text/event-stream' | 'text/plain' | 'application/json' | 'text/html';
  errors: readonly ErrorCode[];
}

/** Of an object that takes no other fields. */
export const strict = { additionalProperties: false } as const;
export const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** The query of a list, and its answer: pages by keyset. */
export const page = {
  cursor: Type.Optional(Type.String({ maxLength: 500, description: 'From the page before.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.pageMax, default: LIMITS.pageDefault })),
};
export const listOf = <T extends TSchema>(item: T) =>
  Type.Object({ items: Type.Array(item), nextCursor: Nullable(Type.String()) });
