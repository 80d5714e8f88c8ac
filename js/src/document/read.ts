// A companion document, checked and typed. What its pictures hold is for their kinds to read.

import { type Arrays, CODINGS, decodeArrays } from '../core/arrays';
import { clip, CompanionError, fault, list, oneOf, PROSE, record, refuse, text } from '../core/strict';
import type { Check } from '../parts/checks';
import { type AnyKind, kindOf, PICTURES } from '../pictures';
import { readSlider, type Slider } from './controls';
import { type Frames, FRAMES } from './frames';

export interface Companion {
  readonly title: string;
  readonly studies: readonly Study[];
  readonly arrays: Arrays;
}

export interface Study {
  readonly title: string;
  /** What it shows, who says so, where that ends, and how to cite it. */
  readonly claim: string;
  readonly source: string;
  readonly limits: string;
  readonly citation: string;
  readonly sliders: readonly Slider[];
  readonly fixed: readonly { readonly label: string; readonly value: string }[];
  readonly panels: readonly Panel[];
  readonly frames: Frames;
  /** As they were where the sliders begin, then those of other places. */
  readonly checks: readonly Check[];
}

export interface Panel {
  readonly name: string;
  readonly kind: AnyKind;
  /** The name of a panel before it, with which it stands in one row; empty for a row of its own. */
  readonly beside: string;
}

const STATES = ['pass', 'fail', 'warn', 'info', 'pending'] as const;
const STILL = /^data:image\/png;base64,[A-Za-z0-9+/=]+$/;

/** @throws CompanionError naming the place, the rule and what came instead; with the document's still picture where it has one. */
export async function decodeCompanion(document: unknown): Promise<Companion> {
  const r = record(document, 'document');
  if (r.format !== 'lwidgets.companion') refuse('format', 'be "lwidgets.companion"', r.format);
  const known = [...Object.keys(PICTURES), ...Object.keys(FRAMES), ...CODINGS];
  for (const need of list(r.needs, 'needs')) {
    if (known.includes(String(need))) continue;
    const still = typeof r.still === 'string' && STILL.test(r.still) ? r.still : '';
    throw new CompanionError(`companion: needs must be among what is known here (${known.join(', ')}), got ${clip(JSON.stringify(need) ?? '', 60)}. Update lwidgets to see it in full.`, still);
  }
  const raw = list(r.studies, 'studies');
  if (!raw.length) fault('studies', 'hold at least one study', 'none');
  const arrays = await decodeArrays(r.arrays, r.data);
  const studies = raw.map((study, k) => readStudy(study, raw.length === 1 ? '' : `studies[${k}].`, arrays));
  return { title: text(r.title, 'title'), studies, arrays };
}

function readStudy(raw: unknown, at: string, arrays: Arrays): Study {
  const r = record(raw, at ? at.slice(0, -1) : 'study');
  const prose = (name: string) => text(r[name], `${at}${name}`, PROSE);
  const sliders = list(r.sliders, `${at}sliders`).map((slider, k) => readSlider(slider, `${at}sliders[${k}]`));
  const panels = readPanels(r.panels, `${at}panels`);
  const given = list(r.pictures, `${at}pictures`);
  const read = new Map<AnyKind, unknown[]>();
  const picture = (index: number, kind: AnyKind): unknown => {
    const own = read.get(kind) ?? [];
    read.set(kind, own);
    const where = `${at}pictures[${index}]`;
    return (own[index] ??= kind.read(record(given[index], where), where, arrays));
  };
  const framed = record(r.frames, `${at}frames`);
  const kind = oneOf(framed.kind, `${at}frames.kind`, Object.keys(FRAMES));
  return {
    title: text(r.title, `${at}title`),
    claim: prose('claim'),
    source: prose('source'),
    limits: prose('limits'),
    citation: prose('citation'),
    sliders,
    fixed: list(r.fixed ?? [], `${at}fixed`).map((one, k) => {
      const { label, value } = record(one, `${at}fixed[${k}]`);
      return { label: text(label, `${at}fixed[${k}].label`), value: text(value, `${at}fixed[${k}].value`) };
    }),
    panels,
    frames: FRAMES[kind]!(framed, { at, sliders, panels, pictures: given.length, picture }),
    checks: [...readChecks(r.checks, `${at}checks`), ...readChecks(r.verified, `${at}verified`)],
  };
}

function readPanels(raw: unknown, at: string): Panel[] {
  const names: string[] = [];
  return list(raw, at).map((one, k) => {
    const r = record(one, `${at}[${k}]`);
    const name = text(r.name, `${at}[${k}].name`);
    const beside = text(r.beside, `${at}[${k}].beside`);
    if (beside && !names.includes(beside)) refuse(`${at}[${k}].beside`, 'name a panel before it', beside);
    if (name && names.includes(name)) refuse(`${at}[${k}].name`, 'be given to one panel', name);
    names.push(name);
    return { name, kind: kindOf(r.kind, `${at}[${k}].kind`), beside };
  });
}

function readChecks(raw: unknown, at: string): Check[] {
  return list(raw ?? [], at).map((one, k) => {
    const r = record(one, `${at}[${k}]`);
    const place = text(r.at, `${at}[${k}].at`);
    const name = text(r.name, `${at}[${k}].name`);
    return {
      name: place ? `${name} (${place})` : name,
      state: oneOf(r.state, `${at}[${k}].state`, STATES),
      detail: text(r.detail, `${at}[${k}].detail`, PROSE),
    };
  });
}
