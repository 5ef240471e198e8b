"""A recording as it could have been: shorter, with noise, or with other pauses, so that a calibration sees what it
will meet.

A collection is mostly of one kind, long and clean. What a score is worth when a recording lasts a second, or a crowd
talks beside it, or a gate has emptied its pauses, must be seen on such recordings, and is seen here on parts of the
same ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from sound_groove.audio.pieces import repeated
from sound_groove.audio.reading import SAMPLE_RATE
from sound_groove.synthesis.batch_draws import BatchDraws
from sound_groove.synthesis.effects import babble, coloured_noise, mix
from sound_groove.synthesis.treated_pauses import TREATMENTS, treated
from sound_groove.types import Samples

Kind = Literal["as it is", "noisy", "other pauses"]
KINDS: tuple[Kind, ...] = ("as it is", "noisy", "other pauses")
SNR_DB = (0.0, 20.0)  # of the noise that is added
BABBLE_SHARE = 0.5  # of noisy versions whose noise is other people's speech


@dataclass(frozen=True, slots=True)
class Condition:
    """What was done to a recording.

    Attributes:
        duration_s: the length that it was cut to; None leaves it whole.
        kind: as it is; with noise; or with its pauses emptied, filled with a faint noise or cut out, or with a digital
            silence behind it.
    """

    duration_s: float | None
    kind: Kind

    def __str__(self) -> str:
        length = "whole" if self.duration_s is None else f"{self.duration_s:g} s"
        return f"{length}, {self.kind}"


def conditions(durations_s: Sequence[float]) -> tuple[Condition, ...]:
    """All that is done to a recording, the shortest first."""
    lengths = [*sorted(set(durations_s)), None]
    return tuple(Condition(length, kind) for kind in KINDS for length in lengths)


def make_versions(
    samples: Samples, wanted: Sequence[Condition], others: Sequence[Samples], seed: int
) -> Iterator[tuple[Condition, Samples]]:
    """The versions of a recording that it is long enough for.

    Args:
        samples: (samples,) the whole recording.
        wanted: what to make.
        others: recordings of other people, for babble; where there are none, all noise is coloured noise.
        seed: of the places of cuts, the kinds of noise and its levels, and what is done to pauses.
    """
    rng = np.random.default_rng(seed)
    for condition in wanted:
        count = len(samples) if condition.duration_s is None else round(condition.duration_s * SAMPLE_RATE)
        if count > len(samples):
            continue
        start = int(rng.integers(len(samples) - count + 1))
        cut = samples[start : start + count]
        if condition.kind == "noisy":
            cut = _noisy(cut, others, rng)
        elif condition.kind == "other pauses":
            cut = treated(cut, TREATMENTS[rng.integers(len(TREATMENTS))], rng)
        yield condition, cut


def _noisy(samples: Samples, others: Sequence[Samples], rng: np.random.Generator) -> Samples:
    """The recording in coloured noise, or in the babble of others."""
    rows = [repeated(other, len(samples))[: len(samples)] for other in (samples, *others)]
    batch = torch.from_numpy(np.stack(rows))  # (1 + others, samples)
    draws, first = BatchDraws.of_whole_batch(int(rng.integers(2**62)), len(batch)), torch.tensor([0])
    is_babble = bool(others) and rng.random() < BABBLE_SHARE
    noise = babble(batch, first, draws) if is_babble else coloured_noise(first, len(samples), draws)
    mixed = mix(batch[:1], noise, torch.tensor([rng.uniform(*SNR_DB)]))[0].numpy()
    peak = float(np.abs(mixed).max())
    return np.asarray(mixed / max(peak, 1.0), dtype=np.float32)  # louder than full scale would count as clipped
