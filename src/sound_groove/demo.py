"""The whole way on made-up voices: corpus, preparation, training, evaluation on voices not trained on, comparisons.

Every step is the library call that the verb of the same name makes, so the demo shows what a corpus of real recordings
would go through, and it is a test of the installation. Its figures say nothing about real voices.
"""

import csv
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from sound_groove.comparison import Comparison, compare
from sound_groove.corpora.layouts import Folder
from sound_groove.corpora.preparation import prepare
from sound_groove.corpora.preparation_report import PreparationOptions
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import OutputError
from sound_groove.evaluation.results import SCORES
from sound_groove.evaluation.trials.trial_sets import trials_from_list
from sound_groove.evaluation.verification import evaluate
from sound_groove.files import read_json, replaced, write_json
from sound_groove.percentages import probability_text, rate_text
from sound_groove.recipe.loading import parse_recipe
from sound_groove.recipe.schema import Recipe
from sound_groove.synthesis.voices import write_corpus
from sound_groove.training.trainer import train
from sound_groove.training.validation import eer_text

NAME = "made-up-voices"  # the model's name, and so in the title of every picture
SOURCE = "made-up voices"

STEPS = 5
INDENT = "      "  # of what a step says, below its heading

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoSize:
    """How much is made up and trained.

    Attributes:
        training_speakers: voices trained on.
        validation_speakers: voices held out of training that choose the checkpoint and fit its score map.
        unseen_speakers: voices that nothing but the evaluation hears.
        utterances: of each voice.
        unseen_utterances: of each unseen voice.
        channels: width of the network.
        epochs: of training.
        batches_per_epoch: optimiser steps an epoch.
        batch_speakers: speakers in a batch.
        batch_utterances: utterances of each of them.
    """

    training_speakers: int = 60
    validation_speakers: int = 10
    unseen_speakers: int = 20
    utterances: int = 12
    unseen_utterances: int = 6
    channels: int = 128
    epochs: int = 8
    batches_per_epoch: int = 50
    batch_speakers: int = 16
    batch_utterances: int = 2


class DemoFolder:
    """Where the demo leaves what.

    Attributes:
        path: the folder.
        speech: the recordings to train on and to validate with, speaker/utterance.wav.
        unseen: the recordings of the voices to evaluate on.
        trials: the trial list of the unseen voices.
        prepared: what `prepare` writes.
        model: the run folder.
        evaluation: what `verify` writes.
        summary: what was done; says that it is finished only when it is.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.speech = self.path / "speech"
        self.unseen = self.path / "unseen"
        self.trials = self.path / "made-up-trials.txt"
        self.prepared = self.path / "prepared"
        self.model = self.path / "model"
        self.evaluation = self.path / "evaluation"
        self.summary = self.path / "demo.json"

    @property
    def is_finished(self) -> bool:
        """Whether a demo came to its end here."""
        try:
            return bool(read_json(self.summary)["finished"])
        except (OutputError, KeyError):
            return False

    def start(self, force: bool) -> None:
        """Make the folder; with `force`, remove what an earlier demo left in it, and nothing else.

        Raises:
            OutputError: the folder holds something and `force` is not set, or something that no demo wrote.
        """
        try:
            if self.path.exists() and not self.path.is_dir():
                raise OutputError(f"{self.path}: is a file, not a folder; choose another --out")
            if self.path.is_dir() and any(self.path.iterdir()):
                if not self.summary.is_file():
                    raise OutputError(f"{self.path}: holds files that no demo wrote; choose another --out")
                if not force:
                    what = "an earlier demo" if self.is_finished else "a demo that did not come to its end"
                    raise OutputError(f"{self.path}: holds {what}; pass --force to replace it, or choose another --out")
                self._clear()
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_summary({"finished": False})
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def write_summary(self, content: dict[str, Any]) -> None:
        """Write demo.json in one piece."""
        write_json(self.summary, content)

    def _clear(self) -> None:
        # The summary first replaced by "not finished": a kill in the middle leaves a folder that claims nothing.
        self.write_summary({"finished": False})
        self.trials.unlink(missing_ok=True)
        for folder in (self.speech, self.unseen, self.prepared, self.model, self.evaluation):
            if folder.is_dir():
                shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class Pair:
    """One comparison of the demo.

    Attributes:
        truth: whether one voice speaks in both.
        first, second: the recordings.
        comparison: the answer.
    """

    truth: Literal["same", "different"]
    first: Path
    second: Path
    comparison: Comparison

    @property
    def is_right(self) -> bool:
        """Whether the verdict is the truth."""
        return self.comparison.verdict == self.truth


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo made, all of it on made-up voices.

    Attributes:
        folder: where it lies.
        eer: equal error rate on the unseen voices, a fraction.
        metrics: all figures of the evaluation.
        pairs: the comparison of each kind.
        elapsed_s: by step.
    """

    folder: DemoFolder
    eer: float
    metrics: dict[str, Any]
    pairs: tuple[Pair, Pair]
    elapsed_s: dict[str, float]


