"""A recording as it could have been: shorter, with noise, in a room, over a line, or with other pauses, so that a
calibration sees what it will meet.

A collection is mostly of one kind, long and clean. What a score is worth when a recording lasts a second, or a crowd
talks beside it, or a gate has emptied its pauses, must be seen on such recordings, and is seen here on parts of the
same ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.pieces import repeated
from sound_groove.synthesis.batch_draws import BatchDraws
from sound_groove.synthesis.effects import babble, coloured_noise, limit_band, mix, reverberate, room_responses
from sound_groove.synthesis.lines import CODECS, encoded, within_scale
from sound_groove.synthesis.treated_pauses import TREATMENTS, treated
from sound_groove.types import Samples

Kind = Literal["as it is", "noisy", "other pauses", "in a room", "over a line"]
KINDS: tuple[Kind, ...] = get_args(Kind)
AS_IT_IS: Kind = "as it is"
SNR_DB = (0.0, 20.0)  # of the noise that is added
BABBLE_SHARE = 0.5  # of noisy versions whose noise is other people's speech
RT60_S = (0.2, 1.0)  # in which the sound of rooms dies away by 60 dB
TELEPHONE_HZ = ((200.0, 400.0), (3000.0, 3600.0))  # between which the ends of telephone bands lie
TELEPHONE_SHARE = 0.5  # of lines that are telephones; the others are codecs of the whole band
TELEPHONE_CODECS = ("gsm", "mu-law", "a-law", "adpcm")
WIDE_CODECS = ("opus", "mp3")


@dataclass(frozen=True, slots=True)
class Condition:
    """What was done to a recording.

    Attributes:
        duration_s: the length that it was cut to; None leaves it whole.
        kind: as it is; with noise; with its pauses emptied, filled with a faint noise or cut out, or with a digital
            silence behind it; with the sound of a room; or over a telephone or through a codec.
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


def drawn_conditions(wanted: Sequence[Condition], samples: int, rng: np.random.Generator) -> tuple[Condition, ...]:
    """Those of the conditions that are made of a recording: of every length as it is, else of one length for each kind.

    Args:
        wanted: what `conditions` gives.
        samples: the length of the recording.
        rng: of the lengths, which are drawn of those that the recording has.
    """
    possible = [one for one in wanted if one.duration_s is None or one.duration_s * SAMPLE_RATE <= samples]
    drawn = [one for one in possible if one.kind == AS_IT_IS]
    for kind in KINDS:
        if kind != AS_IT_IS:
            own = [one for one in possible if one.kind == kind]
            drawn.append(own[rng.integers(len(own))])
    return tuple(drawn)


def make_versions(
    samples: Samples, wanted: Sequence[Condition], others: Sequence[Samples], seed: int
) -> Iterator[tuple[Condition, Samples]]:
    """The versions of a recording that it is long enough for.

    Args:
        samples: (samples,) the whole recording.
        wanted: what to make.
        others: recordings of other people, for babble; where there are none, all noise is coloured noise.
        seed: of the places of cuts, the kinds of noise and its levels, what is done to pauses, the rooms and the lines.
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
        elif condition.kind == "in a room":
            cut = _in_a_room(cut, rng)
        elif condition.kind == "over a line":
            cut = _over_a_line(cut, rng)
        yield condition, cut


def _noisy(samples: Samples, others: Sequence[Samples], rng: np.random.Generator) -> Samples:
    """The recording in coloured noise, or in the babble of others."""
    rows = [repeated(other, len(samples))[: len(samples)] for other in (samples, *others)]
    batch = torch.from_numpy(np.stack(rows))  # (1 + others, samples)
    draws, first = BatchDraws.of_whole_batch(int(rng.integers(2**62)), len(batch)), torch.tensor([0])
    is_babble = bool(others) and rng.random() < BABBLE_SHARE
    noise = babble(batch, first, draws) if is_babble else coloured_noise(first, len(samples), draws)
    return within_scale(mix(batch[:1], noise, torch.tensor([rng.uniform(*SNR_DB)]))[0].numpy())


def _in_a_room(samples: Samples, rng: np.random.Generator) -> Samples:
    """The recording with the decaying sound of a room."""
    draws, first = BatchDraws.of_whole_batch(int(rng.integers(2**62)), 1), torch.tensor([0])
    responses = room_responses(torch.tensor([rng.uniform(*RT60_S)]), first, draws, RT60_S[1])
    return within_scale(reverberate(torch.from_numpy(samples)[None], responses)[0].numpy())


def _over_a_line(samples: Samples, rng: np.random.Generator) -> Samples:
    """The recording over a telephone, or through a codec of the whole band."""
    strength = float(rng.random())
    if rng.random() < TELEPHONE_SHARE:
        low_hz, high_hz = (float(rng.uniform(*ends)) for ends in TELEPHONE_HZ)
        codec = CODECS[TELEPHONE_CODECS[rng.integers(len(TELEPHONE_CODECS))]]
        in_band = limit_band(torch.from_numpy(samples)[None], low_hz, high_hz)[0].numpy()
        return encoded(within_scale(in_band), codec, strength)
    return encoded(samples, CODECS[WIDE_CODECS[rng.integers(len(WIDE_CODECS))]], strength)
