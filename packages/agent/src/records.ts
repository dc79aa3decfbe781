import { crc32 } from 'node:zlib';

/**
 * Framing of everything that the agent writes to disk: length (u32), CRC-32 of length and payload (u32), payload.
 * Little endian. A length of 0 is where the log ends, so a file may be filled with zeros ahead of its records.
 */
export const FRAME_HEADER = 8;

/** Longest payload: what claims to be longer is damage. */
const PAYLOAD_MAX = 16 * 1024 * 1024;

export type FrameRead =
  | { kind: 'frame'; payload: Buffer; next: number }
  /** Nothing more was written. */
  | { kind: 'end' }
  /** The bytes stop in the middle of a frame. */
  | { kind: 'short' }
  /** The bytes are no frame. */
  | { kind: 'damaged' };

/** @throws RangeError when the payload is empty or too long */
export function frame(payload: Uint8Array): Buffer {
  if (payload.length === 0 || payload.length > PAYLOAD_MAX)
    throw new RangeError(`a record of ${payload.length} bytes: must have 1 to ${PAYLOAD_MAX}`);
  const out = Buffer.allocUnsafe(FRAME_HEADER + payload.length);
  out.writeUInt32LE(payload.length, 0);
  out.set(payload, FRAME_HEADER);
  out.writeUInt32LE(checksum(out, payload), 4);
  return out;
}

/** Reads the frame at `offset`; never throws. */
export function readFrame(data: Buffer, offset: number): FrameRead {
  if (offset >= data.length) return { kind: 'end' };
  if (offset + FRAME_HEADER > data.length) return { kind: 'short' };
  const length = data.readUInt32LE(offset);
  if (length === 0) return data.readUInt32LE(offset + 4) === 0 ? { kind: 'end' } : { kind: 'damaged' };
  if (length > PAYLOAD_MAX) return { kind: 'damaged' };
  const next = offset + FRAME_HEADER + length;
  if (next > data.length) return { kind: 'short' };
  const payload = data.subarray(offset + FRAME_HEADER, next);
  const header = data.subarray(offset, offset + 4);
  return checksum(header, payload) === data.readUInt32LE(offset + 4)
    ? { kind: 'frame', payload, next }
    : { kind: 'damaged' };
}

function checksum(header: Buffer, payload: Uint8Array): number {
  return crc32(payload, crc32(header.subarray(0, 4)));
}
