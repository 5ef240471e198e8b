"""What each departure of `audio.music` from the published detector is worth, at as many false alarms.

    python benchmarks/music.py CORPUS --music FOLDER ... [--count 25]

Of each collection of speech for training (CORPUS/train and CORPUS/more) so many recordings are taken, as many pieces of
music of 3 to 10 s, and all noise. A form of the detector gives each recording the median of its blocks; the limit is
what 1 % of the speech lies above. Printed is which share of the rest does: music alone, music so many dB below other
speech, noise, and speech over mains hum of 50 or 60 Hz with twenty harmonics, 10 dB below it (made up). The last should
be no more than 1 %. Hum and its levels are drawn; so are the pieces.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
from corpus_trials import noise_recordings
from planted_recordings import SUFFIXES, Materials, under
from tqdm import tqdm
from verdicts import read_table

from sound_groove.audio import music
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.provenance import processor
from sound_groove.types import Samples

SEED = 5
FALSE_ALARMS = 0.01
PIECES_S = (3.0, 10.0)
RATIOS_DB = (0, 5, 10, 15)
HUM_DB = 10
NEVER = {"STANDING_SHARE": 2.0, "QUIET_STANDING": 2.0}  # what stands counts like all else
LONGER_FRAMES: dict[str, float] = {"FRAME": 1536, "BINS": 528}  # 96 ms, 5,500 Hz
LONGER_BLOCKS: dict[str, float] = {"BLOCK": 108, "STEP": 54}  # 2.6 s
AS_PUBLISHED: dict[str, float] = {
    **LONGER_FRAMES, **LONGER_BLOCKS, **NEVER, "NEIGHBOURS": 21, "STANDS_OUT_DB": 0.1, "PEAKS": 5, "AROUND": 0
}  # fmt: skip
FORMS: dict[str, dict[str, float]] = {
    "as published": AS_PUBLISHED,
    "as it is": {},
    "but frames of 96 ms": LONGER_FRAMES,
    "but blocks of 2.6 s": LONGER_BLOCKS,
    "but 21 neighbours": {"NEIGHBOURS": 21},
    "but standing out by 0.1 dB": {"STANDS_OUT_DB": 0.1},
    "but 5 peaks": {"PEAKS": 5},
    "but each block by itself": {"AROUND": 0},
    "but with bars that last": NEVER,
}


def main() -> None:
    """Take, mix, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--music", type=Path, nargs="+", required=True, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=25, help="recordings of each collection (default: 25)")
    arguments = parser.parse_args()
    draw = np.random.default_rng(SEED)
    sounds = made(arguments.corpus, arguments.music, arguments.count, draw)
    speech, *others = sounds
    counts = ", ".join(f"{len(sounds[name])} {name}" for name in sounds)
    print(
        f"{counts}; {processor()}\n\n| detector | limit | {' | '.join(others)} |\n| --- | --: |{' --: |' * len(others)}"
    )
    for form, constants in FORMS.items():
        with patch.dict(vars(music), constants):
            limit = float(np.quantile(strengths(sounds[speech]), 1 - FALSE_ALARMS))
            shares = [f"{100 * np.mean(strengths(sounds[name]) > limit):.0f} %" for name in others]
        print(f"| {form} | {limit:.2f} | {' | '.join(shares)} |", flush=True)


def made(corpus: Path, folders: Sequence[Path], count: int, draw: np.random.Generator) -> dict[str, list[Samples]]:
    """All sounds by what they are, first the speech by which the limit is set."""
    by_collection: dict[str, list[str]] = {}
    for folder in (corpus, corpus / "more"):
        for row in read_table(folder):
            if row.get("split", "train") == "train":
                by_collection.setdefault(row["corpus"], []).append(row["path"])
    speech: list[Samples] = []
    for paths in tqdm(by_collection.values(), "reading", leave=False, disable=None):
        speech += [load_audio(paths[at]) for at in draw.permutation(len(paths))[: 2 * count].tolist()]
    speech = [one for one in speech if len(one) >= 1.1 * SAMPLE_RATE]
    limiting, mixed = speech[::2], speech[1::2]
    noises = [load_audio(path) for path, _ in noise_recordings(corpus)]
    found = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in SUFFIXES)
    materials = Materials(noises, found, draw)
    sounds = {"speech": limiting}
    sounds["music"] = [materials.piece(round(draw.uniform(*PIECES_S) * SAMPLE_RATE)) for _ in limiting]
    for ratio_db in RATIOS_DB:
        sounds[f"{ratio_db} dB below speech"] = [under(one, materials.piece(len(one)), ratio_db) for one in mixed]
    sounds["noise"] = noises
    sounds["hum"] = [under(one, hum(len(one), draw), HUM_DB) for one in mixed]
    return sounds


def hum(samples: int, draw: np.random.Generator) -> Samples:
    """Of the mains, its harmonics weaker the higher they are."""
    time_s = np.arange(samples) / SAMPLE_RATE
    mains_hz, fall = draw.choice([50, 60]), draw.uniform(0.3, 1.2)
    out = np.zeros(samples)
    for number in range(1, 21):
        out += np.sin(2 * np.pi * (mains_hz * number * time_s + draw.uniform())) / number**fall
    return out.astype(np.float32)


def strengths(sounds: Sequence[Samples]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """(N,) the median over the blocks of each recording."""
    return np.array([np.median(music.activations(one)[1] or [0.0]) for one in sounds])


if __name__ == "__main__":
    main()
