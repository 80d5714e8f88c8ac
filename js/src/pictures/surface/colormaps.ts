// Sequential colour maps, dark to light: readable with colour-blind eyes and in print.
// Each is 33 stops of the published 256-entry table; straight lines between them stay within one 8-bit step.

const STOPS: Record<string, string> = {
  viridis:
    '440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d2f6b8e2c728e297a8e26828e23898e21918c1f978b1f9f8821a68527ad8131b57b3dbc744cc26c5cc8636ece5881d34d95d840aadc32c0df25d5e21aeae51afde725',
  cividis:
    '00224e00285b002e6a0533711a386f273e6e32436d3b496c434e6c4b546c535a6d5a5f6e61656f686a716f70737676767d7c788381798b8778928d789a9376a29975aaa073b3a670bbad6dc3b369ccba64d4c15fddc858e6d051efd748f8df3cfee838',
  magma:
    '0000040303120a0822130d341d114729115a36106b440f7651127c5d177f6a1c81762181832681902a819c2e7faa337db73779c23b75cf4070db476ae55064ee5b5ef4695cf9785dfb8761fd9668fea571feb47bfec287fed194fde0a1fceeb0fcfdbf',
  gray: '1a1a1afafafa',
};

export const COLORMAPS = Object.keys(STOPS);

const tables = new Map<string, Uint8ClampedArray>();

/** 256 RGBA entries of a colour map; an unknown name gives viridis. */
export function colormap(name: string): Uint8ClampedArray {
  const known = Object.hasOwn(STOPS, name) ? name : 'viridis';
  let table = tables.get(known);
  if (!table) tables.set(known, (table = expand(STOPS[known]!)));
  return table;
}

function expand(hex: string): Uint8ClampedArray {
  const stops = hex.match(/../g)!.map((pair) => parseInt(pair, 16));
  const last = stops.length / 3 - 1;
  const table = new Uint8ClampedArray(256 * 4);
  for (let entry = 0; entry < 256; entry++) {
    const position = (entry / 255) * last;
    const stop = Math.min(Math.floor(position), last - 1);
    for (let c = 0; c < 3; c++) {
      const from = stops[3 * stop + c]!;
      table[4 * entry + c] = from + (stops[3 * stop + 3 + c]! - from) * (position - stop);
    }
    table[4 * entry + 3] = 255;
  }
  return table;
}
