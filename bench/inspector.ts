import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { RotaProcess } from '../test/support/installation.ts';
import { until } from '../test/support/until.ts';
import type { CpuProfile } from './profile.ts';

/** The environment of a process that can be inspected when it is asked to, at no cost before. */
export const INSPECTABLE = { NODE_OPTIONS: '--inspect-port=127.0.0.1:0' };

/** Looks into a running process of Node. */
export interface Inspector {
  /** Bytes of the heap that are in use once all garbage is gone. */
  heapBytes(): Promise<number>;
  /** Where its main thread spends its time until `work` is done. */
  profile(work: () => Promise<void>): Promise<CpuProfile>;
  close(): void;
}

/** @param log what the process has said so far */
export async function inspect({ child }: Pick<RotaProcess, 'child'>, log: () => string): Promise<Inspector> {
  child.kill('SIGUSR1');
  const address = await until(
    'the inspector',
    () => [...log().matchAll(/Debugger listening on (ws:\S+)/g)].at(-1)?.[1],
  );
  const socket = new WebSocket(address, { perMessageDeflate: false, maxPayload: 2 ** 30 });
  await once(socket, 'open');
  const answers = new Map<number, (answer: { result?: unknown; error?: { message: string } }) => void>();
  socket.on('message', (data) => {
    const answer = JSON.parse(String(data)) as { id?: number; result?: unknown };
    if (answer.id !== undefined) answers.get(answer.id)?.(answer);
  });
  let asked = 0;
  async function ask<T>(method: string, params: object = {}): Promise<T> {
    asked += 1;
    const id = asked;
    const { promise, resolve } = Promise.withResolvers<{ result?: unknown; error?: { message: string } }>();
    answers.set(id, resolve);
    socket.send(JSON.stringify({ id, method, params }));
    const { result, error } = await promise;
    answers.delete(id);
    if (error) throw new Error(`${method}: ${error.message}`);
    return result as T;
  }

  return {
    async heapBytes() {
      await ask('HeapProfiler.collectGarbage');
      return (await ask<{ usedSize: number }>('Runtime.getHeapUsage')).usedSize;
    },
    async profile(work) {
      await ask('Profiler.enable');
      await ask('Profiler.setSamplingInterval', { interval: 500 });
      await ask('Profiler.start');
      await work();
      const { profile } = await ask<{ profile: CpuProfile }>('Profiler.stop');
      await ask('Profiler.disable');
      return profile;
    },
    close: () => socket.terminate(),
  };
}
