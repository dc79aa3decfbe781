import { type Static, Type } from 'typebox';
import { AttemptId, Count, Nonce, Text } from './protocolFields.ts';

// What a server says to an agent.

/** A public key of the server, Ed25519, SPKI DER in base64url. */
export const ServerKey = Type.Object({ id: Text(64), publicKey: Text(200) });
export type ServerKey = Static<typeof ServerKey>;

export const Challenge = Type.Object({
  type: Type.Literal('challenge'),
  serverNonce: Nonce,
  keyId: Text(64),
  /** By the key `keyId` over `serverProof`. */
  signature: Text(200),
});
/** After `superseded` (the agent has come another way meanwhile) and `draining` it may come again at once; else a person must act. */
export const Rejected = Type.Object({
  type: Type.Literal('rejected'),
  code: Type.Enum([
    'quarantined',
    'unknownAgent',
    'removed',
    'badSignature',
    'protocol',
    'superseded',
    'draining',
  ]),
  message: Text(500),
});
export const Welcome = Type.Object({
  type: Type.Literal('welcome'),
  sessionEpoch: Count,
  /** To be stored durably before `ready`, and shown in the next `resume`. */
  nonce: Nonce,
  name: Text(100),
  heartbeatMs: Type.Integer({ minimum: 1_000 }),
  /** Current key set; the agent replaces its own with it (it came over a proven session). */
  keys: Type.Array(ServerKey, { minItems: 1, maxItems: 10 }),
  /** The database has lost its last commits: `history` has to come before `ready`. */
  recovering: Type.Boolean(),
});
export const Offer = Type.Object({
  type: Type.Literal('offer'),
  attemptId: AttemptId,
  epoch: Count,
  /** The kinds of its steps, so that an agent can decline what it cannot do. */
  kinds: Type.Array(Text(50), { maxItems: 20 }),
});
/** The offer no longer stands. The agent journals a refusal and answers `refused`, unless it has started. */
export const Withdraw = Type.Object({ type: Type.Literal('withdraw'), attemptId: AttemptId, epoch: Count });
/** Authority to start one attempt once. `payload` is the JSON text of a `Permit`; the signature covers `permitProof(payload)`. */
export const PermitMessage = Type.Object({
  type: Type.Literal('permit'),
  keyId: Text(64),
  payload: Text(2 * 1024 * 1024),
  signature: Text(200),
});
/** End the attempt: TERM, `graceMs`, KILL for its whole tree; if it has not started, refuse it. */
export const Cancel = Type.Object({
  type: Type.Literal('cancel'),
  attemptId: AttemptId,
  epoch: Count,
  graceMs: Count,
});
/** Everything of the attempt up to `seq` is committed. `done`: so is its end (or refusal); its journal entry may go once its permit has expired. */
export const Ack = Type.Object({
  type: Type.Literal('ack'),
  attemptId: AttemptId,
  epoch: Count,
  seq: Count,
  done: Type.Boolean(),
});
/** The server wants the agent to use another server; it is about to stop. */
export const Leaving = Type.Object({ type: Type.Literal('leaving') });

export const SERVER_MESSAGES = {
  challenge: Challenge,
  rejected: Rejected,
  welcome: Welcome,
  offer: Offer,
  withdraw: Withdraw,
  permit: PermitMessage,
  cancel: Cancel,
  ack: Ack,
  leaving: Leaving,
} as const;
export type ServerMessage = {
  [K in keyof typeof SERVER_MESSAGES]: Static<(typeof SERVER_MESSAGES)[K]>;
}[keyof typeof SERVER_MESSAGES];
