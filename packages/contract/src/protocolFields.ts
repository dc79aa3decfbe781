import { Type } from 'typebox';

// What messages between agent and server are made of.

export const Text = (maxLength: number) => Type.String({ maxLength });
export const Count = Type.Integer({ minimum: 0 });
export const Nonce = Text(128);
export const AttemptId = Text(64);
export const NullableText = (maxLength: number) => Type.Union([Text(maxLength), Type.Null()]);
export const NullableInteger = Type.Union([Type.Integer(), Type.Null()]);
