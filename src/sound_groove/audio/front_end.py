"""What a speaker model is fed: how a recording becomes the features that its makers trained it on.

Public models come in families, and each family has its own features. They differ in little that decides much: the scale
of the samples, the window, where the last filter ends, whether the mean over the recording is removed. The definitions
are those of the makers' own code:

    wespeaker     Kaldi's filterbank of samples in the scale of 16 bits, Hamming window, 20 to 8,000 Hz, mean removed
    3d-speaker    the same of samples in [-1, 1], Povey's window
    nemo          pre-emphasis of the whole signal; centred 512-point spectra, Hann window; Slaney's mel filters from 0
                  to 8,000 Hz; log(x + 2^-24); mean and deviation of each feature normalised (TitaNet, SpeakerNet)
    speechbrain   centred 400-point spectra, Hamming window; triangles from 0 to 8,000 Hz; decibels, none more than 80
                  below the loudest of the recording; mean removed (ECAPA-TDNN)
    redimnet      mean and deviation of the waveform normalised; pre-emphasis; centred 512-point spectra, Hamming
                  window; 72 mel filters from 20 to 7,600 Hz; log(x + 1e-6); mean removed (ReDimNet, ReDimNet2)
    waveform      the file takes the waveform, in [-1, 1], and has its front end inside

The same in torch is `sound_groove.networks.front_ends`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from sound_groove.audio.filterbank import SIXTEEN_BIT, WINDOWS, Window
from sound_groove.errors import UsageError, nearest, printable

Family = Literal["wespeaker", "3d-speaker", "nemo", "speechbrain", "redimnet", "waveform"]
FAMILIES: tuple[Family, ...] = get_args(Family)
OfKaldi = ("wespeaker", "3d-speaker")  # families whose features are Kaldi's, which come with the options below
Floor = Literal["none", "step"]
SCALES = {"1": 1.0, "32768": SIXTEEN_BIT}
STEP = 1.0 / SIXTEEN_BIT  # one step of 16 bits, of samples in [-1, 1]
FREQUENCIES = (1000.0, 8000.0)  # in Hz, between which the last filter may end
MOST_BINS = 256


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """A front end.

    Attributes:
        family: whose definition it follows.
        num_mel_bins: F.
        scale: by what samples in [-1, 1] are multiplied; of Kaldi's families and of waveforms alone.
        window: what each frame is multiplied by; of Kaldi's families alone.
        high_frequency: upper edge of the last filter in Hz; of Kaldi's families alone.
        removes_mean: whether the mean over the recording is removed; of Kaldi's families alone.
        floor: `step` adds to the energies those of white noise of one 16-bit step, so that digital silence is heard as
            a quiet room; `none` leaves the makers' own.
    """

    family: Family
    num_mel_bins: int = 80
    scale: float = 1.0
    window: Window = "povey"
    high_frequency: float = 8000.0
    removes_mean: bool = True
    floor: Floor = "none"

    @property
    def is_kaldi(self) -> bool:
        """Whether the features are Kaldi's, with scale, window, edge and mean as they are given here."""
        return self.family in OfKaldi

    @property
    def is_the_makers(self) -> bool:
        """Whether this is what the family's makers feed, but for the floor."""
        return replace(self, floor="none") == of_family(self.family, self.num_mel_bins)

    @property
    def description(self) -> str:
        """In words, for people.

        >>> of_family("wespeaker").description
        'wespeaker: 80 Kaldi filterbanks of 16-bit samples, hamming window, 20 to 8,000 Hz, mean removed'
        """
        floor = "; floor of one 16-bit step" if self.floor == "step" else ""
        if self.family == "waveform":
            return f"waveform: samples in {_scale_words(self.scale)}, the file's own front end"
        if not self.is_kaldi:
            return f"{self.family}: {self.num_mel_bins} features by its makers' definition{floor}"
        mean = "mean removed" if self.removes_mean else "mean kept"
        of_what = f"{self.num_mel_bins} Kaldi filterbanks of {_scale_words(self.scale)}"
        rest = f"{self.window} window, 20 to {self.high_frequency:,.0f} Hz, {mean}{floor}"
        return f"{self.family}: {of_what}, {rest}"

    def as_dict(self) -> dict[str, Any]:
        """The fields, as JSON can hold them; those that say nothing of this family are left out."""
        fields = asdict(self)
        unused = {"waveform": ("num_mel_bins", "window", "high_frequency", "removes_mean", "floor")}
        left_out = (
            () if self.is_kaldi else unused.get(self.family, ("scale", "window", "high_frequency", "removes_mean"))
        )
        return {name: value for name, value in fields.items() if name not in left_out}


