// Reads the document that a page carries and draws it into <main id="lwidgets">.

import { type Companion, decodeCompanion, type Makers, mountCompanion, mountFault } from '../document/companion';
import { el } from '../core/dom';
import { CompanionError } from '../core/strict';

const page = globalThis as { __lwidgetsReady?: boolean; __lwidgetsCompanion?: unknown };

/** @param prepare Gets what draws each study; by default the views and controls of our own. */
export async function start(prepare: () => Promise<readonly Makers[]> = async () => []): Promise<void> {
  const place = document.getElementById('lwidgets') ?? document.body.appendChild(el('main', { id: 'lwidgets' }));
  try {
    const companion = await decodeCompanion(parsed(document.getElementById('lwidgets-companion')?.textContent));
    const makers = await prepare();
    place.replaceChildren();
    if (companion.title && !document.querySelector('h1')) place.append(el('h1', { text: companion.title }));
    const shown: Companion = { ...companion, studies: companion.studies.map(untitled) };
    // For whoever scripts the page: the decoded document, and the way to move its sliders.
    page.__lwidgetsCompanion = { companion, ...mountCompanion(place, shown, makers) };
  } catch (error) {
    mountFault(place, error);
  }
  page.__lwidgetsReady = true;
}

/** A study whose title is the page's heading needs none of its own. */
function untitled(study: Companion['studies'][number]): Companion['studies'][number] {
  return study.title === document.querySelector('h1')?.textContent ? { ...study, title: '' } : study;
}

export function whenParsed(run: () => Promise<void>): void {
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', () => void run());
  else void run();
}

function parsed(json: string | null | undefined): unknown {
  if (!json?.trim()) throw new CompanionError('companion: the page must carry a document, got none.');
  try {
    return JSON.parse(json);
  } catch {
    throw new CompanionError('companion: document must be JSON, got text that ends or breaks too early. Download the page again.');
  }
}
