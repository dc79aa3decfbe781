import { connect, createServer, type Server, type Socket } from 'node:net';

/** What a pooler takes of a client's start; it cannot give each client its own settings. */
const STARTUP = new Set(['user', 'database', 'application_name', 'client_encoding']);
/** What leans on a session, and so on nobody's under a pooler in transaction mode. */
const SESSION =
  /^\s*(listen|unlisten|prepare|deallocate|load|discard|set\s+(?!local|transaction)|select\s+(pg_advisory_lock|pg_try_advisory_lock)\b|declare\s.*\bwith\s+hold|create\s+temp)/i;

const SSL_REQUEST = 80_877_103;

/**
 * A pooler in transaction mode, as PgBouncer is one: whoever begins a transaction gets one of its few connections, and the next
 * transaction another one. Nothing of a session is kept or cleared in between.
 */
export class TestPooler {
  /** What clients said that a pooler cannot give. */
  readonly misused: string[] = [];
  /** Transactions that got another connection than the one before of the same client. */
  moved = 0;
  readonly #server: Server;
  readonly #target: { host: string; port: number; user: string; database: string };
  readonly #size: number;
  readonly #sockets = new Set<Socket>();
  #upstreams = 0;
  readonly #free: Upstream[] = [];
  readonly #waiting: ((upstream: Upstream) => void)[] = [];

  constructor(target: { host: string; port: number; user: string; database: string }, size: number) {
    this.#target = target;
    this.#size = size;
    this.#server = createServer((socket) => {
      this.#track(socket);
      new Client(this, socket);
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as { port: number }).port;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  /** The connection that was used the longest time ago, so that nobody keeps one for long. */
  async take(): Promise<Upstream> {
    const free = this.#free.shift();
    if (free) return free;
    if (this.#upstreams < this.#size) {
      this.#upstreams += 1;
      const socket = connect(this.#target.port, this.#target.host);
      this.#track(socket);
      const upstream = new Upstream(socket);
      await upstream.start(this.#target);
      return upstream;
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  give(upstream: Upstream): void {
    const next = this.#waiting.shift();
    if (next) next(upstream);
    else this.#free.push(upstream);
  }

  /** A connection that a client left in the middle of something. */
  drop(upstream: Upstream): void {
    upstream.socket.destroy();
    this.#upstreams -= 1;
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }
}

/** Cuts a stream of messages: a letter, and four bytes of length that count themselves. */
class Messages {
  #rest: Buffer = Buffer.alloc(0);

  *read(data: Buffer): Generator<{ type: string; bytes: Buffer; body: Buffer }> {
    this.#rest = Buffer.concat([this.#rest, data]);
    while (this.#rest.length >= 5) {
      const end = 1 + this.#rest.readInt32BE(1);
      if (this.#rest.length < end) return;
      const bytes = this.#rest.subarray(0, end);
      this.#rest = this.#rest.subarray(end);
      yield { type: String.fromCharCode(bytes[0] as number), bytes, body: bytes.subarray(5) };
    }
  }
}

/** A connection to the database, which clients have in turn. */
class Upstream {
  readonly socket: Socket;
  readonly #messages = new Messages();
  hear: (type: string, bytes: Buffer, body: Buffer) => void = () => {};
  gone: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (data) => {
      for (const { type, bytes, body } of this.#messages.read(data)) this.hear(type, bytes, body);
    });
    socket.on('close', () => this.gone());
  }

  start({ user, database }: { user: string; database: string }): Promise<void> {
    const words = Buffer.from(['user', user, 'database', database, '', ''].join('\0'), 'utf8');
    const head = Buffer.alloc(8);
    head.writeInt32BE(8 + words.length, 0);
    head.writeInt32BE(196_608, 4);
    this.socket.write(Buffer.concat([head, words]));
    return new Promise((resolve, reject) => {
      this.hear = (type, _bytes, body) => {
        if (type === 'Z') resolve();
        else if (type === 'E') reject(new Error(body.toString('latin1')));
      };
    });
  }
}

class Client {
  readonly #pooler: TestPooler;
  readonly #socket: Socket;
  readonly #messages = new Messages();
  #started = false;
  #upstream: Upstream | null = null;
  #last: Upstream | null = null;
  #asking = false;
  /** What came while no connection was there. */
  #held: Buffer[] = [];
  /** Ends of a request that the database has not answered yet. */
  #open = 0;

  constructor(pooler: TestPooler, socket: Socket) {
    this.#pooler = pooler;
    this.#socket = socket;
    socket.on('data', (data) => this.#hear(data));
    socket.on('close', () => {
      if (this.#upstream) pooler.drop(this.#upstream);
      this.#upstream = null;
    });
  }

  #hear(data: Buffer): void {
    if (!this.#started) {
      this.#start(data);
      return;
    }
    for (const { type, bytes, body } of this.#messages.read(data)) {
      if (type === 'X') {
        this.#socket.end();
        return;
      }
      if (type === 'Q' || type === 'P') this.#judge(type, body);
      if (type === 'Q' || type === 'S') this.#open += 1;
      if (this.#upstream) this.#upstream.socket.write(bytes);
      else this.#held.push(bytes);
    }
    if (!this.#upstream && this.#held.length > 0 && !this.#asking) void this.#ask();
  }

  #start(data: Buffer): void {
    if (data.readInt32BE(4) === SSL_REQUEST) {
      this.#socket.write('N');
      return;
    }
    const words = data.subarray(8, data.readInt32BE(0)).toString('utf8').split('\0');
    const unknown = words.filter((word, index) => index % 2 === 0 && word !== '' && !STARTUP.has(word));
    if (unknown.length > 0) {
      this.#socket.end(fatal(`unsupported startup parameter: ${unknown[0]}`));
      return;
    }
    this.#started = true;
    const key = Buffer.alloc(8);
    this.#socket.write(
      Buffer.concat([message('R', Buffer.alloc(4)), message('K', key), message('Z', Buffer.from('I'))]),
    );
  }

  #judge(type: string, body: Buffer): void {
    const [name = '', text = ''] = body.toString('utf8').split('\0');
    const statement = type === 'Q' ? name : text;
    if (type === 'P' && name !== '') this.#pooler.misused.push(`a statement with the name ${name}`);
    for (const each of statement.split(';')) if (SESSION.test(each)) this.#pooler.misused.push(each.trim());
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    const upstream = await this.#pooler.take();
    this.#asking = false;
    if (this.#socket.destroyed) {
      this.#pooler.give(upstream);
      return;
    }
    if (this.#last && this.#last !== upstream) this.#pooler.moved += 1;
    this.#last = upstream;
    this.#upstream = upstream;
    upstream.gone = () => this.#socket.destroy();
    upstream.hear = (type, bytes, body) => {
      this.#socket.write(bytes);
      if (type !== 'Z') return;
      this.#open -= 1;
      if (String.fromCharCode(body[0] as number) !== 'I' || this.#open > 0) return;
      this.#upstream = null;
      upstream.gone = () => {};
      this.#pooler.give(upstream);
    };
    for (const bytes of this.#held.splice(0)) upstream.socket.write(bytes);
  }
}

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0);
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

function fatal(text: string): Buffer {
  return message('E', Buffer.from(`SFATAL\0VFATAL\0C08P01\0M${text}\0\0`));
}
