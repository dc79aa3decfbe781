import { type Static, Type } from 'typebox';
import { ERROR_CODES } from './errors.ts';

/** An error as the API answers it: RFC 9457 `application/problem+json`. */
export const Problem = Type.Object({
  type: Type.String({ description: 'urn:rota:error:<code>' }),
  title: Type.String(),
  status: Type.Integer(),
  code: Type.Enum([...ERROR_CODES]),
  detail: Type.String({ description: 'What happened and what to do about it.' }),
  requestId: Type.Optional(Type.String()),
  faults: Type.Optional(
    Type.Array(Type.Object({ path: Type.String(), code: Type.String(), message: Type.String() })),
  ),
  faultsOmitted: Type.Optional(Type.Integer()),
});
export type Problem = Static<typeof Problem>;
