// The numbers of pictures: those of a companion document, checked before anything is allocated and decoded when a
// picture asks for them, and those that came in a message.

import { CompanionError, fault, finite, list, oneOf, record, refuse, whole } from './strict';

export type Coding = 'f4' | 'u1' | 'q2' | 'l2';

/** What stands for an array in a picture. */
export type Ref = number;

export interface Arrays {
  /** The array that `{"array": value}` names. @throws CompanionError where there is none. */
  find(value: unknown, where: string): Ref;
  shape(ref: Ref): readonly number[];
  coding(ref: Ref): Coding;
  /** Float32, of any coding but u1; to be read only. */
  floats(ref: Ref): Float32Array;
  /** Bytes, of coding u1; to be read only. */
  bytes(ref: Ref): Uint8Array;
}

interface Spec {
  readonly coding: Coding;
  readonly shape: readonly number[];
  readonly count: number;
  /** Where its bytes begin. */
  readonly at: number;
  readonly low: number;
  readonly high: number;
  readonly base: number | null;
  /** How many arrays its differences lead back through. */
  readonly depth: number;
}

const MAX_BYTES = 2 ** 28;
const MAX_AXES = 4;
const STEPS = 65532;
const SPECIAL = [-Infinity, Infinity, NaN];
const SIZE: Readonly<Record<Coding, number>> = { f4: 4, u1: 1, q2: 2, l2: 2 };
export const CODINGS: readonly Coding[] = ['f4', 'u1', 'q2', 'l2'];

// Every MARK-th array of a chain of differences is kept, so that none is further than MARK additions away.
const MARK = 16;
const RECENT = 32;

export class StoredArrays implements Arrays {
  private readonly marks = new Map<number, Uint16Array>();
  private readonly recent = new Map<number, Uint16Array>();

  constructor(private readonly specs: readonly Spec[], private readonly data: Uint8Array<ArrayBuffer>) {}

  find(value: unknown, where: string): Ref {
    return whole(value, where, this.specs.length);
  }

  shape(index: number): readonly number[] {
    return this.specs[index]!.shape;
  }

  coding(index: number): Coding {
    return this.specs[index]!.coding;
  }

  floats(index: number): Float32Array {
    const { coding, count, low, high } = this.specs[index]!;
    if (coding === 'f4') return new Float32Array(this.bytes(index).buffer);
    const codes = this.codes(index);
    const out = new Float32Array(count);
    const range = high - low;
    const power = coding === 'l2';
    for (let k = 0; k < count; k++) {
      const code = codes[k]!;
      const value = code > STEPS ? SPECIAL[code - STEPS - 1]! : low + (range * code) / STEPS;
      out[k] = power ? Math.exp(value) : value;
    }
    return out;
  }

  bytes(index: number): Uint8Array<ArrayBuffer> {
    const { coding, count, at } = this.specs[index]!;
    return this.data.slice(at, at + SIZE[coding] * count);
  }

  private codes(index: number): Uint16Array {
    const chain: number[] = [];
    let codes: Uint16Array | undefined;
    for (let k: number | null = index; k !== null && !codes; k = this.specs[k]!.base) {
      codes = this.marks.get(k) ?? this.recent.get(k);
      if (!codes) chain.push(k);
    }
    for (const k of chain.reverse()) {
      codes = this.undo(k, codes);
      this.keep(k, codes);
    }
    return codes!;
  }

  private undo(index: number, base: Uint16Array | undefined): Uint16Array {
    const { count, at } = this.specs[index]!;
    const { data } = this;
    const codes = new Uint16Array(count);
    let before = 0;
    for (let k = 0; k < count; k++) {
      const step = data[at + k]! | (data[at + count + k]! << 8);
      before = (step + (base ? base[k]! : before)) & 0xffff;
      codes[k] = before;
    }
    return codes;
  }

  private keep(index: number, codes: Uint16Array): void {
    const { depth } = this.specs[index]!;
    if (depth && depth % MARK === 0) {
      this.marks.set(index, codes);
      return;
    }
    this.recent.set(index, codes);
    if (this.recent.size > RECENT) this.recent.delete(this.recent.keys().next().value!);
  }
}

/** A picture names an array that has not come yet. */
export class MissingArray extends CompanionError {}

/** An array as it is in memory. */
export interface Sent {
  readonly shape: readonly number[];
  readonly data: Float32Array | Uint8Array;
}

/** Arrays that are there as they are, by token. */
export class SentArrays implements Arrays {
  constructor(private readonly sent: ReadonlyMap<Ref, Sent>) {}

  find(value: unknown, where: string): Ref {
    const token = whole(value, where, Number.MAX_SAFE_INTEGER);
    if (!this.sent.has(token)) throw new MissingArray(`companion: ${where} must be an array that was sent, got ${token}.`);
    return token;
  }

  shape(ref: Ref): readonly number[] {
    return this.sent.get(ref)!.shape;
  }

  coding(ref: Ref): Coding {
    return this.sent.get(ref)!.data instanceof Uint8Array ? 'u1' : 'f4';
  }

  floats(ref: Ref): Float32Array {
    return this.sent.get(ref)!.data as Float32Array;
  }

  bytes(ref: Ref): Uint8Array {
    return this.sent.get(ref)!.data as Uint8Array;
  }
}