def of_family(family: Family, num_mel_bins: int | None = None) -> FrontEnd:
    """What the makers of a family feed their models.

    Args:
        family: which one.
        num_mel_bins: F; the number that is usual in the family when None.
    """
    bins = num_mel_bins or (72 if family == "redimnet" else 80)
    if family == "wespeaker":
        return FrontEnd(family, bins, SIXTEEN_BIT, "hamming")
    return FrontEnd(family, bins)


def parsed_front_end(text: str, num_mel_bins: int | None = None) -> FrontEnd:
    """A front end as the command line names it: a family and, of Kaldi's, what is different.

    Args:
        text: such as `3d-speaker`, or `wespeaker,window=povey,high=7600,scale=1,mean=kept`.
        num_mel_bins: F, where the file tells it.

    Raises:
        UsageError: there is no such family or option.

    >>> parsed_front_end("3d-speaker,mean=kept").removes_mean
    False
    """
    word, *changes = (part.strip() for part in text.split(","))
    family = next((one for one in FAMILIES if one == word), None)
    if family is None:
        raise UsageError(f"there is no front end '{printable(word)}'; {nearest(word, FAMILIES)}")
    front_end = of_family(family, num_mel_bins)
    for change in changes:
        front_end = _changed(front_end, change)
    return front_end


def _changed(front_end: FrontEnd, change: str) -> FrontEnd:
    name, _, value = change.partition("=")
    known = {"scale", "window", "high", "mean"} if front_end.is_kaldi else {"scale"}
    if name not in known or front_end.family not in (*OfKaldi, "waveform"):
        what = nearest(name, sorted(known)) if front_end.family in (*OfKaldi, "waveform") else "it has no options"
        raise UsageError(f"front end '{front_end.family}': there is no option '{printable(name)}'; {what}")
    if name == "scale" and value in SCALES:
        return replace(front_end, scale=SCALES[value])
    if name == "mean" and value in ("removed", "kept"):
        return replace(front_end, removes_mean=value == "removed")
    for window in WINDOWS:
        if name == "window" and value == window:
            return replace(front_end, window=window)
    if name == "high" and value.isdecimal() and FREQUENCIES[0] <= float(value) <= FREQUENCIES[1]:
        return replace(front_end, high_frequency=float(value))
    allowed = {
        "scale": "1 or 32768",
        "window": "povey or hamming",
        "high": "a frequency from 1000 to 8000",
        "mean": "removed or kept",
    }
    raise UsageError(f"front end '{front_end.family}': {name} is {allowed[name]}, and '{printable(value)}' was given")


def restored_front_end(fields: Mapping[str, Any]) -> FrontEnd:
    """What `as_dict` gave.

    Raises:
        ValueError: these are no fields of a front end.
    """
    try:
        front_end = FrontEnd(**fields)
        known = front_end.family in FAMILIES and front_end.window in WINDOWS and front_end.scale in SCALES.values()
        known = known and front_end.floor in get_args(Floor) and 1 <= front_end.num_mel_bins <= MOST_BINS
        if not (known and FREQUENCIES[0] <= front_end.high_frequency <= FREQUENCIES[1]):
            raise ValueError("a value is none of those that it may have")
    except TypeError as error:
        raise ValueError(str(error)) from None
    return front_end


def _scale_words(scale: float) -> str:
    return "16-bit samples" if scale == SIXTEEN_BIT else "samples in [-1, 1]"
