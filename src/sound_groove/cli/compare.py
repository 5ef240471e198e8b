"""`sound-groove compare`: are two recordings of the same speaker? And of more recordings than two."""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.decision_options import COLOURS, VERDICTS, add_decision_options, decision_rule, show_comparison
from sound_groove.cli.options import add_channel_option, add_model_option, positive_integer
from sound_groove.cli.output import prints_on_terminal, say, show_in_colour, show_json
from sound_groove.cli.verb import add_verb
from sound_groove.errors import UsageError, printable
from sound_groove.percentages import probability_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sound_groove.cli.verb import Verbs
    from sound_groove.comparison import Comparison
    from sound_groove.pairs import Pair, PairOutcome
    from sound_groove.types import CropAveraging

EXAMPLES = """examples:
  sound-groove compare a.wav b.wav
  sound-groove compare a.wav b.wav --model outputs/ecapa512
  sound-groove compare a.wav b.wav --model best.safetensors --json
  SOUND_GROOVE_MODEL=best.safetensors sound-groove compare a.wav b.wav --prior 0.01
  sound-groove compare a.wav b.wav --model best.onnx --max-false-accept 0.01
  sound-groove compare a.wav b.wav --exit-code           0: same, 10: different, 11: inconclusive
  sound-groove compare 'call.wav#1' 'call.wav#2'        the two sides of a call; --channel N is of both recordings
  sound-groove compare a.wav b.wav c.wav d.wav          a.wav with each of the others
  sound-groove compare --pairs pairs.txt --json         'path path' lines; - for the standard input

The verdict is 'same', 'different' or 'inconclusive'; the last when a verdict is not worth its risk, when a recording
has less than half a second of speech, or when its channels carry different sound and none was chosen. By default that
is between probabilities of 0.2 and 0.8. How sure a verdict must be is said by costs, or by the largest share of
comparisons that may go wrong, whatever the prior; both rely on the model's calibration ('sound-groove calibrate').
--prior is the probability of the same speaker before listening.

Each recording is heard once, however many it is compared with. A recording that cannot be used, or a line that is no
pair, is reported, the others are compared all the same, and the exit status is 1. Relative paths in a list start at
its folder.
"""
EXIT_CODES = {"same": 0, "different": 10, "inconclusive": 11}


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "compare",
        "two recordings: same speaker, different, or inconclusive",
        "Compare two recordings: same speaker, different speakers, or inconclusive.",
        EXAMPLES,
        run,
    )
    parser.add_argument(
        "recordings",
        metavar="RECORDING",
        nargs="*",
        help="two recordings, or one and others to compare it with: wav, flac, ogg, opus, mp3 and more; - for the "
        "standard input",
    )
    parser.scattered = "recordings"
    parser.add_argument("--pairs", metavar="LIST", help="compare the pairs of this list, two paths a line, instead")
    add_model_option(parser)
    add_channel_option(parser)
    add_decision_options(parser)
    parser.add_argument(
        "--crops",
        metavar="N",
        type=positive_integer,
        help="average N evenly spaced crops instead of taking the whole recording",
    )
    parser.add_argument(
        "--crop-frames",
        metavar="F",
        type=positive_integer,
        help="length of a crop in 10 ms (default: 400)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--exit-code",
        action="store_true",
        help="exit with 0 for the same speaker, 10 for different speakers and 11 for inconclusive",
    )


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the answer, and say what weakens it."""
    from sound_groove.comparison import check_prior
    from sound_groove.types import CropAveraging

    _check_options(arguments)
    check_prior(arguments.prior)
    crops = CropAveraging(arguments.crops, arguments.crop_frames or 400) if arguments.crops else None
    if arguments.pairs is None and len(arguments.recordings) == 2:
        return _compare_two(arguments, crops)
    return _compare_many(arguments, crops)


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse what does not go together, and too few recordings."""
    if arguments.crop_frames and not arguments.crops:
        raise UsageError("--crop-frames needs --crops")
    if arguments.pairs is not None and arguments.recordings:
        raise UsageError("give recordings, or a list of pairs (--pairs), and not both")
    if arguments.pairs is None and len(arguments.recordings) < 2:
        given = f"'{printable(arguments.recordings[0])}' alone" if arguments.recordings else "none"
        raise UsageError(
            f"two recordings are compared, or one with several others, and {given} was given (see 'sound-groove "
            "compare --help')"
        )
    if arguments.exit_code and (arguments.pairs is not None or len(arguments.recordings) > 2):
        raise UsageError("--exit-code tells the verdict of two recordings; of more, --json tells each")


