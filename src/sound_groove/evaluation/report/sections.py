"""The parts of the report beside the headline figures: other scorings, another system, calibration, where it fails.

Each takes a part of metrics.json and gives HTML, empty where there is nothing to show.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sound_groove.evaluation.figure_texts import PERCENT, PLAIN, html_text, interval_text, number, value_text
from sound_groove.percentages import probability_text, rate_text

DPI = 140  # of the pictures: at 96 to the inch they would be shown too large
WIDE = 700  # pixels from which on a picture that stands alone is moved in a narrow window, and not made small
WIDTHS = (25, 17, 34, 12, 12)  # %, of the columns of a breakdown
CAPTIONS = {
    "roc.png": ("ROC", "Hits over false alarms at every threshold. The further to the upper left, the better."),
    "det.png": ("DET", "Misses over false alarms on normal-deviate axes. The further to the lower left, the better."),
    "score_hist.png": ("Scores", "How both kinds of trial score. The less they overlap, the better."),
    "tsne.png": ("Embeddings", "One colour and shape a speaker. Distances between groups mean little."),
    "reliability.png": (
        "Reliability",
        "How often the speaker is the same, over the probability that was stated. The nearer to the diagonal, the "
        "more the probabilities can be taken at their word.",
    ),
    "genre_pairs.png": (
        "Genres",
        "Equal error rate in percent, darker = worse; below it the number of trials. Hatched: too few to measure.",
    ),
}
COMPARED = (
    ("eer", "EER", PERCENT),
    ("min_dcf", "minDCF 0.01", PLAIN),
    ("min_dcf_05", "minDCF 0.05", PLAIN),
    ("cllr", "Cllr", PLAIN),
    ("min_cllr", "min Cllr", PLAIN),
)


def picture(path: Path, alone: bool = False) -> str:
    """A PNG with its caption, or nothing where it does not exist.

    Args:
        path: the file.
        alone: whether it stands alone, and so is shown in its own size where the window is wide enough.
    """
    if not path.exists():
        return ""
    title, caption = CAPTIONS[path.name]
    content = path.read_bytes()
    width, height = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))  # of the PNG's header
    own = width * 96 // DPI
    shape = f' style="max-width:{own}px"' + (' class="wide"' if own > WIDE else "") if alone else ""
    data = base64.b64encode(content).decode("ascii")
    return (
        f'<figure{shape}><img alt="{title}. {caption}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{data}"><figcaption><b>{title}.</b> {caption}</figcaption></figure>'
    )


def scorings_section(scorings: Mapping[str, Mapping[str, Any]] | None, main: str | None) -> str:
    """The figures of every way of scoring, side by side; nothing where there was one only."""
    if not scorings or len(scorings) < 2:
        return ""
    shown = [entry for entry in COMPARED if any(figures.get(entry[0]) for figures in scorings.values())]
    rows = []
    for name, figures in scorings.items():
        mark = ' <span class="soft">(main)</span>' if name == main else ""
        cells = "".join(_figure_cell(figures.get(key), form) for key, _, form in shown)
        rows.append(f"<tr><th>{html_text(name)}{mark}</th>{cells}</tr>")
    return (
        '<p class="soft">The same embeddings and trials, scored in several ways. All else on this page is of the main '
        "one.</p>" + _table(["scoring", *(name for _, name, _ in shown)], rows)
    )


def against_section(against: Mapping[str, Any] | None) -> str:
    """The figures of this model and of another's scores on the same trials."""
    if not against:
        return ""
    rows = []
    for key, name, form in COMPARED:
        if figure := against["figures"].get(key):
            difference = figure["difference"]
            change = f"{'+' if difference['value'] > 0 else ''}{number(difference['value'], form)}"
            rows.append(
                f'<tr><th>{name}</th><td class="number">{value_text(figure["this"], form)}</td>'
                f'<td class="number">{value_text(figure["other"], form)}</td>'
                f'<td class="number">{change}<span class="range">{interval_text(difference, form)}</span></td>'
                f"<td>{_verdict(difference)}</td></tr>"
            )
    intro = (
        f'<p class="soft">Against the scores in <code>{html_text(against["path"])}</code> (sha256 '
        f"<code>{html_text(against['sha256'])}</code>), on {against['trials']:,} trials that both have. The same "
        "speakers were drawn for both, so the difference is known better than either figure; below 0, this model is "
        "the better one.</p>"
    )
    return intro + _table(["figure", "this model", "the other", "difference", "which is better"], rows)


def _verdict(difference: Mapping[str, Any]) -> str:
    if difference["low"] is None:
        return "not known"
    if difference["high"] < 0:
        return "this model"
    return "the other" if difference["low"] > 0 else "cannot be told"


def calibration_section(calibration: Mapping[str, Any] | None, reliability: Path | None) -> str:
    """How far the stated probabilities can be believed."""
    if not calibration:
        return ""
    intro = (
        f'<p class="soft">Cllr {calibration["cllr"]:.3f} bits, of which {calibration["loss"]:.3f} are lost by '
        f"calibration: a perfect map would leave {calibration['min_cllr']:.3f}. Probabilities are stated at the list's "
        f"own prior, its {rate_text(calibration['prior'], 1)} of same-speaker trials.</p>"
    )
    rows = [
        f'<tr><th class="number">{100 * bin["low"]:.0f} to {100 * bin["high"]:.0f} %</th>'
        f'<td class="number">{probability_text(bin["predicted"], 1)}</td><td class="number">{_percent(bin["observed"])}'
        f'<span class="range">{_bounds(bin)}</span></td><td class="number count">{bin["trials"]:,}</td></tr>'
        for bin in calibration["reliability"]
        if bin["trials"]
    ]
    table = _table(["stated", "stated, mean", "same speaker in fact", "trials"], rows, counts=1)
    if reliability is None or not reliability.exists():
        return intro + table
    return (
        intro + picture(reliability, alone=True) + f"<details><summary>The same as a table</summary>{table}</details>"
    )


