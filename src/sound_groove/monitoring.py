"""Are recordings still like those that a model was calibrated on? Counts of what was heard, and what they say.

A calibration is right for recordings like those that it was fitted on, and nothing in a single answer shows that a
product's recordings have become others: another microphone, another line, shorter answers. Of many it can be seen. Kept
are numbers alone, of the last recordings and comparisons: no audio and no embedding.
"""

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sound_groove.audio.given import AnyRecording
from sound_groove.audio.listening import HeardRecording
from sound_groove.encoder.encoder import SpeakerEncoder, default_model
from sound_groove.encoder.listener import Listener
from sound_groove.errors import CheckpointError, printable
from sound_groove.scoring.baseline import EVIDENCE, QUANTITIES, Baseline, Drift, Shift
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.measures import side_of
from sound_groove.types import ModelIdentity, Scores

CALIBRATED_ON = "that the model was calibrated on"
LAST = 1_000  # recordings, and comparisons, that are looked at
NAMES = {
    "speech_s": "the speech in a recording",
    "snr_db": "the signal-to-noise ratio",
    "embedding_norm": "how well the model hears them (the norm of embeddings)",
    "closeness": "how alike the voices sound to the model (closeness)",
    "unfamiliarity": "how unlike known speech they sound (unfamiliarity)",
    EVIDENCE: "the evidence of comparisons",
}
UNITS = {"speech_s": " s", "snr_db": " dB"}
BINS: dict[str, tuple[float, ...]] = {  # their upper ends
    "speech_s": (0.5, 1, 2, 3, 5, 10, 20, 60, 300),
    "snr_db": (0, 5, 10, 15, 20, 25, 30, 40, 50),
    "embedding_norm": (1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 40, 100),
    "closeness": (-0.2, -0.1, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8),
    "unfamiliarity": (-12, -8, -6, -4, -2, 0, 2, 4, 8),
    EVIDENCE: (-6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 9),
}


