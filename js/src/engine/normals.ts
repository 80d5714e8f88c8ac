// Standard normal numbers, the same to the bit as those of lwidgets/normals.py, which says what they are and how good.

/** The first `count` numbers of the stream of a seed (a bigint where it is beyond 2 ** 53), a name and a draw. */
export function normals(seed: bigint | number, name: string, count: number, draw = 0): Float32Array {
  if (!Number.isSafeInteger(draw) || draw < 0) {
    throw new RangeError(`normals: draw must be an integer of at least 0, got ${draw}. The first is 0.`);
  }
  const key = keyOf(seed, name);
  const [first, second] = (tables ??= makeTables());
  const numbers = new Float32Array(count);
  for (let start = 0; start < count; start += 8) {
    const words = philox(key, [BigInt(start / 8), BigInt(draw), 0n, 0n]);
    for (let k = start; k < Math.min(start + 8, count); k++) {
      const parts = Number(BigInt.asUintN(32, words[(k >> 1) % 4]! >> (k % 2 ? 32n : 0n)));
      numbers[k] = first[parts & 0xffff]! + second[parts >>> 16]!;
    }
  }
  return numbers;
}

type Key = readonly [bigint, bigint];
type Counter = readonly [bigint, bigint, bigint, bigint];

/** Philox4x64-10: the four words that a key makes of a counter. */
export function philox([k0, k1]: Key, [c0, c1, c2, c3]: Counter): Counter {
  for (let round = 0; round < 10; round++) {
    const a = 0xd2e7470ee14c6c93n * c0;
    const b = 0xca5a826395121157n * c2;
    [c0, c1, c2, c3] = [(b >> 64n) ^ c1 ^ k0, BigInt.asUintN(64, b), (a >> 64n) ^ c3 ^ k1, BigInt.asUintN(64, a)];
    k0 = BigInt.asUintN(64, k0 + 0x9e3779b97f4a7c15n);
    k1 = BigInt.asUintN(64, k1 + 0xbb67ae8584caa73bn);
  }
  return [c0, c1, c2, c3];
}

/** 128 bits from any integer and any name. */
function keyOf(seed: bigint | number, name: string): Key {
  if (typeof seed === 'number' && !Number.isSafeInteger(seed)) {
    throw new RangeError(`normals: seed must be an integer, got ${seed}. Pass a bigint where it is beyond 2 ** 53.`);
  }
  const text = new TextEncoder().encode(`${seed.toString(16)}\0${name}\x01`);
  const rows = new DataView(new ArrayBuffer(32 * Math.ceil(text.length / 32)));
  text.forEach((byte, k) => rows.setUint8(k, byte));
  let key: Key = [0n, 0n];
  for (let row = 0; row < rows.byteLength; row += 32) {
    const word = (k: number) => rows.getBigUint64(row + 8 * k, true);
    const [low, high] = philox(key, [word(0), word(1), word(2), word(3)]);
    key = [low, high];
  }
  return key;
}

let tables: readonly [Float32Array, Float32Array] | undefined;

/** What the two parts of the stream add to a number. */
function makeTables(): readonly [Float32Array, Float32Array] {
  const upper = quantiles();
  const q = Float64Array.from([...upper.map((mean) => -mean).reverse(), ...upper]);
  return [Float32Array.from(q, (mean) => (20 / 29) * mean), Float32Array.from(q, (mean) => (21 / 29) * mean)];
}

/** Means of the upper 32,768 of 65,536 equally likely parts of the standard normal law: I'' = -1 / I by leapfrog. */
function quantiles(): Float64Array {
  const parts = 1 << 15;
  const step = 2 ** -19;
  const profiles = new Float64Array(parts + 1);
  let profile = 0.3989422804014327;
  let slope = (0.5 * step) / profile;
  for (let part = 0; part < parts; part++) {
    profiles[part] = profile;
    for (let k = 0; k < 8; k++) {
      profile -= step * slope;
      slope += step / profile;
    }
  }
  return profiles.subarray(1).map((next, part) => (profiles[part]! - next) * 2 ** 16);
}
