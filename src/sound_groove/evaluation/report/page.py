"""The report of an evaluation: a page that needs no other file, and a table for the terminal."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from jinja2 import Environment, Template
from markupsafe import Markup

from sound_groove.audio.excerpts import EXCERPT_S
from sound_groove.errors import printable
from sound_groove.evaluation.against import describe_comparison
from sound_groove.evaluation.figure_texts import PERCENT, PLAIN, interval_text, number, value_text
from sound_groove.evaluation.report.pictures import read_picture
from sound_groove.evaluation.results import GENRE_PAIRS, RELIABILITY
from sound_groove.evaluation.scorings import COMPARED
from sound_groove.evaluation.trials.places import without_suffix
from sound_groove.evaluation.worst import MOST_PER_NAME
from sound_groove.percentages import probability_text, rate_text
from sound_groove.scoring.strength import NOT_DETECTED, evidence_text
from sound_groove.templates import environment_of

Excerpts = Mapping[tuple[str, ...], str]
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
OPTIONAL = ("scorings", "scoring", "against", "calibration", "breakdowns", "worst", "cohort", "metadata")
PARTS = (  # template, which is also the part's name, and heading
    ("notes", "To be known when reading this"),
    ("curves", "Curves and pictures"),
    ("figures", "All figures"),
    ("scorings", "Ways of scoring"),
    ("against", "Against another system"),
    ("calibration", "Are the probabilities right?"),
    ("breakdowns", "Where it fails"),
    ("worst", "The worst trials"),
    ("origin", "How it was made"),
)
WORST = (
    ("false_accepts", "Different speakers that score highest", "accepted"),
    ("false_rejects", "Same speaker that scores lowest", "rejected"),
)


def summary(metrics: dict[str, Any]) -> list[str]:
    """The figures as a table for the terminal, line by line.

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
        lines += ["", f"  [low, high]: {explained(metrics['interval'])}"]
    if metrics["against"] is not None:
        lines += ["", *(f"  {line}" for line in describe_comparison(metrics["against"]))]
    lines += [f"  note: {note}" for note in metrics["notes"]]
    return lines


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
    shown = {picture.name: read_picture(picture) for picture in pictures if picture.exists()}
    reliability, genre_pairs = shown.pop(RELIABILITY, None), shown.pop(GENRE_PAIRS, None)
    names = {
        "metrics": dict.fromkeys(OPTIONAL) | metrics,
        "figures": FIGURES,
        "headlines": HEADLINES,
        "compared": [(key, name, form) for key, name, form, _ in FIGURES if key in COMPARED],
        "measured_by_any": {key for each in (metrics.get("scorings") or {}).values() for key in each if each[key]},
        "ranges": explained(metrics["interval"]),
        "curves": list(shown.values()),
        "reliability": reliability,
        "genre_pairs": genre_pairs,
        "breakdowns": _breakdowns(metrics),
        "worst": _worst(metrics),
        "most_per_name": MOST_PER_NAME,
        "excerpts": excerpts or {},
        "excerpt_s": EXCERPT_S,
        "not_detected": NOT_DETECTED,
    }
    rendered = [(name, heading, _template(name).render(names).strip()) for name, heading in PARTS]
    sections = [(name, heading, Markup(content)) for name, heading, content in rendered if content]
    path.write_text(_template("page").render(names, sections=sections) + "\n", encoding="utf-8")


_PATH = re.compile(r"(?<![\w.~:/\\])(?:[A-Za-z]:\\|/)[^\s'\":;,<>|*?]+")


def relative_names(text: str) -> str:
    """A text whose absolute paths begin in the working directory, or else are the last two parts of themselves.

    >>> relative_names(f"verify --trials {Path.cwd()}/lists/a.txt --audio-root /data/anna/speech/wav")
    'verify --trials lists/a.txt --audio-root .../speech/wav'
    >>> relative_names("1/2, and/or https://example.org/a/b")
    '1/2, and/or https://example.org/a/b'
    """
    here = Path.cwd()

    def shortened(found: re.Match[str]) -> str:
        path = (PureWindowsPath if found[0][1:2] == ":" else PurePath)(found[0])
        if path.is_relative_to(here):
            return path.relative_to(here).as_posix()
        parts = path.parts[1:]
        return found[0] if len(parts) < 2 else "/".join(("...", *parts[-2:]))

    return _PATH.sub(shortened, text)


def _template(name: str) -> Template:
    return _environment().get_template(f"{name}.html")


@cache
def _environment() -> Environment:
    """Where the templates are found, and how they write: what a page says names no folder of the machine it is from."""
    environment = environment_of("sound_groove.evaluation.report")
    usual = environment.finalize or (lambda value: value)
    environment.finalize = lambda value: usual(relative_names(value) if type(value) is str else value)
    environment.filters |= {
        "value": value_text,
        "interval": interval_text,
        "plain": lambda value: number(value, PLAIN),
        "rate": lambda value, digits: "-" if value is None else rate_text(value, digits),
        "probability": probability_text,
        "evidence": evidence_text,
        "thousands": lambda value, digits=0: f"{value:,.{digits}f}",
        "observed_bounds": _observed_bounds,
        "tuple": tuple,
    }
    environment.tests["file_of"] = lambda file, name: without_suffix(PurePath(file).as_posix()).endswith(
        without_suffix(name)
    )
    return environment


def _worst(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The worst trials of each kind that has some, and how many of them are on the wrong side of the threshold."""
    kinds, threshold = [], metrics["eer"]["threshold"]
    for key, title, outcome in WORST:
        if records := (metrics.get("worst") or {}).get(key):
            accepted = sum(record["score"] >= threshold for record in records)
            wrong = accepted if key == "false_accepts" else len(records) - accepted
            kinds.append({"title": title, "outcome": outcome, "wrong": wrong, "records": records})
    return kinds


def _breakdowns(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The breakdowns that have groups, pairs with the worst first, each with the rate that fills its bars."""
    shown = []
    for breakdown in metrics.get("breakdowns") or ():
        if groups := breakdown["groups"]:
            rates = [group["eer"][end] for group in groups if group["eer"] for end in ("value", "high")]
            scale = 1.05 * max([metrics["eer"]["value"], *(rate for rate in rates if rate is not None), 1e-9])
            if breakdown["kind"] == "pairs":
                groups = sorted(groups, key=lambda group: -group["eer"]["value"] if group["eer"] else 1.0)
            shown.append({**breakdown, "groups": groups, "scale": scale})
    return shown


def _observed_bounds(reliability_bin: Mapping[str, Any]) -> str:
    """The interval of the share of same-speaker trials in a bin of stated probabilities."""
    low, high = reliability_bin["observed_low"], reliability_bin["observed_high"]
    return "" if low is None else f"[{rate_text(low, 1).removesuffix(' %')}, {rate_text(high, 1)}]"


def explained(interval: dict[str, Any]) -> str:
    """What an interval of metrics.json is of."""
    return (
        f"{100 * interval['level']:g} % intervals, from {interval['resamples']:,} draws of the "
        f"{interval['speakers']:,} speakers with replacement"
    )
