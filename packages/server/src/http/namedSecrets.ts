import { type Fault, type JobDefinition, LIMITS, nearest, requiredSecretsOf } from '@rota/contract';
import { faulty } from './errors.ts';
import type { Services } from './services.ts';

/** A job that is about to be saved or run, and where it stands in what was sent. */
export interface Naming {
  /** The job's name; empty for a run without a job. */
  job: string;
  definition: JobDefinition;
  /** Whether it was written with `steps`. */
  chained: boolean;
  path: string;
}

/** @throws Refusal `document.invalid` when a step needs a secret that there is not, for its job or for all */
export async function checkSecrets(
  { store }: Pick<Services, 'store'>,
  tenantId: string,
  namings: readonly Naming[],
): Promise<void> {
  const named = namings.flatMap((naming) =>
    naming.definition.steps.flatMap((step, index) =>
      requiredSecretsOf({ steps: [step] }).map((name) => {
        const path = `${naming.path}${naming.chained ? `steps[${index}]` : step.action.kind}`;
        return { job: naming.job, name, path };
      }),
    ),
  );
  if (named.length === 0) return;
  const known = await store.readSecretNames({ tenantId });
  const namesFor = (job: string) =>
    known.filter((each) => each.job === '' || each.job === job).map(({ name }) => name);
  const places = new Set(known.map(({ job, name }) => `${job}/${name}`));
  const missing = named.filter(({ job, name }) => !places.has(`/${name}`) && !places.has(`${job}/${name}`));
  const faults = missing.map(({ job, name, path }, index): Fault => {
    // Names are compared only for those that are told: a document may lack very many.
    const hint = index < LIMITS.faultsReported ? nearest(name, namesFor(job)) : '';
    const message = `there is no secret "${name}"${hint}; make it with \`rota secret set ${name}\``;
    return { path, code: 'value', message };
  });
  if (faults.length > 0) throw faulty('document.invalid', faults);
}
