"""Which frames of a padded batch are real, and padding that looks like the silence beyond a single utterance's end."""

from torch import Tensor

from sound_groove.networks.features import frame_mask


def real_frames(lengths: Tensor | None, frames: int) -> Tensor | None:
    """(B, 1, T) bool: the frames that are real; None when all of them are.

    Args:
        lengths: (B,) real frames of each utterance, or None.
        frames: T.
    """
    return None if lengths is None else frame_mask(lengths, frames).unsqueeze(1)


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """(B, ..., T) with zeros in the frames that are padding: a single utterance has zeros beyond its end.

    A selection, not a product: padding may hold anything, and 0 times infinity is not 0.

    Args:
        x: (B, C, T) or (B, C, F, T).
        mask: (B, 1, T), or None when all frames are real.
    """
    if mask is None:
        return x
    return x.masked_fill(~(mask if x.dim() == 3 else mask.unsqueeze(1)), 0.0)


def strided(mask: Tensor | None, stride: int) -> Tensor | None:
    """(B, 1, T / stride): the mask behind a convolution whose frame t stands on frame stride x t of its input.

    So stands every convolution with an odd kernel and the padding that keeps the length: T frames become
    ceil(T / stride), padded and alone.
    """
    return mask if mask is None or stride == 1 else mask[..., ::stride]
