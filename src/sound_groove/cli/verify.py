"""`sound-groove verify`: judge a model on trials."""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.options import add_model_option
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.scoring_options import add_scoring_options, scoring_plan
from sound_groove.cli.trial_options import add_trial_options, check_trial_options, trial_set_of
from sound_groove.cli.verb import add_verb, command_line, ready_for_computing
from sound_groove.errors import UsageError, require_extra

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = """examples:
  sound-groove verify --model outputs/ecapa512 --trials trials.txt --audio-root wav
  sound-groove verify --model outputs/ecapa512 --trials CN-Celeb_flac/eval/lists/trials.lst \\
      --audio-root CN-Celeb_flac/eval --enrollment average --out outputs_eval/average
  sound-groove verify --model outputs/ecapa512 --trials mine.txt --audio-root wav --enroll-map enrolments.txt
  sound-groove verify --model outputs/ecapa512 --val-meta data/mine/val_meta.jsonl --pairs 10000
  sound-groove verify --model outputs/ecapa512 --trials trials.txt --audio-root wav \\
      --metadata speakers.tsv --by gender microphone
  sound-groove verify --model outputs/new --trials trials.txt --against outputs_eval/scores.tsv --out outputs_new
  sound-groove verify --model outputs/ecapa512 --trials trials.txt --scoring all --cohort data/cnceleb

Trial lists: '1 a.wav b.wav' (VoxCeleb), 'enrolment test.wav 1' (CN-Celeb), 'enrolment test target' (Kaldi).
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "verify",
        "judge a model on a trial list",
        "Score trials with a model, and write its error rates, pictures and a report.",
        EXAMPLES,
        run,
    )
    add_model_option(parser)
    add_trial_options(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("outputs_eval"), help="(default: outputs_eval)")
    parser.add_argument("--force", action="store_true", help="replace the result that lies there")
    parser.add_argument(
        "--crops", metavar="N", type=int, help="average N evenly spaced crops (default: whole recordings)"
    )
    parser.add_argument("--crop-frames", metavar="N", type=int, help="their length in frames of 10 ms (default: 400)")
    parser.add_argument(
        "--against",
        metavar="FILE",
        type=Path,
        help="compare with another system's scores of the same trials: the scores.tsv of a 'verify', or "
        "'enrolment test score' lines",
    )
    add_scoring_options(parser)
    parser.add_argument("--allow-missing", action="store_true", help="score the rest when recordings cannot be used")
    parser.add_argument(
        "--resamples", metavar="N", type=int, default=1000, help="draws of speakers for the intervals (default: 1000)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of pairs and intervals (default: 0)")
    parser.add_argument("--threads", metavar="N", type=int, help="(default: as many as there are processors)")
    parser.add_argument(
        "--device", metavar="NAME", default="cpu", help="where the network runs: cpu, cuda (default: cpu)"
    )
    parser.add_argument(
        "--metadata",
        metavar="FILE",
        type=Path,
        help="a table about the recordings (tab-separated with a header, or a manifest.jsonl) for --by",
    )
    parser.add_argument(
        "--by", metavar="COLUMN", nargs="+", help="columns of --metadata: the error rate in groups of their values"
    )
    parser.add_argument(
        "--worst", metavar="N", type=int, default=10, help="list the N worst trials of each kind (default: 10)"
    )
    parser.add_argument(
        "--no-audio", action="store_true", help="leave the recordings of the worst trials out of the report"
    )
    parser.add_argument("--json", action="store_true", help="print what metrics.json holds, instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, and print the figures."""
    require_extra("verify", "train", "torch", "safetensors", "pydantic", "matplotlib", "sklearn")
    ready_for_computing()
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.evaluation.other_scores import read_other_scores
    from sound_groove.evaluation.report.page import summary
    from sound_groove.evaluation.results import check_folder
    from sound_groove.evaluation.trials.metadata import read_metadata
    from sound_groove.evaluation.verification import VerificationSettings, evaluate
    from sound_groove.types import CropAveraging

    if arguments.crop_frames is not None and arguments.crops is None:
        raise UsageError("--crop-frames needs --crops")
    check_trial_options(arguments)
    if (arguments.by is None) != (arguments.metadata is None):
        raise UsageError("--metadata and --by go together: a table, and the columns of it to go by")
    threads = arguments.threads if arguments.threads is not None else os.cpu_count() or 1
    crops = None
    if arguments.crops is not None:
        crops = CropAveraging(arguments.crops, 400 if arguments.crop_frames is None else arguments.crop_frames)
    plan = scoring_plan(arguments)
    settings = VerificationSettings(
        crops,
        arguments.allow_missing,
        arguments.resamples,
        arguments.seed,
        threads,
        allow_trained_speakers=arguments.allow_trained_speakers,
        worst=arguments.worst,
        audio=not arguments.no_audio,
        scoring=plan,
    )
    check_folder(arguments.out, arguments.force)  # before the model is loaded, and a long list read
    if arguments.metadata is not None:
        settings = replace(settings, metadata=read_metadata(arguments.metadata, arguments.by))
    trial_set = trial_set_of(arguments)
    against = None
    if arguments.against is not None:
        against = read_other_scores(arguments.against, trial_set.trials, arguments.allow_missing)
    say(f"protocol: {trial_set.protocol}")
    encoder = SpeakerEncoder.load(arguments.model or default_model(), arguments.device, threads)
    metrics = evaluate(encoder, trial_set, arguments.out, settings, command_line(), arguments.force, say, against)
    if arguments.json:
        show_json(metrics)
    else:
        show(*summary(metrics))
    say(f"results in {arguments.out}, to be read in {arguments.out / 'report.html'}")
    return 0
