/** A piece of a byte stream: one WebSocket message, or bytes that are none. */
export interface Piece {
  bytes: Buffer;
  /** The text of a text message; null for all else. */
  text: string | null;
}

const TEXT = 1;
const CONTINUATION = 0;

/** Cuts one direction of an HTTP connection that may become a WebSocket into messages. Before the upgrade all bytes are opaque. */
export class MessageFrames {
  #rest: Buffer = Buffer.alloc(0);
  #phase: 'head' | 'opaque' | 'messages' = 'head';

  /** @throws Error when a message comes in fragments, which nobody here sends */
  take(chunk: Buffer): Piece[] {
    const pieces: Piece[] = [];
    this.#rest = Buffer.concat([this.#rest, chunk]);
    if (this.#phase === 'head') {
      const end = this.#rest.indexOf('\r\n\r\n');
      if (end === -1) return this.#pass(pieces, 0);
      const head = this.#rest.toString('latin1', 0, end);
      this.#phase = /^upgrade: *websocket/im.test(head) ? 'messages' : 'opaque';
      this.#pass(pieces, end + 4);
    }
    if (this.#phase === 'opaque') return this.#pass(pieces, this.#rest.length);
    for (let length = this.#frameLength(); length !== null; length = this.#frameLength()) {
      const opcode = (this.#rest[0] as number) & 0x0f;
      if (opcode === CONTINUATION) throw new Error('a message came in fragments');
      const text = opcode === TEXT ? this.#text(length) : null;
      pieces.push({ bytes: this.#rest.subarray(0, length), text });
      this.#rest = this.#rest.subarray(length);
    }
    return pieces;
  }

  #pass(pieces: Piece[], length: number): Piece[] {
    if (length > 0) pieces.push({ bytes: this.#rest.subarray(0, length), text: null });
    this.#rest = this.#rest.subarray(length);
    return pieces;
  }

  /** Length of the head of the frame at the front, and of what it carries; null while the head is not complete. */
  #head(): { head: number; payload: number; masked: boolean } | null {
    const second = this.#rest[1];
    if (second === undefined) return null;
    const masked = (second & 0x80) !== 0;
    const short = second & 0x7f;
    const extended = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (this.#rest.length < 2 + extended) return null;
    const payload =
      short === 126
        ? this.#rest.readUInt16BE(2)
        : short === 127
          ? Number(this.#rest.readBigUInt64BE(2))
          : short;
    return { head: 2 + extended + (masked ? 4 : 0), payload, masked };
  }

  #frameLength(): number | null {
    const head = this.#head();
    if (head === null || this.#rest.length < head.head + head.payload) return null;
    return head.head + head.payload;
  }

  #text(length: number): string {
    const { head, masked } = this.#head() as { head: number; masked: boolean };
    const payload = Buffer.from(this.#rest.subarray(head, length));
    if (masked) {
      const key = this.#rest.subarray(head - 4, head);
      for (let index = 0; index < payload.length; index++)
        payload[index] = (payload[index] as number) ^ (key[index % 4] as number);
    }
    return payload.toString('utf8');
  }
}
