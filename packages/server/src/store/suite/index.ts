import { adoptionSuite } from './adoption.ts';
import { attemptsSuite } from './attempts.ts';
import { commitsSuite } from './commits.ts';
import { dispatchSuite } from './dispatch.ts';
import { historySuite } from './history.ts';
import { jobsSuite } from './jobs.ts';
import { outputSuite } from './output.ts';
import { planningSuite } from './planning.ts';
import { recoverySuite } from './recovery.ts';
import { replicasSuite } from './replicas.ts';
import { requestsSuite } from './requests.ts';
import { retentionSuite } from './retention.ts';
import { retrySuite } from './retry.ts';
import { secretsSuite } from './secrets.ts';
import { sessionsSuite } from './sessions.ts';
import { stepsSuite } from './steps.ts';
import { unknownRunsSuite } from './unknownRuns.ts';
import type { Open } from './world.ts';

/** What every database has to do: the store's operations, held to their words. */
export function operationSuite(open: Open): void {
  commitsSuite(open);
  jobsSuite(open);
  planningSuite(open);
  dispatchSuite(open);
  attemptsSuite(open);
  requestsSuite(open);
  outputSuite(open);
  sessionsSuite(open);
  replicasSuite(open);
  retentionSuite(open);
  historySuite(open);
  recoverySuite(open);
  adoptionSuite(open);
  secretsSuite(open);
  stepsSuite(open);
  retrySuite(open);
  unknownRunsSuite(open);
}