def demo(
    out: str | Path = "outputs/demo",
    seed: int = 0,
    force: bool = False,
    size: DemoSize | None = None,
    command: str = "",
    say: Say = lambda line: None,
) -> DemoResult:
    """Go the whole way on made-up voices.

    Args:
        out: folder to write.
        seed: of every draw: the voices, what they say, the training.
        force: replace an earlier demo in that folder.
        size: how much of it; by default what takes a few minutes on two CPU cores.
        command: the command line, to be kept with the run.
        say: is given what a person would want to read, line by line.

    Raises:
        OutputError: the folder holds an earlier demo and `force` is not set, or something else.
    """
    size, folder = size or DemoSize(), DemoFolder(out)
    folder.start(force)
    steps, tell = _Steps(say), _indented(say)
    with steps.step("corpus", "make up voices, and let them speak"):
        _make_up(folder, size, seed, tell)
    with steps.step("prepare", "prepare: check the recordings, hold speakers out, write the manifest"):
        _prepare(folder, size, seed, tell)
    with steps.step("train", f"train: a small ECAPA-TDNN from scratch, on {SOURCE}"):
        result = train(recipe(folder, size, seed), folder=folder.model, command=command, say=tell)
        best = eer_text(result.best_eer, result.best_interval)
        tell(f"best EER {best} on the held-out {SOURCE}, after epoch {result.best_epoch}")
    with steps.step("evaluate", f"verify: judge the model on other {SOURCE}, which it never heard"):
        metrics = _evaluate(folder, command, tell)
    with steps.step("compare", "compare: a typical pair of each kind (the median score of its kind)"):
        pairs = _compare(folder, tell)
    done = DemoResult(folder, metrics["eer"]["value"], metrics, pairs, steps.elapsed_s)
    folder.write_summary(_summary(done, size, seed, command))
    return done


def recipe(folder: DemoFolder, size: DemoSize, seed: int) -> Recipe:
    """The recipe that the demo trains: a narrow ECAPA-TDNN, AdamW with one cycle, no augmentation.

    The synthesiser has already put each utterance through a channel of its own, which is what augmentation is for.
    """
    return parse_recipe(
        {
            "name": NAME,
            "seed": seed,
            "description": f"Trained on {SOURCE} by the demo: of no use for real speech.",
            "data": {
                "prepared": folder.prepared,
                "crop_frames": 100,  # the voices keep still enough for 1 s to do, at half the time
                "workers": 0,  # crops of short wav files are read faster than processes start
                "sampler": {"kind": "pk", "speakers": size.batch_speakers, "utterances": size.batch_utterances},
            },
            "network": {"channels": size.channels},
            "loss": {
                "margin": {
                    "final": 0.2,
                    "start_epoch": size.epochs / 10,
                    "end_epoch": size.epochs / 2,
                    "growth": "linear",
                }
            },
            "optimizer": {"kind": "adamw", "weight_decay": 0.01},
            "learning_rate": {
                "peak": 2e-3,
                "final": 1e-5,
                "per_batch": size.batch_speakers * size.batch_utterances,
                "warmup_epochs": size.epochs / 5,
                "decay": "cosine",
            },
            "training": {
                "epochs": size.epochs,
                "batches_per_epoch": size.batches_per_epoch,
                "device": "cpu",  # the demo is the same everywhere
                "precision": "fp32",  # not "auto": the same on every processor, as nearly as rounding allows
                "checkpoint_every": 0,
            },
            "validation": {"centre_utterances": size.training_speakers},  # one of each
        },
        source="the demo's recipe",
    )


