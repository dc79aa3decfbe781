import { type Static, Type } from 'typebox';
import { LABEL_KEY, LABEL_VALUE, LIMITS } from './names.ts';

export const Labels = Type.Record(
  Type.String({ pattern: LABEL_KEY }),
  Type.String({
    pattern: LABEL_VALUE,
    description: 'must have only letters, digits and . _ / : @ + - (at most 200 characters)',
  }),
  { additionalProperties: false, maxProperties: LIMITS.labels },
);
export type Labels = Static<typeof Labels>;
