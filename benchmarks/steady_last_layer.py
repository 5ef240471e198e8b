"""Fit a model's last layer so that its embedding stays where it is while the voice does not change.

    python benchmarks/steady_last_layer.py data/corpus MODEL.safetensors --noise data/noise --name NAME --out OUT

An utterance of each training speaker is heard whole, cut to a second or two, and cut and spoken at another tempo, or
behind noise, a room, a line, or several of these. Two things are done with what the last layer takes of them, (2C,)
values each:

- where the differences from the whole one vary most, two directions of each of the three kinds, nothing is left of the
  embedding (nuisance attribute projection; Solomonoff, Campbell and Boardman 2005, 'Advances in channel compensation
  for SVM speaker recognition');
- the layer is then trained so that the embedding of every version has a cosine of 1 with that of the whole utterance,
  as it was after the projection.

No label is used and no other layer changes, so that what the network knows of voices that are not in the corpus stays.
Centre and score map are gone: calibrate it.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, linear
from tqdm import tqdm

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import judge_samples
from sound_groove.audio.reading import load_audio
from sound_groove.corpora.manifest import Utterance, read_manifest
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.evaluation.versions import Condition, Kind, make_versions
from sound_groove.inputs.crops.voices import change_tempo
from sound_groove.inputs.dataset import read_crop
from sound_groove.networks.checkpoint import load_checkpoint, restore_network, save_checkpoint
from sound_groove.networks.tensor_groups import NETWORK
from sound_groove.pretrained import model_path
from sound_groove.synthesis.effects import mix
from sound_groove.types import Samples

LONGEST_S = 6.0
LEAST_S = 1.2
UTTERANCES = 1  # of each speaker
TEMPO = (0.7, 1.4)
CUTS_S = {"tempo": (2.5, 5.0), "pieces": (1.0, 2.0), "surroundings": (1.5, 4.0)}  # what is left of the whole
SURROUNDINGS: tuple[tuple[Kind, float], ...] = (("in a room", 0.5), ("noisy", 0.6), ("over a line", 0.4))  # and shares
RECORDED_SHARE = 0.6  # of the noise, where there are recordings of noise; the rest is coloured noise or babble
SNR_DB = (0.0, 20.0)
OTHERS = 4  # people whose speech may be the babble
WHOLE, TEMPI, PIECES, SURROUNDED = range(4)
NUISANCES = {TEMPI: "tempo", PIECES: "pieces", SURROUNDED: "surroundings"}
STEPS, BATCH, RATE = 400, 768, 3e-4


@dataclass(frozen=True, slots=True)
class Material:
    """What the last layer is given.

    Attributes:
        inputs: (N, 2C) what it takes.
        kinds: (N,) WHOLE, TEMPI, PIECES or SURROUNDED.
        wholes: (N,) the row of the whole utterance that each is a version of.
    """

    inputs: Tensor
    kinds: NDArray[np.int64]
    wholes: NDArray[np.int64]


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path, help="folder that `prepare` made")
    parser.add_argument("model", type=Path)
    parser.add_argument("--noise", type=Path, help="folder of recorded noise; without one, noise is coloured or babble")
    parser.add_argument("--directions", type=int, default=2, help="taken away, of each kind (default: 2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"{arguments.out} is there already")
    checkpoint = load_checkpoint(model_path(arguments.model, ".safetensors"))
    network = restore_network(checkpoint).eval()
    layer = network.get_submodule("embedding")
    assert isinstance(layer, nn.Linear)
    noise = sorted(path for path in arguments.noise.iterdir() if path.is_file()) if arguments.noise else []
    utterances = some_of_each_speaker(read_manifest(arguments.prepared), arguments.seed)
    settings = checkpoint.configuration
    encoder = SpeakerEncoder.of_network(
        network,
        checkpoint.identity,
        settings.embedding_size,
        settings.feature_size,
        floor_db=settings.floor_db,
        silence_share=settings.silence_share,
    )
    material = heard(Listener(encoder), layer, utterances, noise, arguments.seed)
    weight, bias = projected(layer.weight.detach(), layer.bias.detach(), material, arguments.directions)
    weight, bias = steadied(weight, bias, material, arguments.seed)
    tensors = {NETWORK + name: tensor for name, tensor in checkpoint.group(NETWORK).items()}
    tensors |= {f"{NETWORK}embedding.weight": weight.contiguous(), f"{NETWORK}embedding.bias": bias}
    save_checkpoint(arguments.out, tensors, replace(checkpoint.header, name=arguments.name, score_map=None, probe=None))
    print(f"{arguments.out}: model {load_checkpoint(arguments.out).hash}")


def some_of_each_speaker(utterances: Sequence[Utterance], seed: int) -> list[Utterance]:
    """At most UTTERANCES of some length of each training speaker, in an order drawn anew."""
    rng = np.random.default_rng(seed)
    chosen: dict[str, list[Utterance]] = {}
    for place in rng.permutation(len(utterances)):
        utterance = utterances[place]
        of_speaker = chosen.setdefault(utterance.speaker, [])
        if utterance.split == "train" and utterance.duration_s >= LEAST_S and len(of_speaker) < UTTERANCES:
            of_speaker.append(utterance)
    return [utterance for of_speaker in chosen.values() for utterance in of_speaker]


def heard(
    listener: Listener, layer: nn.Linear, utterances: Sequence[Utterance], noise: Sequence[Path], seed: int
) -> Material:
    """What the last layer is given of every version of every utterance."""
    inputs, kinds, wholes = list[Tensor](), list[int](), list[int]()
    layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0][0].clone()))
    others = list[Samples]()
    for number, utterance in enumerate(tqdm(utterances, unit="utterance", disable=None)):
        whole = read_crop(utterance, min(sum(utterance.samples), round(LONGEST_S * SAMPLE_RATE)), 0.5)
        first = len(inputs)
        for kind, version in versions(whole, others, noise, np.random.default_rng((seed, number))):
            listener.hear(judge_samples(version))
            kinds.append(kind)
            wholes.append(first)
        others = [*others[1 - OTHERS :], whole]
    if len(inputs) != len(kinds):
        raise SystemExit("a version was heard in several pieces")
    return Material(torch.stack(inputs), np.array(kinds), np.array(wholes))


def versions(
    samples: Samples, others: Sequence[Samples], noise: Sequence[Path], rng: np.random.Generator
) -> Iterator[tuple[int, Samples]]:
    """The whole, and parts of it: at another tempo, as it is, and behind one or more of its surroundings."""
    yield WHOLE, samples
    yield TEMPI, change_tempo(cut(samples, "tempo", rng), float(np.exp(rng.uniform(*np.log(TEMPO)))))
    yield PIECES, cut(samples, "pieces", rng)
    samples = cut(samples, "surroundings", rng)
    drawn = [kind for kind, share in SURROUNDINGS if rng.random() < share]
    for kind in drawn or ["in a room"]:
        if kind == "noisy" and noise and rng.random() < RECORDED_SHARE:
            samples = in_recorded_noise(samples, noise[int(rng.integers(len(noise)))], rng)
        else:
            ((_, samples),) = make_versions(samples, [Condition(None, kind)], others, int(rng.integers(2**31)))
    yield SURROUNDED, samples


def cut(samples: Samples, name: str, rng: np.random.Generator) -> Samples:
    """A part of a length and at a place of its own, or all where there is no more."""
    count = min(round(rng.uniform(*CUTS_S[name]) * SAMPLE_RATE), len(samples))
    start = int(rng.integers(len(samples) - count + 1))
    return samples[start : start + count]


def in_recorded_noise(samples: Samples, path: Path, rng: np.random.Generator) -> Samples:
    """A recording with recorded noise from a place of its own, turned down where it would be beyond full scale."""
    noise = load_audio(path)
    noise = np.resize(np.roll(noise, -int(rng.integers(len(noise)))), len(samples))
    ratio = torch.tensor([rng.uniform(*SNR_DB)])
    mixed = mix(torch.from_numpy(samples)[None], torch.from_numpy(noise)[None], ratio)[0].numpy()
    return np.asarray(mixed / max(float(np.abs(mixed).max()), 1.0), dtype=np.float32)


def projected(weight: Tensor, bias: Tensor, material: Material, count: int) -> tuple[Tensor, Tensor]:
    """The layer without the directions in which versions of a kind differ most from the whole."""
    embeddings = nn.functional.normalize(linear(material.inputs, weight, bias), dim=1).double().numpy()
    directions = []
    for kind, name in NUISANCES.items():
        rows = np.flatnonzero(material.kinds == kind)
        differences = embeddings[rows] - embeddings[material.wholes[rows]]
        values, vectors = np.linalg.eigh(differences.T @ differences)
        directions.append(vectors[:, ::-1][:, :count])
        cosine = np.einsum("ij,ij->i", embeddings[rows], embeddings[material.wholes[rows]]).mean()
        shares = ", ".join(f"{share:.1%}" for share in values[::-1][:4] / values.sum())
        print(f"{name}: cosine {cosine:.3f} with the whole; the first directions of {len(rows)} differences: {shares}")
    basis, _ = np.linalg.qr(np.concatenate(directions, axis=1))
    keeping = torch.from_numpy(np.eye(len(basis)) - basis @ basis.T)
    return (keeping @ weight.double()).float(), (keeping @ bias.double()).float()


def steadied(weight: Tensor, bias: Tensor, material: Material, seed: int) -> tuple[Tensor, Tensor]:
    """The layer, trained to give of every version what it gives of the whole now."""
    aims = linear(material.inputs, weight, bias)[material.wholes]
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.AdamW([weight, bias], lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
    rng = np.random.default_rng(seed)
    for step in range(STEPS):
        rows = torch.from_numpy(rng.choice(len(aims), min(BATCH, len(aims)), replace=False))
        loss = 1.0 - cosine_similarity(linear(material.inputs[rows], weight, bias), aims[rows]).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step in (0, STEPS - 1):
            print(f"step {step}: cosine {1.0 - float(loss.detach()):.3f} with the whole")
    return weight.detach(), bias.detach()


if __name__ == "__main__":
    main()
