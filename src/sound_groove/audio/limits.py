"""The limits of a recording that can be used, and the rate that all become."""

from pathlib import Path

from sound_groove.errors import AudioError

SAMPLE_RATE = 16000  # Hz, of all samples in this package
MINIMUM_DURATION_S = 0.1
MAXIMUM_DURATION_S = 4 * 3600.0  # 0.9 GB of samples at 16 kHz: a header must not be able to ask for more
MAXIMUM_CHANNELS = 64
SAMPLE_RATES = (4000, 768000)  # Hz, lowest and highest that a recording of a voice may have


def check_length(path: Path | None, duration_s: float, longest_s: float = MAXIMUM_DURATION_S) -> None:
    """Refuse a recording that is empty, too short or too long.

    Args:
        path: the file, for the message.
        duration_s: how long it is.
        longest_s: the most that is allowed where it is asked for; beyond MAXIMUM_DURATION_S only where the recording is
            read part by part.

    Raises:
        AudioError: it is.
    """
    if duration_s == 0:
        raise AudioError(
            path, "is empty: it has a header but no samples" if path else "is empty: it has no samples", code="empty"
        )
    if duration_s < MINIMUM_DURATION_S:
        reason = f"lasts {duration_s:.3f} s, less than the {MINIMUM_DURATION_S} s that are needed"
        values = {"length_s": duration_s, "least_s": MINIMUM_DURATION_S}
        raise AudioError(path, reason, code="too_short", values=values)
    if duration_s > (most := max(longest_s, MAXIMUM_DURATION_S)):
        hours = most / 3600
        reason = f"lasts {duration_s / 3600:,.1f} h, more than {hours:.0f} h; cut it into parts"
        raise too_long(path, reason, most)
    if duration_s > longest_s:
        raise too_long(path, f"lasts {duration_s:,.1f} s, more than the {longest_s:g} s allowed here", longest_s)


def too_long(path: Path | None, reason: str, longest_s: float) -> AudioError:
    """The refusal of a recording that is longer than it may be."""
    return AudioError(path, reason, code="too_long", values={"most_s": longest_s})


def check_form(path: Path | None, sample_rate: int, channels: int) -> None:
    """Refuse a rate or a number of channels out of range.

    Raises:
        AudioError: it is.
    """
    lowest, highest = SAMPLE_RATES
    if not lowest <= sample_rate <= highest:
        raise AudioError(path, f"has a sample rate of {sample_rate:,} Hz, outside {lowest:,} to {highest:,} Hz")
    if channels > MAXIMUM_CHANNELS:
        raise AudioError(path, f"has {channels} channels, more than {MAXIMUM_CHANNELS}; keep those with the voice")
