import { parseAttemptId } from '../runs/ids.ts';
import * as adoption from './adoption.ts';
import * as agents from './agents.ts';
import * as attempts from './attempts.ts';
import * as audit from './audit.ts';
import * as delivery from './delivery.ts';
import * as dispatch from './dispatch.ts';
import type { Driver } from './driver.ts';
import * as events from './events.ts';
import * as jobReads from './jobReads.ts';
import * as jobs from './jobs.ts';
import * as joinTokens from './joinTokens.ts';
import * as masterKeys from './masterKeys.ts';
import * as notices from './notices.ts';
import type { Operation, Transaction } from './operation.ts';
import * as output from './output.ts';
import * as permits from './permits.ts';
import * as planning from './planning.ts';
import * as recovery from './recovery.ts';
import * as replicas from './replicas.ts';
import * as requests from './requests.ts';
import * as retention from './retention.ts';
import * as retry from './retry.ts';
import * as runs from './runs.ts';
import * as secrets from './secrets.ts';
import * as serverKeys from './serverKeys.ts';
import * as sessions from './sessions.ts';
import * as steps from './steps.ts';
import * as tenants from './tenants.ts';
import * as tokens from './tokens.ts';

/** Operations that change something: each one atomic. */
const writes = {
  setUp: tenants.setUp,
  createTenant: tenants.createTenant,
  setTimezone: tenants.setTimezone,
  beginRecovery: recovery.beginRecovery,
  releaseRuns: recovery.releaseRuns,
  settleRecovery: recovery.settleRecovery,
  adoptAttempts: adoption.adoptAttempts,
  endHistory: adoption.endHistory,
  saveJobs: jobs.saveJobs,
  pauseJob: jobs.pauseJob,
  resumeJob: jobs.resumeJob,
  deleteJob: jobs.deleteJob,
  setAgent: agents.setAgent,
  joinAgent: agents.joinAgent,
  removeAgent: agents.removeAgent,
  createToken: tokens.createToken,
  touchToken: tokens.touchToken,
  deleteToken: tokens.deleteToken,
  createJoinToken: joinTokens.createJoinToken,
  deleteJoinToken: joinTokens.deleteJoinToken,
  registerMasterKey: masterKeys.registerMasterKey,
  activateMasterKey: masterKeys.activateMasterKey,
  forgetMasterKeys: masterKeys.forgetMasterKeys,
  setSecret: secrets.setSecret,
  deleteSecret: secrets.deleteSecret,
  rotateSecrets: secrets.rotateSecrets,

  storePlans: planning.storePlans,
  queueDueRuns: dispatch.queueDueRuns,
  decideRuns: dispatch.decideRuns,
  settleOverdueRuns: dispatch.settleOverdueRuns,
  wakeQueuedRuns: dispatch.wakeQueuedRuns,
  withdrawFromAway: delivery.withdrawFromAway,
  requestRuns: requests.requestRuns,
  cancelRun: requests.cancelRun,
  resolveRun: requests.resolveRun,
  retryRun: retry.retryRun,
  acceptOffer: permits.acceptOffer,
  permitAgain: permits.permitAgain,
  declineOffer: attempts.declineOffer,
  refuseAttempt: attempts.refuseAttempt,
  startAttempt: attempts.startAttempt,
  endAttempt: attempts.endAttempt,
  continueAttempt: permits.continueAttempt,
  storeStep: steps.storeStep,
  storeProgress: steps.storeProgress,
  storeOutput: output.storeOutput,
  openSession: sessions.openSession,
  confirmSession: sessions.confirmSession,
  reconcileSession: sessions.reconcileSession,
  closeSession: sessions.closeSession,
  readySession: sessions.readySession,
  registerReplica: replicas.registerReplica,
  touchReplica: replicas.touchReplica,
  leaveReplica: replicas.leaveReplica,
  endReplica: replicas.endReplica,
  loseReplica: replicas.loseReplica,
  closeLostSessions: replicas.closeLostSessions,
  storeAgentStatus: sessions.storeAgentStatus,
  deleteOldRuns: retention.deleteOldRuns,
  deleteOldOutput: retention.deleteOldOutput,
  deleteOldEvents: retention.deleteOldEvents,
  deleteOldAudit: audit.deleteOldAudit,
};

