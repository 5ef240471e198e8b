"""The options of `verify` about scoring and the cohort."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.errors import UsageError

if TYPE_CHECKING:
    from sound_groove.evaluation.scorings import ScoringPlan

CHOICES = ("cosine", "centred", "as-norm", "plda", "all")


def add_scoring_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--scoring",
        choices=CHOICES,
        default="cosine",
        help="how embeddings are compared: 'cosine'; 'centred', the cosine after the mean of the cohort is subtracted "
        "from both, for another domain than that of the training speakers, whose mean a model may subtract itself; "
        "'as-norm', the cosine normalised by the cohort; 'plda', a model fitted on the cohort; or 'all' side by side, "
        "the cosine being the main one (default: cosine)",
    )
    parser.add_argument(
        "--cohort",
        metavar="PATH",
        type=Path,
        help="speakers who are in no trial, for all scorings but the cosine: a folder that 'prepare' wrote (its "
        "training speakers), or a .npz file that 'embed' wrote (an array 'speaker' or the folders tell who speaks)",
    )
    parser.add_argument(
        "--cohort-top", metavar="N", type=int, help="as-norm: cohort scores taken of each side (default: 300)"
    )
    parser.add_argument(
        "--cohort-utterances", metavar="N", type=int, help="of each speaker of the cohort, at most (default: 10)"
    )


def scoring_plan(arguments: argparse.Namespace) -> "ScoringPlan":
    """What the options ask for.

    Raises:
        UsageError: they do not go together.
    """
    from sound_groove.evaluation.cohort import UTTERANCES
    from sound_groove.evaluation.scorings import SCORINGS, ScoringPlan
    from sound_groove.scoring.as_norm import TOP

    if arguments.cohort_top is not None and arguments.scoring not in ("as-norm", "all"):
        raise UsageError("--cohort-top is for --scoring as-norm or all")
    if arguments.cohort_utterances is not None and arguments.cohort is None:
        raise UsageError("--cohort-utterances needs --cohort")
    return ScoringPlan(
        SCORINGS if arguments.scoring == "all" else (arguments.scoring,),
        arguments.cohort,
        TOP if arguments.cohort_top is None else arguments.cohort_top,
        UTTERANCES if arguments.cohort_utterances is None else arguments.cohort_utterances,
    )
