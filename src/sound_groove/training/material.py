"""What is wrong with the recordings themselves: listed twice, silent, or one recording under two names."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.corpora.manifest import Utterance
from sound_groove.errors import SoundGrooveError
from sound_groove.inputs.dataset import read_crop

LOOKED_AT = 200  # utterances of a side that are listened to, spread over all
COMPARED = 2000  # utterances at most whose sound is compared: those that are as long as others
STRETCH = SAMPLE_RATE  # samples that are read of each; the whole only where it matters
SILENCE = 2e-6  # between the highest and the lowest sample: within 120 dB below full scale of one value


def check_listed(source: Path, utterances: Iterable[Utterance]) -> list[str]:
    """Utterances that a manifest lists twice, by their names or by what they consist of.

    Args:
        source: the prepared corpus.
        utterances: all of them.
    """
    problems = []
    named: dict[str, int] = defaultdict(int)
    heard: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for utterance in utterances:
        named[utterance.key] += 1
        heard[utterance.paths].append(utterance.key)
    twice = [key for key, count in named.items() if count > 1]
    if twice:
        problems.append(f"{source}: {_count(len(twice))} listed more than once, the first is {twice[0]}; prepare again")
    shared = [keys for keys in heard.values() if len(set(keys)) > 1]
    if shared:
        problems.append(
            f"{source}: {_count(sum(map(len, shared)))} made of files that others are made of too, such as "
            f"{shared[0][0]} and {shared[0][1]}; list each file once, and prepare again"
        )
    return problems


def check_sound(source: Path, sides: Iterable[Sequence[Utterance]]) -> list[str]:
    """Utterances that are digital silence, of a sample of each side.

    One of them in a sample means many in a large corpus; `prepare` leaves them out, unless it is told to be quick.

    Args:
        source: the prepared corpus.
        sides: what is trained on, what judges.
    """
    looked_at = [one for side in sides for one in side[:: max(1, len(side) // LOOKED_AT)]]
    silent = [utterance.key for utterance in looked_at if _is_silent(utterance)]
    if not silent:
        return []
    return [
        f"{source}: of {len(looked_at):,} utterances that were looked at, {_count(len(silent))} digital silence, the "
        f"first is {silent[0]}; prepare again without --quick, which leaves them out"
    ]


def same_audio(utterances: Iterable[Utterance]) -> list[str]:
    """What to know of utterances that are the audio of others, though their files have other names.

    Compared are those that are exactly as long as another, COMPARED of them at most.
    """
    lengths: dict[tuple[int, ...], list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        lengths[utterance.samples].append(utterance)
    alike = [same for same in lengths.values() if len(same) > 1]
    candidates = list(islice((one for same in alike for one in same), COMPARED))
    copies: list[tuple[Utterance, Utterance]] = []
    for same in _groups((one, _digest(one, STRETCH, 0.5)) for one in candidates):
        for identical in _groups((one, _digest(one, sum(one.samples), 0.0)) for one in same):
            copies += [(identical[0], other) for other in identical[1:]]
    if not copies:
        return []
    first, other = copies[0]
    of_others = sum(one.speaker != two.speaker for one, two in copies)
    whose = f", {of_others:,} of them under another speaker" if of_others else ""
    return [f"{_count(len(copies))} the audio of another one{whose}, such as {other.key}, which is {first.key}"]


def _groups(named: Iterable[tuple[Utterance, bytes | None]]) -> Iterator[list[Utterance]]:
    """Those of one length and digest, where there are several."""
    found: dict[tuple[tuple[int, ...], bytes], list[Utterance]] = defaultdict(list)
    for utterance, digest in named:
        if digest is not None:
            found[utterance.samples, digest].append(utterance)
    return (group for group in found.values() if len(group) > 1)


def _digest(utterance: Utterance, count: int, fraction: float) -> bytes | None:
    """Of the samples of a crop; None where it cannot be read, which is told by whoever has to, or is silent."""
    try:
        crop = read_crop(utterance, count, fraction)
    except SoundGrooveError:
        return None
    return None if np.ptp(crop) <= SILENCE else hashlib.sha256(crop.tobytes()).digest()


def _is_silent(utterance: Utterance) -> bool:
    try:
        return bool(
            np.ptp(read_crop(utterance, STRETCH, 0.5)) <= SILENCE
            and np.ptp(read_crop(utterance, sum(utterance.samples), 0.0)) <= SILENCE
        )
    except SoundGrooveError:
        return False


def _count(count: int) -> str:
    return "1 utterance is" if count == 1 else f"{count:,} utterances are"
