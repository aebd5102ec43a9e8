--- How the page of a trace looks. The colours are here only: the canvas asks for them too. (Part of asyncio.page.)
return [==[
:root {
  color-scheme: light dark;
  --back: #fcfcfa; --raised: #fff; --band: #f3f4f1; --line: #dcddd7; --text: #1d2025; --dim: #646a73;
  --accent: #0b63ce; --error: #cf222e; --step: #12804a; --ready: #f0b400; --time: #a9b3bf; --task: #8263d6;
  --items: #e2761b; --sync: #d2508c; --net: #2f86dd; --outside: #94713a; --other: #8d939b; --job: #94713a;
  --gc: #5b6068; --turn: #7d8794; --callback: #0d8584; --poll: #a9b3bf;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #15171b; --raised: #1e2126; --band: #1a1d22; --line: #343941; --text: #e8e9ea; --dim: #9ba2ac;
    --accent: #6cb2ff; --error: #ff6b66; --step: #3fcf8a; --ready: #f2c037; --time: #66717f; --task: #a58cf5;
    --items: #f2994a; --sync: #ea7fb0; --net: #5fadff; --outside: #c8a262; --other: #838a94; --job: #c8a262;
    --gc: #a4abb5; --turn: #77818e; --callback: #4fd0cf; --poll: #66717f;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
html, body { height: 100%; margin: 0; }
body {
  display: grid; grid-template: auto auto auto minmax(0, 1fr) / minmax(0, 1fr) 320px;
  grid-template-areas: "head head" "legend legend" "map side" "rows side";
  background: var(--back); color: var(--text); font: 14px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
header {
  grid-area: head; display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: center;
  padding: 10px 16px 4px;
}
h1 { font-size: 17px; margin: 0; overflow-wrap: anywhere; }
header p { margin: 0; color: var(--dim); flex: 1 1 240px; }
.tools { display: flex; gap: 6px; align-items: center; }
button, input {
  font: inherit; color: inherit; background: var(--raised); border: 1px solid var(--line);
  border-radius: 7px;
}
button { min-width: 34px; height: 34px; padding: 0 9px; cursor: pointer; }
button:hover, button[aria-pressed="true"] { border-color: var(--accent); }
button[aria-pressed="true"] { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
canvas:focus-visible { outline-offset: -2px; }
#find { height: 34px; width: 190px; padding: 0 10px; }
#found { color: var(--dim); white-space: nowrap; }
#found:empty { display: none; }
#legend {
  grid-area: legend; display: flex; flex-wrap: wrap; gap: 2px 14px; padding: 2px 16px 8px; margin: 0;
  list-style: none; color: var(--dim); font-size: 13px;
}
#legend li { display: flex; align-items: center; gap: 6px; }
#legend i {
  width: 16px; height: 14px; border-radius: 3px; display: inline-block; background: var(--colour);
}
#legend i.flat { height: 6px; opacity: .75; }
#legend i.sign { background: none; width: auto; height: auto; font-style: normal; }
#map {
  grid-area: map; width: 100%; height: 34px; display: block; border-top: 1px solid var(--line);
  cursor: ew-resize; touch-action: none;
}
#scroll {
  grid-area: rows; overflow: hidden auto; border-top: 1px solid var(--line); position: relative;
  overscroll-behavior: contain;
}
#rows {
  position: sticky; top: 0; left: 0; display: block; width: 100%; touch-action: pan-y; cursor: grab;
  user-select: none; -webkit-user-select: none;
}
#rows.dragging { cursor: grabbing; }
aside {
  grid-area: side; border: solid var(--line); border-width: 1px 0 0 1px; background: var(--raised);
  overflow: auto; padding: 12px 14px;
}
aside h2 { font-size: 15px; margin: 0 0 6px; overflow-wrap: anywhere; }
aside h3 { font-size: 13px; margin: 16px 0 4px; color: var(--dim); font-weight: 600; }
aside p { margin: 0 0 8px; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 3px 12px; margin: 0 0 10px; }
dt { color: var(--dim); }
dd { margin: 0; overflow-wrap: anywhere; }
code, .at { font: 12.5px/1.45 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; }
.error { color: var(--error); white-space: pre-wrap; overflow-wrap: anywhere; }
.link {
  background: none; border: 0; padding: 0; height: auto; min-width: 0; color: var(--accent);
  text-align: left; overflow-wrap: anywhere;
}
.link:hover { text-decoration: underline; }
.close { float: right; margin: -4px -6px 0 8px; border: 0; background: none; }
table { border-collapse: collapse; width: 100%; font-size: 13px; table-layout: fixed; }
th, td { padding: 3px 4px; text-align: right; border-bottom: 1px solid var(--line); width: 68px; }
th:first-child, td:first-child { text-align: left; width: auto; overflow-wrap: anywhere; }
th { color: var(--dim); font-weight: 600; }
kbd {
  font: 12px ui-monospace, monospace; border: 1px solid var(--line); border-radius: 4px;
  padding: 0 5px;
}
#tip {
  position: fixed; z-index: 3; pointer-events: none; max-width: 300px; padding: 6px 9px;
  border-radius: 7px; background: var(--text); color: var(--back); font-size: 13px;
  overflow-wrap: anywhere;
}
#tip b { display: block; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
#empty { padding: 24px 16px; }
@media (max-width: 760px) {
  body {
    grid-template: auto auto auto minmax(0, 1fr) / minmax(0, 1fr);
    grid-template-areas: "head" "legend" "map" "rows";
  }
  header { padding: 8px 12px 4px; }
  header p { flex-basis: 100%; order: 2; font-size: 13px; }
  h1 { flex: 1 1 auto; font-size: 16px; }
  .tools { flex: 1 1 100%; order: 3; flex-wrap: wrap; }
  #found { flex: 1 1 100%; order: 1; }
  .tools button, #find { height: 40px; }
  .tools button { min-width: 40px; }
  #find { flex: 1 1 60px; width: 60px; }
  #here { display: none; }
  #legend { padding: 4px 12px 8px; flex-wrap: nowrap; overflow-x: auto; white-space: nowrap; }
  aside {
    position: fixed; z-index: 2; left: 0; right: 0; bottom: 0; max-height: 58%; border-width: 1px 0 0;
    border-radius: 14px 14px 0 0; box-shadow: 0 -4px 24px #0004;
    padding-bottom: max(14px, env(safe-area-inset-bottom));
  }
  aside:not(.open) { display: none; }
  .close, .link { min-height: 28px; }
}
@media (min-width: 761px) { #about { display: none; } }
@media print {
  body { display: block; height: auto; }
  aside { position: static; max-height: none; border: 0; }
  .tools, #map { display: none; }
}
]==]
