import { type Static, Type } from 'typebox';
import { ROLES } from '../roles.ts';
import { Instant } from '../run.ts';
import { listOf, Nullable, page, type Route, strict } from './route.ts';

const IdParams = Type.Object({ id: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }) }, strict);
export const TokenView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  role: Type.Enum([...ROLES]),
  createdAt: Instant,
  createdBy: Nullable(Type.String()),
  expiresAt: Nullable(Instant),
  lastUsedAt: Nullable(Instant),
});
export type TokenView = Static<typeof TokenView>;

/** Routes of tokens. */
export const tokenRoutes = {
  listTokens: {
    method: 'GET',
    path: '/api/v1/tokens',
    summary: 'Tokens by name, without their secret.',
    permission: 'admin',
    query: Type.Object(page, strict),
    response: listOf(TokenView),
    status: 200,
    errors: [],
  },
  createToken: {
    method: 'POST',
    path: '/api/v1/tokens',
    summary: 'Makes a token: shown once.',
    permission: 'admin',
    status: 201,
    errors: ['document.invalid', 'token.nameConflict'],
    body: Type.Object(
      {
        name: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$' }),
        role: Type.Enum([...ROLES]),
        expiresIn: Type.Optional(Type.String({ maxLength: 40 })),
      },
      strict,
    ),
    response: Type.Object({ token: Type.String(), view: TokenView }),
  },
  deleteToken: {
    method: 'DELETE',
    path: '/api/v1/tokens/:id',
    summary: 'Revokes a token, by id or name, at once.',
    permission: 'admin',
    params: IdParams,
    status: 204,
    errors: ['token.notFound', 'token.lastAdmin'],
  },
} as const satisfies Record<string, Route>;