class _Steps:
    """Announces and times the steps."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.elapsed_s: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[None]:
        """One step: its number and title before, its time after."""
        self.say(f"[{len(self.elapsed_s) + 1}/{STEPS}] {title}")
        started = time.monotonic()
        yield
        self.elapsed_s[name] = round(time.monotonic() - started, 1)
        self.say(f"      took {self.elapsed_s[name]:.0f} s")


def _indented(say: Say) -> Say:
    """Talk of a step, set off from the demo's own headings."""
    return lambda line: say(INDENT + line)


def _make_up(folder: DemoFolder, size: DemoSize, seed: int, say: Say) -> None:
    """Write the recordings of all voices, and the trial list of the unseen ones: every pair of their recordings."""
    known = size.training_speakers + size.validation_speakers
    spoken = write_corpus(folder.speech, known, size.utterances, seed)
    unseen = write_corpus(folder.unseen, size.unseen_speakers, size.unseen_utterances, seed, first=known)
    say(f"{known} voices, {len(spoken)} recordings in {folder.speech}")
    say(f"{size.unseen_speakers} other voices, {len(unseen)} recordings in {folder.unseen}")
    trials = [
        f"{int(one.parent == other.parent)} {one.parent.name}/{one.name} {other.parent.name}/{other.name}\n"
        for one, other in combinations(unseen, 2)
    ]
    with replaced(folder.trials) as file:
        file.writelines(trials)
    say(f"{len(trials)} trials, every pair of their recordings, in {folder.trials}")


def _prepare(folder: DemoFolder, size: DemoSize, seed: int, say: Say) -> None:
    """Check the recordings, split the speakers, write the manifest."""
    options = PreparationOptions(validation_speakers=size.validation_speakers, seed=seed)
    report = prepare(Folder(folder.speech), folder.prepared, options)
    for name, counts in (("training", report.train), ("validation", report.validation)):
        say(f"{name}: {counts.speakers} voices, {counts.utterances} utterances, {60 * counts.hours:.0f} minutes")


def _evaluate(folder: DemoFolder, command: str, say: Say) -> dict[str, Any]:
    """Score the trial list and draw the pictures."""
    trials = trials_from_list(folder.trials, folder.unseen)
    metrics = evaluate(SpeakerEncoder.load(folder.model), trials, folder.evaluation, command=command, say=say)
    eer, cost = metrics["eer"], metrics["min_dcf"]
    say(
        f"EER {rate_text(eer['value'])} ({rate_text(eer['low'])} to {rate_text(eer['high'])} at 95 % confidence), "
        f"minDCF {cost['value']:.3f} at p_target {cost['p_target']}, on {SOURCE}"
    )
    say(f"({metrics['targets']} trials of one voice, {metrics['nontargets']} of two)")
    return metrics


def _compare(folder: DemoFolder, say: Say) -> tuple[Pair, Pair]:
    """Compare a typical pair of each kind: the trial whose score is the median of its kind's."""
    with (folder.evaluation / SCORES).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    encoder = SpeakerEncoder.load(folder.model)

    def typical(truth: Literal["same", "different"], label: str) -> Pair:
        ordered = sorted((row for row in rows if row["label"] == label), key=lambda row: float(row["score"]))
        middle = ordered[len(ordered) // 2]
        first, second = folder.unseen / middle["enrolment"], folder.unseen / middle["test"]
        pair = Pair(truth, first, second, compare(first, second, encoder))
        answer = pair.comparison
        chance = "unknown" if answer.probability is None else probability_text(answer.probability)
        say(f"{first} and {second}, of {'one voice' if truth == 'same' else 'two voices'}:")
        say(
            f"  verdict '{answer.verdict}' ({'right' if pair.is_right else 'wrong'}), score {answer.score:.3f}, "
            f"probability of one voice {chance}, on {SOURCE}"
        )
        return pair

    return typical("same", "1"), typical("different", "0")


def _summary(done: DemoResult, size: DemoSize, seed: int, command: str) -> dict[str, Any]:
    """What demo.json holds."""
    return {
        "finished": True,
        "data": f"{SOURCE}: the figures say nothing about real ones",
        "seed": seed,
        "size": asdict(size),
        "eer": done.metrics["eer"],
        "comparisons": [
            {
                "truth": pair.truth,
                "first": str(pair.first),
                "second": str(pair.second),
                **pair.comparison.as_dict(),
            }
            for pair in done.pairs
        ],
        "elapsed_s": done.elapsed_s,
        "command": command,
    }
