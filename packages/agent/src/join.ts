import { mkdirSync } from 'node:fs';
import { getCACertificates } from 'node:tls';
import { createClient } from '@rota/contract';
import { systemClock } from './clock.ts';
import { checkCertificates, checkStateFolder, settleUrls } from './config.ts';
import { systemDisk } from './disk.ts';
import { readFacts } from './facts.ts';
import { generateKeys, type Identity, readIdentity, writeIdentity } from './identity.ts';
import { VERSION } from './version.ts';

export interface JoinOptions {
  /** Absolute path; made when it is not there. */
  stateFolder: string;
  /** Addresses of servers; the first takes the join. */
  urls: string[];
  /** A join token: used once. */
  token: string;
  name: string;
  labels?: Record<string, string>;
  /** Lower is asked first; default 100. */
  order?: number;
  insecure?: boolean;
  /** PEM certificates (their text) trusted beside the system's own. */
  ca?: string;
}

/**
 * Trades a join token for an identity and stores it in the state folder.
 * @throws ApiError, UnreachableError, and Error when the folder has an identity already or cannot be written
 */
export async function joinServer(options: JoinOptions): Promise<Identity> {
  const { stateFolder, labels, order } = options;
  const urls = settleUrls(options.urls, options.insecure ?? false);
  checkStateFolder(stateFolder);
  mkdirSync(stateFolder, { recursive: true, mode: 0o700 });
  const known = await readIdentity(systemDisk, stateFolder);
  if (known)
    throw new Error(
      `${stateFolder} belongs to the agent ${known.name} already; use another folder, or remove it first`,
    );
  // A folder that cannot be written should not cost the token.
  const trial = await systemDisk.open(`${stateFolder}/identity.json.new`);
  await trial.close();
  const { privateKey, publicKey } = generateKeys();
  const ca = options.ca === undefined ? null : checkCertificates(options.ca);
  const client = createClient({ url: urls[0] as string, token: null, fetch: await fetchTrusting(ca) });
  const { agentId, name, tenant, keys } = await client.call('joinAgent', {
    body: {
      token: options.token,
      name: options.name,
      publicKey,
      facts: readFacts(VERSION, systemClock),
      ...(labels && { labels }),
      ...(order !== undefined && { order }),
    },
  });
  const identity: Identity = { agentId, name, tenant, urls, privateKey, keys };
  await writeIdentity(systemDisk, stateFolder, identity);
  return identity;
}

async function fetchTrusting(ca: string | null): Promise<typeof globalThis.fetch> {
  if (ca === null) return globalThis.fetch;
  const { Agent, fetch } = await import('undici');
  const dispatcher = new Agent({ connect: { ca: [...getCACertificates('default'), ca] } });
  return ((input: string, init: object) =>
    fetch(input, { ...init, dispatcher })) as unknown as typeof globalThis.fetch;
}
