"""Which frames of a padded batch are real, and padding that looks like the silence beyond a single utterance's end."""

import torch
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


def mirrored(x: Tensor, reach: int, mask: Tensor | None) -> Tensor:
    """(B, C, T + 2 reach): each sequence continued at both ends by its own mirror image, its last frame not repeated.

    One that is shorter than that is mirrored again and again, where others raise an error.

    Args:
        x: (B, C, T).
        reach: frames at each end.
        mask: (B, 1, T) of the real frames, which come first; None when all are. What lies behind a sequence and its
            mirror image means nothing.

    >>> mirrored(torch.tensor([[[1.0, 2.0, 3.0]]]), 2, None)
    tensor([[[3., 2., 1., 2., 3., 2., 1.]]])
    """
    count = x.shape[2]
    lengths = torch.full((1, 1), count, device=x.device) if mask is None else mask.sum(dim=2)  # (B or 1, 1)
    turns = (2 * (lengths - 1)).clamp(min=1)  # after so many frames a mirrored sequence repeats itself
    places = torch.arange(-reach, count + reach, device=x.device).unsqueeze(0) % turns
    index = torch.minimum(places, turns - places)  # (B or 1, T + 2 reach)
    if mask is None:
        return x.index_select(2, index[0])
    return x.gather(2, index.unsqueeze(1).expand(-1, x.shape[1], -1))


def strided(mask: Tensor | None, stride: int) -> Tensor | None:
    """(B, 1, T / stride): the mask behind a convolution whose frame t stands on frame stride x t of its input.

    So stands every convolution with an odd kernel and the padding that keeps the length: T frames become
    ceil(T / stride), padded and alone.
    """
    return mask if mask is None or stride == 1 else mask[..., ::stride]
