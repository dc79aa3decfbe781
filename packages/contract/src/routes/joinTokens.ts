import { type Static, Type } from 'typebox';
import { Labels } from '../labels.ts';
import { Instant } from '../run.ts';
import { listOf, Nullable, page, type Route, strict } from './route.ts';

const IdParams = Type.Object({ id: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }) }, strict);
export const JoinTokenView = Type.Object({
  id: Type.String(),
  labels: Labels,
  expiresAt: Instant,
  createdAt: Instant,
  createdBy: Nullable(Type.String()),
  usedAt: Nullable(Instant),
  usedBy: Nullable(Type.String({ description: 'The agent that it made.' })),
});
export type JoinTokenView = Static<typeof JoinTokenView>;

/** Routes of join tokens. */
export const joinTokenRoutes = {
  createJoinToken: {
    method: 'POST',
    path: '/api/v1/join-tokens',
    summary: 'Makes a join token: shown once, used once.',
    permission: 'admin',
    status: 201,
    errors: ['document.invalid'],
    body: Type.Object(
      {
        labels: Type.Optional(Labels),
        expiresIn: Type.Optional(Type.String({ maxLength: 40, description: 'Default 1h, at most 30d.' })),
      },
      strict,
    ),
    response: Type.Object({ token: Type.String(), joinToken: JoinTokenView }),
  },
  listJoinTokens: {
    method: 'GET',
    path: '/api/v1/join-tokens',
    summary: 'Join tokens, newest first, without their secret.',
    permission: 'admin',
    query: Type.Object(page, strict),
    response: listOf(JoinTokenView),
    status: 200,
    errors: [],
  },
  deleteJoinToken: {
    method: 'DELETE',
    path: '/api/v1/join-tokens/:id',
    summary: 'Takes a join token back.',
    permission: 'admin',
    params: IdParams,
    status: 204,
    errors: ['joinToken.notFound'],
  },
} as const satisfies Record<string, Route>;
