"""`sound-groove prepare`: list, check, split and optionally convert a corpus."""

import argparse
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sound_groove.cli.options import add_channel_option, number, positive_integer
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.verb import add_verb

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.corpora.layouts import Corpus
    from sound_groove.corpora.preparation_report import Report

EXAMPLES = {
    "cnceleb": "sound-groove prepare cnceleb --cnceleb1 CN-Celeb_flac --cnceleb2 CN-Celeb2_flac --out data/cn --join 5",
    "voxceleb": "sound-groove prepare voxceleb vox1 --exclude-trials veri_test.txt --out data/vox1",
    "folder": "sound-groove prepare folder speech --out data/mine        speech/<speaker>/**.wav|flac|ogg|opus|mp3",
    "list": "sound-groove prepare list recordings.tsv --out data/mine  one 'path <tab> speaker' a line\n"
    "  sound-groove prepare list data/train --out data/mine         a Kaldi data folder: wav.scp, segments, utt2spk",
}
RESUMES = "A run that was stopped goes on when the same command is given again."
KINDS = {
    "bad": "cannot be read",
    "missing": "listed but not there",
    "twin": "another file has the same name",
    "short": "shorter than --min-duration",
    "no_audio": "speakers' folders without audio",
}


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "prepare",
        "list, check and split a corpus",
        "List a corpus, check every file, and hold speakers out for validation.",
        "\n  ".join(["examples:", *EXAMPLES.values()]) + f"\n\n{RESUMES}",
    )
    corpora = parser.add_subparsers(dest="corpus", metavar="CORPUS", required=True)
    cnceleb = _add(corpora, "cnceleb", "CN-Celeb1, with or without CN-Celeb2", cnceleb_corpus)
    cnceleb.add_argument("--cnceleb1", metavar="DIR", type=Path, required=True, help="the folder CN-Celeb_flac")
    cnceleb.add_argument("--cnceleb2", metavar="DIR", type=Path, help="the folder CN-Celeb2_flac")
    voxceleb = _add(corpora, "voxceleb", "VoxCeleb1 or VoxCeleb2", voxceleb_corpus)
    voxceleb.add_argument("folder", metavar="DIR", type=Path, help="holds idXXXXX/VIDEO/*, or wav, dev/wav, dev/aac")
    voxceleb.add_argument(
        "--exclude-trials",
        metavar="LIST",
        type=Path,
        action="append",
        default=[],
        help="leave out every speaker named in this trial list or list of speakers (may be given again)",
    )
    folder = _add(corpora, "folder", "a folder of recordings, one folder a speaker", folder_corpus)
    folder.add_argument("folder", metavar="DIR", type=Path, help="laid out as speaker/**/audio")
    listed = _add(corpora, "list", "a list of recordings", list_corpus)
    listed.add_argument(
        "file", metavar="FILE", type=Path, help="one 'path <tab> speaker' a line; or a Kaldi data folder"
    )
    for corpus in (cnceleb, voxceleb, folder, listed):
        _add_options(corpus)


def _add(corpora: "Verbs", name: str, text: str, build: Any) -> argparse.ArgumentParser:
    parser = add_verb(corpora, name, text, f"Prepare {text}.", f"example:\n  {EXAMPLES[name]}\n\n{RESUMES}", run)
    parser.set_defaults(build_corpus=build)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", metavar="DIR", type=Path, required=True, help="folder to write")
    add(
        "--validation-speakers",
        metavar="N",
        type=_speakers,
        help="speakers to hold out (default: 5 %%, 10 to 100, at most a third; 0 = none)",
    )
    add("--seed", metavar="N", type=int, default=0, help="of the draw of those speakers (default: 0)")
    add("--join", metavar="S", type=_seconds, help="join short neighbours until each piece lasts S seconds")
    add("--min-duration", metavar="S", type=_seconds, default=0.0, help="drop what is shorter, after joining")
    add("--features", action="store_true", help="also write log-mel features (fbank_pt/); needs the 'train' extra")
    add("--wav", action="store_true", help="also write 16 kHz 16-bit wav copies (wav/); 115 MB an hour")
    add(
        "--pack",
        action="store_true",
        help="also write 16-bit samples into a few large files (pack/), from which crops are read fastest; "
        "115 MB an hour",
    )
    add_channel_option(parser)
    add("--quick", action="store_true", help="look at headers only, instead of decoding every file once")
    add("--workers", metavar="N", type=positive_integer, help="processes (default: all cores)")
    add("--strict", action="store_true", help="exit with 1 when any file is missing or cannot be read")
    add("--force", action="store_true", help="start over where --out holds a preparation")
    add("--json", action="store_true", help="print the report as one JSON object")


