import { LIMITS } from '@rota/contract';
import { change, type Operation, row, rows, type Transaction } from './operation.ts';
import type { AttemptRow } from './tables.ts';

export interface NewChunk {
  seq: number;
  stream: 'stdout' | 'stderr';
  atMs: number;
  droppedBytes: number;
  data: Uint8Array;
}

/**
 * Stores output that is newer than what is stored. The first `outputHeadBytes` stay; beyond them only the last
 * `outputTailBytes`, and the chunk after a hole says how much is missing.
 * @returns up to which seq everything is stored; null when the attempt is not this agent's
 */
export function* storeOutput(
  { dialect }: Transaction,
  input: { tenantId: string; agentId: string; attemptId: string; chunks: NewChunk[] },
): Operation<number | null> {
  const attempt = yield* row<AttemptRow>(
    `select * from "attempts" where "tenantId" = ? and "id" = ? and "agentId" = ? ${dialect.forUpdate}`,
    input.tenantId,
    input.attemptId,
    input.agentId,
  );
  if (!attempt) return null;
  let { reportedSeq, headBytes, tailBytes, outputBytes } = attempt;
  for (const chunk of input.chunks) {
    if (chunk.seq <= reportedSeq) continue;
    const size = chunk.data.byteLength;
    const head = tailBytes === 0 && headBytes + size <= LIMITS.outputHeadBytes;
    yield* change(
      `insert into "output" ("tenantId", "attemptId", "seq", "stream", "atMs", "droppedBytes", "head", "data")
       values (?, ?, ?, ?, ?, ?, ?, ?)`,
      input.tenantId,
      input.attemptId,
      chunk.seq,
      chunk.stream,
      chunk.atMs,
      chunk.droppedBytes,
      head ? 1 : 0,
      chunk.data,
    );
    if (head) headBytes += size;
    else tailBytes += size;
    outputBytes += size + chunk.droppedBytes;
    reportedSeq = chunk.seq;
  }
  if (tailBytes > LIMITS.outputTailBytes)
    tailBytes -= yield* dropOldTail(input, tailBytes - LIMITS.outputTailBytes);
  yield* change(
    `update "attempts" set "reportedSeq" = ?, "headBytes" = ?, "tailBytes" = ?, "outputBytes" = ?, "outputDroppedBytes" = ?
     where "tenantId" = ? and "id" = ?`,
    reportedSeq,
    headBytes,
    tailBytes,
    outputBytes,
    outputBytes - headBytes - tailBytes,
    input.tenantId,
    input.attemptId,
  );
  return reportedSeq;
}

/** Drops at least `excess` bytes of the oldest tail chunks, and says so in the chunk that is then the oldest. */
function* dropOldTail(input: { tenantId: string; attemptId: string }, excess: number): Operation<number> {
  let freed = 0;
  let missing = 0;
  let last = -1;
  while (freed < excess) {
    const oldest = yield* rows<{ seq: number; size: number; droppedBytes: number }>(
      `select "seq", length("data") as "size", "droppedBytes" from "output" where "tenantId" = ? and "attemptId" = ? and "head" = 0
       and "seq" > ? order by "seq" limit 200`,
      input.tenantId,
      input.attemptId,
      last,
    );
    if (oldest.length === 0) break;
    for (const chunk of oldest) {
      if (freed >= excess) break;
      freed += chunk.size;
      missing += chunk.size + chunk.droppedBytes;
      last = chunk.seq;
    }
  }
  yield* change(
    'delete from "output" where "tenantId" = ? and "attemptId" = ? and "head" = 0 and "seq" <= ?',
    input.tenantId,
    input.attemptId,
    last,
  );
  yield* change(
    `update "output" set "droppedBytes" = "droppedBytes" + ? where "tenantId" = ? and "attemptId" = ? and "seq" =
       (select min("seq") from "output" where "tenantId" = ? and "attemptId" = ? and "head" = 0)`,
    missing,
    input.tenantId,
    input.attemptId,
    input.tenantId,
    input.attemptId,
  );
  return freed;
}
