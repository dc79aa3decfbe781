import { type JobDefinition, type ParamValue, readParams } from '@rota/contract';

/** The values of a run's parameters: those that it was triggered with, else the defaults of its definition. */
export function paramsOf(
  definition: Pick<JobDefinition, 'params'>,
  run: { paramsJson: string | null },
): Record<string, ParamValue> {
  if (run.paramsJson !== null) return JSON.parse(run.paramsJson) as Record<string, ParamValue>;
  const read = readParams(definition, {});
  return 'params' in read ? read.params : {};
}
