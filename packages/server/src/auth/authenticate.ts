import { type ErrorCode, type Role, roleAllows } from '@rota/contract';
import type { Clock } from '../clock.ts';
import type { Store } from '../store/store.ts';
import type { TokenOfTenant } from '../store/tokens.ts';
import { parseCredential, secretMatches } from './credential.ts';
import type { Failures } from './failures.ts';

/** Who asks: a token, its tenant and what it may do. */
export interface Principal {
  tenantId: string;
  tenantName: string;
  /** The tenant's default zone. */
  timezone: string;
  tokenId: string;
  /** The token's name: what `createdBy` and the like say. */
  name: string;
  role: Role;
}

export type Authentication =
  | { principal: Principal }
  | { refused: ErrorCode; detail: string; retryAfterS?: number };

/** `lastUsedAt` is exact to a minute, so that reading costs no write. */
const TOUCH_EVERY_MS = 60_000;

export interface Authenticator {
  /** Who the `Authorization` header names, when its role allows what the route needs. */
  authenticate(input: { header: string | undefined; address: string; needed: Role }): Promise<Authentication>;
  /** Whether a principal's token still stands, for answers that go on for long. */
  stands(principal: Principal): Promise<boolean>;
}

/** Tokens are looked up at each request, so that a revoked one is refused from that moment on. */
export function createAuthenticator(ports: {
  store: Store;
  clock: Clock;
  failures: Failures;
}): Authenticator {
  const { store, clock, failures } = ports;

  function refuse(code: ErrorCode, detail: string, address: string): Authentication {
    const retryAfterS = failures.count(address);
    if (retryAfterS === 0) return { refused: code, detail };
    const tooMany = `Too many failed attempts from this address; try again in ${retryAfterS} s with a valid token.`;
    return { refused: 'request.tooMany', detail: tooMany, retryAfterS };
  }

  async function tokenOf(text: string): Promise<TokenOfTenant | null> {
    const credential = parseCredential('token', text);
    if (!credential) return null;
    const token = await store.findToken({ id: credential.id });
    return token && secretMatches(credential.secret, token.hash) ? token : null;
  }

  return {
    async authenticate({ header, address, needed }) {
      if (header === undefined) return { refused: 'auth.missing', detail: HOW_TO_AUTHENTICATE };
      const text = /^Bearer +(\S+) *$/i.exec(header)?.[1];
      const token = text === undefined ? null : await tokenOf(text);
      if (!token) {
        const detail = text === undefined ? HOW_TO_AUTHENTICATE : 'It is unknown, revoked or expired.';
        return refuse('auth.invalid', detail, address);
      }
      const principal = principalOf(token);
      if (!roleAllows(token.role, needed)) {
        const detail = `This needs the role ${needed}; the token "${token.name}" has ${token.role}.`;
        return { refused: 'auth.forbidden', detail };
      }
      if (token.lastUsedAt === null || token.lastUsedAt <= clock.now() - TOUCH_EVERY_MS)
        await store.touchToken({ tenantId: token.tenantId, id: token.id, everyMs: TOUCH_EVERY_MS });
      return { principal };
    },
    async stands(principal) {
      const token = await store.findToken({ id: principal.tokenId });
      return token !== null && roleAllows(token.role, principal.role);
    },
  };
}

const HOW_TO_AUTHENTICATE =
  'Send the header "Authorization: Bearer <token>". The first token is in the file admin-token of the data folder.';

function principalOf(token: TokenOfTenant): Principal {
  return {
    tenantId: token.tenantId,
    tenantName: token.tenantName,
    timezone: token.timezone,
    tokenId: token.id,
    name: token.name,
    role: token.role,
  };
}
