"""The part of the report that lists the worst trials, with players where the page holds their recordings."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from sound_groove.evaluation.figure_texts import html_text
from sound_groove.evaluation.report.excerpts import EXCERPT_S
from sound_groove.evaluation.trials.places import without_suffix
from sound_groove.evaluation.worst import MOST_PER_NAME

Excerpts = Mapping[tuple[str, ...], str]
KINDS = (
    ("false_accepts", "Different speakers that score highest", "accepted"),
    ("false_rejects", "Same speaker that scores lowest", "rejected"),
)


def worst_section(worst: Mapping[str, Sequence[Mapping[str, Any]]] | None, threshold: float, excerpts: Excerpts) -> str:
    """The trials that are most wrong.

    Args:
        worst: as metrics.json has it.
        threshold: that of the equal error rate.
        excerpts: by the files of a side, its sound as a data: URI.
    """
    if not worst:
        return ""
    parts = [
        '<p class="soft">Worth listening to: behind such trials stand wrong labels, second voices, noise and silence '
        f"as often as voices that are hard to tell apart. No recording is in more than {MOST_PER_NAME} trials of a "
        "list, so that one bad recording does not fill it.</p>"
    ]
    if excerpts:
        parts.append(
            f'<div class="notes"><p>This page holds the voices of {len(excerpts):,} recordings, the first '
            f"{EXCERPT_S:g} s of each at most: pass it on only where the recordings themselves may go. "
            '<code class="option">--no-audio</code> leaves them out.</p></div>'
        )
    for key, title, outcome in KINDS:
        records = worst[key]
        if not records:
            continue
        accepted = [record["score"] >= threshold for record in records]
        wrong = sum(accepted) if key == "false_accepts" else len(accepted) - sum(accepted)
        trials = "".join(_trial(record, excerpts) for record in records)
        parts.append(
            f'<h3>{title}</h3><p class="soft">{wrong} of these {len(records)} would be {outcome} at the threshold of '
            f'the EER, {threshold:.3f}.</p><ol class="trials">{trials}</ol>'
        )
    return "".join(parts)


def _trial(record: Mapping[str, Any], excerpts: Excerpts) -> str:
    llr = "" if record["llr"] is None else f'<div class="what">llr {record["llr"]:+.2f}</div>'
    sides = "".join(_side(side, record[side], record[f"{side}_files"], excerpts) for side in ("enrolment", "test"))
    return (
        f'<li class="trial"><div><div class="value">{record["score"]:.3f}</div>'
        f'{llr}<div class="what">line {record["line"]:,}</div></div>{sides}</li>'
    )


def _side(side: str, name: str, files: Sequence[str], excerpts: Excerpts) -> str:
    source = ""
    if files and not without_suffix(PurePath(files[0]).as_posix()).endswith(without_suffix(name)):
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        source = f'<div class="what"><code>{html_text(files[0])}</code>{more}</div>'
    player = ""
    if sound := excerpts.get(tuple(files)):
        label = html_text(f"{side} {name}, first seconds")
        player = f'<audio controls preload="none" aria-label="{label}" src="{sound}"></audio>'
    return f'<div class="side"><div class="what">{side}</div><code>{html_text(name)}</code>{source}{player}</div>'
