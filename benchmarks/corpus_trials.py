"""The trials of the development corpus, and its recordings with noise and reverberation added.

For the latter, each recording is put into a simulated room (pyroomacoustics, image sources, none of them used in
training) and mixed at 0 to 15 dB with a recording of noise from collections of which nothing is heard in training.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import fftconvolve
from tqdm import tqdm

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.errors import CorpusError, printable, require_extra
from sound_groove.evaluation.trials.trial_list import TrialList, read_trials
from sound_groove.types import Samples

LISTS = ("ocean", "words", "arabic", "dsp", "wuw2")
TRAINING_NOISE = ("esc10",)  # collections heard in training, where recorded noise is; the others are for the trials
DEGRADED_SEED = 2026
ROOMS = 40  # of the trials
SNR_DB = (0.0, 15.0)


def read_lists(corpus: Path) -> dict[str, TrialList]:
    """The trial lists; their names are paths relative to the corpus.

    Raises:
        CorpusError: there is no such corpus, or a list of it is missing.
        TrialError: a list is not one.
    """
    paths = {name: corpus / "val_trials" / f"{name}.txt" for name in LISTS}
    if missing := [str(path) for path in paths.values() if not path.is_file()]:
        raise CorpusError(
            f"{printable(str(corpus))}: is not the development corpus: there is no {', '.join(missing)}; "
            "name the folder that has val/ and val_trials/"
        )
    return {name: read_trials(path)[0] for name, path in paths.items()}


def recordings_of(lists: Iterable[TrialList]) -> list[str]:
    """Every recording that the lists name, once, sorted."""
    return sorted({name for trials in lists for name in trials.ids})


def noise_recordings(corpus: Path) -> list[tuple[Path, str]]:
    """The recordings of noise, and the collection that each is from.

    Raises:
        CorpusError: the corpus has no list of them.
    """
    path = corpus / "noise.tsv"
    if not path.is_file():
        raise CorpusError(f"{printable(str(path))}: is missing; it lists the recordings of noise and their collections")
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [(corpus / path, source) for path, source, *_ in rows]


def degraded_path(folder: Path, path: str) -> Path:
    """Where `degrade` writes a recording."""
    return (folder / path).with_suffix(".wav")


def degrade(corpus: Path, paths: Sequence[str], folder: Path) -> None:
    """Write each recording in a room and in noise, once; a recording's room and noise are a function of its place.

    Args:
        corpus: where the recordings and the noise are.
        paths: of the recordings, relative to it: those of all lists, sorted, wherever figures are to be compared.
        folder: where to, see `degraded_path`.

    Raises:
        CorpusError: there is no noise.
        MissingExtraError: pyroomacoustics is not installed.
    """
    if (folder / "done").exists():
        return
    noises = [load_audio(path) for path, source in noise_recordings(corpus) if source not in TRAINING_NOISE]
    if not noises:
        raise CorpusError(f"{printable(str(corpus))}: has no noise but what is heard in training")
    rooms = simulated_rooms()
    for index, path in enumerate(tqdm(paths, "noise and rooms", unit="recording", leave=False, disable=None)):
        draw = np.random.default_rng((DEGRADED_SEED, index))
        dry = load_audio(corpus / path)
        wet = fftconvolve(dry, rooms[draw.integers(len(rooms))])[: len(dry)]
        noise = np.resize(np.roll(noises[draw.integers(len(noises))], int(draw.integers(1 << 20))), len(dry))
        ratio = 10.0 ** (-draw.uniform(*SNR_DB) / 20.0)
        mixture = wet + noise * (ratio * _level(wet) / max(_level(noise), 1e-9))
        target = degraded_path(folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, 0.9 * mixture / np.abs(mixture).max(), SAMPLE_RATE, subtype="PCM_16")
    (folder / "done").touch()


def simulated_rooms() -> list[Samples]:
    """Impulse responses of shoebox rooms with a reverberation time of 0.3 to 0.9 s.

    Raises:
        MissingExtraError: pyroomacoustics is not installed.
    """
    require_extra("Simulating rooms", "rooms", "pyroomacoustics")
    import pyroomacoustics

    responses = []
    for index in range(ROOMS):
        draw = np.random.default_rng((DEGRADED_SEED, 1, index))
        size = draw.uniform((3.0, 3.0, 2.4), (10.0, 8.0, 4.0))
        absorption, order = pyroomacoustics.inverse_sabine(draw.uniform(0.3, 0.9), size)
        room = pyroomacoustics.ShoeBox(
            size, fs=SAMPLE_RATE, materials=pyroomacoustics.Material(absorption), max_order=min(order, 40)
        )
        room.add_source(draw.uniform(0.5, size - 0.5))
        room.add_microphone(draw.uniform(0.5, size - 0.5))
        room.compute_rir()
        responses.append(np.asarray(room.rir[0][0], dtype=np.float32))
    return responses


def _level(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
