"""Which network learns most in the same processor time? Each is trained by the ablation's recipe and judged.

    python benchmarks/taught_networks.py CORPUS --prepared data/corpus [--minutes 5] [--only campplus "redimnet2 b0"]

CORPUS is the development corpus (its validation lists judge), `--prepared` what `prepare` made of its train/.
The time is that of one processor and of the training steps alone: two short runs of a network tell what a step costs,
what both spend on anything else cancels, and the run that counts has as many steps as fill the time. Every run is
recipes/corpus/ablation.yaml in one thread with another network, the same crops in the same order. A network that makes
ten times as many products sees a tenth of the crops: that is what is compared. Runs that are there are not made again.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from networks import NETWORKS

from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.files import read_json, write_json
from sound_groove.provenance import processor
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.recipe.schema import ValidationConfiguration
from sound_groove.training.by_ear.judging import JudgingLists, read_judging_lists

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "corpus" / "ablation.yaml"
EPOCHS = 8  # of the recipe, by which its margin grows
BATCH = 32
SHORT_RUNS = (4, 16)  # batches, whose difference in time is that of a step
UNDER_5_G = (
    "ecapa_tdnn 512",
    "ecapa_tdnn 1024",
    "campplus",
    "redimnet2 b0",
    "redimnet2 b1",
    "redimnet2 b2",
    "redimnet2 b3",
)
SMALL_VALIDATION = ("validation.maximum_utterances=100", "validation.maximum_duration_s=2")  # the lists judge


def words_of(network: NetworkConfiguration, floor_db: float) -> str:
    """The words of a recipe that ask for a network, with the ablation's floor below its features."""
    return f"network={json.dumps(network.model_dump(mode='json', exclude_unset=True) | {'floor_db': floor_db})}"


def train(out: Path, words: list[str]) -> float:
    """Train one run in one thread; the processor seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "sound_groove", "train", str(RECIPE), *words, "--out", str(out)]
    out.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{out}.log").open("w", encoding="utf-8") as log:
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def seconds_a_step(out: Path, words: list[str]) -> float:
    """Processor seconds of a step, from two runs of one epoch that differ in their batches alone."""
    one = ("training.epochs=1", "validation.centre_utterances=0")
    spent = [
        train(out / f"short-{batches}", [*words, *one, f"training.batches_per_epoch={batches}"])
        for batches in SHORT_RUNS
    ]
    return (spent[1] - spent[0]) / (SHORT_RUNS[1] - SHORT_RUNS[0])


@dataclass(frozen=True)
class Result:
    """What came of one network.

    Attributes:
        model: its hash.
        step_s: processor seconds of a step.
        crops: seen in training.
        eer: of each list, a fraction.
    """

    model: str
    step_s: float
    crops: int
    eer: dict[str, float]


def finish(out: Path, name: str, arguments: argparse.Namespace, lists: JudgingLists) -> Result:
    """Train and judge one network, unless that is done."""
    if (out / "result.json").exists():
        return Result(**read_json(out / "result.json"))
    shutil.rmtree(out, ignore_errors=True)
    words = [words_of(NETWORKS[name], 40.0), f"data.prepared={arguments.prepared}", *SMALL_VALIDATION]
    step = seconds_a_step(out, words)
    batches = max(1, round(60 * arguments.minutes / step / EPOCHS))
    train(out / "run", [*words, "validation.centre_utterances=200", f"training.batches_per_epoch={batches}"])
    encoder = SpeakerEncoder.load(out / "run", "cpu", threads=1)
    found = Result(encoder.identity.hash, step, EPOCHS * batches * BATCH, lists.judge(encoder))
    write_json(out / "result.json", asdict(found))
    return found


def main() -> None:
    """Print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("outputs/taught_networks"))
    parser.add_argument("--minutes", type=float, default=5.0, help="of one processor, for each (default: 5)")
    parser.add_argument("--most-s", type=float, default=3.0, help="heard of a recording when judging (default: 3)")
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), default=list(UNDER_5_G), metavar="NAME")
    arguments = parser.parse_args()
    lists = read_judging_lists(
        ValidationConfiguration(
            trials=arguments.corpus / "val_trials", audio_root=arguments.corpus, maximum_duration_s=arguments.most_s
        )
    )
    assert lists is not None
    names = sorted(lists.lists)
    print("| network | crops | ms a crop |", " | ".join(names), "| mean | model |")
    print("| --- | --- | --- |" + " --- |" * (len(names) + 2))
    for name in arguments.only:
        out = arguments.out / f"{name.replace(' ', '-')}-{arguments.minutes:g}"
        found = finish(out, name, arguments, lists)
        cells = " | ".join(f"{100 * found.eer[each]:.1f}" for each in names)
        ms, average = 1e3 * found.step_s / BATCH, 100 * mean(found.eer.values())
        print(f"| {name} | {found.crops:,} | {ms:.0f} | {cells} | {average:.1f} | `{found.model[:12]}` |", flush=True)
    print(f"\n{processor()}, {arguments.minutes:g} minutes of one processor each")


if __name__ == "__main__":
    main()
