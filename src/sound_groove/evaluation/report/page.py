"""The report of an evaluation: a page that needs no other file, and a table for the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sound_groove.errors import printable
from sound_groove.evaluation.against import describe_comparison
from sound_groove.evaluation.figure_texts import PERCENT, PLAIN, html_text, interval_text, value_text
from sound_groove.evaluation.report.sections import (
    against_section,
    breakdown_section,
    calibration_section,
    picture,
    scorings_section,
)
from sound_groove.evaluation.report.style import STYLE
from sound_groove.evaluation.report.worst_trials import Excerpts, worst_section
from sound_groove.evaluation.results import GENRE_PAIRS, RELIABILITY

FIGURES = (  # key in metrics.json, name, how it is printed, what it means
    ("eer", "EER", PERCENT, "equal error rate: misses = false alarms"),
    ("min_dcf", "minDCF 0.01", PLAIN, "lowest normalised cost at p_target 0.01"),
    ("min_dcf_05", "minDCF 0.05", PLAIN, "lowest normalised cost at p_target 0.05"),
    ("cllr", "Cllr", PLAIN, "cost of the log-likelihood ratios, bits; 0 is perfect, 1 says nothing"),
    ("min_cllr", "min Cllr", PLAIN, "what is left of it with perfect calibration"),
    ("calibration_loss", "Cllr loss", PLAIN, "what imperfect calibration costs: Cllr less min Cllr"),
    ("recall_at_1", "Recall@1", PERCENT, "the nearest other recording is of the same speaker"),
    ("recall_at_5", "Recall@5", PERCENT, "one of the nearest 5 is"),
    ("recall_at_10", "Recall@10", PERCENT, "one of the nearest 10 is"),
)
HEADLINES = ("eer", "min_dcf", "min_dcf_05", "cllr")


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
        value, interval = value_text(metrics[key], form), interval_text(metrics[key], form)
        lines.append(f"  {name:<12} {value:>9}  {interval}".rstrip())
    if len(metrics["scorings"]) > 1:
        lines += ["", *_side_by_side(metrics["scorings"])]
    if metrics["interval"]["resamples"]:
        lines += ["", f"  [low, high]: {_explained(metrics['interval'])}"]
    if metrics["against"] is not None:
        lines += ["", *(f"  {line}" for line in describe_comparison(metrics["against"]))]
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
        lines.append(f"  {scoring:<8}" + "".join(f"{value_text(figures[key], form):>13}" for key, _, form in columns))
    return lines


def write_report(
    path: Path, metrics: dict[str, Any], pictures: Sequence[Path], excerpts: Excerpts | None = None
) -> None:
    """Write the page. A part whose figures are null or absent is left out.

    Args:
        path: HTML file to write.
        metrics: what metrics.json holds.
        pictures: PNG files to put in; those that do not exist are left out.
        excerpts: by the files of a side of the worst trials, its sound as a data: URI.
    """
    title = f"Speaker verification: {html_text(metrics['model']['name'])}"
    sections = [
        (name, heading, content) for name, heading, content in _sections(metrics, pictures, excerpts) if content
    ]
    contents = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading, _ in sections)
    body = "\n".join(
        f'<section aria-labelledby="{name}">\n<h2 id="{name}">{heading}</h2>\n{content}\n</section>'
        for name, heading, content in sections
    )
    path.write_text(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n<h1>{title}</h1>\n"
        f'{_headlines(metrics)}\n</header>\n<nav aria-label="Contents"><ul>{contents}</ul></nav>\n{body}\n'
        "</main>\n</body>\n</html>\n",
        encoding="utf-8",
    )


def _headlines(metrics: dict[str, Any]) -> str:
    """What was judged on what, and the figures that matter most."""
    lines = [
        f'<p class="soft">{html_text(metrics["trial_list"]["path"])} &middot; {metrics["trials"]:,} trials: '
        f"{metrics['targets']:,} same speaker, {metrics['nontargets']:,} different, of "
        f"{metrics['interval']['speakers']:,} speakers</p>",
        _cards(metrics),
    ]
    if metrics["interval"]["resamples"]:
        lines.append(
            f'<p class="soft" style="margin-top:10px">Ranges: {html_text(_explained(metrics["interval"]))}.</p>'
        )
    return "\n".join(lines)


def _sections(
    metrics: dict[str, Any], pictures: Sequence[Path], excerpts: Excerpts | None
) -> list[tuple[str, str, str]]:
    """Name, heading and content of every part of the page; the content is empty where there is nothing to show."""
    by_name = {path.name: path for path in pictures}
    curves = "".join(picture(path) for name, path in by_name.items() if name not in (RELIABILITY, GENRE_PAIRS))
    notes = "".join(f"<li>{html_text(note)}</li>" for note in metrics["notes"])
    eer = metrics["eer"]
    return [
        ("notes", "To be known when reading this", f'<ul class="notes">{notes}</ul>' if notes else ""),
        ("curves", "Curves and pictures", f'<div class="pictures">{curves}</div>' if curves else ""),
        ("figures", "All figures", f'<div class="table figures"><table>{_figure_rows(metrics)}</table></div>'),
        ("scorings", "Ways of scoring", scorings_section(metrics.get("scorings"), metrics.get("scoring"))),
        ("against", "Against another system", against_section(metrics.get("against"))),
        (
            "calibration",
            "Are the probabilities right?",
            calibration_section(metrics.get("calibration"), by_name.get(RELIABILITY)),
        ),
        (
            "breakdowns",
            "Where it fails",
            breakdown_section(metrics.get("breakdowns"), eer["value"], by_name.get(GENRE_PAIRS)),
        ),
        ("worst", "The worst trials", worst_section(metrics.get("worst"), eer["threshold"], excerpts or {})),
        ("origin", "How it was made", f'<div class="table settings"><table>{_setting_rows(metrics)}</table></div>'),
    ]


def _cards(metrics: dict[str, Any]) -> str:
    cards = []
    for key, name, form, _ in FIGURES:
        if key in HEADLINES and metrics[key] is not None:
            interval = interval_text(metrics[key], form) or "no interval"
            value = value_text(metrics[key], form)
            cards.append(
                f'<div class="card"><div class="name">{name}</div><div class="value">{value}</div>'
                f'<div class="range">{interval}</div></div>'
            )
    return f'<div class="cards">{"".join(cards)}</div>'


def _figure_rows(metrics: dict[str, Any]) -> str:
    return "".join(
        f'<tr><th>{name}</th><td class="number">{value_text(metrics[key], form)}</td>'
        f'<td class="number soft">{interval_text(metrics[key], form)}</td><td class="soft meaning">{meaning}</td></tr>'
        for key, name, form, meaning in FIGURES
    )


def _setting_rows(metrics: dict[str, Any]) -> str:
    crops, score_map, missing, machine = (metrics[key] for key in ("crops", "score_map", "missing", "machine"))
    trial_list, cohort, table = metrics["trial_list"], metrics.get("cohort"), metrics.get("metadata")
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
    rows = {
        "Command": f"<code>{html_text(metrics['command'])}</code>" if metrics["command"] else "",
        "Model hash": f"<code>{html_text(metrics['model']['hash'])}</code>",
        "Trials": f"{html_text(trial_list['format'])}; sha256 <code>{trial_list['sha256']}</code>",
        "Table": f"{html_text(table['path'])}; sha256 <code>{table['sha256']}</code>" if table else "",
        "Protocol": html_text(metrics["protocol"]),
        "Recordings": f"{metrics['recordings']:,}, {metrics['audio_s'] / 60:,.1f} min of audio",
        "Cut": "whole recordings"
        if crops is None
        else f"{crops['count']} evenly spaced crops of {crops['frames']} frames",
        "Scoring": html_text(metrics.get("scoring") or ""),
        "Cohort": html_text(
            f"{cohort['source']}: {cohort['speakers']:,} speakers, {cohort['utterances']:,} utterances, the nearest "
            f"{cohort['top']:,} of them for each side"
        )
        if cohort
        else "",
        "EER threshold": f"{metrics['eer']['threshold']:.4f}",
        "Calibration": _without_map(metrics.get("scoring", "cosine")) if score_map is None else _map(score_map),
        "Training speakers": _trained(metrics["trained_speakers"]),
        "Duplicate trials": f"{metrics['duplicates']:,}",
        "Missing": f"{missing['recordings']:,} recordings, {missing['trials']:,} trials",
        "Machine": html_text(
            f"{machine['cpu']} ({machine['instruction_set']}), {machine['cpus']} CPUs, "
            f"{machine['threads']} reading threads"
        ),
        "Software": html_text(versions + (f"; commit {machine['git_commit']}" if machine["git_commit"] else "")),
        "Time": "{total:,.1f} s, of which embedding {embedding:,.1f} s".format(**metrics["elapsed_s"]),
    }
    return "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows.items() if value)


def _map(score_map: Mapping[str, Any]) -> str:
    """The line from score to log-likelihood ratio, what bends it, and where it comes from."""
    line = f"llr = {score_map['scale']:.3f} x score {score_map['offset']:+.3f}"
    bent = " and ".join(term["measure"] for term in score_map.get("terms", ()))
    bent = f", where {bent} of the recordings are 0, and bent by them" if bent else ""
    origin = "calibrated on" if score_map.get("calibrated") else "provisional, from training:"
    return f"{line}{bent}; {origin} {html_text(score_map['fitted_on'])}"


def _without_map(scoring: str) -> str:
    """What scores are that no map of the model turns into log-likelihood ratios."""
    if scoring == "plda":
        return "none: scores are the log-likelihood ratios of PLDA, right as far as its model is"
    return f"none: scores ({html_text(scoring)}) are no probabilities"


def _trained(found: dict[str, Any]) -> str:
    if not found["checked"]:
        return "not checked: the model does not say whom it was trained on"
    told = "guessed from names" if found["guessed"] else "told by name"
    return f"{found['found']:,} among the trials' speakers, who were {told}"


def _explained(interval: dict[str, Any]) -> str:
    return (
        f"{100 * interval['level']:g} % intervals, from {interval['resamples']:,} draws of the "
        f"{interval['speakers']:,} speakers with replacement"
    )
