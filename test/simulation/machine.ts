import type { Helper } from '../../packages/agent/src/helperClient.ts';
import type { Task } from '../../packages/agent/src/helperProtocol.ts';
import type { Clock } from '../../packages/agent/src/ports.ts';
import { type FolderCopy, SimDisk } from './disk.ts';
import { SimHelper } from './helper.ts';
import type { Kernel, Process, Subject } from './kernel.ts';
import { drawLatency, type Latency, Seeded } from './random.ts';
import { SimSpool } from './spool.ts';
import type { Behaviour } from './world.ts';

/** One start, as the job itself wrote it down, and how long it went on. */
export interface Evidence {
  attemptId: string;
  runId: string;
  job: string;
  agent: string;
  scheduledFor: number;
  /** Epoch ms, of true time. */
  at: number;
  endedAt: number | null;
  /** How it ended; null while it runs, and when its machine went down. */
  exitCode: number | null;
  /** When no helper could end it. */
  unwatched: { from: number; to: number }[];
}

/** A process that a helper has started; it outlives the helper. */
export interface JobProcess {
  readonly pid: number;
  readonly attemptId: string;
  isAlive: boolean;
  exitCode: number | null;
  readonly ignoresTerm: boolean;
  isEnding: boolean;
  readonly evidence: Evidence;
  /** Since when no helper looks after it; null: one does. */
  leftAt: number | null;
  watch(watcher: { output(data: Buffer): void; ended(): void }): void;
}

/** A machine without its agent: boots, clocks, disk, spool, the helper process and the jobs' processes. */
export class Machine {
  readonly name: string;
  readonly subject: Subject;
  readonly disk: SimDisk;
  readonly spool: SimSpool;
  bootId = '';
  /** Steps of the wall clock, ms. */
  wallOffsetMs = 0;
  helper: SimHelper | null = null;
  readonly #kernel: Kernel;
  readonly #random: Seeded;
  readonly #rate: number;
  readonly #epochMs: number;
  readonly #spawn: Latency;
  readonly #evidence: Evidence[];
  readonly #behaviourOf: (job: string) => Behaviour;
  readonly #jobs = new Map<string, JobProcess & { readonly end: (exitCode: number | null) => void }>();
  #boots = 0;
  #bootedAt = 0;
  #pids = 100;

