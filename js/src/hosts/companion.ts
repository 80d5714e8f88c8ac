// Page host of a companion: reads the document that the page carries and draws it into <main id="lwidgets">.

import { decodeCompanion, mountCompanion, mountFault } from '../core/companion';
import { CompanionError } from '../core/strict';
import { el } from '../core/dom';

const page = globalThis as { __lwidgetsReady?: boolean; __lwidgetsCompanion?: unknown };

async function start(): Promise<void> {
  const place = document.getElementById('lwidgets') ?? document.body.appendChild(el('main', { id: 'lwidgets' }));
  try {
    const companion = await decodeCompanion(parsed(document.getElementById('lwidgets-companion')?.textContent));
    place.replaceChildren();
    if (companion.title && !document.querySelector('h1')) place.append(el('h1', { text: companion.title }));
    const heading = document.querySelector('h1')?.textContent;
    const studies = companion.studies.map((study) => (study.title === heading ? { ...study, title: '' } : study));
    // For whoever scripts the page: the decoded document, and the way to move its sliders.
    page.__lwidgetsCompanion = { companion, ...mountCompanion(place, { ...companion, studies }) };
  } catch (error) {
    mountFault(place, error);
  }
  page.__lwidgetsReady = true;
}

function parsed(json: string | null | undefined): unknown {
  if (!json?.trim()) throw new CompanionError('companion: the page must carry a document, got none.');
  try {
    return JSON.parse(json);
  } catch {
    throw new CompanionError('companion: document must be JSON, got text that ends or breaks too early. Download the page again.');
  }
}

if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', () => void start());
else void start();
