// The style sheet of the widgets. It travels inside each root element, so it also works in a shadow tree.
// Colours come from JupyterLab's variables; theme.ts fills the --lw-* ones in for pages that have none.

export const STYLE = `
.lw-root { --lw-gap: 12px; box-sizing: border-box; width: 100%; min-width: 0; color: var(--lw-text);
  font: 12px/1.5 var(--lw-font); container-type: inline-size; overflow: hidden; }
.lw-root *, .lw-root *::before { box-sizing: border-box; }
.lw-root [hidden] { display: none !important; }
.lw-root.lw-card { background: var(--lw-background); padding: 10px; border-radius: 6px; }
.lw-panes { display: flex; flex-wrap: wrap; gap: var(--lw-gap); align-items: flex-start; }
.lw-pane { position: relative; min-width: 0; }
.lw-pane canvas { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
.lw-base { pointer-events: none; }
.lw-bar { display: block; flex: none; object-fit: contain; object-position: 0 0; }
.lw-overlay { cursor: crosshair; border-radius: 4px; outline: none; touch-action: pan-y; }
.lw-surface .lw-overlay { cursor: grab; }
.lw-surface .lw-overlay:active { cursor: grabbing; }
.lw-overlay:focus { touch-action: none; box-shadow: inset 0 0 0 2px var(--lw-accent); }
.lw-root .lw-reset { position: absolute; top: 4px; right: 4px; padding: 1px 8px; border: 1px solid var(--lw-line); border-radius: 10px;
  background: var(--lw-background); color: var(--lw-text); font: 11px/1.5 var(--lw-font); cursor: pointer; }
.lw-root :is(.lw-reset, .lw-stop, summary):focus-visible { outline: 2px solid var(--lw-accent); outline-offset: 2px; }
.lw-hint { position: absolute; left: 50%; top: 42%; transform: translate(-50%, -50%); padding: 5px 12px; border-radius: 14px;
  background: rgba(20,24,28,0.82); color: #fff; font-size: 12px; text-align: center; pointer-events: none; opacity: 0; transition: opacity 160ms; }
.lw-hint.lw-on { opacity: 1; }
.lw-text { padding: 2px 10px 4px; }
.lw-paths { display: flex; flex-wrap: wrap; gap: 0 16px; padding: 4px 0 2px; overflow-wrap: anywhere; }
.lw-paths > span { min-width: 0; }
.lw-path-key { margin-right: 6px; vertical-align: -1px; }
.lw-readout { min-height: 1.5em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.lw-readout b { font-weight: 600; }
.lw-readout .lw-dim { color: var(--lw-muted); }
.lw-readout > span:not(:last-child)::after, .lw-caption > span:not(:last-child)::after { content: " · "; color: var(--lw-muted); }
.lw-caption { color: var(--lw-muted); font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.lw-key { display: inline-block; width: 12px; height: 12px; margin-right: 5px; vertical-align: -2px; border: 1px solid var(--lw-line); border-radius: 2px; }
.lw-key-masked { background: repeating-linear-gradient(135deg, var(--lw-stripe) 0 1.5px, var(--lw-ground) 1.5px 5px); }
.lw-key-point { width: 8px; height: 8px; margin-left: 2px; vertical-align: 0; border: 2px solid #333; border-radius: 50%; background: #fff; }
.lw-refining { color: var(--lw-accent); }
.lw-notice { margin: 4px 10px; padding: 8px 12px; border-left: 3px solid var(--lw-pin); background: var(--lw-wash);
  border-radius: 3px; white-space: pre-wrap; overflow-wrap: anywhere; }
.lw-empty { display: grid; place-items: center; color: var(--lw-muted); border: 1px dashed var(--lw-line); border-radius: 4px; margin: 8px 10px; }
@media (prefers-reduced-motion: reduce) { .lw-hint, .lw-fill { transition: none; } }

.lw-status { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 12px; padding: 4px 10px; }
.lw-track { flex: 1 1 110px; max-width: 240px; height: 6px; border-radius: 3px; background: var(--lw-wash); overflow: hidden; }
.lw-fill { height: 100%; width: 0; border-radius: 3px; background: var(--lw-accent); transition: width 120ms linear; }
.lw-status-text { flex: 4 1 200px; min-width: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.lw-root .lw-stop { padding: 2px 12px; border: 1px solid var(--lw-line); border-radius: 3px; background: transparent; color: var(--lw-text);
  font: 12px/1.5 var(--lw-font); cursor: pointer; }
.lw-root .lw-stop:disabled { opacity: 0.45; cursor: default; }
.lw-alert { flex: 1 1 100%; margin: 2px 0; max-height: 14em; overflow: auto; border-left-color: var(--lw-bad); }
.lw-alert b { display: block; font-weight: 600; }
.lw-root .lw-alert pre { margin: 2px 0 0; font: 12px/1.45 var(--lw-mono); white-space: pre-wrap; overflow-wrap: anywhere; background: none; color: inherit; }

.lw-checks { padding: 4px 10px; }
.lw-checks summary { cursor: pointer; border-radius: 3px; }
.lw-checks summary b { font-weight: 600; }
.lw-checks summary span { color: var(--lw-muted); margin-left: 8px; }
.lw-checks ul { list-style: none; margin: 6px 0 2px; padding: 0; }
.lw-checks li { display: grid; grid-template-columns: 20px minmax(0, 1fr); padding: 3px 0; overflow-wrap: anywhere; }
.lw-checks li b { font-weight: 600; }
.lw-icon { font-weight: 700; }
.lw-icon-pass { color: var(--lw-good); } .lw-icon-warn { color: var(--lw-pin); } .lw-icon-fail { color: var(--lw-bad); }
.lw-icon-info { color: var(--lw-accent); } .lw-icon-pending { color: var(--lw-muted); }

.lw-plot { position: relative; }
.lw-plot .lw-overlay { position: absolute; inset: 0; }
.lw-curves { display: block; width: 100%; font: 11px var(--lw-font); }
.lw-curves text { fill: var(--lw-text); font-variant-numeric: tabular-nums; }
.lw-curves .lw-label { font-size: 12px; font-weight: 500; }
.lw-legend text { paint-order: stroke; stroke: var(--lw-background); stroke-width: 3px; stroke-linejoin: round; }
.lw-grid { stroke: rgba(128,128,128,0.2); shape-rendering: crispEdges; }
.lw-axis { stroke: var(--lw-line); shape-rendering: crispEdges; }
.lw-stroke { fill: none; stroke-linecap: round; stroke-linejoin: round; }
.lw-dashed { stroke-dasharray: 6 5; stroke-linecap: butt; }
.lw-cursor line { stroke: var(--lw-muted); }
.lw-cursor circle { stroke: var(--lw-background); stroke-width: 1.5; }

.lw-study { margin: 0 0 20px; }
.lw-study-head h2 { margin: 2px 10px 6px; font: 600 15px/1.35 var(--lw-font); overflow-wrap: anywhere; }
.lw-claim { margin: 0 10px 4px; max-width: 75ch; font-size: 13px; overflow-wrap: anywhere; white-space: pre-line; }
.lw-study > .lw-root > .lw-caption { padding: 0 10px; max-width: 100ch; white-space: pre-line; }
/* In reach of what they move, and never more than a third of the screen. */
.lw-root.lw-study-hand { position: sticky; top: 0; z-index: 3; max-height: 34vh; overflow: hidden auto; background: var(--lw-background);
  padding-block: 4px; border-bottom: 1px solid var(--lw-wash); border-radius: 0; }
.lw-root.lw-study-hand .lw-caption { max-width: none; }
.lw-root.lw-study-foot { padding-block: 6px 2px; }
.lw-between { min-height: 1.5em; }
.lw-panels.lw-beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 0 var(--lw-gap, 12px); align-items: start; }
.lw-view { min-width: 0; }
.lw-still { display: block; max-width: 100%; height: auto; margin: 8px 10px; background: #fff; }
.lw-words { padding: 4px 10px; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; max-width: 85ch; }
.lw-words b { font-weight: 600; }
.lw-words.lw-notice { margin: 4px 10px; padding: 8px 12px; }
.lw-note { border-left-color: var(--lw-accent); }
.lw-bad { border-left-color: var(--lw-bad); }
.lw-table-home { padding: 4px 10px; }
.lw-table-home summary { cursor: pointer; font-weight: 600; border-radius: 3px; overflow-wrap: anywhere; }
.lw-table { margin: 4px 0; overflow-x: auto; outline: none; }
.lw-table:focus-visible { box-shadow: inset 0 0 0 2px var(--lw-accent); border-radius: 3px; }
.lw-table table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: normal; color: inherit; }
.lw-table caption { padding: 0 0 4px; text-align: left; font-weight: 600; color: inherit; }
.lw-table th, .lw-table td { padding: 2px 16px 2px 0; text-align: left; vertical-align: top; border: 0; font-weight: inherit; overflow-wrap: normal; }
.lw-table thead th { font-weight: 600; border-bottom: 1px solid var(--lw-muted); }
.lw-swatch { display: inline-block; width: 10px; height: 10px; margin-right: 6px; border: 1px solid var(--lw-line); border-radius: 2px; }
.lw-controls { display: grid; grid-template-columns: minmax(0, max-content) minmax(120px, 1fr) minmax(5em, max-content); gap: 6px 14px;
  align-items: center; padding: 4px 10px; font-size: 13px; color-scheme: var(--lw-scheme); }
.lw-row { display: contents; }
.lw-row label, .lw-row output { overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.lw-stage > .jupyter-widgets { flex: 1 1 auto; }
.lw-stage { display: flex; align-items: center; gap: 8px; min-width: 0; }
.lw-row :is(input, select) { min-width: 0; max-width: 100%; margin: 0; font: inherit; accent-color: var(--lw-accent); }
.lw-row input[type=range] { flex: 1; width: 100%; height: 22px; cursor: pointer; }
.lw-root .lw-play { display: grid; place-items: center; flex: none; width: 26px; height: 24px; padding: 0; border: 1px solid var(--lw-line); border-radius: 4px;
  background: var(--lw-background); color: var(--lw-text); cursor: pointer; }
.lw-root .lw-play:focus-visible, .lw-row :is(input, select):focus-visible { outline: 2px solid var(--lw-accent); outline-offset: 2px; border-radius: 3px; }
@container (max-width: 480px) {
  .lw-controls { grid-template-columns: minmax(0, 1fr); gap: 6px; }
  .lw-row { display: grid; grid-template-columns: minmax(0, 1fr) max-content; gap: 0 12px; }
  .lw-row label { grid-area: 1 / 1; } .lw-row output { grid-area: 1 / 2; } .lw-row .lw-stage { grid-area: 2 / 1 / 3 / 3; }
}
@media print {
  .lw-view { break-inside: avoid; }
  .lw-root.lw-study-hand { position: static; max-height: none; }
  .lw-root .lw-play { display: none; }
  .lw-panes:not(.lw-narrow) { flex-wrap: nowrap; }
  .lw-panes:not(.lw-narrow) .lw-pane { flex: 0 1 auto; height: auto !important; }
  /* An overlay painted before printing would wipe out what is under it: Chromium prints its clearing as white. */
  .lw-readout .lw-dim, .lw-hint, .lw-root :is(.lw-overlay, .lw-reset) { display: none !important; }
}

/* Neighbours: ipywidgets gives every readout 72 px, too few for the two numbers of a range. */
.lwidgets-explorer .widget-readout { min-width: 6em; }
.lw-hidden { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;
