// The kinds of pictures. To add one is to add its file and its line here.

import { clip, CompanionError } from '../core/strict';
import type { Kind } from './base';
import { curves } from './curves';
import { surface } from './surface';
import { table } from './table';
import { words } from './words';

/** What a kind reads is its own to draw: nobody else looks into it. */
export type AnyKind = Kind<any, any>;

export const PICTURES: Record<string, AnyKind> = { surface, curves, table, words };

/** @throws CompanionError naming a kind that is not known. */
export function kindOf(name: unknown, where: string): AnyKind {
  if (typeof name === 'string' && Object.hasOwn(PICTURES, name)) return PICTURES[name]!;
  const told = typeof name === 'string' ? `"${clip(name, 60)}"` : String(name);
  throw new CompanionError(`companion: ${where} must be a kind of picture that is known here (${Object.keys(PICTURES).join(', ')}), got ${told}. Update lwidgets.`);
}
