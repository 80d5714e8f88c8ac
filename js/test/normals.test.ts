import { describe, expect, test } from 'vitest';
import golden from '../../tests/normals.json';
import { normals, philox } from '../src/engine/normals';

const sha = async (...arrays: Float32Array[]) => {
  const bytes = new DataView(new ArrayBuffer(4 * arrays.reduce((total, array) => total + array.length, 0)));
  let k = 0;
  for (const array of arrays) {
    for (const number of array) bytes.setFloat32(4 * k++, number, true);
  }
  const digest = await crypto.subtle.digest('SHA-256', bytes);
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
};

describe('philox', () => {
  // the paper's own answers, kat_vectors of its Random123
  const ones = (1n << 64n) - 1n;
  test.each([
    [[0n, 0n], [0n, 0n, 0n, 0n], '16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b'],
    [[ones, ones], [ones, ones, ones, ones], '87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0'],
    [
      [0x452821e638d01377n, 0xbe5466cf34e90c6cn],
      [0x243f6a8885a308d3n, 0x13198a2e03707344n, 0xa4093822299f31d0n, 0x082efa98ec4e6c89n],
      'a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6',
    ],
  ] as const)('of %s', (key, counter, words) => {
    expect(philox(key, counter).map((word) => word.toString(16).padStart(16, '0')).join(' ')).toBe(words);
  });
});

describe('the numbers of Python, to the bit', () => {
  test.each(golden.cases)('seed $seed, $name, draw $draw', async ({ seed, name, count, draw, sha256 }) => {
    const drawn = normals(BigInt(seed), name, count, draw);
    expect(drawn.length).toBe(count);
    expect(await sha(drawn)).toBe(sha256);
    if (Number.isSafeInteger(Number(seed))) expect(normals(Number(seed), name, count, draw)).toEqual(drawn);
  });

  test('a thousand seeds, names and shapes', async () => {
    const drawn = Array.from({ length: 1000 }, (_, k) => {
      const seed = (k % 2 ? -1n : 1n) * (BigInt(k) * 2654435761n) ** BigInt(1 + (k % 7));
      const names = ['weight', `layers.${k}.self_attn.in_proj_weight`, `größe.${k}.权重`, 'a'.repeat(k % 70)];
      return normals(seed, names[k % 4]!, (k % 7) * (1 + (k % 13)) * (1 + (k % 3)), k % 3);
    });
    expect(await sha(...drawn)).toBe(golden.thousand);
  });
});

describe('what is refused, and that the advice works', () => {
  test.each([0.5, NaN, Infinity, 2 ** 53, -(2 ** 60)])('seed %d', (seed) => {
    expect(() => normals(seed, 'weight', 3)).toThrow(/seed must be an integer, got .*Pass a bigint/);
  });

  test('a bigint beyond 2 ** 53', () => {
    expect(normals(2n ** 53n, 'weight', 3)).not.toEqual(normals(2n ** 53n + 1n, 'weight', 3));
  });

  test.each([-1, 0.5, NaN])('draw %d', (draw) => {
    expect(() => normals(0, 'weight', 3, draw)).toThrow(/draw must be an integer of at least 0/);
  });
});
