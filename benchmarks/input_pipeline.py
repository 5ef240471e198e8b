"""How many crops of two seconds a second are made ready for the network, and how long training waits for them.

    python benchmarks/input_pipeline.py [--prepared DIR] [--workers 1 2 3] [--batch 64] [--rounds 5] [--channels 256]

Both pipelines give the same: speed, a room and noise with the same probabilities, filterbanks without their mean.

    ours      workers read crops; the rest is done to the whole batch on the training device, which here is the CPU, so
              that the workers do it as well
    per item  benchmarks/per_item_pipeline.py: all of it for one item at a time in the workers, as other toolkits do

They run in turns; each rate is the median of the rounds, with the lowest and the highest, for the number of workers
that suits the pipeline best. Other work on the machine lowers the rates, so what a crop costs is measured as well: the
time that it takes of one core, in one thread without workers, which other work disturbs less. On a GPU all but the
reading is the GPU's. Without --prepared, the corpus is of made-up voices, as 16-bit flac, as wav copies of it and
packed; so are noise and rooms in any case. Then the training loop runs with a network, and what it spends its time on
is printed.
"""

# ruff: noqa: E402
import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

from sound_groove.cli.verb import ready_for_computing

ready_for_computing()  # as training does, before torch is imported
import numpy as np
import soundfile
import torch
from network_step import PRECISIONS, step_on_features
from per_item_pipeline import FrontEnd, PerItemPipeline, collate, fastest_front_end, one_thread
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor
from torch.utils.data import DataLoader

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.corpora.layouts import Folder
from sound_groove.corpora.preparation import prepare
from sound_groove.corpora.preparation_report import PreparationOptions
from sound_groove.inputs.dataset import PREFETCHED, training_batches
from sound_groove.inputs.sampler import Sampler
from sound_groove.provenance import processor
from sound_groove.recipe.loading import parse_recipe
from sound_groove.recipe.schema import Recipe
from sound_groove.synthesis.batch_draws import SharedBatch
from sound_groove.synthesis.voices import write_corpus
from sound_groove.training.device import cpu_computes_bf16
from sound_groove.training.inputs import StageInputs
from sound_groove.training.plan import TrainingPlan
from sound_groove.training.preflight import preflight
from sound_groove.training.run_folder import RunFolder

SPEEDS = (0.9, 1.0, 1.1)
NOISE_PROBABILITY, ROOM_PROBABILITY = 0.6, 0.6
SNR_DB = (0.0, 15.0)
CROP_FRAMES = 200
SPEAKERS, UTTERANCES, DURATION_S = 36, 8, (4.0, 12.0)  # of the corpus that is made up
EPOCHS = 1000  # never reached
PACKED = "packed"  # which only ours reads
FORMS = {
    "flac": PreparationOptions(validation_speakers=4),
    "wav": PreparationOptions(validation_speakers=4, wav=True),
    PACKED: PreparationOptions(validation_speakers=4, pack=True),
}
CPU = torch.device("cpu")

Features = tuple[Tensor, Tensor]  # (B, T, 80) and labels (B,)


