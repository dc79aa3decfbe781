import { AGENTS } from './plants/agents.ts';
import { DISPATCH } from './plants/dispatch.ts';
import { PLANNING } from './plants/planning.ts';
import type { Plant } from './plants/plant.ts';
import { RECOVERY } from './plants/recovery.ts';
import { SESSIONS } from './plants/sessions.ts';
import { STEPS } from './plants/steps.ts';

/** Bugs of which each must be seen by the invariant that it breaks. */
export const PLANTS: Plant[] = [...PLANNING, ...DISPATCH, ...SESSIONS, ...AGENTS, ...RECOVERY, ...STEPS];