def _percent(rate: float | None) -> str:
    return "-" if rate is None else rate_text(rate, 1)


def _bounds(reliability_bin: Mapping[str, Any]) -> str:
    low, high = reliability_bin["observed_low"], reliability_bin["observed_high"]
    return "" if low is None else f"[{rate_text(low, 1).removesuffix(' %')}, {rate_text(high, 1)}]"


def breakdown_section(breakdowns: Sequence[Mapping[str, Any]] | None, overall: float, pairs: Path | None) -> str:
    """The equal error rate in groups of the trials.

    Args:
        breakdowns: as metrics.json has them.
        overall: equal error rate of all trials.
        pairs: the heat map's file, or None.
    """
    shown = [breakdown for breakdown in breakdowns or () if breakdown["groups"]]
    if not shown:
        return ""
    parts = [
        '<p class="soft">The equal error rate of the trials in each group. A bar shows the rate, the line '
        f'<span class="key spread"></span> on it the 95 % interval, and the mark <span class="key"></span> the rate of '
        f"all trials, {number(overall, PERCENT)}. Each of these rates has a threshold of its own. Misses and false "
        "alarms are those at the one threshold of all trials: they tell which group pays for it.</p>"
    ]
    for breakdown in shown:
        title, groups = breakdown["title"], breakdown["groups"]
        parts.append(f"<h3>{html_text(title[:1].upper() + title[1:])}</h3>")
        if breakdown["kind"] == "pairs":
            parts.append(picture(pairs, alone=True) if pairs else "")
            groups = sorted(groups, key=lambda group: -group["eer"]["value"] if group["eer"] else 1.0)
            table = _group_table(groups, overall)
            parts.append(f"<details><summary>The {len(groups)} pairs, worst first</summary>{table}</details>")
        else:
            parts.append(_group_table(groups, overall))
    return "".join(parts)


def _group_table(groups: Sequence[Mapping[str, Any]], overall: float) -> str:
    rates = [group["eer"] for group in groups if group["eer"]]
    ends = [rate[end] for rate in rates for end in ("value", "high") if rate[end] is not None]
    scale = 1.05 * max([overall, *ends, 1e-9])
    rows = []
    for group in groups:
        name = html_text(group["name"] if "name" in group else " \u2192 ".join(group["pair"]))
        if group["eer"]:
            rate = (
                f'<td class="number">{value_text(group["eer"], PERCENT)}<span class="range">'
                f"{interval_text(group['eer'], PERCENT)}</span></td>"
                f'<td class="bar">{_bar(group["eer"], overall, scale)}</td>'
            )
        else:
            rate = f'<td class="soft">{html_text(group.get("reason") or "not measured")}</td><td class="bar"></td>'
        errors = "".join(
            f'<td class="number count">{value_text(group[key], PERCENT)}'
            f'<span class="range">{f"of {group[kind]:,}" if group[kind] else ""}</span></td>'
            for key, kind in (("miss_rate", "targets"), ("false_alarm_rate", "nontargets"))
        )
        rows.append(f"<tr><th>{name}</th>{rate}{errors}</tr>")
    heads = (
        '<th>group</th><th>EER</th><th class="bar"></th><th class="count">misses</th>'
        '<th class="count">false alarms</th>'
    )
    columns = "".join(f'<col style="width:{width}%">' for width in WIDTHS)
    body = f"<colgroup>{columns}</colgroup><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="table groups"><table>{body}</table></div>'


def _bar(eer: Mapping[str, Any], overall: float, scale: float) -> str:
    """A rate as a bar, with its interval and the rate of all trials; figures beside it say the same."""

    def percent(rate: float) -> str:
        return f"{100 * rate / scale:.2f}%"

    marks = [f'<span class="fill" style="width:{percent(eer["value"])}"></span>']
    if eer["low"] is not None:
        width = percent(eer["high"] - eer["low"])
        marks.append(f'<span class="spread" style="left:{percent(eer["low"])};width:{width}"></span>')
    marks.append(f'<span class="overall" style="left:{percent(overall)}"></span>')
    return f'<span class="track" aria-hidden="true">{"".join(marks)}</span>'


def _figure_cell(figure: Mapping[str, Any] | None, form: str) -> str:
    if not figure:
        return "<td>-</td>"
    interval = f'<span class="range">{interval_text(figure, form)}</span>'
    return f'<td class="number">{value_text(figure, form)}{interval}</td>'


def _table(heads: Iterable[str], rows: Iterable[str], counts: int = 0) -> str:
    """A table with a line of heads, the last `counts` of which stand above numbers at the right."""
    names = list(heads)
    plain = len(names) - counts
    cells = "".join(
        [f"<th>{name}</th>" for name in names[:plain]] + [f'<th class="count">{name}</th>' for name in names[plain:]]
    )
    return f'<div class="table"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