class Histogram:
    """Counts of values in bins, since the beginning.

    Attributes:
        ends: the upper ends of the bins but for the last, which has none.
        counts: in each bin.
        total: the sum of all values.

    Args:
        ends: rising.
    """

    def __init__(self, ends: tuple[float, ...]) -> None:
        self.ends = ends
        self.counts = [0] * (len(ends) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value; NaN is none."""
        if not math.isnan(value):
            self.counts[bisect_left(self.ends, value)] += 1
            self.total += value


class Monitor:
    """Counts what is heard and compared.

    Attributes:
        recordings: heard since the beginning.
        comparisons: made since the beginning.
        warnings: how often recordings were warned of, by code.
        histograms: of what was known of the recordings and comparisons, by name.

    Args:
        score_map: by which the closeness of embeddings is taken; None where the model has none.
        last: recordings, and comparisons, that are looked at; None looks at all.
    """

    def __init__(self, score_map: ScoreMap | None, last: int | None = LAST) -> None:
        self.recordings = self.comparisons = 0
        self.warnings: Counter[str] = Counter()
        self.histograms = {name: Histogram(ends) for name, ends in BINS.items()}
        self._map = score_map
        self._heard: deque[tuple[float, ...]] = deque(maxlen=last)
        self._llrs: deque[float] = deque(maxlen=last)

    @property
    def baseline(self) -> Baseline | None:
        """What the calibration was fitted on was like; None where the model does not say."""
        return None if self._map is None else self._map.baseline

    def hear(self, heard: HeardRecording) -> None:
        """Count a recording that was embedded; one with too little speech for a verdict by its warnings alone."""
        self.recordings += 1
        self.warnings.update({warning.code for warning in heard.warnings})
        if heard.facts.allows_verdict:
            closeness = math.nan if self._map is None else float(self._map.closeness(heard.embedding))
            known = side_of(heard.facts, closeness)
            self._heard.append(tuple(known[name] for name in QUANTITIES))
            for name in QUANTITIES:
                self.histograms[name].add(known[name])

    def judge(self, llr: float | None) -> None:
        """Count a comparison by its log-likelihood ratio; None, of a model without a score map, says nothing."""
        self.comparisons += 1
        if llr is not None:
            self._llrs.append(llr)
            self.histograms[EVIDENCE].add(llr)

    def drift(self) -> Drift | None:
        """Whether the last recordings and comparisons are still like those of the calibration.

        None where the model does not say what these were like.
        """
        return None if self.baseline is None else self.drift_from(self.baseline)

    def drift_from(self, baseline: Baseline) -> Drift:
        """Whether the last recordings and comparisons are still like others."""
        return baseline.drift(self._values(), len(self._heard))

    def as_baseline(self) -> Baseline:
        """What the last recordings are like, for those to come."""
        return Baseline.of(self._values(), len(self._heard))

    def _values(self) -> dict[str, Scores]:
        columns = np.array(self._heard, dtype=np.float64).reshape(-1, len(QUANTITIES)).T
        return dict(zip(QUANTITIES, columns, strict=True)) | {EVIDENCE: np.array(self._llrs)}


def drift(
    recordings: Iterable[AnyRecording],
    model: str | Path | SpeakerEncoder | None = None,
    *,
    threads: int = 1,
) -> Drift:
    """Are recordings like those that a model was calibrated on?

    Args:
        recordings: as `compare` takes them; 50 are needed to be told that they are. Those that cannot be used, or have
            too little speech for a verdict, are left out.
        model: as `compare` takes it.
        threads: that listen.

    Raises:
        CheckpointError: the model cannot be used, or does not say what it was calibrated on.

    Example:
        found = drift(glob("calls/*.wav"))
        print(found.finding, drift_text(found))
    """
    encoder = model if isinstance(model, SpeakerEncoder) else SpeakerEncoder.load(model or default_model(), threads=1)
    monitor = monitor_of(encoder.score_map, encoder.identity)
    listener = Listener(encoder)
    for heard in listener.hear_all(recordings, listener.hear_in_parts, threads):
        if isinstance(heard, HeardRecording):
            monitor.hear(heard)
    found = monitor.drift()
    assert found is not None
    return found


def monitor_of(score_map: ScoreMap | None, identity: ModelIdentity) -> Monitor:
    """A monitor of all that comes, by a model that says what it was calibrated on.

    Raises:
        CheckpointError: it does not.
    """
    if score_map is None or score_map.baseline is None:
        raise CheckpointError(
            f"model '{printable(identity.name)}' does not say what the recordings were like that it was calibrated on; "
            "'sound-groove calibrate' puts that into it"
        )
    return Monitor(score_map, last=None)


def drift_text(found: Drift, others: str = CALIBRATED_ON) -> str:
    """One sentence: are they like those that the model was calibrated on?

    Args:
        found: of recordings.
        others: what they were compared with.
    """
    there = f"the {found.baseline:,} {others}"
    count = "1 recording" if found.recordings == 1 else f"{found.recordings:,} recordings"
    moved = sorted((one for one in found.shifts if one.finding == "drifted"), key=lambda one: -one.degree)
    if moved:
        return f"{count}: no longer like {there}: {'; '.join(map(shift_text, moved))}."
    if found.finding == "alike":
        return f"{count}: like {there}."
    return f"{count}: too few to say whether they are like {there}."


def shift_text(shift: Shift) -> str:
    """How a quantity differs from what it was, in words."""
    unit = UNITS.get(shift.quantity, "")
    low, high = shift.usual
    if shift.quantity == EVIDENCE:
        return f"{NAMES[EVIDENCE]} fits no mixture of one speaker and two (median llr {shift.median:.1f})"
    if shift.median > high:
        how = "is higher"
    elif shift.median < low:
        how = "is lower"
    else:
        how = "is spread otherwise"
    return f"{NAMES[shift.quantity]} {how} (median {shift.median:.3g}{unit}; eight of ten had {low:.3g} to {high:.3g})"
