import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readJob } from './define.ts';
import type { Fault } from './faults.ts';

/** Fields that make a job bad; the path and the words of the one fault that they give. */
export type BadJob = [title: string, fields: Record<string, unknown>, path: string, message: RegExp];

export function faultsOfJob(fields: Record<string, unknown>): Fault[] {
  const result = readJob({ name: 'a', ...fields }, { timezone: 'UTC' });
  return 'faults' in result ? result.faults : [];
}

/** A test for each bad job, beside what is good of all of them. */
export function testBadJobs(jobs: BadJob[], good: Record<string, unknown> = {}): void {
  for (const [title, fields, path, message] of jobs) {
    test(`A job with ${title} gives one fault that names it`, () => {
      const faults = faultsOfJob({ ...good, ...fields });
      assert.equal(faults.length, 1, JSON.stringify(faults));
      assert.equal(faults[0]?.path, path);
      assert.match(faults[0]?.message ?? '', message);
    });
  }
}
