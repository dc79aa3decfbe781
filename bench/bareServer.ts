// The least that fastify does for a JSON answer: prints its address, answers /bytes/<n> with about n bytes.
import type { AddressInfo } from 'node:net';
import Fastify from 'fastify';

const app = Fastify();
const answers = new Map<number, { text: string }>();
app.get<{ Params: { bytes: string } }>('/bytes/:bytes', async (request) => {
  const bytes = Number(request.params.bytes);
  let answer = answers.get(bytes);
  if (!answer) {
    answer = { text: 'x'.repeat(Math.max(0, bytes - '{"text":""}'.length)) };
    answers.set(bytes, answer);
  }
  return answer;
});
await app.listen({ port: 0, host: '127.0.0.1' });
console.log(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`);
