"""The report of an evaluation: a page that needs no other file, and a table for the terminal."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from sound_groove.errors import printable

PERCENT, PLAIN = "percent", "plain"
FIGURES = (  # key in metrics.json, name, how it is printed, what it means
    ("eer", "EER", PERCENT, "equal error rate: misses = false alarms"),
    ("min_dcf", "minDCF 0.01", PLAIN, "lowest normalised cost at p_target 0.01"),
    ("min_dcf_05", "minDCF 0.05", PLAIN, "lowest normalised cost at p_target 0.05"),
    ("cllr", "Cllr", PLAIN, "cost of the log-likelihood ratios, bits; 0 is perfect, 1 says nothing"),
    ("min_cllr", "min Cllr", PLAIN, "what is left of it with perfect calibration"),
    ("recall_at_1", "Recall@1", PERCENT, "the nearest other recording is of the same speaker"),
    ("recall_at_5", "Recall@5", PERCENT, "one of the nearest 5 is"),
    ("recall_at_10", "Recall@10", PERCENT, "one of the nearest 10 is"),
)
HEADLINES = ("eer", "min_dcf", "min_dcf_05", "cllr")
CAPTIONS = {
    "roc.png": ("ROC", "Hits over false alarms at every threshold. The further to the upper left, the better."),
    "det.png": ("DET", "Misses over false alarms on normal-deviate axes. The further to the lower left, the better."),
    "score_hist.png": ("Scores", "How both kinds of trial score. The less they overlap, the better."),
    "tsne.png": ("Embeddings", "One colour and shape a speaker. Distances between groups mean little."),
}

STYLE = """
:root { --ground: #f6f6f3; --card: #ffffff; --ink: #1d1f21; --soft: #62676d; --line: #dcdcd6; --accent: #0072b2;
  color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ground: #15171a; --card: #1f2226; --ink: #e8e8e4; --soft: #a2a7ad;
  --line: #34383d; --accent: #5cb3e6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 1.1rem; margin: 36px 0 12px; }
p { margin: 0 0 8px; }
.soft { color: var(--soft); overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 20px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.card .name { color: var(--soft); font-size: .85rem; }
.card .value { font-size: 1.75rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card:first-child .value { color: var(--accent); }
.card .range { color: var(--soft); font-size: .85rem; font-variant-numeric: tabular-nums; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 16px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
figure img { display: block; width: 100%; height: auto; background: #fff; }
figcaption { padding: 10px 16px 14px; font-size: .9rem; color: var(--soft); }
figcaption b { color: var(--ink); }
.table { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 4px 16px; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: 7px 12px 7px 0; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
tr:first-child > * { border-top: 0; }
th { font-weight: 600; white-space: nowrap; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.notes { background: var(--card); border: 1px solid var(--line); border-left: 4px solid #d55e00; border-radius: 10px;
  padding: 10px 16px 10px 34px; margin: 0; overflow-wrap: anywhere; }
code { font: .88em ui-monospace, monospace; overflow-wrap: anywhere; }
@media (max-width: 560px) { main { padding: 18px 12px 32px; } .cards { grid-template-columns: 1fr 1fr; }
  .card { padding: 12px; } .card .value { font-size: 1.45rem; } .meaning { display: none; }
  .settings tr { display: block; padding: 8px 0; border-top: 1px solid var(--line); }
  .settings tr:first-child { border-top: 0; } .settings th, .settings td { display: block; border: 0; padding: 0; } }
"""


def summary(metrics: dict[str, Any]) -> str:
    """The figures as a table for the terminal.

    Args:
        metrics: what metrics.json holds.
    """
    crops = metrics["crops"]
    cut = "whole recordings" if crops is None else f"{crops['count']} crops of {crops['frames'] / 100:g} s"
    lines = [
        f"{printable(metrics['model']['name'])} on {printable(metrics['trial_list']['path'])}",
        f"{metrics['trials']:,} trials ({metrics['targets']:,} same speaker, {metrics['nontargets']:,} different), "
        f"{metrics['interval']['speakers']:,} speakers, {metrics['protocol']}, {cut}",
        *_cohort_lines(metrics),
        "",
    ]
    for key, name, form, _ in FIGURES:
        value, interval = _value(metrics[key], form), _interval(metrics[key], form)
        lines.append(f"  {name:<12} {value:>9}  {interval}".rstrip())
    if len(metrics["scorings"]) > 1:
        lines += ["", *_side_by_side(metrics["scorings"])]
    if metrics["interval"]["resamples"]:
        lines += ["", f"  [low, high]: {_explained(metrics['interval'])}"]
    lines += [f"  note: {note}" for note in metrics["notes"]]
    return "\n".join(lines)


def _cohort_lines(metrics: dict[str, Any]) -> list[str]:
    """The scoring, where it is not the plain cosine, and the cohort; for the terminal."""
    if (cohort := metrics["cohort"]) is None:
        return []
    return [
        f"scored by {metrics['scoring']}; cohort: {cohort['utterances']:,} utterances of {cohort['speakers']:,} "
        f"speakers, from {printable(cohort['source'])}"
    ]


def _side_by_side(scorings: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each scoring, for the terminal."""
    columns = [(key, name, form) for key, name, form, _ in FIGURES if key in next(iter(scorings.values()))]
    lines = ["  scoring " + "".join(f"{name:>13}" for _, name, _ in columns)]
    for scoring, figures in scorings.items():
        lines.append(f"  {scoring:<8}" + "".join(f"{_value(figures[key], form):>13}" for key, _, form in columns))
    return lines


def write_report(path: Path, metrics: dict[str, Any], pictures: Sequence[Path]) -> None:
    """Write the page.

    Args:
        path: HTML file to write.
        metrics: what metrics.json holds.
        pictures: PNG files to put in; those that do not exist are left out.
    """
    name, trial_list = metrics["model"]["name"], metrics["trial_list"]
    counts = (
        f"{metrics['trials']:,} trials: {metrics['targets']:,} same speaker, {metrics['nontargets']:,} different, of "
        f"{metrics['interval']['speakers']:,} speakers"
    )
    sections = [
        f"<h1>Speaker verification: {_text(name)}</h1>",
        f'<p class="soft">{_text(trial_list["path"])} &middot; {counts}</p>',
        _cards(metrics),
    ]
    if metrics["interval"]["resamples"]:
        sections.append(
            f'<p class="soft" style="margin-top:10px">Ranges: {_text(_explained(metrics["interval"]))}.</p>'
        )
    if metrics["notes"]:
        notes = "".join(f"<li>{_text(note)}</li>" for note in metrics["notes"])
        sections.append(f'<h2>To be known when reading this</h2><ul class="notes">{notes}</ul>')
    sections.append(f'<h2>Pictures</h2><div class="pictures">{"".join(map(_picture, pictures))}</div>')
    sections.append(f'<h2>All figures</h2><div class="table"><table>{_figure_rows(metrics)}</table></div>')
    sections.append(
        f'<h2>How they were made</h2><div class="table settings"><table>{_setting_rows(metrics)}</table></div>'
    )
    path.write_text(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Speaker verification: {_text(name)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n",
        encoding="utf-8",
    )


def _cards(metrics: dict[str, Any]) -> str:
    cards = []
    for key, name, form, _ in FIGURES:
        if key in HEADLINES and metrics[key] is not None:
            interval = _interval(metrics[key], form) or "no interval"
            cards.append(
                f'<div class="card"><div class="name">{name}</div><div class="value">{_value(metrics[key], form)}</div>'
                f'<div class="range">{interval}</div></div>'
            )
    return f'<div class="cards">{"".join(cards)}</div>'


def _picture(path: Path) -> str:
    if not path.exists():
        return ""
    title, caption = CAPTIONS[path.name]
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return (
        f'<figure><img alt="{title}" src="data:image/png;base64,{data}">'
        f"<figcaption><b>{title}.</b> {caption}</figcaption></figure>"
    )


def _figure_rows(metrics: dict[str, Any]) -> str:
    return "".join(
        f'<tr><th>{name}</th><td class="number">{_value(metrics[key], form)}</td>'
        f'<td class="number soft">{_interval(metrics[key], form)}</td><td class="soft meaning">{meaning}</td></tr>'
        for key, name, form, meaning in FIGURES
    )


def _setting_rows(metrics: dict[str, Any]) -> str:
    crops, score_map, missing, machine = (metrics[key] for key in ("crops", "score_map", "missing", "machine"))
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
    rows = {
        "Command": f"<code>{_text(metrics['command'])}</code>" if metrics["command"] else "",
        "Model hash": f"<code>{_text(metrics['model']['hash'])}</code>",
        "Trials": f"{_text(metrics['trial_list']['format'])}; sha256 <code>{metrics['trial_list']['sha256']}</code>",
        "Protocol": _text(metrics["protocol"]),
        "Recordings": f"{metrics['recordings']:,}, {metrics['audio_s'] / 60:,.1f} min of audio",
        "Cut": "whole recordings"
        if crops is None
        else f"{crops['count']} evenly spaced crops of {crops['frames']} frames",
        "EER threshold": f"{metrics['eer']['threshold']:.4f}",
        "Calibration": "none: scores are cosines, not probabilities"
        if score_map is None
        else f"llr = {score_map['scale']:.3f} x score {score_map['offset']:+.3f}; {_text(score_map['fitted_on'])}",
        "Duplicate trials": f"{metrics['duplicates']:,}",
        "Missing": f"{missing['recordings']:,} recordings, {missing['trials']:,} trials",
        "Machine": _text(f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['threads']} reading threads"),
        "Software": _text(versions + (f"; commit {machine['git_commit']}" if machine["git_commit"] else "")),
        "Time": "{total:,.1f} s, of which embedding {embedding:,.1f} s".format(**metrics["elapsed_s"]),
    }
    return "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows.items() if value)


def _number(value: float, form: str) -> str:
    return f"{100 * value:.2f} %" if form == PERCENT else f"{value:.3f}"


def _value(figure: dict[str, Any] | float | None, form: str) -> str:
    value = figure["value"] if isinstance(figure, dict) else figure
    return "-" if value is None else _number(value, form)


def _interval(figure: dict[str, Any] | float | None, form: str) -> str:
    if not isinstance(figure, dict) or figure.get("low") is None:
        return ""
    low, high = _number(figure["low"], form), _number(figure["high"], form)
    return f"[{low.removesuffix(' %')}, {high}]"


def _explained(interval: dict[str, Any]) -> str:
    return (
        f"{100 * interval['level']:g} % intervals, from {interval['resamples']:,} draws of the "
        f"{interval['speakers']:,} speakers with replacement"
    )


def _text(text: object) -> str:
    return escape(printable(str(text)))
