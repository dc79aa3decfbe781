import type { Logger } from 'pino';
import type { Replica } from '../agents/replica.ts';
import type { Authenticator } from '../auth/authenticate.ts';
import type { Failures } from '../auth/failures.ts';
import type { Pace } from '../auth/pace.ts';
import type { Vault } from '../auth/secrets.ts';
import type { Clock } from '../clock.ts';
import type { Hints } from '../hints.ts';
import type { Metrics } from '../metrics.ts';
import type { Random } from '../random.ts';
import type { Definitions } from '../runs/definitions.ts';
import type { Runs } from '../runs/runs.ts';
import type { Store } from '../store/store.ts';
import type { Streams } from './streams.ts';

/** What handlers work with; the composition root fills it. */
export interface Services {
  store: Store;
  clock: Clock;
  random: Random;
  hints: Hints;
  log: Logger;
  metrics: Metrics;
  definitions: Definitions;
  runs: Runs;
  authenticator: Authenticator;
  failures: Failures;
  vault: Vault;
  /** Of changes of secrets. */
  pace: Pace;
  streams: Streams;
  /** Ends the session of an agent that was removed or renamed. */
  disconnectAgent(agentId: string, reason: string): void;
  /** This server among those of its database. */
  replica: Pick<Replica, 'id'>;
  /** Whether the server is about to stop. */
  draining(): boolean;
  version: string;
  /** Epoch ms. */
  startedAt: number;
}
