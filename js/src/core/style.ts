// The style sheet that all roots share; what one kind of picture or part needs besides is in its own file. It travels
// inside each root element, so it also works in a shadow tree. Colours come from JupyterLab's variables; theme.ts fills
// the --lw-* ones in for pages that have none.

export const STYLE = /* css */ `
.lw-root { --lw-gap: 12px; box-sizing: border-box; width: 100%; min-width: 0; color: var(--lw-text);
  font: 12px/1.5 var(--lw-font); container-type: inline-size; overflow: hidden; }
.lw-root *, .lw-root *::before { box-sizing: border-box; }
.lw-root [hidden] { display: none !important; }
.lw-root.lw-card { background: var(--lw-background); padding: 10px; border-radius: 6px; }
.lw-overlay { cursor: crosshair; border-radius: 4px; outline: none; touch-action: pan-y; }
.lw-overlay:focus { touch-action: none; box-shadow: inset 0 0 0 2px var(--lw-accent); }
.lw-root :is(button, summary):focus-visible { outline: 2px solid var(--lw-accent); outline-offset: 2px; }
.lw-text { padding: 2px 10px 4px; }
.lw-readout { min-height: 1.5em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.lw-readout b { font-weight: 600; }
.lw-readout .lw-dim { color: var(--lw-muted); }
.lw-readout > span:not(:last-child)::after, .lw-caption > span:not(:last-child)::after { content: " · "; color: var(--lw-muted); }
.lw-caption { color: var(--lw-muted); font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.lw-notice { margin: 4px 10px; padding: 8px 12px; border-left: 3px solid var(--lw-pin); background: var(--lw-wash);
  border-radius: 3px; white-space: pre-wrap; overflow-wrap: anywhere; }
.lw-empty { display: grid; place-items: center; color: var(--lw-muted); border: 1px dashed var(--lw-line); border-radius: 4px; margin: 8px 10px; }
.lw-hidden { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media print {
  /* An overlay painted before printing would wipe out what is under it: Chromium prints its clearing as white. */
  .lw-readout .lw-dim, .lw-root .lw-overlay { display: none !important; }
}
`;
