"""The style sheet of the report: wide and narrow windows, dark and light, screen and paper."""

STYLE = """
:root { --ground: #f6f6f3; --card: #ffffff; --ink: #1d1f21; --soft: #62676d; --line: #dcdcd6; --accent: #0072b2;
  --warm: #d55e00; --track: #ecece7; color-scheme: light dark; }
@media screen and (prefers-color-scheme: dark) { :root { --ground: #15171a; --card: #1f2226; --ink: #e8e8e4;
  --soft: #a2a7ad; --line: #34383d; --accent: #5cb3e6; --warm: #f08a3c; --track: #2b2f34; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 40px 0 12px; scroll-margin-top: 12px; }
h3 { font-size: 1rem; margin: 24px 0 8px; overflow-wrap: anywhere; }
p { margin: 0 0 8px; }
a { color: var(--accent); }
.soft { color: var(--soft); overflow-wrap: anywhere; }
nav { margin: 20px 0 0; padding: 10px 0; border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0; padding: 0; font-size: .92rem; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 20px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.card .name { color: var(--soft); font-size: .85rem; }
.card .value { font-size: 1.75rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.cards .card:first-child .value { color: var(--accent); }
.card .range { color: var(--soft); font-size: .85rem; font-variant-numeric: tabular-nums; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 16px; }
figure { margin: 0 0 12px; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  overflow: hidden; }
.pictures figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; background: #fff; }
figcaption { padding: 10px 16px 14px; font-size: .9rem; color: var(--soft); }
figcaption b { color: var(--ink); }
.table { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 4px 16px;
  overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: 7px 12px 7px 0; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
th:last-child, td:last-child { padding-right: 0; }
thead th, tbody:first-child tr:first-child > *, table > tr:first-child > * { border-top: 0; }
thead th { font-size: .85rem; color: var(--soft); vertical-align: bottom; }
th { font-weight: 600; overflow-wrap: normal; }
thead th, .figures th, .settings th { white-space: nowrap; }
td.number, th.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.count { text-align: right; }
td .range { display: block; color: var(--soft); font-size: .85rem; font-weight: 400; }
.groups table { table-layout: fixed; }
.groups tbody th { font-weight: 500; overflow-wrap: anywhere; }
.groups .bar { vertical-align: middle; }
.track { display: block; position: relative; height: 12px; background: var(--track); border-radius: 3px; }
.track span { position: absolute; top: 0; bottom: 0; }
.track .fill { left: 0; background: var(--accent); border-radius: 3px; opacity: .75; }
.track .spread { top: 5px; bottom: 5px; background: var(--ink); }
.track .overall { top: -3px; bottom: -3px; width: 2px; margin-left: -1px; background: var(--warm); }
.key { display: inline-block; width: 2px; height: 14px; background: var(--warm); vertical-align: -2px; margin: 0 3px; }
.key.spread { width: 16px; height: 2px; background: var(--ink); vertical-align: 4px; }
details { margin-top: 10px; }
summary { cursor: pointer; color: var(--accent); font-size: .92rem; margin-bottom: 8px; }
.notes { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--warm);
  border-radius: 10px; padding: 10px 16px 10px 34px; margin: 0; overflow-wrap: anywhere; }
.notes p { margin: 0; }
div.notes { padding-left: 16px; margin-bottom: 12px; font-size: .92rem; }
.trials { list-style: none; margin: 0; padding: 0; display: grid; gap: 10px; }
.trial { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 16px 12px;
  display: grid; grid-template-columns: 132px minmax(0, 1fr) minmax(0, 1fr); gap: 6px 18px; align-items: start; }
.trial .value { font-weight: 650; font-size: 1.1rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.trial .what { color: var(--soft); font-size: .82rem; }
.trial audio { display: block; width: 100%; max-width: 340px; height: 36px; margin-top: 6px; }
code.option { white-space: nowrap; }
code { font: .88em ui-monospace, monospace; overflow-wrap: anywhere; }
@media (max-width: 640px) { main { padding: 18px 12px 32px; } .cards { grid-template-columns: 1fr 1fr; }
  .card { padding: 12px; } .card .value { font-size: 1.45rem; } .meaning { display: none; }
  .table { padding: 4px 12px; } th, td { padding-right: 9px; }
  .groups table { table-layout: auto; } .groups .bar, .groups col { display: none; }
  .groups tbody th { min-width: 64px; } .groups thead th { white-space: normal; }
  .wide { overflow-x: auto; } .wide img { min-width: 640px; } .wide figcaption { position: sticky; left: 0; }
  .trial { grid-template-columns: minmax(0, 1fr); }
  .trial .value, .trial .what { display: inline; margin-right: 8px; }
  .trial .side .what { display: block; }
  .settings tr { display: block; padding: 8px 0; border-top: 1px solid var(--line); }
  .settings tr:first-child { border-top: 0; } .settings th, .settings td { display: block; border: 0; padding: 0; } }
@media print { body { background: #fff; font-size: 10.5pt; } main { max-width: none; padding: 0; }
  nav, .trial audio, summary { display: none; } h2, h3 { break-after: avoid; }
  figure, .card, .trial, tr { break-inside: avoid; } .pictures { grid-template-columns: 1fr 1fr; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