def _compare_two(arguments: argparse.Namespace, crops: "CropAveraging | None") -> int:
    from sound_groove.comparison import compare
    from sound_groove.encoder.encoder import default_model

    first, second = arguments.recordings
    comparison = compare(
        first,
        second,
        arguments.model or default_model(),
        prior=arguments.prior,
        rule=decision_rule(arguments),
        crops=crops,
        channel=arguments.channel,
    )
    show_comparison(comparison, comparison.as_dict() if arguments.json else None)
    return EXIT_CODES[comparison.verdict] if arguments.exit_code else 0


def _compare_many(arguments: argparse.Namespace, crops: "CropAveraging | None") -> int:
    """One recording with others, or the pairs of a list: a line for each as soon as it is known."""
    from sound_groove.comparison import Judge
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.pairs import against, compare_pairs
    from sound_groove.progress import ProgressBar
    from sound_groove.provenance import available_cores

    first, *others = arguments.recordings or [""]
    pairs = against(first, others) if arguments.pairs is None else _listed(arguments.pairs)
    rule = decision_rule(arguments)
    encoder = SpeakerEncoder.load(arguments.model or default_model())
    outcomes = compare_pairs(
        pairs,
        encoder,
        Judge.of(encoder, arguments.prior, rule),
        crops=crops,
        channel=arguments.channel,
        threads=available_cores(),
    )
    is_drawn = arguments.json or not prints_on_terminal()  # else the lines themselves are the progress
    bar = ProgressBar(outcomes, "comparing", len(pairs), unit="pair", leave=False, disable=None if is_drawn else True)
    with bar:
        told = _tell(bar, arguments.pairs, shown=not arguments.json)
    if arguments.json:
        failed = sum(1 for one in told if one.comparison is None)
        show_json({"comparisons": [one.as_dict() for one in told], "failed": failed})
    _say_sum(told, shown=not arguments.json)
    return 1 if any(one.comparison is None for one in told) else 0


def _listed(name: str) -> "tuple[Pair, ...]":
    """The pairs of a list, or of the standard input.

    Raises:
        CorpusError: it cannot be read, or is no list.
    """
    from sound_groove.audio.given import STANDARD_INPUT
    from sound_groove.errors import CorpusError
    from sound_groove.pairs import read_pairs

    if name == STANDARD_INPUT:
        return read_pairs(sys.stdin.buffer, "the standard input", Path())
    try:
        with Path(name).open("rb") as file:
            return read_pairs(file, name, Path(name).parent)
    except OSError as error:
        raise CorpusError(f"{printable(name)}: cannot be read: {error.strerror or error}") from None


def _tell(outcomes: "Iterable[PairOutcome]", listed: str | None, shown: bool) -> "list[PairOutcome]":
    """Say why a pair has no answer, and each warning once; print the answers, unless they are kept for JSON."""
    told, warned = [], set()
    for one in outcomes:
        told.append(one)
        if one.comparison is None:
            line = "" if one.pair.line is None else f"{listed}, line {one.pair.line}: "
            say(f"error: {line}{one.error}")
            continue
        for warning in one.comparison.warnings:
            names_it = warning.code == "uncalibrated" or any(name in warning.message for name in one.pair.names)
            message = warning.message if names_it else f"{one.pair.a}, {one.pair.b}: {warning.message}"
            if message not in warned:
                warned.add(message)
                say(f"warning: {message}")
        if shown:
            _show_line(one.pair, one.comparison)
    return told


def _show_line(pair: "Pair", found: "Comparison") -> None:
    """An answer on one line: the verdict first, the names, which may be long, last."""
    verdict = VERDICTS[found.verdict]
    chance = "unknown" if found.probability is None else probability_text(found.probability)
    llr = "unknown" if found.llr is None else f"{found.llr:.2f}"
    space = " " * (max(map(len, VERDICTS.values())) - len(verdict))
    rest = f"{space}  {chance:>12}  llr {llr:>7}  score {found.score:6.3f}  {pair.a}  {pair.b}"
    show_in_colour("", verdict, rest, COLOURS[found.verdict])


def _say_sum(told: "list[PairOutcome]", shown: bool) -> None:
    """Say how many verdicts there are of each kind; and, where they were shown, what they rest on."""
    from sound_groove.cli.decision_options import calibration_text
    from sound_groove.scoring.strength import NOT_DETECTED

    found = [one.comparison for one in told if one.comparison is not None]
    if shown and found:
        say(f"model: {found[0].model.label}{calibration_text(found[0].collections)}", f"note: {NOT_DETECTED}")
    counts = Counter[str](one.verdict for one in found)
    kinds = [f"{counts[kind]:,} {words}" for kind, words in VERDICTS.items()]
    failed = len(told) - len(found)
    pairs = "1 pair" if len(told) == 1 else f"{len(told):,} pairs"
    say(f"{pairs}: {', '.join(kinds)}" + (f"; {failed:,} could not be compared" if failed else ""))
