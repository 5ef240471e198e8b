"""`sound-groove drift`: are recordings still like those that the model was calibrated on?"""

import argparse
import os
from typing import TYPE_CHECKING, Any

from sound_groove.cli.embed import find_recordings
from sound_groove.cli.options import add_model_option, positive_integer
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.verb import add_verb, ready_for_computing
from sound_groove.errors import UsageError

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.encoder.encoder import SpeakerEncoder
    from sound_groove.monitoring import Monitor
    from sound_groove.scoring.baseline import Drift

EXAMPLES = """examples:
  sound-groove drift calls/                     recordings of last week: are they as they should be?
  sound-groove drift calls/december --like calls/may      has something changed since?
  sound-groove drift calls.txt --model calibrated.onnx --json
  sound-groove drift --service http://127.0.0.1:8000     of all that the service has heard since it started
  sound-groove drift calls/ --exit-code                  its status tells a script

A calibration is right for recordings like those that it was fitted on. Looked at are how much speech there is, noise,
how well the model hears, how alike the voices and how unfamiliar they sound, and of a service the evidence of
comparisons. 'No longer like' is said where one of these lies further from the calibration's recordings than its own
collections lie from each other and chance explains. 50 recordings are needed to be told that they are alike. The
key of a service is taken from SOUND_GROOVE_KEY. With --exit-code: 0 alike, 10 no longer alike, 11 too few to say.
"""
KEY_VARIABLE = "SOUND_GROOVE_KEY"
LIKE = "of --like"
CODES = {"alike": 0, "drifted": 10, "too few": 11}


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "drift",
        "are recordings still like those that the model was calibrated on?",
        "Say whether recordings are still like those that the model was calibrated on.",
        EXAMPLES,
        run,
    )
    parser.add_argument(
        "recordings",
        metavar="RECORDING",
        nargs="*",
        help="audio files, folders, lists (.txt, .lst, .tsv, .scp), a Kaldi data folder, or a .npz file of samples",
    )
    parser.add_argument(
        "--like",
        metavar="RECORDING",
        nargs="+",
        help="compare with these, of a time when all was well, and not with those of the calibration",
    )
    parser.add_argument("--service", metavar="URL", help="ask a running service about all that it has heard")
    add_model_option(parser)
    parser.add_argument("--channel", metavar="N", type=positive_integer, help="listen to this channel of each")
    parser.add_argument("--threads", metavar="N", type=positive_integer, help="(default: as many as processors)")
    parser.add_argument("--exit-code", action="store_true", help="tell the answer by the exit status, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Look, and say what was found."""
    from sound_groove.monitoring import CALIBRATED_ON, drift_text

    if bool(arguments.recordings) == bool(arguments.service):
        raise UsageError("give recordings, or --service URL; one of the two")
    found, about = _asked(arguments) if arguments.service else _heard(arguments)
    sentence = drift_text(found, LIKE if arguments.like else CALIBRATED_ON)
    if arguments.json:
        show_json({**found.as_dict(), "sentence": sentence, **about}, indent=None)
    else:
        show(sentence, "", *_table(found))
    return CODES[found.finding] if arguments.exit_code else 0


def _heard(arguments: argparse.Namespace) -> "tuple[Drift, dict[str, Any]]":
    """Of recordings."""
    ready_for_computing()
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.monitoring import Monitor, monitor_of
    from sound_groove.scoring.baseline import FEWEST

    encoder = SpeakerEncoder.load(arguments.model or default_model(), threads=1)
    if not arguments.like:
        monitor = monitor_of(encoder.score_map, encoder.identity)
        failures = _hear(monitor, arguments.recordings, arguments, encoder)
        found = monitor.drift()
        assert found is not None  # the model says what it was calibrated on
    else:
        earlier, monitor = (Monitor(encoder.score_map, last=None) for _ in range(2))
        _hear(earlier, arguments.like, arguments, encoder)
        baseline = earlier.as_baseline()
        if not baseline.quantities:
            raise UsageError(
                f"--like needs {FEWEST} recordings with enough speech, and there are {baseline.recordings}"
            )
        failures = _hear(monitor, arguments.recordings, arguments, encoder)
        found = monitor.drift_from(baseline)
    return found, {"model": encoder.identity.hash, "failures": failures, "warnings": dict(monitor.warnings)}


def _hear(monitor: "Monitor", words: list[str], arguments: argparse.Namespace, encoder: "SpeakerEncoder") -> list[str]:
    """Count what recordings are like; why some of them cannot be used.

    Raises:
        UsageError: none can.
    """
    from sound_groove.audio.listening import HeardRecording
    from sound_groove.encoder.bulk import in_threads
    from sound_groove.progress import ProgressBar
    from sound_groove.provenance import available_cores

    recordings, failures = find_recordings(words, arguments.channel), []
    embed = in_threads(encoder, None, arguments.threads or available_cores())
    with ProgressBar(total=len(recordings.names), desc="hearing", unit="recording", disable=None) as bar:
        for heard in embed(recordings, recordings.names):
            bar.update(1)
            if isinstance(heard, HeardRecording):
                monitor.hear(heard)
            else:
                failures.append(str(heard))
    if failures:
        say(f"warning: {len(failures):,} cannot be used; the first: {failures[0]}")
    if not sum(monitor.histograms["speech_s"].counts):
        raise UsageError("none of the recordings has enough speech for a verdict")
    return failures


def _asked(arguments: argparse.Namespace) -> "tuple[Drift, dict[str, Any]]":
    """Of what a service has heard."""
    from sound_groove.client import Client

    if arguments.model is not None or arguments.channel is not None or arguments.like:
        raise UsageError("--model, --channel and --like go with recordings; a service has a model of its own")
    answer = Client(arguments.service, os.environ.get(KEY_VARIABLE) or None).drift()
    if answer.drift is None:
        raise UsageError(f"{arguments.service}: {answer.sentence}")
    about = {"heard": answer.recordings, "comparisons": answer.comparisons, "warnings": answer.warnings}
    return answer.drift, about


def _table(found: "Drift") -> list[str]:
    """A line for each quantity."""
    head = f"{'':14} {'number':>7} {'median':>8}   {'usual there':>18}   {'distance':>8}   degree (beyond 1: drifted)"
    lines = [head]
    for shift in found.shifts:
        usual = " to ".join(f"{value:.3g}" for value in shift.usual)
        numbers = f"{shift.count:7,} {shift.median:8.3g}   {usual:>18}   {shift.distance:8.2f}"
        lines.append(f"{shift.quantity:14} {numbers}   {shift.degree:.2f}")
    return lines
