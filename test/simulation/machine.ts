import { type Execution, NO_ENDING, type StepTask } from '../../packages/agent/src/executors/execution.ts';
import type { HelperMachine } from '../../packages/agent/src/helper/machine.ts';
import type { Helper } from '../../packages/agent/src/helperClient.ts';
import type { Clock, Random } from '../../packages/agent/src/ports.ts';
import type { Mark } from '../../packages/agent/src/processTree.ts';
import { type FolderCopy, SimDisk } from './disk.ts';
import { SimHelper } from './helper.ts';
import type { Kernel, Process, Subject } from './kernel.ts';
import { drawLatency, type Latency, Seeded } from './random.ts';
import { SimSpool } from './spool.ts';
import type { Behaviour } from './world.ts';

/** One start of a process, as the job itself wrote it down, and how long it went on. */
export interface Evidence {
  attemptId: string;
  /** The step of which it is a try, and its place in the chain. */
  step: string;
  index: number;
  runId: string;
  job: string;
  agent: string;
  scheduledFor: number;
  /** Epoch ms, of true time. */
  at: number;
  endedAt: number | null;
  /** How it ended; null while it runs, and when its machine went down. */
  exitCode: number | null;
  /** Whether the helper that started it has seen its end: otherwise nobody can know its exit code. */
  isSeen: boolean;
  /** When no helper could end it. */
  unwatched: { from: number; to: number }[];
}

/** A process that a helper has started; it outlives the helper. */
interface JobProcess {
  readonly pid: number;
  isAlive: boolean;
  readonly ignoresTerm: boolean;
  isEnding: boolean;
  readonly evidence: Evidence;
  /** Since when no helper looks after it; null: one does. */
  leftAt: number | null;
  end(exitCode: number | null): void;
}

