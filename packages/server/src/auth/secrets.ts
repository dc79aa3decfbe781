import type { SecretSource } from '@rota/contract';
import type { Random } from '../random.ts';
import type { RotatedSecret, SecretContent, SecretKey } from '../store/secrets.ts';
import type { Store } from '../store/store.ts';
import type { SecretRow } from '../store/tables.ts';
import { checkOf, type Keyring, type MasterKey, MasterKeyError, openBytes, sealBytes } from './masterKey.ts';

/** Encrypts what is stored of secrets, and opens it for permits: the only place that has both a value and its key. */
export interface Vault {
  /** Where the keys are. */
  readonly file: string;
  /** @throws MasterKeyError when this server's file lacks the active key */
  seal(place: SecretKey, value: string): Promise<SecretContent>;
  /** Where each secret of a permit comes from. @throws SecretUnreadableError */
  sourcesOf(secrets: readonly SecretRow[]): Record<string, SecretSource>;
  /** Begins or goes on with the change to another master key. @throws MasterKeyError, KeyNotSharedError */
  rotate(input: {
    by: string;
    /** Only write the new key to the file. */
    prepare: boolean;
    /** Nobody else needs to be given the new key. */
    alone: boolean;
  }): Promise<Rotation>;
}

/** How far the change to another master key has come. */
export interface Rotation {
  keyId: string;
  /** False: it was only prepared. */
  active: boolean;
  /** Values that were encrypted anew. */
  encrypted: number;
  /** Values that could not be, since nobody can open them. */
  unreadable: number;
}

/** A stored value cannot be opened here: its key is not at hand, or the row is not what was stored. */
export class SecretUnreadableError extends Error {
  constructor({ name, keyId }: SecretRow, cause: string) {
    super(`the secret ${name} cannot be read by this server: ${cause} (master key ${keyId})`);
    this.name = 'SecretUnreadableError';
  }
}

/** Other servers would not be able to read what is encrypted under a new key. */
export class KeyNotSharedError extends Error {
  constructor() {
    super('other servers live on this database, and would lack the new key');
    this.name = 'KeyNotSharedError';
  }
}

/** Values that are encrypted anew in one transaction. */
const ROTATED_AT_ONCE = 100;

export function createVault(ports: {
  keyring: Keyring;
  store: Pick<Store, 'readMasterKeys' | 'activateMasterKey' | 'readSecretsToRotate' | 'rotateSecrets'>;
  random: Random;
}): Vault {
  const { keyring, store, random } = ports;

  async function activeKey(): Promise<MasterKey> {
    const [active] = await store.readMasterKeys({});
    const key = active && keyring.find(active.id);
    if (!key) throw new MasterKeyError(lacks(active?.id ?? ''));
    return key;
  }

  const lacks = (id: string) =>
    `the master key file ${keyring.file} of this server lacks the key ${id}: copy the file of the server that made it`;

  function open(secret: SecretRow): string {
    const key = keyring.find(secret.keyId ?? '');
    if (key === null) throw new SecretUnreadableError(secret, `${keyring.file} lacks its key`);
    try {
      return openBytes(key.key, secret.sealed ?? new Uint8Array(), boundTo(secret, key.id)).toString();
    } catch {
      throw new SecretUnreadableError(secret, 'what is stored was not encrypted for its place');
    }
  }

  function seal(place: SecretKey, value: string, key: MasterKey): Uint8Array {
    return sealBytes(key.key, Buffer.from(value), boundTo(place, key.id), random);
  }

  async function encryptAll(key: MasterKey, by: string): Promise<Rotation> {
    const rotation: Rotation = { keyId: key.id, active: true, encrypted: 0, unreadable: 0 };
    for (let after: SecretKey | null = null; ; ) {
      const batch: SecretRow[] = await store.readSecretsToRotate({
        keyId: key.id,
        after,
        limit: ROTATED_AT_ONCE,
      });
      const last = batch.at(-1);
      if (!last) return rotation;
      const secrets = batch.flatMap((secret) => sealedAnew(secret, key));
      rotation.unreadable += batch.length - secrets.length;
      rotation.encrypted += await store.rotateSecrets({ keyId: key.id, secrets, by });
      after = last;
    }
  }

  /** Nothing when it cannot be opened: what is lost must not keep all others under their old key. */
  function sealedAnew(secret: SecretRow, key: MasterKey): RotatedSecret[] {
    const { tenantId, job, name, version, keyId } = secret;
    try {
      const sealed = seal(secret, open(secret), key);
      return [{ tenantId, job, name, version, oldKeyId: keyId ?? '', sealed }];
    } catch (error) {
      if (error instanceof SecretUnreadableError) return [];
      throw error;
    }
  }

  return {
    file: keyring.file,

    async seal(place, value) {
      const key = await activeKey();
      return { kind: 'server', keyId: key.id, sealed: seal(place, value, key), reference: null };
    },

    sourcesOf(secrets) {
      return Object.fromEntries(secrets.map((secret) => [secret.name, sourceOf(secret)]));
    },

    async rotate({ by, prepare, alone }) {
      const active = await activeKey();
      const first = keyring.first();
      // The file may be another one by now: without the keys of what there is nothing can be encrypted anew.
      if (keyring.find(active.id) === null) throw new MasterKeyError(lacks(active.id));
      // A new key that was made before, by whom that may have been, comes to its use first.
      if (first.id === active.id && !prepare) {
        const rest = await encryptAll(active, by);
        if (rest.encrypted > 0) return rest;
        if (!alone) throw new KeyNotSharedError();
      }
      const next = first.id === active.id ? keyring.add() : first;
      if (prepare) return { keyId: next.id, active: false, encrypted: 0, unreadable: 0 };
      const check = checkOf(next, random);
      if (!(await store.activateMasterKey({ id: next.id, check, instead: active.id })))
        throw new MasterKeyError('another server has just changed the master key; ask again');
      return encryptAll(next, by);
    },
  };

  function sourceOf(secret: SecretRow): SecretSource {
    switch (secret.kind) {
      case 'server':
        return { from: 'server', value: open(secret) };
      case 'agentEnv':
        return { from: 'agentEnv', name: secret.reference ?? '' };
      case 'agentFile':
        return { from: 'agentFile', path: secret.reference ?? '' };
      default:
        return secret.kind satisfies never;
    }
  }
}

/** What a value is bound to: moved to another tenant, job or name, or said to be of another key, it cannot be opened. */
function boundTo({ tenantId, job, name }: SecretKey, keyId: string): string {
  return JSON.stringify(['rota-secret-v1', tenantId, job, name, keyId]);
}
