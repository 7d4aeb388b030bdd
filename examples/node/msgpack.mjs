// MessagePack, as far as the protocol of ipcpipes.rpc needs it: https://msgpack.org/ has libraries
// for the whole of it. Numbers are JavaScript's: integers up to 2**53, and floats of 64 bits.

export function pack(value) {
  if (value === null || value === undefined) return Buffer.from([0xc0]);
  if (typeof value === "boolean") return Buffer.from([value ? 0xc3 : 0xc2]);
  if (typeof value === "number") return packNumber(value);
  if (typeof value === "string") return packSized(Buffer.from(value), [0xd9, 0xda, 0xdb], 0xa0, 31);
  if (Buffer.isBuffer(value)) return packSized(value, [0xc4, 0xc5, 0xc6]);
  if (Array.isArray(value))
    return Buffer.concat([head(value.length, [0xdc, 0xdd], 0x90, 15), ...value.map(pack)]);
  const fields = Object.entries(value);
  return Buffer.concat([head(fields.length, [0xde, 0xdf], 0x80, 15), ...fields.flat().map(pack)]);
}

function packNumber(value) {
  const octets = Buffer.alloc(9);
  if (!Number.isSafeInteger(value)) {
    octets[0] = 0xcb;
    octets.writeDoubleBE(value, 1);
  } else if (value >= -32 && value < 128) {
    return Buffer.from([value & 0xff]);
  } else {
    octets[0] = 0xd3;
    octets.writeBigInt64BE(BigInt(value), 1);
  }
  return octets;
}

function packSized(octets, kinds, fix, most = -1) {
  const size = octets.length;
  if (size > most && size < 0x100) return Buffer.concat([Buffer.from([kinds[0], size]), octets]);
  return Buffer.concat([head(size, kinds.slice(1), fix, most), octets]);
}

// The first octets of a value with a size: in the first octet, or 16 or 32 bits after it.
function head(size, kinds, fix, most) {
  if (size <= most) return Buffer.from([fix | size]);
  const octets = Buffer.alloc(size < 0x10000 ? 3 : 5);
  octets[0] = kinds[size < 0x10000 ? 0 : 1];
  if (size < 0x10000) octets.writeUInt16BE(size, 1);
  else octets.writeUInt32BE(size, 1);
  return octets;
}

export function unpack(octets) {
  const reader = new Reader(octets);
  const value = reader.next();
  if (reader.position !== octets.length) throw new Error("there is more than one value");
  return value;
}

class Reader {
  constructor(octets) {
    this.octets = octets;
    this.position = 0;
  }

  next() {
    const kind = this.number(1);
    if (kind < 0x80) return kind;
    if (kind < 0x90) return this.map(kind & 0x0f);
    if (kind < 0xa0) return this.array(kind & 0x0f);
    if (kind < 0xc0) return this.take(kind & 0x1f).toString();
    if (kind >= 0xe0) return kind - 0x100;
    switch (kind) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return Buffer.from(this.take(this.number(1 << (kind - 0xc4))));
      case 0xca: return this.take(4).readFloatBE();
      case 0xcb: return this.take(8).readDoubleBE();
      case 0xcc: case 0xcd: case 0xce: return this.number(1 << (kind - 0xcc));
      case 0xcf: return Number(this.take(8).readBigUInt64BE());
      case 0xd0: return this.take(1).readInt8();
      case 0xd1: return this.take(2).readInt16BE();
      case 0xd2: return this.take(4).readInt32BE();
      case 0xd3: return Number(this.take(8).readBigInt64BE());
      case 0xd9: case 0xda: case 0xdb: return this.take(this.number(1 << (kind - 0xd9))).toString();
      case 0xdc: case 0xdd: return this.array(this.number(2 << (kind - 0xdc)));
      case 0xde: case 0xdf: return this.map(this.number(2 << (kind - 0xde)));
    }
    throw new Error(`this is not a value: 0x${kind.toString(16)}`);
  }

  number(size) {
    return this.take(size).readUIntBE(0, size);
  }

  take(size) {
    if (this.position + size > this.octets.length) throw new Error("the value is not complete");
    this.position += size;
    return this.octets.subarray(this.position - size, this.position);
  }

  array(count) {
    return Array.from({ length: count }, () => this.next());
  }

  map(count) {
    const found = {};
    for (let each = 0; each < count; each++) found[this.next()] = this.next();
    return found;
  }
}