def cnceleb_corpus(arguments: argparse.Namespace) -> "Corpus":
    """CN-Celeb, as the arguments name it."""
    from sound_groove.corpora.layouts import CnCeleb

    return CnCeleb(arguments.cnceleb1, arguments.cnceleb2)


def voxceleb_corpus(arguments: argparse.Namespace) -> "Corpus":
    """VoxCeleb, as the arguments name it."""
    from sound_groove.corpora.layouts import VoxCeleb

    return VoxCeleb(arguments.folder, tuple(arguments.exclude_trials))


def folder_corpus(arguments: argparse.Namespace) -> "Corpus":
    """A folder, as the arguments name it."""
    from sound_groove.corpora.layouts import Folder

    return Folder(arguments.folder)


def list_corpus(arguments: argparse.Namespace) -> "Corpus":
    """A list, or a Kaldi data folder, as the arguments name it."""
    from sound_groove.corpora.layouts import KaldiFolder, ListFile
    from sound_groove.corpora.layouts.kaldi import is_kaldi

    return KaldiFolder(arguments.file) if is_kaldi(arguments.file) else ListFile(arguments.file)


def run(arguments: argparse.Namespace) -> int:
    """Prepare the corpus, say what came of it, and give the exit status."""
    from sound_groove.corpora.preparation import prepare
    from sound_groove.corpora.preparation_report import PreparationOptions

    options = PreparationOptions(
        validation_speakers=arguments.validation_speakers,
        seed=arguments.seed,
        join_s=arguments.join or None,
        minimum_duration_s=arguments.min_duration,
        features=arguments.features,
        wav=arguments.wav,
        pack=arguments.pack,
        quick=arguments.quick,
        channel=arguments.channel,
    )
    corpus = arguments.build_corpus(arguments)
    try:
        report = prepare(corpus, arguments.out, options, workers=arguments.workers, force=arguments.force)
    except KeyboardInterrupt:
        say("what was done is kept: the same command goes on from here")
        raise
    _talk(report)
    if arguments.json:
        show_json(report.as_dict(), indent=None)
    else:
        show(*_results(report))
    return 1 if arguments.strict and report.bad else 0


def _results(report: "Report") -> list[str]:
    lines = []
    for name, side in (("train", report.train), ("validation", report.validation)):
        lines.append(f"{name}: {side.speakers:,} speakers, {side.utterances:,} utterances, {side.hours:,.2f} h")
    lines.append(f"files: {report.used:,} of {report.files:,} used, {report.bad:,} missing or unreadable")
    lines.append(f"manifest: {report.out / 'manifest.jsonl'}")
    return lines


def _talk(report: "Report") -> None:
    lines = [f"note: {note}" for note in report.notes]
    evaluation = report.facts.get("evaluation")
    if evaluation:
        lines.append(
            f"evaluation: {evaluation['enrolments']:,} enrolments, {evaluation['tests']:,} tests, "
            f"{evaluation['trials']:,} trials ({evaluation['targets']:,} targets), "
            f"{evaluation['missing_enrolments_and_tests']:,} of the files missing",
        )
    counts = Counter(skip.kind for skip in report.skipped)
    lines += [f"left out: {counts[kind]:,} {text}" for kind, text in KINDS.items() if counts[kind]]  # type: ignore[index]
    if report.skipped:
        lines.append(f"each is named in {report.out / 'skipped.tsv'}")
    if report.licence:
        lines.append(f"licence: {report.licence}")
    if lines:
        say(*lines)


def _seconds(text: str) -> float:
    value = number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, 0 or more, not '{text}'")
    return value


def _speakers(text: str) -> int:
    value = number(text)
    if value < 0 or value == 1 or not value.is_integer():
        raise argparse.ArgumentTypeError(f"must be 0, or 2 and more (one speaker gives no impostor), not '{text}'")
    return int(value)
