"""Train a small speaker network and judge it, on the CPU, in a minute or so:

    python examples/train_minimal.py

The same pieces as in `sound-groove train`, with nothing around them: no corpus on the disk, no augmentation, no
schedule, no checkpoint. `src/sound_groove/training/trainer.py` is the loop that has all of that. The voices are made
up, so the figure says that the pieces fit together, and nothing about people.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.inputs.sampler import PkSampler
from sound_groove.networks.ecapa_tdnn import EcapaTdnn
from sound_groove.networks.features import KaldiFbank, remove_mean
from sound_groove.networks.losses import AamSoftmax
from sound_groove.scoring.metrics import eer
from sound_groove.synthesis.voices import made_up_speaker, speak

SEED = 1
TRAINING, HELD_OUT, UTTERANCES = 24, 8, 6  # speakers to train on, speakers to judge with, utterances of each
CROP_S = 1.0


def make_features(speakers: range) -> tuple[Tensor, NDArray[np.int64]]:
    """Features (N, T, F) of a second of each utterance of some made-up speakers, and who speaks in each (N,)."""
    labels = np.repeat(np.arange(len(speakers)), UTTERANCES)
    waveforms = [
        speak(made_up_speaker(SEED, speaker), seed=speaker * UTTERANCES + utterance, duration_s=CROP_S)
        for speaker in speakers
        for utterance in range(UTTERANCES)
    ]
    crops = np.stack([waveform[: int(CROP_S * SAMPLE_RATE)] for waveform in waveforms])  # (N, samples) in [-1, 1]
    with torch.no_grad():
        return remove_mean(KaldiFbank().eval()(torch.from_numpy(crops))), labels


@torch.no_grad()
def judge(network: nn.Module, features: Tensor, labels: NDArray[np.int64]) -> float:
    """The equal error rate, a fraction, over all pairs of utterances."""
    network.eval()
    embeddings = F.normalize(network(features)).numpy()  # (N, D)
    first, second = np.triu_indices(len(labels), k=1)
    return eer((embeddings @ embeddings.T)[first, second], labels[first] == labels[second])


def train(steps: int) -> tuple[float, float]:
    """Train for some steps; the equal error rate on speakers that were held out, before and after."""
    features, labels = make_features(range(TRAINING))
    held_out = make_features(range(TRAINING, TRAINING + HELD_OUT))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network, head = EcapaTdnn(channels=32, embedding_size=32), AamSoftmax(32, TRAINING, margin=0.1, scale=15.0)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=0.002)
    before = judge(network, *held_out)
    plan = PkSampler(labels, speakers=8, utterances=2, seed=SEED, batches_per_epoch=steps).plan(epoch=0)
    for step, rows in enumerate(plan, start=1):
        network.train()
        embeddings = network(features[rows])  # (B, D)
        loss, _ = head(embeddings, torch.from_numpy(labels[rows]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            print(f"step {step}: loss {float(loss.detach()):.3f}")
    return before, judge(network, *held_out)


if __name__ == "__main__":
    untrained, trained = train(steps=100)
    print(f"EER on {HELD_OUT} held-out voices: {100 * untrained:.1f} % untrained, {100 * trained:.1f} % trained")
