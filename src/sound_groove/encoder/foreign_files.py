"""What an ONNX file of others takes and gives, and which family's features it was trained on, as far as it tells.

A file tells by its metadata (sherpa-onnx's copies name their framework), by the names of what it takes and gives
(WeSpeaker's files have no metadata), or by their shape. What it tells is a claim: `sound-groove import` tries it on
speech.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sound_groove.audio.filterbank import SIXTEEN_BIT
from sound_groove.audio.front_end import MOST_BINS, FrontEnd, of_family
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.errors import CheckpointError, printable

AnyShape = Sequence[int | str | None]  # as onnxruntime has it, or the file itself
Layout = Literal["(B, samples)", "(B, 1, samples)", "(B, T, F)", "(B, F, T)", "(B, 1, F, T)"]
_WAVEFORM_NAMES = ("waveform", "wav", "wavs", "audio", "speech", "signal", "samples", "input_values")
_EMBEDDING_NAMES = ("embs", "embedding", "embeddings", "emb", "xvector", "speaker_embedding", "output")


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """An ONNX file of others.

    Attributes:
        layout: of its first input.
        input: name of what takes waveforms or features.
        lengths: name of what takes how much of each row is real, or None.
        output: name of what is the embedding.
        front_end: of the family that it seems to be of; None where nothing tells.
        told_by: how that is known, a clause.
        largest_batch: the number of rows that it is made for; None where that is free.
        samples: the length that it is made for, where it takes waveforms of one length only.
    """

    layout: Layout
    input: str
    lengths: str | None
    output: str
    front_end: FrontEnd | None
    told_by: str
    largest_batch: int | None = None
    samples: int | None = None

    @property
    def takes_waveforms(self) -> bool:
        """Whether its front end is inside."""
        return self.layout in ("(B, samples)", "(B, 1, samples)")


def recognise(
    name: str, inputs: Mapping[str, AnyShape], outputs: Sequence[str], metadata: Mapping[str, str]
) -> ForeignFile:
    """Tell what a file takes, and what it claims to be fed.

    Args:
        name: of the file, for messages.
        inputs: shape of what it takes, by name.
        outputs: names of what it gives.
        metadata: what it says of itself.

    Raises:
        CheckpointError: it is for audio at another rate, is no speaker model that is known here, or names features
            that are not known here.
    """
    rate = metadata.get("sample_rate", str(SAMPLE_RATE))
    if rate != str(SAMPLE_RATE):
        raise CheckpointError(f"{name}: is for audio at {printable(rate)} Hz, and {SAMPLE_RATE} is used here")
    layout, bins = _layout(name, inputs, metadata)
    first, *others = inputs
    front_end, told_by = _claimed(name, layout, bins, list(inputs), outputs, metadata)
    shape = inputs[first]
    fixed = shape[-1] if layout in ("(B, samples)", "(B, 1, samples)") else None
    return ForeignFile(
        layout,
        first,
        others[0] if others else None,
        _embedding(name, outputs),
        front_end,
        told_by,
        shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None,
        fixed if isinstance(fixed, int) and fixed > 0 else None,
    )


def _layout(name: str, inputs: Mapping[str, AnyShape], metadata: Mapping[str, str]) -> tuple[Layout, int | None]:
    """How the first input lies, and the number of features."""
    if 1 <= len(inputs) <= 2:
        first, shape = next(iter(inputs.items()))
        sizes = [size if isinstance(size, int) and size > 0 else None for size in shape]
        if len(sizes) == 2:
            return "(B, samples)", None
        if len(sizes) == 3 and sizes[1] == 1 and (sizes[2] is None or sizes[2] > MOST_BINS):
            return "(B, 1, samples)", None
        said = metadata.get("feat_dim", "")
        bins = int(said) if said.isascii() and said.isdecimal() and 1 <= int(said) <= MOST_BINS else None
        if len(sizes) == 3 and (metadata.get("framework") == "nemo" or first == "audio_signal"):
            return "(B, F, T)", sizes[1] or bins or 80
        if len(sizes) == 3 and sizes[1] is None and (sizes[2] is None or sizes[2] <= MOST_BINS):
            return "(B, T, F)", sizes[2] or bins or 80
        if len(sizes) == 3 and sizes[2] is None and sizes[1] is not None and 8 <= sizes[1] <= MOST_BINS:
            return "(B, F, T)", sizes[1]
        if len(sizes) == 4 and sizes[1] == 1 and (sizes[2] is None or sizes[2] <= MOST_BINS):
            return "(B, 1, F, T)", sizes[2] or 72
    taken = ", ".join(f"{one} {shape}" for one, shape in inputs.items())
    raise CheckpointError(
        f"{name}: takes {printable(taken)}; a speaker model takes one input, waveforms (B, samples) or "
        "filterbanks (B, T, F), and perhaps their lengths"
    )


def _claimed(
    name: str,
    layout: Layout,
    bins: int | None,
    inputs: Sequence[str],
    outputs: Sequence[str],
    metadata: Mapping[str, str],
) -> tuple[FrontEnd | None, str]:
    """The front end that a file asks for, and by what it is told."""
    if layout in ("(B, samples)", "(B, 1, samples)"):
        what = (
            "takes waveforms" if inputs[0].lower() in _WAVEFORM_NAMES else f"takes '{printable(inputs[0])}' of rank 2"
        )
        return of_family("waveform"), f"it {what}"
    normalisation = metadata.get("feature_normalize_type")
    framework = metadata.get("framework", "")
    if framework == "nemo" or (framework == "" and inputs[0] == "audio_signal"):
        if normalisation not in (None, "per_feature"):
            raise _unknown_normalisation(name, normalisation)
        return of_family("nemo", bins), "its metadata names NeMo" if framework else "it takes 'audio_signal'"
    if normalisation not in (None, "", "global-mean"):
        raise _unknown_normalisation(name, normalisation)
    if framework in ("wespeaker", "3d-speaker"):
        family = of_family("wespeaker" if framework == "wespeaker" else "3d-speaker", bins)
        told_by = f"its metadata names {framework}"
    elif framework:
        return None, f"its metadata name {printable(framework[:40])}, which is not known here"
    elif layout == "(B, 1, F, T)":
        return of_family("redimnet", bins), f"it takes features {layout}, as ReDimNet's do"
    elif layout == "(B, T, F)" and (inputs[0], outputs[0]) == ("feats", "embs"):
        family, told_by = of_family("wespeaker", bins), "it takes 'feats' and gives 'embs', as WeSpeaker's do"
    elif layout == "(B, T, F)" and (inputs[0], outputs[0]) == ("feature", "embedding"):
        family, told_by = of_family("3d-speaker", bins), "it takes 'feature' and gives 'embedding', as 3D-Speaker's do"
    else:
        return None, "neither its metadata nor its names tell its family"
    # What the metadata say beside the family's name is taken at its word. The mean is not mentioned where sherpa-onnx
    # copied WeSpeaker's models, which were trained without it.
    scales = {"0": SIXTEEN_BIT, "1": 1.0}
    scale = scales.get(metadata.get("normalize_samples", ""), family.scale)
    return replace(family, scale=scale, removes_mean=normalisation != ""), told_by


def _embedding(name: str, outputs: Sequence[str]) -> str:
    """Which output is the embedding."""
    if len(outputs) == 1:
        return outputs[0]
    for wanted in _EMBEDDING_NAMES:
        for output in outputs:
            if output.lower() == wanted:
                return output
    raise CheckpointError(
        f"{name}: gives {printable(', '.join(outputs))}; none of them is called {', '.join(_EMBEDDING_NAMES[:3])}, so "
        "that it is not known which is the embedding"
    )


def _unknown_normalisation(name: str, kind: str) -> CheckpointError:
    return CheckpointError(f"{name}: normalises features by '{printable(kind)}', which is unknown here")
