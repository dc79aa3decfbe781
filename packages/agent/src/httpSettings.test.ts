import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { defineHttp } from '@rota/contract';
import { agents, server, start } from './agentFixture.testing.ts';
import type { HttpSettings } from './helperProtocol.ts';

/** The session before ends; its helper stays. */
async function startAgain(http: Partial<HttpSettings>): Promise<void> {
  await agents.pop()?.stop();
  const known = server.messages.length;
  await start({ http });
  await server.heard('status', () => true, known);
}

test('what an agent forbids its requests holds from its start on, also with the helper that was there', async () => {
  const target = createServer((_request, response) => response.end('reached'));
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve));
  try {
    const step = defineHttp({ url: `http://127.0.0.1:${(target.address() as AddressInfo).port}/` });
    await start();
    assert.equal((await server.ended(await server.run(step))).outcome, 'succeeded');
    await startAgain({ deny: ['127.0.0.0/8'] });
    const blocked = await server.ended(await server.run(step));
    assert.equal(blocked.reason, 'httpBlocked');
    assert.match(blocked.error ?? '', /127\.0\.0\.0\/8 \(--http-deny\)/);
    await startAgain({ strict: true });
    assert.equal((await server.ended(await server.run(step))).reason, 'httpBlocked');
  } finally {
    target.closeAllConnections();
    target.close();
  }
});
