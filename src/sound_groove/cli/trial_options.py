"""The options of `verify` and `calibrate` that say which trials there are, and the trials that they mean."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.options import add_channel_option, positive_integer
from sound_groove.errors import UsageError

if TYPE_CHECKING:
    from sound_groove.evaluation.trials.trial_sets import TrialSet

PAIRS = 20_000


def add_trial_options(parser: argparse.ArgumentParser, several: bool = False) -> "argparse._MutuallyExclusiveGroup":
    """Add the options.

    Args:
        parser: the verb's.
        several: let trials come from several files, each of which is a collection.

    Returns:
        The group of options of which there must be one.
    """
    count, more = ("+", "; of several, each is a collection, called by its file or folder") if several else (None, "")
    trials = parser.add_mutually_exclusive_group(required=True)
    trials.add_argument("--trials", metavar="FILE", type=Path, nargs=count, help=f"a trial list{more}")
    trials.add_argument(
        "--val-meta",
        metavar="FILE",
        type=Path,
        nargs=count,
        help=f"draw pairs from this val_meta.jsonl of 'prepare'{more}",
    )
    parser.add_argument(
        "--audio-root", metavar="DIR", type=Path, help="where the list's names start (default: the list's folder)"
    )
    add_channel_option(parser)
    enrolment = parser.add_mutually_exclusive_group()
    enrolment.add_argument(
        "--enrollment",
        choices=("concatenated", "average"),
        help="CN-Celeb: embed the recordings of enroll.lst (default), or average those of enroll.map",
    )
    enrolment.add_argument(
        "--enroll-map",
        metavar="FILE",
        type=Path,
        help="average the recordings of each enrolment: 'model file1 file2 ...' lines, for a list in any format",
    )
    parser.add_argument(
        "--utt2spk", metavar="FILE", type=Path, help="who speaks: 'name speaker' lines (default: told from the trials)"
    )
    parser.add_argument(
        "--pairs", metavar="N", type=positive_integer, help=f"with --val-meta: most pairs to draw (default: {PAIRS})"
    )
    parser.add_argument(
        "--allow-trained-speakers",
        action="store_true",
        help="go on when names among the trials are those of speakers that the model was made with",
    )
    return trials


def check_trial_options(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: some do not.
    """
    if arguments.val_meta is None:
        if arguments.pairs is not None:
            raise UsageError("--pairs needs --val-meta; a trial list is scored as it is")
        return
    if arguments.enrollment is not None:
        raise UsageError("--enrollment needs --trials; pairs of a validation set have no enrolment")
    if arguments.enroll_map is not None:
        raise UsageError("--enroll-map needs --trials; pairs of a validation set have no enrolment")
    if arguments.utt2spk is not None:
        raise UsageError("--utt2spk needs --trials; a validation set names its speakers itself")


def trial_set_of(arguments: argparse.Namespace) -> "TrialSet":
    """The trials that the options mean.

    Raises:
        TrialError, UsageError: see `trials_from_list` and `trials_from_validation`.
    """
    from sound_groove.evaluation.trials.trial_sets import choose_channel, trials_from_list, trials_from_validation

    if arguments.val_meta is not None:
        pairs = PAIRS if arguments.pairs is None else arguments.pairs
        drawn = trials_from_validation(arguments.val_meta, pairs, arguments.seed, arguments.audio_root)
        return choose_channel(drawn, arguments.channel)
    root = arguments.audio_root if arguments.audio_root is not None else arguments.trials.parent
    listed = trials_from_list(arguments.trials, root, arguments.enrollment, arguments.utt2spk, arguments.enroll_map)
    return choose_channel(listed, arguments.channel)
