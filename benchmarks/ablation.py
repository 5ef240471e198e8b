"""Does each switch of training earn its place? The same small run without it and with it, judged on the same trials.

    python benchmarks/ablation.py CORPUS --prepared data/corpus [--only speeds masking] [--seeds 0 1 2] [--table]
    python benchmarks/ablation.py CORPUS --prepared data/corpus --seeds 0 1 2 --device cuda --jobs 16

CORPUS is the development corpus (its val/, val_trials/, noise/ and noise.tsv), and `--prepared` what `prepare` made of
its train/. Every run is recipes/corpus/ablation.yaml with the words of one switch, in a process of its own with one
thread, `--jobs` of them at a time; runs that are finished are not made again, and `--table` only prints what there is.
What a run has to say is in a file beside its folder. On a GPU many runs at a time are several times as fast as one: so
a small network keeps it waiting for the processor.

The models are judged on each trial list twice: on the recordings as they are, and with noise and reverberation added
(see corpus_trials.py).
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import soundfile
from corpus_trials import LISTS, TRAINING_NOISE, degrade, degraded_path, noise_recordings, read_lists, recordings_of

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.files import read_json, write_json
from sound_groove.scoring.cosine import score_trials
from sound_groove.scoring.metrics import eer
from sound_groove.types import Embeddings

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "corpus" / "ablation.yaml"
CHUNK = 64  # recordings in memory at a time
PK = "data.sampler={kind: pk, speakers: 16, utterances: 2}"
LARGE_MARGIN = (
    "stages=[{training: {epochs: 1}, data: {crop_frames: 300}, loss: {margin: {initial: 0.4, final: 0.4}}, "
    "learning_rate: {peak: 1.0e-4, final: 2.5e-5, warmup_epochs: 0}}]"
)

NOISE = "augmentation.noise_probability=0.5"
SNR = "augmentation.snr_db=[3, 20]"
ROOM = "augmentation.reverberation_probability=0.5"
TELEPHONE = "augmentation.telephone_probability=0.3"
SPEEDS = "augmentation.speeds=[0.9, 1.0, 1.1]"
RECORDED = "augmentation.noise_folders=[{folder: {noise}, snr_db: [3, 20]}]"
MASKING = "augmentation.masking={time_masks: 1, time_mask_frames: 10, frequency_masks: 1, frequency_mask_bins: 8}"
TOP_K = ("loss.top_k=5", "loss.penalty=0.06")
ADAPTIVE = "loss.margin.growth=adaptive"
SCALE = "loss.scale={initial: 15, final: 30, start_epoch: 0, end_epoch: 4, growth: linear}"
HARD = "data.sampler.companions=1"
TEACHER = "distillation.teacher={corpus}/teacher.npz"

# Name, what is switched on, and the words that do it. {noise} is a folder of the training noise, {rooms} of simulated
# rooms (not those of the trials), and {corpus} is the corpus.
SWITCHES: dict[str, tuple[str, tuple[str, ...]]] = {
    "base": ("nothing", ()),
    "speeds": ("speeds 0.9, 1.0, 1.1 as classes", (SPEEDS,)),
    "noise": ("made-up noise and babble", (NOISE, SNR)),
    "recorded-noise": ("recorded noise and babble", (NOISE, SNR, RECORDED)),
    "rooms": ("made-up rooms", (ROOM,)),
    "simulated-rooms": ("simulated rooms", (ROOM, "augmentation.room_folder={rooms}")),
    "telephone": ("telephone band", (TELEPHONE,)),
    "masking": ("SpecAugment", (MASKING,)),
    "pk": ("PK batches, 16 speakers x 2", (PK,)),
    "hard": ("hard prototype mining (8 anchors, 8 companions) x 2", (PK, HARD)),
    "top-k": ("inter-top-k, 5 at 0.06", TOP_K),
    "adaptive": ("adaptive margin", (ADAPTIVE,)),
    "scale": ("scale rising from 15 to 30", (SCALE,)),
    "mean": ("mean of the last 3 epochs", ("training.average_epochs=3",)),
    "large-margin": ("large-margin tuning in the last 125 steps", ("training.epochs=7", LARGE_MARGIN)),
    "distillation": ("teacher beside the labels", (TEACHER,)),
    "distillation-alone": ("teacher, no labels", (TEACHER, "distillation.label_weight=0")),
    "robust": ("made-up noise, babble and rooms, telephone band", (NOISE, SNR, ROOM, TELEPHONE)),
    "all": (
        "all together",
        (
            *(SPEEDS, NOISE, SNR, RECORDED, ROOM, TELEPHONE, MASKING, PK, HARD, *TOP_K, ADAPTIVE, SCALE, TEACHER),
            *("training.average_epochs=3", "training.epochs=7", LARGE_MARGIN),
        ),
    ),
}


@dataclass(frozen=True)
class Judging:
    """What the models are judged on.

    Attributes:
        trials: the lists.
        folders: of each condition, with a wav file of each recording.
        device: where the models compute.
    """

    trials: Mapping[str, TrialList]
    folders: Mapping[str, Path]
    device: str


def main() -> None:
    """Train what is missing, judge it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("outputs/ablation"))
    parser.add_argument("--only", nargs="+", choices=sorted(SWITCHES), default=list(SWITCHES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rooms", type=Path, help="a folder that 'sound-groove rooms' wrote, for simulated-rooms")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train and to judge")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--table", action="store_true", help="print what there is, and train nothing")
    arguments = parser.parse_args()
    if arguments.rooms is None and "simulated-rooms" in arguments.only and not arguments.table:
        parser.error(
            "simulated-rooms needs --rooms, a folder that 'sound-groove rooms' wrote; or leave it out by --only"
        )
    failed = [] if arguments.table else run_all(arguments)
    print(table(arguments.out))
    if failed:
        sys.exit(f"{len(failed)} runs failed, see {', '.join(f'{run}.log' for run in failed)}")


def run_all(arguments: argparse.Namespace) -> list[Path]:
    """Make every run that was asked for and is missing; which of them failed."""
    trials = read_lists(arguments.corpus)
    recordings = recordings_of(trials.values())
    folders = {"clean": arguments.out / "clean", "degraded": arguments.out / "degraded"}
    decode(arguments.corpus, recordings, folders["clean"])
    degrade(arguments.corpus, recordings, folders["degraded"])
    judging = Judging(trials, folders, arguments.device)
    places = {
        "noise": gather_noise(arguments.corpus, arguments.out / "noise"),
        "corpus": arguments.corpus.absolute(),
        "rooms": arguments.rooms,
    }
    failed = []
    # Spawned, not forked: each of these processes judges on the GPU.
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn")) as pool:
        waiting = {}
        for seed in arguments.seeds:
            for name in arguments.only:
                words = [fill(word, places) for word in SWITCHES[name][1]]
                words += [f"seed={seed}", f"data.prepared={arguments.prepared}", f"training.device={arguments.device}"]
                run = arguments.out / f"{name}-{seed}"
                waiting[pool.submit(finish, run, words, judging)] = run
        for future in as_completed(waiting):
            run = waiting[future]
            if future.exception() is None:
                print(f"{run}: {(run / 'eer.json').read_text()}", file=sys.stderr, flush=True)
            else:
                print(f"{run}: {type(future.exception()).__name__}", file=sys.stderr, flush=True)
                failed.append(run)
    return failed


def fill(word: str, places: Mapping[str, Path]) -> str:
    """A word with the names of places in it, such as {noise}, filled in."""
    for name, place in places.items():
        word = word.replace(f"{{{name}}}", str(place))
    return word


def decode(corpus: Path, paths: Sequence[str], folder: Path) -> None:
    """Write each recording as it is into a wav file, once, since every model reads all of them."""
    if (folder / "done").exists():
        return
    for path in paths:
        target = degraded_path(folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, load_audio(corpus / path), SAMPLE_RATE, subtype="FLOAT")
    (folder / "done").touch()


def finish(run: Path, words: Sequence[str], judging: Judging) -> None:
    """Train and judge one run, unless that is done."""
    if not (run / "eer.json").exists():
        train(run, words)
        write_json(run / "eer.json", judge(run, judging))


def train(run: Path, words: Sequence[str]) -> None:
    """Train one run, or go on with it."""
    done = ["--resume"] if (run / "run.json").exists() else []
    command = [sys.executable, "-m", "sound_groove", "train", str(RECIPE), *words, "--out", str(run), *done]
    with Path(f"{run}.log").open("w", encoding="utf-8") as log:
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log)


