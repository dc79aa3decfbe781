import type { Timer } from '../ports.ts';
import type { RunnerPorts } from './runner.ts';

/** A word at most so often, however often a command says how far it is. */
const EACH_MS = 1_000;

/** How far an attempt is, as its commands say themselves: the newest word is told, those before it only if there was time. */
export interface ProgressNews {
  /** In percent; null when what was said before holds no more. */
  say(percent: number | null): void;
  /** To a new session. */
  again(): void;
  /** The newest word is told, and no other after it. */
  end(): void;
}

/** `isFirst`: no helper before this one can have said anything. */
export function createProgressNews(
  attemptId: string,
  { clock, tell }: Pick<RunnerPorts, 'clock' | 'tell'>,
  isFirst: boolean,
): ProgressNews {
  /** Undefined while nothing was said. */
  let told: number | null | undefined;
  let newest: number | null | undefined;
  let pause: Timer | null = null;
  let isEnded = false;

  function tellNewest(): void {
    if (newest === undefined || newest === told) return;
    told = newest;
    tell({ type: 'progress', attemptId, percent: newest });
    pause = clock.after(EACH_MS, () => {
      pause = null;
      tellNewest();
    });
  }

  return {
    say(percent) {
      if (isEnded || (percent === null && newest === undefined && isFirst)) return;
      newest = percent;
      if (!pause) tellNewest();
    },
    again() {
      if (newest === undefined) return;
      told = newest;
      tell({ type: 'progress', attemptId, percent: newest });
    },
    end() {
      pause?.cancel();
      tellNewest();
      pause?.cancel();
      isEnded = true;
    },
  };
}