const PIPE_MS = 0.2;
/** From a helper's wish to the execution. */
const EXEC_MS = 0.01;
/** Between two looks at whether processes have gone. */
const POLL_MS = 50;
/** What a shell says of a command that a signal has ended. */
const TERMINATED = 143;
const KILLED = 137;

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
  readonly random: Random;
  readonly #rate: number;
  readonly #epochMs: number;
  readonly #spawn: Latency;
  readonly #evidence: Evidence[];
  readonly #behaviourOf: (job: string) => Behaviour;
  /** By pid. */
  readonly #jobs = new Map<number, JobProcess>();
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
    this.random = {
      unit: () => this.#random.unit(),
      token: (bytes) => Buffer.from(this.#random.bytes(bytes)).toString('base64url'),
    };
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

  /** Executes a try of a step under a helper: as a real one, it comes about a moment after the helper wanted it. */
  execute(helper: Process, task: StepTask, output: (data: Buffer) => void): Execution {
    const behaviour = this.#behaviourOf(task.run.job);
    const random = this.#random;
    if (random.chance(behaviour.spawnFailShare)) {
      const error = 'it could not be started';
      const ending = { ...NO_ENDING, outcome: 'failed', reason: 'spawnFailed', error } as const;
      return { root: null, ended: Promise.resolve(ending), end() {} };
    }
    const seen = Promise.withResolvers<number>();
    const job = this.#makeJob(task, random.chance(behaviour.ignoresTermShare), () =>
      helper.after(PIPE_MS, 'sees a job end', () => {
        job.evidence.isSeen = true;
        seen.resolve(job.evidence.exitCode ?? KILLED);
      }),
    );
    const durationMs = random.int(behaviour.minMs, behaviour.maxMs);
    const exitCode = random.chance(behaviour.failShare) ? random.pick([1, 75]) : 0;
    const outputsMs = Array.from({ length: random.int(0, 3) }, () => random.unit() * durationMs);
    this.#kernel.trace(this.name, 'before exec', this.subject);
    helper.after(EXEC_MS, 'executes', () => {
      job.evidence.at = this.#epochMs + this.#kernel.now;
      this.#evidence.push(job.evidence);
      this.#jobs.set(job.pid, job);
      job.isAlive = true;
      this.#kernel.trace(this.name, 'after exec', this.subject);
      for (const atMs of outputsMs)
        this.#kernel.after(atMs, null, `${this.name}: output`, () => {
          if (job.isAlive)
            helper.after(PIPE_MS, 'reads output', () => output(Buffer.from(`a line of ${task.attemptId}\n`)));
        });
      this.#kernel.after(durationMs, null, `${this.name}: a job ends`, () => job.end(exitCode));
    });
    return {
      root: { pid: job.pid, startTime: null },
      ended: seen.promise.then((code) => ({
        ...NO_ENDING,
        outcome: code === 0 ? 'succeeded' : 'failed',
        reason: code === 0 ? null : 'exitStatus',
        exitCode: code,
      })),
      end: (graceMs) => this.#endJob(job, graceMs),
    };
  }

  #makeJob({ attemptId, step, run, steps }: StepTask, ignoresTerm: boolean, ended: () => void): JobProcess {
    const evidence: Evidence = {
      attemptId,
      step,
      index: steps.findIndex(({ name }) => name === step),
      runId: run.id,
      job: run.job,
      agent: this.name,
      scheduledFor: run.scheduledFor,
      at: 0,
      endedAt: null,
      exitCode: null,
      isSeen: false,
      unwatched: [],
    };
    const job: JobProcess = {
      pid: ++this.#pids,
      isAlive: false,
      ignoresTerm,
      isEnding: false,
      evidence,
      leftAt: null,
      end: (exitCode) => {
        if (!job.isAlive) return;
        job.isAlive = false;
        this.#watchAgain(job);
        evidence.endedAt = this.#epochMs + this.#kernel.now;
        evidence.exitCode = exitCode;
        this.#jobs.delete(job.pid);
        ended();
      },
    };
    return job;
  }

  /** TERM, a while, KILL. */
  #endJob(job: JobProcess, graceMs: number): void {
    if (job.isEnding) return;
    job.isEnding = true;
    const ms = job.ignoresTerm ? graceMs : this.#random.unit() * 200;
    this.#kernel.after(ms + 2 * EXEC_MS, null, `${this.name}: a job is ended`, () => job.end(TERMINATED));
  }

  /** What a helper does to this machine. */
  of(helper: Process): HelperMachine {
    const { subject } = this;
    return {
      openOutput: (begin, _limits, onWritten, opening) =>
        this.spool.openOutput(helper, begin, () => this.bootMs(), onWritten, opening),
      openSteps: (attemptId, opening) =>
        this.spool.openSteps(helper, attemptId, opening, (when) =>
          this.#kernel.trace(this.name, `${when} step sync`, subject),
        ),
      syncFolder: () => Promise.resolve(),
      prepare: async (task, _action, { output }) => {
        if (task.step !== task.steps[0]?.name)
          this.#kernel.trace(this.name, 'prepares a later step', subject);
        await helper.pause(this.spawnDelay(), 'prepares a start');
        return {
          begin: () => this.execute(helper, task, (data) => output('stdout', data)),
          discard() {},
        };
      },
      findRoot: (mark) => {
        const [job] = this.#marked(mark);
        return job ? { pid: job.pid, startTime: null } : null;
      },
      isAlive: ({ pid }) => {
        const job = this.#jobs.get(pid);
        if (job) this.#watchAgain(job);
        return job !== undefined;
      },
      endTree: async (_root, mark, graceMs) => {
        for (const job of this.#marked(mark)) this.#endJob(job, graceMs);
        while (this.#marked(mark).length > 0) await helper.pause(POLL_MS, 'waits until all have gone');
      },
    };
  }

  /** What runs of an attempt, or of one step of it, the oldest first. */
  #marked({ attemptId, step }: Mark): JobProcess[] {
    return [...this.#jobs.values()].filter(
      ({ evidence }) => evidence.attemptId === attemptId && (step === null || evidence.step === step),
    );
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

  #watchAgain(job: JobProcess): void {
    if (job.leftAt === null) return;
    job.evidence.unwatched.push({ from: job.leftAt, to: this.#epochMs + this.#kernel.now });
    job.leftAt = null;
  }
}
