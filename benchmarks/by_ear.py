"""How a model hears what nobody taught it: the EER of trial lists, and how near it is to its teacher there.

    python benchmarks/by_ear.py --trials data/abroad/trials --teacher data/campplus_cn_en_common.pt MODEL...

Of every model: the EER of each list and their mean; the mean cosine between its centred embeddings and the teacher's;
and the correlation (Spearman's) between the norm of its embedding and that cosine: whether the norm tells how well it
hears. The teacher's embeddings are kept in --kept.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import repeated
from sound_groove.audio.reading import load_audio
from sound_groove.corpora.file_work import to_sixteen_bit
from sound_groove.networks.checkpoint import load_checkpoint, restore_network
from sound_groove.networks.features import KaldiFbank, Normalization
from sound_groove.recipe.schema import ValidationConfiguration
from sound_groove.training.by_ear.judging import JudgingLists, read_judging_lists
from sound_groove.training.by_ear.teacher import open_hearing_teacher
from sound_groove.types import Embeddings, Samples

SHORTEST = 2 * SAMPLE_RATE


def clips(lists: JudgingLists) -> list[Samples]:
    """What is heard of each recording: at most so much of its beginning, repeated to 2 s."""
    most = int(lists.longest_s * SAMPLE_RATE)
    return [repeated(load_audio(lists.root / path)[:most], SHORTEST) for path in lists.paths]


@torch.inference_mode()
def embedded(model: str, heard: list[Samples]) -> Embeddings:
    """(N, D) not normalised, as the network gives them."""
    checkpoint = load_checkpoint(model)
    network, front_end = restore_network(checkpoint), KaldiFbank().eval()
    normalization = Normalization(checkpoint.floor_db)
    rows = [network(normalization(front_end(torch.from_numpy(clip)[None])))[0].numpy() for clip in heard]
    return np.stack(rows)


def unit(rows: Embeddings) -> Embeddings:
    """Rows of unit length."""
    scaled: Embeddings = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", metavar="MODEL", nargs="*")
    parser.add_argument("--trials", type=Path, required=True)
    parser.add_argument("--audio-root", type=Path)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--kept", type=Path, default=Path("outputs/by_ear_teacher.npz"))
    parser.add_argument("--lists", nargs="*", help="names of the lists to look at")
    parser.add_argument("--most-s", type=float, default=10.0)
    arguments = parser.parse_args()
    settings = ValidationConfiguration(
        trials=arguments.trials, audio_root=arguments.audio_root, maximum_duration_s=arguments.most_s
    )
    lists = read_judging_lists(settings)
    assert lists is not None
    if arguments.lists:
        chosen = {name: lists.lists[name] for name in arguments.lists}
        paths = tuple(dict.fromkeys(path for trials in chosen.values() for path in trials.ids))
        lists = JudgingLists(chosen, paths, lists.root, lists.longest_s)
    heard = clips(lists)
    known = (
        dict(zip(*(np.load(arguments.kept)[n] for n in ("path", "emb")), strict=True))
        if arguments.kept.exists()
        else {}
    )
    missing = [index for index, path in enumerate(lists.paths) if path not in known]
    teacher = open_hearing_teacher(arguments.teacher, torch.device("cpu"))
    for number, index in enumerate(missing, 1):
        known[lists.paths[index]] = teacher.hear(to_sixteen_bit(heard[index])[None]).embeddings[0]
        if number % 200 == 0 or number == len(missing):
            arguments.kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(arguments.kept, path=np.array(list(known)), emb=np.array(list(known.values())))
    wanted = np.stack([known[path] for path in lists.paths])
    names = list(lists.lists)
    print("| model |", " | ".join(names), "| mean | cosine with the teacher | norm tells it |")

    def line(name: str, embeddings: Embeddings, more: str) -> None:
        rates = lists.judged(unit(embeddings))
        cells = " | ".join(f"{100 * rates[each]:.1f}" for each in names)
        print(f"| {name} | {cells} | {100 * np.mean(list(rates.values())):.2f} | {more} |", flush=True)

    line("teacher", wanted, "1 | ")
    for model in arguments.models:
        embeddings = embedded(model, heard)
        own = unit(embeddings)
        cosines = (unit(own - own.mean(axis=0)) * unit(wanted - wanted.mean(axis=0))).sum(axis=1)
        told = spearmanr(np.linalg.norm(embeddings, axis=1), cosines).statistic
        centre = load_checkpoint(model).centre
        line(model, embeddings, f"{cosines.mean():.3f} | {told:+.2f}")
        if centre is not None:
            line(f"{model}, its centre taken off", own - centre, " | ")


if __name__ == "__main__":
    main()