/** Operations that only read. */
const reads = {
  tenantByName: tenants.tenantByName,
  serverKeys: serverKeys.serverKeys,
  readMasterKeys: masterKeys.readMasterKeys,
  listSecrets: secrets.listSecrets,
  readSecretNames: secrets.readSecretNames,
  readSecretsFor: secrets.readSecretsFor,
  readSecretsToRotate: secrets.readSecretsToRotate,
  countSecretsByKey: secrets.countSecretsByKey,
  listAudit: audit.listAudit,
  findToken: tokens.findToken,
  listTokens: tokens.listTokens,
  listJoinTokens: joinTokens.listJoinTokens,
  previewJobs: jobs.previewJobs,
  readOverdueJobs: jobReads.readOverdueJobs,
  getJob: jobReads.getJob,
  findJob: jobReads.findJob,
  listJobs: jobReads.listJobs,
  listRevisions: jobReads.listRevisions,
  countJobs: jobReads.countJobs,
  getAgent: agents.getAgent,
  listAgents: agents.listAgents,
  countAgents: agents.countAgents,
  listRuns: runs.listRuns,
  runsByIds: runs.runsByIds,
  runByPrefix: runs.runByPrefix,
  attemptsOfRun: steps.attemptsOfRun,
  readOutput: runs.readOutput,
  listGaps: runs.listGaps,
  countActiveRuns: runs.countActiveRuns,
  countEndedRuns: runs.countEndedRuns,
  readLateness: runs.readLateness,
  countEndedSince: runs.countEndedSince,
  countForMetrics: runs.countForMetrics,

  readDueJobs: planning.readDueJobs,
  readNextPlanAt: planning.readNextPlanAt,
  readQueuedRuns: dispatch.readQueuedRuns,
  readNextWakeAt: dispatch.readNextWakeAt,
  readDeliveries: delivery.readDeliveries,
  readAgentLoads: delivery.readAgentLoads,
  readRun: requests.readRun,
  readTriggerableJob: requests.readTriggerableJob,
  readAgentById: sessions.readAgentById,
  readRoster: sessions.readRoster,
  listReplicas: replicas.listReplicas,
  notify: notices.notify,
  readRecovery: recovery.readRecovery,
  readHeldRuns: recovery.readHeldRuns,
  countHeldRuns: recovery.countHeldRuns,

  readEvents: events.readEvents,
  firstEventId: events.firstEventId,
  lastEventId: events.lastEventId,
};

type Bound<Operations> = {
  [Name in keyof Operations]: Operations[Name] extends (
    transaction: Transaction,
    input: infer Input,
  ) => Operation<infer Output>
    ? (input: Input) => Promise<Output>
    : never;
};

/** The store: a list of named atomic operations, plain data in and out. A write's promise resolves after its commit. */
export type Store = Bound<typeof writes> &
  Bound<typeof reads> &
  Pick<Driver, 'backup' | 'close' | 'onCommit' | 'onRecovery'>;

type AnyOperation = (transaction: Transaction, input: never) => Operation<unknown>;

/** Binds every operation to a driver. */
export function createStore(driver: Driver): Store {
  const store: Record<string, unknown> = {
    backup: (file: string) => driver.backup(file),
    close: () => driver.close(),
    onCommit: (listener: (durationMs: number) => void) => driver.onCommit(listener),
    onRecovery: (listener: () => void) => driver.onRecovery(listener),
  };
  for (const [name, operation] of Object.entries(writes as Record<string, AnyOperation>)) {
    // What one agent reports of a run takes effect in the order in which it came.
    store[name] = (input: { agentId?: string; attemptId?: string }) =>
      driver.write(
        (transaction) => operation(transaction, input as never),
        input.agentId,
        input.attemptId === undefined ? undefined : parseAttemptId(input.attemptId)?.runId,
      );
  }
  for (const [name, operation] of Object.entries(reads as Record<string, AnyOperation>)) {
    store[name] = (input: never) => driver.read((transaction) => operation(transaction, input));
  }
  return store as Store;
}
