import assert from 'node:assert/strict';
import { lookup } from 'node:dns';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createSocketServer, type Server } from 'node:net';
import { after, test } from 'node:test';
import { defineHttp, type HttpAction } from '@rota/contract';
import { generate } from 'selfsigned';
import { systemClock } from '../clock.ts';
import { NO_HTTP_SETTINGS } from '../helperProtocol.ts';
import type { Ending, Execution, ExecutorPorts, StepTask } from './execution.ts';
import { executeHttp } from './http.ts';
import { createCookies } from './httpCookies.ts';
import { isExpected } from './httpExpect.ts';
import { reasonOf } from './httpFault.ts';
import { firstRequest, openBody } from './httpRequest.ts';

const servers: { closeAllConnections?(): void; close(): void }[] = [];
after(() => {
  for (const server of servers) {
    server.closeAllConnections?.();
    server.close();
  }
});

async function listen(server: Server): Promise<string> {
  servers.push(server as Server & { closeAllConnections?(): void });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const serve = async (answer: (request: IncomingMessage, response: ServerResponse) => void) =>
  `http://${await listen(createServer(answer))}`;

function step(url: string, changes: Partial<HttpAction> = {}): HttpAction {
  return { ...defineHttp({ url, timeout: '10s' }), ...changes };
}

async function run(
  url: string,
  changes: Partial<HttpAction> = {},
  onBegun?: (end: Execution['end']) => void,
): Promise<Ending & { output: string }> {
  let output = '';
  const ports = {
    clock: systemClock,
    http: { settings: NO_HTTP_SETTINGS, lookup, cookies: createCookies() },
    output: (_stream: string, data: Buffer) => {
      output += data.toString();
    },
  } as unknown as ExecutorPorts;
  const prepared = await executeHttp(
    { attemptId: 'attempt-1', steps: [{}], step: 'main' } as StepTask,
    step(url, changes),
    ports,
  );
  const execution = prepared.begin();
  onBegun?.(execution.end);
  return { ...(await execution.ended), output };
}

/** Answers with what came. */
const echo = (request: IncomingMessage, response: ServerResponse) => {
  let body = '';
  request.on('data', (data) => {
    body += data;
  });
  request.on('end', () => {
    const { method, url, headers } = request;
    response.setHeader('set-cookie', 'secret=1');
    response.end(JSON.stringify({ method, url, headers, body }));
  });
};

test('a request carries method, query, headers, body, its key and who it is', async () => {
  const url = await serve(echo);
  const ending = await run(`${url}/path?a=1`, {
    method: 'POST',
    query: { b: 'x y' },
    headers: { 'X-Mode': 'full' },
    body: { type: 'json', json: { n: 1 } },
  });
  const got = JSON.parse(ending.output);
  assert.equal(ending.outcome, 'succeeded');
  assert.deepEqual([got.method, got.url, got.body], ['POST', '/path?a=1&b=x+y', '{"n":1}']);
  assert.equal(got.headers['content-type'], 'application/json');
  assert.equal(got.headers['idempotency-key'], 'attempt-1');
  assert.match(got.headers['user-agent'], /^rota\//);
  assert.equal(got.headers['x-mode'], 'full');
  assert.equal(ending.http?.status, 200);
  assert.equal(ending.http?.headers['set-cookie'], undefined);
});

test('forms and plain text have their types, and headers of the step win', async () => {
  const task = { attemptId: 'a', steps: [], step: 'main' };
  const body = { type: 'form', form: { a: '1 2' } } as const;
  const form = firstRequest(task, step('http://x/', { body }));
  assert.deepEqual(
    [form.headers['content-type'], await openBody(body)],
    ['application/x-www-form-urlencoded', 'a=1+2'],
  );
  const raw = firstRequest(
    task,
    step('http://x/', {
      body: { type: 'raw', text: '<a/>' },
      headers: { 'Content-Type': 'text/xml', 'Idempotency-Key': 'own' },
    }),
  );
  assert.deepEqual([raw.headers['content-type'], raw.headers['idempotency-key']], ['text/xml', 'own']);
  const login = firstRequest(task, step('http://us%40r:pa%3Ass@x/'));
  assert.equal(login.url, 'http://x/');
  assert.equal(login.headers.authorization, `Basic ${Buffer.from('us@r:pa:ss').toString('base64')}`);
});

test('a status is expected by number, class or range', () => {
  assert.ok(isExpected(204, ['2xx']) && isExpected(404, ['200', '404']) && isExpected(202, ['200-204']));
  assert.ok(!isExpected(300, ['2xx']) && !isExpected(205, ['200-204']) && !isExpected(201, ['200']));
});

test('a status that is not expected fails, with a sample of the answer', async () => {
  const url = await serve((_request, response) => response.writeHead(503).end('busy'));
  const ending = await run(url);
  assert.deepEqual(
    [ending.outcome, ending.reason, ending.http?.status, ending.output],
    ['failed', 'httpStatus', 503, 'busy'],
  );
  assert.equal((await run(url, { expectStatus: ['503'] })).outcome, 'succeeded');
});

test('of a long answer a bounded sample is kept', async () => {
  const url = await serve((_request, response) => response.end(Buffer.alloc(5_000_000, 'x')));
  const ending = await run(url);
  assert.equal(ending.outcome, 'succeeded');
  assert.equal(ending.output.length, 64 * 1024);
});

test('redirects are followed to their end, and not for ever', async () => {
  const url = await serve((request, response) => {
    const left = Number(request.url?.slice(1));
    if (left > 0) response.writeHead(302, { location: `/${left - 1}` }).end();
    else response.end('there');
  });
  const ending = await run(`${url}/3`);
  assert.deepEqual(
    [ending.outcome, ending.http?.redirects, ending.http?.url, ending.output],
    ['succeeded', 3, `${url}/0`, 'there'],
  );
  const loop = await run(`${url}/9`, { redirects: 2 });
  assert.deepEqual([loop.reason, loop.http?.redirects], ['httpRedirect', 2]);
  assert.equal((await run(`${url}/1`, { redirects: 0, expectStatus: ['302'] })).outcome, 'succeeded');
});

test('a redirect to another server carries no credentials, and one that is no address fails', async () => {
  const other = await serve(echo);
  const url = await serve((request, response) =>
    response
      .writeHead(request.url === '/bad' ? 301 : 307, {
        location: request.url === '/bad' ? 'ftp://x/' : other,
      })
      .end(),
  );
  const headers = { Authorization: 'Bearer secret', Cookie: 'a=1', 'X-Kept': '1' };
  const ending = await run(url, { method: 'POST', headers, body: { type: 'raw', text: 'hi' } });
  const got = JSON.parse(ending.output);
  assert.deepEqual([got.method, got.body, got.headers['x-kept']], ['POST', 'hi', '1']);
  assert.deepEqual([got.headers.authorization, got.headers.cookie], [undefined, undefined]);
  assert.equal((await run(`${url}/bad`)).reason, 'httpRedirect');
});

test('a POST that is sent on by 303 becomes a GET without its body', async () => {
  const url = await serve((request, response) =>
    request.url === '/' ? response.writeHead(303, { location: '/next' }).end() : echo(request, response),
  );
  const got = JSON.parse((await run(url, { method: 'POST', body: { type: 'raw', text: 'hi' } })).output);
  assert.deepEqual([got.method, got.body, got.headers['content-type']], ['GET', '', undefined]);
});

test('a name that does not exist is httpDns', async () => {
  const ending = await run('http://nothing-here.invalid/');
  assert.equal(ending.reason, 'httpDns');
});

test('a port that nobody listens on is httpRefused', async () => {
  const server = createSocketServer();
  const address = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  assert.equal((await run(`http://${address}/`)).reason, 'httpRefused');
});

test('no whole answer in time is httpTimeout, also when it trickles', async () => {
  const silent = await serve(() => {});
  assert.equal((await run(silent, { timeoutMs: 50 })).reason, 'httpTimeout');
  const trickle = await serve((_request, response) => {
    response.writeHead(200);
    response.write('a');
  });
  assert.equal((await run(trickle, { timeoutMs: 100 })).reason, 'httpTimeout');
});

test('a connection that is cut before or in the answer is httpReset', async () => {
  const before = await serve((request) => request.socket.destroy());
  assert.equal((await run(before)).reason, 'httpReset');
  const within = await serve((_request, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('part', () => response.socket?.destroy());
  });
  assert.equal((await run(within)).reason, 'httpReset');
});

test('a certificate that nobody trusts, and a server that speaks no TLS, are httpTls', async () => {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }]);
  const server = createTlsServer({ cert, key });
  assert.equal((await run(`https://${await listen(server)}/`)).reason, 'httpTls');
  const plain = await serve((_request, response) => response.end());
  assert.equal((await run(plain.replace('http', 'https'))).reason, 'httpTls');
});

test('a request can be ended', async () => {
  const arrived = Promise.withResolvers<void>();
  const url = await serve(() => arrived.resolve());
  const ending = await run(url, {}, (end) => void arrived.promise.then(() => end(0, 'attempt')));
  assert.equal(ending.outcome, 'failed');
});

test('an address that is none is refused before anything is sent', async () => {
  await assert.rejects(run('nonsense'), /is not a URL/);
  await assert.rejects(run('file:///etc/passwd'), /http:\/\/ or https:\/\//);
});

test('causes are told by the codes of the connection', () => {
  assert.equal(reasonOf('EAI_AGAIN'), 'httpDns');
  assert.equal(reasonOf('ERR_TLS_CERT_ALTNAME_INVALID'), 'httpTls');
  assert.equal(reasonOf('EHOSTUNREACH'), 'httpFailed');
});