@dataclass(frozen=True)
class Setting:
    """What all pipelines have in common.

    Attributes:
        recipe: with the probabilities, for ours.
        plan: what the preflight made of it.
    """

    recipe: Recipe
    plan: TrainingPlan

    @property
    def sampler(self) -> Sampler:
        """Which crops, and in what order."""
        return self.plan.stages[0].sampler

    def inputs(self) -> StageInputs:
        """What reads crops and makes features of them, as the trainer has it."""
        return StageInputs(self.plan.stages[0], self.plan, SharedBatch(0, 1, lambda own: own, CPU), CPU)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepared", type=Path, nargs="+", default=[], help="prepared folders instead of made-up ones")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=20, help="in a round")
    parser.add_argument("--rounds", type=int, default=5, help="of rates; 0 = leave them out")
    parser.add_argument("--channels", type=int, nargs="*", default=[256, 512])
    parser.add_argument("--steps", type=int, default=20, help="of the network; 0 = leave it out")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: that is the question
    print(f"{processor()}, {arguments.threads} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepared = {path.name: path for path in arguments.prepared} or make_corpus(root)
        make_surroundings(root)
        settings = {name: make_setting(path, root, arguments.batch) for name, path in prepared.items()}
        name, front_end = fastest_front_end()
        print(f"per item: filterbanks by {name}; batches of {arguments.batch} x {CROP_FRAMES} frames")
        compare_costs(settings, front_end, arguments)
        if arguments.rounds:
            compare_rates(settings, front_end, arguments)
        if arguments.steps:
            share_waiting(settings, arguments)


def compare_rates(settings: dict[str, Setting], front_end: FrontEnd, arguments: argparse.Namespace) -> None:
    """Rates of all pipelines, in turns."""
    pipelines: dict[str, Callable[[int], Generator[Features, None, None]]] = {}
    for source, setting in settings.items():
        pipelines[f"ours, {source}"] = partial(ours, setting)
        if source == PACKED:
            continue
        pipelines[f"per item, {source}"] = partial(loaded, setting, per_item(setting, front_end))
        pipelines[f"per item, {source}, whole files"] = partial(loaded, setting, per_item(setting, front_end, True))
    found: dict[tuple[str, int], list[float]] = {(p, workers): [] for p in pipelines for workers in arguments.workers}
    for _ in range(arguments.rounds):
        for (pipeline, workers), rates in found.items():
            with closing(pipelines[pipeline](workers)) as batches:
                rates.append(rate(batches, workers, arguments.batches))
    print(f"\n{'pipeline':28} {'workers':>7} {'crops/s':>8} {'lowest':>7} {'highest':>7}")
    best = {}
    for pipeline in pipelines:
        workers = max(arguments.workers, key=lambda workers: median(found[pipeline, workers]))
        each = found[pipeline, workers]
        best[pipeline] = median(each)
        print(f"{pipeline:28} {workers:>7} {best[pipeline]:>8.0f} {min(each):>7.0f} {max(each):>7.0f}")
    print_ratios("as fast", best)


def compare_costs(settings: dict[str, Setting], front_end: FrontEnd, arguments: argparse.Namespace) -> None:
    """What a crop takes of one core, in one thread."""
    torch.set_num_threads(1)
    print(f"\n{'one thread, ms a crop':28} {'least':>6} {'median':>6}    of which reading")
    speeds = {}
    with threadpool_limits(1):
        for source, setting in settings.items():
            inputs, item, whole = setting.inputs(), per_item(setting, front_end), per_item(setting, front_end, True)
            others = {} if source == PACKED else {"per item": item, "per item, whole files": whole}
            reading, times = [], {name: [0.0] for name in ("ours", *others)}
            for number, items in enumerate(islice(plan_items(setting.sampler), arguments.batches + 1)):
                moments = [time.thread_time()]
                batch = inputs.reader.read_batch(items)
                reading.append(time.thread_time() - moments[0])
                inputs.features(batch.to(CPU), 0, number)
                moments.append(time.thread_time())
                for pipeline in others.values():
                    collate([pipeline[place] for place in items])
                    moments.append(time.thread_time())
                for name, taken in zip(times, np.diff(moments).tolist(), strict=True):
                    times[name].append(taken)
            for name, each in times.items():
                costs = [1000.0 * seconds / arguments.batch for seconds in each[2:]]  # the first batch warms up
                also = f"{1000.0 * min(reading[1:]) / arguments.batch:>10.2f}" if name == "ours" else ""
                full_name = name.replace("ours", f"ours, {source}").replace("per item", f"per item, {source}")
                speeds[full_name] = 1.0 / min(costs)
                print(f"{full_name:28} {min(costs):>6.2f} {median(costs):>6.2f} {also}".rstrip())
    print_ratios("as cheap", speeds)
    torch.set_num_threads(arguments.threads)


def print_ratios(word: str, speeds: dict[str, float]) -> None:
    """Ours against the others of the same files, and what is packed against all."""
    print()
    for one in (name for name in speeds if name.startswith("ours")):
        same = "per item" if one.endswith(PACKED) else one.replace("ours", "per item")
        for other in (name for name in speeds if name.startswith(same)):
            print(f"{one} is {speeds[one] / speeds[other]:.2f} times {word} as {other}")


def share_waiting(settings: dict[str, Setting], arguments: argparse.Namespace) -> None:
    """What the training loop spends its time on, with a network."""
    precision = "bf16" if cpu_computes_bf16() else "fp32"
    print(f"\n{'training loop':16} {'C':>4} {'workers':>7} {'crops/s':>8} {'waiting':>8} {'inputs':>7} {'network':>8}")
    for form, setting in settings.items():
        for channels in arguments.channels:
            step = step_on_features(channels, PRECISIONS[precision])
            inputs, workers = setting.inputs(), 1
            spent = np.zeros(3)
            source = inputs.source(workers)
            with closing(training_batches(source, setting.sampler, range(EPOCHS), workers=workers)) as batches:
                for number in range(arguments.steps + 2):
                    moments = [time.perf_counter()]
                    batch = next(batches).to(CPU)
                    moments.append(time.perf_counter())
                    features = inputs.features(batch, 0, number)
                    moments.append(time.perf_counter())
                    step(features, batch.labels)
                    moments.append(time.perf_counter())
                    spent += np.diff(moments) if number >= 2 else 0.0
            share = spent / spent.sum()
            print(
                f"{form + ', ' + precision:16} {channels:>4} {workers:>7} "
                f"{arguments.steps * arguments.batch / spent.sum():>8.1f} "
                f"{share[0]:>8.1%} {share[1]:>7.1%} {share[2]:>8.1%}",
                flush=True,
            )


def ours(setting: Setting, workers: int) -> Generator[Features, None, None]:
    """Batches as training makes them."""
    inputs = setting.inputs()
    source = inputs.source(workers)
    with closing(training_batches(source, setting.sampler, range(EPOCHS), workers=workers)) as batches:
        for number, batch in enumerate(batches):
            yield inputs.features(batch.to(CPU), 0, number), batch.labels


def per_item(setting: Setting, front_end: FrontEnd, whole_files: bool = False) -> PerItemPipeline:
    """The pipeline by item on the same list, noise and rooms."""
    around = setting.plan.stages[0].surroundings
    assert around is not None
    rooms = [soundfile.read(path, dtype="float32")[0] for path in around.rooms]
    return PerItemPipeline(
        setting.plan.utterances,
        setting.plan.labels,
        setting.inputs().reader.samples,
        SPEEDS,
        tuple(zip(around.sources[0].paths, around.sources[0].lengths, strict=True)),
        tuple(room[np.argmax(np.abs(room)) :] for room in rooms),
        NOISE_PROBABILITY,
        ROOM_PROBABILITY,
        SNR_DB,
        front_end,
        whole_files,
    )


def loaded(setting: Setting, pipeline: PerItemPipeline, workers: int) -> Generator[Features, None, None]:
    """Batches of the pipeline by item, by torch's loader."""
    loader = DataLoader(
        pipeline,
        batch_sampler=plan_items(setting.sampler),
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=one_thread,
        prefetch_factor=PREFETCHED,
        generator=torch.Generator(),
        multiprocessing_context="fork",
    )
    yield from loader


def plan_items(sampler: Sampler) -> Iterator[list[tuple[int, int, int]]]:
    """The items of every batch: the same crops as ours."""
    for epoch in range(EPOCHS):
        place = 0
        for row in sampler.plan(epoch).tolist():
            yield [(index, epoch, place + number) for number, index in enumerate(row)]
            place += len(row)


def rate(batches: Iterator[Features], workers: int, count: int) -> float:
    """Crops a second over some batches, after those that were read ahead."""
    for _ in islice(batches, workers * PREFETCHED):
        pass
    start, crops = time.perf_counter(), 0
    for features, _ in islice(batches, count):
        crops += len(features)
    return crops / (time.perf_counter() - start)


def make_setting(prepared: Path, root: Path, batch: int) -> Setting:
    """The recipe and its plan."""
    recipe = parse_recipe(
        {
            "name": "input-pipeline",
            "data": {
                "prepared": str(prepared),
                "crop_frames": CROP_FRAMES,
                "sampler": {"kind": "shuffled", "batch_size": batch},
            },
            "augmentation": {
                "speeds": list(SPEEDS),
                "noise_probability": NOISE_PROBABILITY,
                "babble_share": 0.0,
                "noise_folders": [{"folder": str(root / "noise"), "snr_db": list(SNR_DB)}],
                "reverberation_probability": ROOM_PROBABILITY,
                "room_folder": str(root / "rooms"),
            },
            "training": {"device": "cpu"},
        }
    )
    return Setting(recipe, preflight(recipe, RunFolder(root / "run"), resume=False, force=False))


def make_corpus(root: Path) -> dict[str, Path]:
    """Made-up voices as 16-bit flac, and as wav copies of it."""
    for path in write_corpus(root / "spoken", SPEAKERS, UTTERANCES, seed=0, duration_s=DURATION_S):
        copy = (root / "speech" / path.parent.name / path.stem).with_suffix(".flac")
        copy.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(copy, soundfile.read(path, dtype="int16")[0], SAMPLE_RATE, subtype="PCM_16")
    for name, options in FORMS.items():
        prepare(Folder(root / "speech"), root / name, options)
    return {name: root / name for name in FORMS}


def make_surroundings(root: Path) -> None:
    """Noise of 30 s each, and rooms that decay by 60 dB in 0.1 to 0.8 s, as wav files."""
    draw = np.random.default_rng(0)
    for folder in ("noise", "rooms"):
        (root / folder).mkdir()
    for number in range(30):
        noise = 0.05 * draw.standard_normal(30 * SAMPLE_RATE)
        soundfile.write(root / "noise" / f"{number:02}.wav", noise, SAMPLE_RATE, subtype="PCM_16")
        decay_s = draw.uniform(0.1, 0.8)
        time_s = np.arange(round(decay_s * SAMPLE_RATE)) / SAMPLE_RATE
        room = 0.1 * draw.standard_normal(len(time_s)) * 10.0 ** (-3.0 * time_s / decay_s)
        room[0] = 1.0
        soundfile.write(root / "rooms" / f"{number:02}.wav", room, SAMPLE_RATE, subtype="FLOAT")


if __name__ == "__main__":
    main()