  constructor(options: {
    kernel: Kernel;
    name: string;
    index: number;
    seed: string;
    rate: number;
    epochMs: number;
    disk: Latency;
    spawn: Latency;
    evidence: Evidence[];
    behaviourOf(job: string): Behaviour;
  }) {
    this.#kernel = options.kernel;
    this.name = options.name;
    this.subject = { agent: options.index };
    this.#random = new Seeded(`${options.seed} ${options.name}`);
    this.#rate = options.rate;
    this.#epochMs = options.epochMs;
    this.#spawn = options.spawn;
    this.#evidence = options.evidence;
    this.#behaviourOf = options.behaviourOf;
    this.disk = new SimDisk(options.kernel, this.#random, options.name, options.disk);
    this.spool = new SimSpool(this.disk, this.#random);
  }

  boot(): void {
    this.#boots += 1;
    this.bootId = `${this.name}-boot-${this.#boots}`;
    this.#bootedAt = this.#kernel.now - 1_000;
  }

  /** Power is lost: every process is gone, and what was not synced is in doubt. */
  powerOff(): void {
    this.helper?.process.end();
    this.helper = null;
    for (const job of [...this.#jobs.values()]) job.end(null);
    this.disk.crash();
    this.spool.crash();
  }

  copyFolder(): { disk: FolderCopy; spool: ReadonlyMap<string, unknown> } {
    return { disk: this.disk.copy(), spool: this.spool.copy() };
  }

  restoreFolder(copy: ReturnType<Machine['copyFolder']>): void {
    this.disk.restore(copy.disk);
    this.spool.restore(copy.spool);
  }

  bootMs(): number {
    return Math.floor(((this.#kernel.now - this.#bootedAt) * this.#rate) / 10) * 10;
  }

  clockOf(process: Process): Clock {
    return {
      wallMs: () => this.#epochMs + Math.floor(this.#kernel.now) + this.wallOffsetMs,
      bootMs: () => this.bootMs(),
      after: (ms, callback) => process.after(ms / this.#rate + this.#random.unit() * 2, 'a timer', callback),
    };
  }

  spawnDelay(): number {
    return drawLatency(this.#random, this.#spawn);
  }

  /** Meets the helper that is there, or starts one, as `helperClient.ts` does. */
  async meetHelper(session: Process): Promise<Helper> {
    for (;;) {
      if (this.helper && !this.helper.process.ended) {
        try {
          return await this.helper.meet(session);
        } catch {
          continue;
        }
      }
      const id = `${this.bootId}-helper-${this.#random.int(0, 1e9)}`;
      await session.pause(this.spawnDelay() * 5, 'starts a helper');
      if (!this.helper || this.helper.process.ended) this.helper = new SimHelper(this.#kernel, this, id);
    }
  }

  /** Null when it cannot be started. */
  execute(task: Task): JobProcess | null {
    const behaviour = this.#behaviourOf(task.run.job);
    const random = this.#random;
    if (random.chance(behaviour.spawnFailShare)) return null;
    const evidence: Evidence = {
      attemptId: task.attemptId,
      runId: task.run.id,
      job: task.run.job,
      agent: this.name,
      scheduledFor: task.run.scheduledFor,
      at: this.#epochMs + this.#kernel.now,
      endedAt: null,
      exitCode: null,
      unwatched: [],
    };
    this.#evidence.push(evidence);
    let watcher: Parameters<JobProcess['watch']>[0] | null = null;
    const job = {
      pid: ++this.#pids,
      attemptId: task.attemptId,
      isAlive: true,
      exitCode: null as number | null,
      ignoresTerm: random.chance(behaviour.ignoresTermShare),
      isEnding: false,
      evidence,
      leftAt: null as number | null,
      watch: (given: Parameters<JobProcess['watch']>[0]) => {
        watcher = given;
        if (!job.isAlive) given.ended();
      },
      end: (exitCode: number | null) => {
        if (!job.isAlive) return;
        job.isAlive = false;
        job.exitCode = exitCode;
        this.watchAgain(job);
        evidence.endedAt = this.#epochMs + this.#kernel.now;
        evidence.exitCode = exitCode;
        this.#jobs.delete(task.attemptId);
        watcher?.ended();
      },
    };
    this.#jobs.set(task.attemptId, job);
    const durationMs = random.int(behaviour.minMs, behaviour.maxMs);
    const exitCode = random.chance(behaviour.failShare) ? 1 : 0;
    for (let count = random.int(0, 3); count > 0; count--) {
      this.#kernel.after(random.unit() * durationMs, null, `${this.name}: output`, () => {
        if (job.isAlive) watcher?.output(Buffer.from(`line ${count} of ${task.attemptId}\n`));
      });
    }
    this.#kernel.after(durationMs, null, `${this.name}: a job ends`, () => job.end(exitCode));
    return job;
  }

  /** TERM, a while, KILL. */
  endJob(job: JobProcess, graceMs: number): void {
    if (job.isEnding) return;
    job.isEnding = true;
    const own = this.#jobs.get(job.attemptId);
    const ms = job.ignoresTerm ? graceMs : this.#random.unit() * 200;
    this.#kernel.after(ms, null, `${this.name}: a job is ended`, () => own?.end(143));
  }

  /** Its helper stands still: what runs goes on, and nobody ends it. */
  standStill(forMs: number): void {
    if (!this.helper || this.helper.process.ended) return;
    this.helper.process.freeze(forMs);
    const from = this.#epochMs + this.#kernel.now;
    for (const { evidence } of this.#jobs.values()) evidence.unwatched.push({ from, to: from + forMs });
  }

  /** Its helper has ended: nobody looks after what runs, until another helper does. */
  leaveJobs(): void {
    for (const job of this.#jobs.values()) job.leftAt ??= this.#epochMs + this.#kernel.now;
  }

  watchAgain(job: JobProcess): void {
    if (job.leftAt === null) return;
    job.evidence.unwatched.push({ from: job.leftAt, to: this.#epochMs + this.#kernel.now });
    job.leftAt = null;
  }

  /** The process of an attempt, if it runs on this machine. */
  jobOf(attemptId: string): JobProcess | null {
    return this.#jobs.get(attemptId) ?? null;
  }
}
