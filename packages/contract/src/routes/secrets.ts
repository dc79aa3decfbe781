import { type Static, Type } from 'typebox';
import { JobName } from '../job.ts';
import { SECRET_NAME } from '../names.ts';
import { Instant } from '../run.ts';
import { listOf, Nullable, page, type Route, strict } from './route.ts';

/** Where a secret's value is: encrypted at the server, or with each agent, in its environment or in a file. */
export const SECRET_KINDS = ['server', 'agentEnv', 'agentFile'] as const;
export type SecretKind = (typeof SECRET_KINDS)[number];

const SecretParams = Type.Object(
  {
    name: Type.String({
      pattern: SECRET_NAME,
      description: 'must start with a letter or "_" and have only letters, digits and "_"',
    }),
  },
  strict,
);
const ofJob = Type.Optional(JobName);

/** A secret as it is shown: everything but its value, which nothing shows. */
export const SecretView = Type.Object({
  name: Type.String(),
  job: Nullable(Type.String({ description: 'Of this job alone; null: of all jobs.' })),
  from: Type.Enum([...SECRET_KINDS]),
  reference: Nullable(Type.String({ description: "The agent's variable or file." })),
  keyId: Nullable(Type.String({ description: 'The master key that its value is encrypted under.' })),
  version: Type.Integer({ description: 'Grows with every change.' }),
  createdAt: Instant,
  updatedAt: Instant,
  updatedBy: Type.String(),
});
export type SecretView = Static<typeof SecretView>;

/** Routes of secrets: their values go in and never come out. */
export const secretRoutes = {
  listSecrets: {
    method: 'GET',
    path: '/api/v1/secrets',
    summary: 'Secrets without their values: those of all jobs by name, then those of single jobs.',
    permission: 'viewer',
    query: Type.Object({ ...page, job: ofJob }, strict),
    response: listOf(SecretView),
    status: 200,
    errors: [],
  },
  putSecret: {
    method: 'PUT',
    path: '/api/v1/secrets/:name',
    summary:
      'Sets a secret: a value that is kept encrypted, or where an agent finds it. A job has its own before that of all jobs.',
    permission: 'editor',
    params: SecretParams,
    query: Type.Object({ job: ofJob }, strict),
    // What is wrong with a text is said by the handler, in words that do not repeat it.
    body: Type.Object(
      {
        value: Type.Optional(Type.String()),
        agentEnv: Type.Optional(Type.String()),
        agentFile: Type.Optional(Type.String()),
      },
      strict,
    ),
    response: Type.Object({
      secret: SecretView,
      created: Type.Boolean(),
      jobExists: Nullable(Type.Boolean({ description: 'Whether the job that it is for is there by now.' })),
    }),
    status: 200,
    errors: ['document.invalid', 'request.tooMany', 'secret.tooMany', 'secret.keyMissing'],
  },
  deleteSecret: {
    method: 'DELETE',
    path: '/api/v1/secrets/:name',
    summary: 'Deletes a secret. Runs of jobs that still name it fail before anything of them is started.',
    permission: 'editor',
    params: SecretParams,
    query: Type.Object({ job: ofJob }, strict),
    status: 204,
    errors: ['secret.notFound', 'request.tooMany'],
  },
  rotateMasterKey: {
    method: 'POST',
    path: '/api/v1/master-key/rotate',
    summary: 'Makes a new master key and encrypts all values under it. Asked again, it goes on where it was.',
    permission: 'admin',
    body: Type.Object(
      {
        prepare: Type.Optional(
          Type.Boolean({
            description: "Only write the new key to this server's file, to be copied to others.",
          }),
        ),
        shared: Type.Optional(Type.Boolean({ description: 'All servers read one file.' })),
      },
      strict,
    ),
    response: Type.Object({
      keyId: Type.String(),
      active: Type.Boolean({ description: 'false: it was only prepared.' }),
      encrypted: Type.Integer({ description: 'Values that were encrypted anew.' }),
      unreadable: Type.Integer({ description: 'Values that nobody can open any more: set them again.' }),
      file: Type.String({ description: 'Where the server has its keys.' }),
    }),
    status: 200,
    errors: ['request.tooMany', 'secret.keyMissing', 'secret.keyNotShared'],
  },
} as const satisfies Record<string, Route>;
