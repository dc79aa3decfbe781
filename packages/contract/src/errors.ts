/**
 * Every error that the API answers with: a stable code, the HTTP status, and a title.
 * `docs/errors.md` lists exactly these codes.
 */
export const ERRORS = {
  'request.invalid': { status: 400, title: 'The request is not valid' },
  'request.tooLarge': { status: 413, title: 'The request is too large' },
  'request.unsupportedMediaType': { status: 415, title: 'The body has a type that this route does not take' },
  'request.tooMany': { status: 429, title: 'Too many requests' },
  'document.invalid': { status: 422, title: 'The request has faults; nothing was saved' },
  'auth.missing': { status: 401, title: 'A token is needed' },
  'auth.invalid': { status: 401, title: 'The token is not valid' },
  'auth.forbidden': { status: 403, title: "The token's role does not allow this" },
  'route.notFound': { status: 404, title: 'There is no such route' },
  'route.methodNotAllowed': { status: 405, title: 'The route does not take this method' },
  'job.notFound': { status: 404, title: 'There is no such job' },
  'job.revisionConflict': { status: 409, title: 'The job was changed in the meantime' },
  'job.nameConflict': { status: 409, title: 'A job of that name exists' },
  'run.notFound': { status: 404, title: 'There is no such run' },
  'run.ambiguous': { status: 409, title: 'More than one run begins with that id' },
  'run.ended': { status: 409, title: 'The run has ended' },
  'run.notWaiting': { status: 409, title: 'The run does not wait for another attempt' },
  'run.notUnknown': { status: 409, title: 'Only an unknown run can be resolved' },
  'agent.notFound': { status: 404, title: 'There is no such agent' },
  'agent.nameConflict': { status: 409, title: 'An agent of that name exists' },
  'agent.active': { status: 409, title: 'The agent is still in use' },
  'joinToken.invalid': { status: 401, title: 'The join token is not valid' },
  'joinToken.notFound': { status: 404, title: 'There is no such join token' },
  'token.notFound': { status: 404, title: 'There is no such token' },
  'token.nameConflict': { status: 409, title: 'A token of that name exists' },
  'token.lastAdmin': { status: 409, title: 'This is the last admin token' },
  'secret.notFound': { status: 404, title: 'There is no such secret' },
  'secret.tooMany': { status: 409, title: 'There are too many secrets' },
  'secret.keyMissing': { status: 503, title: 'This server lacks the master key' },
  'secret.keyNotShared': { status: 409, title: 'Other servers would lack the new master key' },
  'target.noAgent': { status: 409, title: 'No agent matches' },
  'server.draining': { status: 503, title: 'The server is stopping' },
  'server.busy': { status: 503, title: 'The server cannot take this now' },
  'server.outcomeUnknown': { status: 503, title: 'Nobody knows whether this was saved' },
  'server.internal': { status: 500, title: 'Something went wrong in the server' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ErrorCode = keyof typeof ERRORS;
export const ERROR_CODES = Object.keys(ERRORS) as ErrorCode[];
