// Reads the document on standard input as a page does, and tells what it found: each picture of each frame as it was
// read, and its arrays as numbers; infinities and NaN as words.
import { decodeCompanion } from '../../js/src/document/read';

const chunks: Buffer[] = [];
for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
const companion = await decodeCompanion(JSON.parse(Buffer.concat(chunks).toString()));
const told = (value: unknown) => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : value);
const count = JSON.parse(process.argv[2]!) as number;
const arrays = Array.from({ length: count }, (_, k) => {
  const coding = companion.arrays.coding(k);
  const values = coding === 'u1' ? companion.arrays.bytes(k) : companion.arrays.floats(k);
  return { shape: companion.arrays.shape(k), values: Array.from(values, told) };
});
const studies = [];
for (const study of companion.studies) {
  const frames = [];
  const places = study.sliders.map(({ positions }) => positions.length);
  const total = places.reduce((all, n) => all * n, 1);
  for (let frame = 0; frame < total; frame++) {
    let rest = frame;
    const at = [...places].reverse().map((n) => { const place = rest % n; rest = Math.floor(rest / n); return place; }).reverse();
    const moment = await study.frames.at(at);
    frames.push(moment.map((shown) => shown && shown.near));
  }
  const { panels, ...rest } = study;
  studies.push({ ...rest, panels: panels.map(({ kind, ...panel }) => ({ ...panel, kind: kind.name })), frames });
}
process.stdout.write(JSON.stringify({ title: companion.title, studies, arrays }));