/**
 * Arrays out of a message: `{token: {coding, shape, data: DataView}}`.
 *
 * @throws CompanionError naming the array whose bytes do not fit its shape.
 */
export function sentArrays(raw: unknown): SentArrays {
  const entries = Object.entries(record(raw ?? {}, 'arrays')).map(([token, one]): [Ref, Sent] => {
    const where = `arrays.${token}`;
    const { coding: given, shape: axes, data } = record(one, where);
    const coding = oneOf(given, `${where}.coding`, ['f4', 'u1']);
    const shape = list(axes, `${where}.shape`).map((n, axis) => whole(n, `${where}.shape[${axis}]`, MAX_BYTES));
    const count = shape.reduce((a, b) => a * b, 1);
    if (!(data instanceof ArrayBuffer || ArrayBuffer.isView(data))) refuse(`${where}.data`, 'be binary', data);
    const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
    if (bytes.length !== SIZE[coding] * count) refuse(`${where}.data`, `be ${SIZE[coding] * count} bytes long for this shape`, bytes.length);
    if (coding === 'u1') return [Number(token), { shape, data: bytes }];
    // A buffer of a message may start anywhere; Float32Array wants a multiple of four.
    const { buffer, byteOffset } = bytes.byteOffset % 4 ? bytes.slice() : bytes;
    return [Number(token), { shape, data: new Float32Array(buffer, byteOffset, count) }];
  });
  return new SentArrays(new Map(entries));
}

/** @throws CompanionError for specs and bytes that do not fit each other. */
export async function decodeArrays(specs: unknown, data: unknown): Promise<Arrays> {
  if (typeof data !== 'string') refuse('data', 'be text in base64', data);
  const read = readSpecs(specs);
  const last = read[read.length - 1];
  return new StoredArrays(read, await inflate(data, last ? last.at + SIZE[last.coding] * last.count : 0));
}

function readSpecs(raw: unknown): Spec[] {
  const specs: Spec[] = [];
  let at = 0;
  let decoded = 0;
  list(raw, 'arrays').forEach((one, index) => {
    const where = `arrays[${index}]`;
    const r = record(one, where);
    const coding = oneOf(r.coding, `${where}.coding`, CODINGS);
    const shape = list(r.shape, `${where}.shape`).map((n, axis) => whole(n, `${where}.shape[${axis}]`, MAX_BYTES + 1));
    if (!shape.length || shape.length > MAX_AXES) refuse(`${where}.shape`, `have 1 to ${MAX_AXES} axes`, shape.length);
    const count = shape.reduce((a, b) => a * b, 1);
    decoded += count * (coding === 'u1' ? 1 : 4);
    if (decoded > MAX_BYTES) refuse('arrays', `hold at most ${MAX_BYTES} bytes when decoded`, decoded);
    const quantised = coding === 'q2' || coding === 'l2';
    const low = quantised ? finite(r.low, `${where}.low`) : 0;
    const high = quantised ? finite(r.high, `${where}.high`) : 0;
    if (!(high >= low) || !Number.isFinite(high - low)) refuse(`${where}.high`, `be at least low, ${low}`, high);
    let base: number | null = null;
    let depth = 0;
    if (r.base !== null && r.base !== undefined) {
      base = whole(r.base, `${where}.base`, index);
      const before = specs[base]!;
      const fits = quantised && (before.coding === 'q2' || before.coding === 'l2') && before.shape.join() === shape.join();
      if (!fits) fault(`${where}.base`, 'be a quantised array of the same shape, as the array itself', `array ${base}`);
      depth = before.depth + 1;
    }
    specs.push({ coding, shape, count, at, low, high, base, depth });
    at += SIZE[coding] * count;
  });
  return specs;
}

const SLICE = 1 << 18; // characters, a multiple of four

/** Decode base64 and inflate it; what comes out is collected as it comes, and no more than `length` bytes of it. */
export async function inflate(data: string, length: number, where = 'data'): Promise<Uint8Array<ArrayBuffer>> {
  if (!length) return new Uint8Array(0);
  if (typeof DecompressionStream === 'undefined') {
    throw new CompanionError('companion: this browser must offer DecompressionStream, got none. Use a version of 2023 or newer.');
  }
  const packed: Uint8Array<ArrayBuffer>[] = [];
  for (let k = 0; k < data.length; k += SLICE) packed.push(bytesOf(data.slice(k, k + SLICE), where));
  const reader = new Blob(packed).stream().pipeThrough(new DecompressionStream('deflate')).getReader();
  const parts: Uint8Array[] = [];
  let got = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      got += value.length;
      if (got > length) break;
      parts.push(value);
    }
  } catch {
    fault(where, 'be a complete zlib stream', `one that breaks after ${got} of ${length} bytes`);
  }
  if (got !== length) {
    reader.cancel().catch(() => undefined);
    fault(where, `inflate to ${length} bytes`, got > length ? 'more' : String(got));
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function bytesOf(base64: string, where: string): Uint8Array<ArrayBuffer> {
  let characters: string;
  try {
    characters = atob(base64);
  } catch {
    refuse(where, 'be text in base64', base64);
  }
  const bytes = new Uint8Array(characters.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = characters.charCodeAt(k);
  return bytes;
}
