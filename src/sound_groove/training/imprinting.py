"""A new head that begins at what a trained network says of the speakers: imprinted weights.

When a trained network is taught other speakers, its head is new. Drawn at random, it would send gradients that mean
nothing through a network that means something, for thousands of steps. So the weights of each class are the mean of the
network's embeddings of a few of its utterances (Qi, Brown and Lowe 2018, "Low-shot learning with imprinted weights").
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sound_groove.corpora.manifest import Utterance
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.evaluation.cohort import choose_evenly
from sound_groove.networks.losses import SpeakerHead
from sound_groove.training.validation import embed_utterances
from sound_groove.types import Embeddings

UTTERANCES = 3  # of each speaker, at most
LONGEST_S = 6.0  # that is taken of each


@torch.no_grad()
def imprint(head: SpeakerHead, means: Embeddings) -> None:
    """Let the weights of every class begin at its mean; of several sub-centres the first one does.

    Args:
        head: whose weights are drawn already; their lengths are kept.
        means: (classes, D).
    """
    first = head.weight[:: head.subcenters]
    directions = F.normalize(torch.from_numpy(means).to(first))
    head.weight[:: head.subcenters] = directions * first.norm(dim=1, keepdim=True)


def class_means(
    encoder: SpeakerEncoder,
    utterances: Sequence[Utterance],
    labels: NDArray[np.int64],
    speeds: Sequence[float],
    stored_features: bool,
) -> Embeddings:
    """The mean embedding of every class (speeds * speakers, D): all speakers at the first speed, then at the next one.

    Args:
        encoder: around the network.
        utterances: of the training speakers.
        labels: (utterances,) speaker of each, every one of them from 0 on having some.
        speeds: each makes classes of its own.
        stored_features: embed the `.pt` features instead of the audio.

    Raises:
        AudioError, TrainingError: a file cannot be read.
    """
    rows = choose_evenly([str(label) for label in labels.tolist()], UTTERANCES)
    chosen, speakers = [utterances[row] for row in rows], labels[rows]
    sums = np.zeros((len(speeds), int(labels.max()) + 1, encoder.embedding_size))
    for index, speed in enumerate(speeds):
        doing = f"meeting the speakers, at the speed {speed:g}"
        found = embed_utterances(encoder, chosen, LONGEST_S, stored_features, doing, speed)
        np.add.at(sums[index], speakers, found)
    return np.asarray(sums.reshape(-1, encoder.embedding_size), dtype=np.float32)
