// Reading JSON that a stranger wrote: every value is checked, and a fault is told in words that can be shown.

/** A document that breaks the rules. Its message is meant for the reader of the page. */
export class CompanionError extends Error {
  override name = 'CompanionError';

  /** @param still What the document offers to see in place of what could not be shown: the address of a picture. */
  constructor(message: string, readonly still = '') {
    super(message);
  }
}

export type Fields = Readonly<Record<string, unknown>>;

const LABEL = 300;
/** Characters of a text that goes on. */
export const PROSE = 10_000;

const COLOR = /^(#[0-9a-f]{3,8}|[a-z]{1,30})$/i;

/** Throw, told in our own words what came instead. */
export function fault(where: string, rule: string, got: string): never {
  throw new CompanionError(`companion: ${where} must ${rule}, got ${got}.`);
}

/** Throw, showing the value that came instead. */
export function refuse(where: string, rule: string, value: unknown): never {
  fault(where, rule, shown(value));
}

/** A copy without prototype, so that no field is ever found on `Object.prototype`. */
export function record(value: unknown, where: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(where, 'be an object', value);
  return Object.assign(Object.create(null) as Record<string, unknown>, value);
}

export function list(value: unknown, where: string, length?: number): readonly unknown[] {
  if (!Array.isArray(value)) refuse(where, 'be a list', value);
  if (length !== undefined && value.length !== length) refuse(where, `hold ${length} ${length === 1 ? 'entry' : 'entries'}`, value.length);
  return value;
}

/** A text of at most `most` characters; nobody reads more, and a page must not be made of it. Absent is empty. */
export function text(value: unknown, where: string, most = LABEL): string {
  if (value === undefined) return '';
  if (typeof value !== 'string') refuse(where, 'be text', value);
  return clip(value, most);
}

export function clip(value: string, most = LABEL): string {
  return value.length > most ? `${value.slice(0, most)}…` : value;
}

export function whole(value: unknown, where: string, below: number): number {
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) >= below) {
    refuse(where, below > 0 ? `be a whole number from 0 to ${below - 1}` : 'be absent where there is nothing to point at', value);
  }
  return value as number;
}

export function finite(value: unknown, where: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) refuse(where, 'be a finite number', value);
  return value;
}

/** A number of [low, high], or `otherwise` where there is none. */
export function within(value: unknown, where: string, low: number, high: number, otherwise: number): number {
  const given = value === undefined ? otherwise : finite(value, where);
  if (given < low || given > high) refuse(where, `lie in [${low}, ${high}]`, given);
  return given;
}

export function oneOf<T extends string>(value: unknown, where: string, options: readonly T[]): T {
  const found = options.find((option) => option === value);
  return found ?? refuse(where, `be one of ${options.join(', ')}`, value);
}

export function flag(value: unknown, where: string): boolean {
  if (value !== undefined && typeof value !== 'boolean') refuse(where, 'be true or false', value);
  return value === true;
}

/** A colour by its digits or its name, never anything that a browser would fetch; `otherwise` where there is none. */
export function colour(value: unknown, where: string, otherwise: string): string {
  const given = text(value, where) || otherwise;
  if (given && !COLOR.test(given)) refuse(where, 'be a colour such as #0072B2', given);
  return given;
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return JSON.stringify(clip(value, 60));
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