def judge(run: Path, judging: Judging) -> dict[str, object]:
    """The EER of a run's best model on each list: as it is, without its centre, and on degraded recordings."""
    encoder = SpeakerEncoder.load(run, judging.device, threads=1)
    centre, encoder.centre = encoder.centre, None
    paths = recordings_of(judging.trials.values())
    found: dict[str, object] = {"model": encoder.identity.hash}
    for condition, folder in judging.folders.items():
        files = [degraded_path(folder, path) for path in paths]
        chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
        plain = np.concatenate([encoder.embed([load_audio(file) for file in chunk]) for chunk in chunks])  # (N, D)
        found[condition] = errors(plain if centre is None else _unit(plain - centre), paths, judging.trials)
        found[f"{condition}_uncentred"] = errors(plain, paths, judging.trials)
    return found


def errors(embeddings: Embeddings, paths: Sequence[str], trials: Mapping[str, TrialList]) -> dict[str, float]:
    """The EER of each list, a fraction."""
    row = {path: index for index, path in enumerate(paths)}
    found = {}
    for name, one in trials.items():
        own = embeddings[[row[path] for path in one.ids]]
        found[name] = eer(score_trials(own, one.enrolments, one.tests), one.labels)
    return found


def gather_noise(corpus: Path, folder: Path) -> Path:
    """A folder of links to the noise that may be heard in training."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, source in noise_recordings(corpus):
        if source in TRAINING_NOISE and not (folder / path.name).exists():
            (folder / path.name).symlink_to(path.absolute())
    return folder.absolute()


def table(out: Path) -> str:
    """The results as a Markdown table, EER in percent: means over the seeds, and how these spread; and the models."""
    lines = [
        f"| switched on | seeds | {' | '.join(LISTS)} | mean | {' | '.join(LISTS)} | mean |",
        "| --- " * (2 * len(LISTS) + 4) + "|",
    ]
    models = []
    for name, (text, _) in SWITCHES.items():
        found = [read_json(path) for path in sorted(out.glob(f"{name}-[0-9]*/eer.json"))]
        if found:
            lines.append(_row(text, found, ""))
            models.append(f"{name:<18} {' '.join(one['model'][:12] for one in found)}")
        if found and name == "base":
            lines.append(_row("nothing, and no centre", found, "_uncentred"))
    return "\n".join([*lines, "", *models])


def _row(text: str, found: Sequence[dict[str, dict[str, float]]], suffix: str) -> str:
    cells = []
    for condition in ("clean", "degraded"):
        rows = [[100 * one[condition + suffix][name] for name in LISTS] for one in found]  # (seeds, lists)
        means = [mean(row) for row in rows]
        spread = f" ± {stdev(means):.2f}" if len(means) > 1 else ""
        cells += [f"{mean(column):.1f}" for column in zip(*rows, strict=True)] + [f"**{mean(means):.2f}**{spread}"]
    return f"| {text} | {len(found)} | {' | '.join(cells)} |"


def _unit(vectors: Embeddings) -> Embeddings:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


if __name__ == "__main__":
    main()
