// A client of ipcpipes.rpc in JavaScript: calls and streams of values, without pipes and metadata.
// docs/protocol.md specifies what it sends and receives.

import net from "node:net";
import { pack, unpack } from "./msgpack.mjs";

const KIND = {
  BIND: 1, BIND_ACK: 2, BIND_NAK: 3, REQUEST: 4, RESPONSE: 5, FAULT: 6, CREDIT: 8, ORPHANED: 10,
  PING: 11, PONG: 12, SHUTDOWN: 13, STREAM: 14, STOP: 16,
};
const END = 1; // the flag of the last STREAM
const HEAD = 16;
const MAX_FRAME = 2 ** 20; // the largest frame that this end takes
const WINDOW = 2 ** 18; // the octets of a stream that may wait here

export class Fault extends Error {
  constructor({ code, message, raised, fields }) {
    super(message);
    this.code = code;
    this.raised = raised; // the name of an exception that the interface declares
    this.fields = fields;
  }
}

export class Client {
  // Connects to the server of an interface. `streams` has the text of the pipes of each operation
  // that has some, as BIND_ACK has it.
  static async connect(address, uuid, version, streams = {}) {
    const client = new Client(net.connect(address), streams);
    client.send(KIND.BIND, {
      body: pack({ protocol: 1, uuid, version, max_frame: MAX_FRAME, credit: WINDOW }),
    });
    await client.bound;
    return client;
  }

  constructor(socket, streams) {
    this.socket = socket;
    this.expected = streams;
    this.calls = new Map();
    this.lastCall = 0;
    this.received = Buffer.alloc(0);
    this.bound = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    socket.on("data", (data) => this.take(data));
    socket.on("error", (error) => this.fail(error));
    socket.on("close", () => this.fail(new Error("the server has closed the connection")));
  }

  close() {
    this.socket.end();
  }

  // Makes a call, and returns a promise of its result. Give `streams` to send or receive values.
  call(name, args, streams = []) {
    return this.begin(name, args, streams).result;
  }

  // Yields what an operation yields.
  async *iterate(name, args) {
    const values = new Values();
    const call = this.begin(name, args, [values]);
    call.result.then(() => values.end(), (error) => values.end(error));
    try {
      yield* values;
    } finally {
      if (this.calls.has(call.id)) this.send(KIND.ORPHANED, { call: call.id });
    }
  }

  begin(name, args, streams) {
    const place = this.operations.findIndex(([one]) => one === name);
    if (place < 0) throw new Error(`the server has no operation ${name}`);
    if (this.operations[place][1] !== (this.expected[name] ?? ""))
      throw new Error(`the server has other streams for ${name}: ${this.operations[place][1]}`);
    const call = { id: ++this.lastCall, streams };
    call.result = new Promise((resolve, reject) => Object.assign(call, { resolve, reject }));
    this.calls.set(call.id, call);
    this.send(KIND.REQUEST, { call: call.id, number: place, body: pack(args) });
    streams.forEach((stream, index) => stream.open(this, call.id, index, this.credit));
    return call;
  }

  send(kind, { call = 0, number = 0, amount = 0, flags = 0, body = Buffer.alloc(0) }) {
    const frame = Buffer.alloc(4 + HEAD + body.length);
    frame.writeUInt32LE(HEAD + body.length, 0);
    frame[4] = kind;
    frame[5] = flags;
    frame.writeUInt16LE(number, 6);
    frame.writeUInt32LE(amount, 8);
    frame.writeBigUInt64LE(BigInt(call), 12);
    body.copy(frame, 4 + HEAD);
    this.socket.write(frame);
  }

  take(data) {
    this.received = Buffer.concat([this.received, data]);
    while (this.received.length >= 4) {
      const length = this.received.readUInt32LE(0);
      if (length < HEAD || length > MAX_FRAME) return this.fail(new Error("this is not a frame"));
      if (this.received.length < 4 + length) return;
      const frame = this.received.subarray(4, 4 + length);
      this.received = this.received.subarray(4 + length);
      this.handle({
        kind: frame[0],
        flags: frame[1],
        number: frame.readUInt16LE(2),
        amount: frame.readUInt32LE(4),
        call: Number(frame.readBigUInt64LE(8)),
        body: frame.subarray(HEAD),
      });
    }
  }

  handle(frame) {
    const call = this.calls.get(frame.call);
    switch (frame.kind) {
      case KIND.BIND_ACK: {
        const { operations, credit } = unpack(frame.body);
        Object.assign(this, { operations, credit });
        return this.resolve();
      }
      case KIND.BIND_NAK:
        return this.fail(new Fault(unpack(frame.body)));
      case KIND.RESPONSE:
      case KIND.FAULT:
        this.calls.delete(frame.call);
        call.streams.forEach((stream) => stream.stop?.());
        if (frame.kind === KIND.RESPONSE) return call.resolve(unpack(frame.body));
        return call.reject(new Fault(unpack(frame.body)));
      case KIND.STREAM:
        return call?.streams[frame.number].arrive(frame);
      case KIND.CREDIT:
        return call?.streams[frame.number].grant(frame.amount);
      case KIND.STOP:
        return call?.streams[frame.number].stop();
      case KIND.PING:
        return this.send(KIND.PONG, {});
      case KIND.SHUTDOWN: {
        const { code, message } = unpack(frame.body);
        if (code) this.fail(new Fault({ code, message }));
      }
    }
  }

  fail(error) {
    this.reject(error);
    this.bound.catch(() => {});
    for (const call of this.calls.values()) call.reject(error);
    this.calls.clear();
    this.socket.destroy();
  }
}

// Values that the server sends: iterate over them.
export class Values {
  constructor() {
    this.values = [];
    this.taken = 0; // octets, since the last CREDIT
    this.isOver = false;
  }

  open(client, call, number) {
    this.grantMore = (amount) => client.send(KIND.CREDIT, { call, number, amount });
  }

  arrive({ flags, body }) {
    if (body.length) this.values.push({ values: unpack(body), size: body.length });
    if (flags & END) this.end();
    this.wake?.();
  }

  end(error) {
    this.isOver = true;
    this.error ??= error;
    this.wake?.();
  }

  async *[Symbol.asyncIterator]() {
    while (true) {
      const batch = this.values.shift();
      if (batch) {
        yield* batch.values;
        this.taken += batch.size;
        if (this.taken >= WINDOW / 2 && !this.isOver) {
          this.grantMore(this.taken);
          this.taken = 0;
        }
      } else if (this.isOver) {
        if (this.error) throw this.error;
        return;
      } else {
        await new Promise((resolve) => (this.wake = resolve));
      }
    }
  }
}

// Values that go to the server, from any iterable.
export class Source {
  constructor(values) {
    this.values = values;
    this.isStopped = false;
  }

  async open(client, call, number, credit) {
    this.credit = credit;
    for await (const value of this.values) {
      while (this.credit <= 0 && !this.isStopped)
        await new Promise((resolve) => (this.wake = resolve));
      if (this.isStopped) return;
      const body = pack([value]);
      this.credit -= body.length;
      client.send(KIND.STREAM, { call, number, body });
    }
    if (!this.isStopped) client.send(KIND.STREAM, { call, number, flags: END });
  }

  grant(amount) {
    this.credit += amount;
    this.wake?.();
  }

  stop() {
    this.isStopped = true;
    this.wake?.();
  }
}
