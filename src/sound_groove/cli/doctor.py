"""`sound-groove doctor`: what is wrong with the labels and recordings of a corpus."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.options import add_model_option, number, positive_integer
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.verb import add_verb, ready_for_computing
from sound_groove.errors import MissingExtraError

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.curation.findings import Examination

EXAMPLES = """examples:
  sound-groove doctor recordings --out outputs/doctor                     one folder a speaker
  sound-groove doctor data/mine --model campplus-zh-en --fdr 0.01         what 'prepare' wrote
  sound-groove train fine-tune data.prepared=data/mine data.exclude=outputs/doctor/choices.tsv
  sound-groove verify --trials trials.txt --exclude outputs/doctor/choices.tsv

Finds recordings that cannot be used or hold several voices, the same audio twice (as another encoding, cut or louder
too), recordings of somebody else than their label says, speakers who are two people, and labels that are one person.
--out gets report.html, a page to listen and choose by (--with-audio puts the sound into it); findings.tsv, each with
its probability; choices.tsv, what is dropped or moved and why, which 'train' and 'verify' take; and clean.tsv, what is
left, one 'path <tab> speaker' a line, which they and 'prepare list' take. Nothing of the corpus is changed. A run that
was stopped goes on when the same command is given again.
"""
MOST_SHOWN = 10  # findings of a kind


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "doctor",
        "wrong labels and bad recordings of a corpus",
        "Look a corpus through for wrong labels and bad recordings.",
        EXAMPLES,
        run,
    )
    add = parser.add_argument
    add("data", metavar="DATA", type=Path, help="what 'prepare' wrote, a folder of speakers' folders, or a list")
    add_model_option(parser)
    add("--out", metavar="DIR", type=Path, default=Path("outputs/doctor"), help="(default: outputs/doctor)")
    add(
        "--fdr",
        metavar="R",
        type=_rate,
        default=0.05,
        help="expected share of right labels among those called wrong, of each kind (default: 0.05)",
    )
    add("--workers", metavar="N", type=positive_integer, help="recordings at a time (default: all cores)")
    add("--with-audio", action="store_true", help="put the first seconds of what report.html plays into the page")
    add("--force", action="store_true", help="replace the examination in --out, and hear everything anew")
    add("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Examine, and say what was found."""
    ready_for_computing()
    from sound_groove.curation.copies import find_copies
    from sound_groove.curation.corpus import (
        check_out,
        hear_corpus,
        labelled_recordings,
        seek_in,
        write_examination,
        write_page,
    )
    from sound_groove.curation.examination import examine
    from sound_groove.encoder.bulk import in_threads
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.progress import ProgressBar
    from sound_groove.provenance import available_cores

    check_out(arguments.out, arguments.force)
    recordings = labelled_recordings(arguments.data)
    encoder = SpeakerEncoder.load(arguments.model or default_model(), threads=1)
    embed = in_threads(encoder, None, arguments.workers or available_cores(), seek_in(encoder))
    with ProgressBar(total=len(recordings), desc="hearing", unit="recording", disable=None) as bar:
        heard = hear_corpus(
            recordings, arguments.out, embed, encoder.identity.hash, force=arguments.force, progress=bar.update
        )
    copies = find_copies(heard, lambda row: recordings[row].path)
    limit = None if encoder.score_map is None else encoder.score_map.familiar_up_to
    found = examine(recordings, heard, arguments.fdr, copies=copies, familiar_up_to=limit)
    write_examination(arguments.out, recordings, found)
    try:
        page = write_page(arguments.out, recordings, found, arguments.data.name, arguments.fdr, arguments.with_audio)
        say(f"to listen and choose: {page}")
    except MissingExtraError as error:
        say(f"note: {error}")
    say(*(f"note: {note}" for note in found.notes))
    if arguments.json:
        show_json(_record(found, len(recordings), arguments), indent=None)
    else:
        show(*_lines(found, len(recordings)))
        show("", f"findings: {arguments.out / 'findings.tsv'}", f"choices: {arguments.out / 'choices.tsv'}")
    return 0


def _lines(found: "Examination", count: int) -> list[str]:
    """What is shown on a terminal."""
    from sound_groove.curation.findings import KINDS

    lines = [f"{count:,} recordings, {len(set(found.labels.values())):,} speakers in the clean list"]
    if found.compared:
        lines.append(
            f"wrong labels: about {100 * found.wrong_share:.1f} % of the {found.compared:,} recordings that can be "
            "compared with others of their label"
        )
    for kind, text in KINDS.items():
        here = found.of_kind(kind)
        if not here:
            continue
        lines += ["", f"{len(here):,} {text}:"]
        for one in here[:MOST_SHOWN]:
            about = one.path or (f"{one.speaker} and {one.other}" if kind == "one_person" else one.speaker)
            sure = "" if one.probability is None or kind == "same_audio" else f"  {one.probability:.3f}"
            label = f" ({one.speaker})" if one.path else ""
            lines.append(f"  {about}{label}{sure}{f'  {one.detail}' if one.detail else ''}")
        if len(here) > MOST_SHOWN:
            lines.append(f"  and {len(here) - MOST_SHOWN:,} more")
    if not found.findings:
        lines.append("nothing is wrong with it")
    return lines


def _record(found: "Examination", count: int, arguments: argparse.Namespace) -> dict[str, object]:
    """The same for programs."""
    from dataclasses import asdict

    return {
        "recordings": count,
        "compared": found.compared,
        "wrong_share": found.wrong_share,
        "fdr": arguments.fdr,
        "findings": [asdict(one) for one in found.findings],
        "notes": list(found.notes),
        "kept": len(found.labels),
        "out": str(arguments.out),
    }


def _rate(text: str) -> float:
    value = number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, not '{text}'")
    return value
