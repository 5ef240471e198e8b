"""Fit a model's last layer so that its embedding stays where it is while the voice does not change.

    python benchmarks/steady_last_layer.py recipes/corpus/by-ear.yaml MODEL.safetensors --name NAME --out OUT

An utterance of each training speaker is heard whole, and parts of it are heard: a second or two, some at another tempo,
some in the recipe's rooms, noise, telephone band and codecs, some with other pauses. Two things are done with what the
last layer takes of them, (2C,) values each:

- where tempo, length and pauses move the embedding most, nothing is left of it (nuisance attribute projection;
  Solomonoff, Campbell and Boardman 2005, 'Advances in channel compensation for SVM speaker recognition');
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
from sound_groove.audio.pieces import repeated
from sound_groove.corpora.manifest import Utterance, read_manifest
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.inputs.augment import Augmentation
from sound_groove.inputs.crops.voices import change_tempo
from sound_groove.inputs.dataset import read_crop
from sound_groove.inputs.surroundings import find_surroundings
from sound_groove.networks.checkpoint import load_checkpoint, restore_network, save_checkpoint
from sound_groove.networks.tensor_groups import NETWORK
from sound_groove.pretrained import model_path
from sound_groove.recipe.loading import load_recipe
from sound_groove.recipe.schema import Recipe
from sound_groove.synthesis.batch_draws import BatchDraws
from sound_groove.synthesis.draws import log_uniform
from sound_groove.synthesis.lines import encoded_somehow, within_scale
from sound_groove.synthesis.treated_pauses import TREATMENTS, treated
from sound_groove.types import Samples

LONGEST_S = 6.0
LEAST_S = 1.2
UTTERANCES = 1  # of each speaker
CHANGES = (  # more of the recipe's than training hears
    "distillation.crops.tempo=[0.7, 1.4]",
    "augmentation.noise_probability=0.6",
    "augmentation.reverberation_probability=0.5",
    "augmentation.telephone_probability=0.25",
    "distillation.crops.coded=0.4",
)
OTHERS = 4  # people whose speech may be the babble
WHOLE, TEMPI, PIECES, SURROUNDED, PAUSES = range(5)
NAMES = {TEMPI: "tempo", PIECES: "pieces", SURROUNDED: "surroundings", PAUSES: "pauses"}
DIRECTIONS = {TEMPI: 2, PIECES: 2, SURROUNDED: 0, PAUSES: 1}  # that are taken away
# Seconds of the whole that are left of it.
CUTS_S = {TEMPI: (2.5, 5.0), PIECES: (1.0, 2.0), SURROUNDED: (1.5, 4.0), PAUSES: (2.5, 5.0)}
STEPS, BATCH, RATE = 400, 768, 3e-4


@dataclass(frozen=True, slots=True)
class Material:
    """What the last layer is given.

    Attributes:
        inputs: (N, 2C) what it takes.
        kinds: (N,) WHOLE, or what was done to it.
        wholes: (N,) the row of the whole utterance that each is a version of.
    """

    inputs: Tensor
    kinds: NDArray[np.int64]
    wholes: NDArray[np.int64]


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="whose corpus, noise, rooms and codecs are heard")
    parser.add_argument("model", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", required=True)
    parser.add_argument("--description", help="one sentence (default: MODEL's)")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"{arguments.out} is there already")
    checkpoint = load_checkpoint(model_path(arguments.model, ".safetensors"))
    network = restore_network(checkpoint).eval()
    layer = dict(network.named_modules()).get("embedding")
    if not isinstance(layer, nn.Linear):
        parser.error(f"{arguments.model}: has no linear layer at its end, as ECAPA-TDNN has")
    recipe = load_recipe(arguments.recipe, [*CHANGES, f"seed={arguments.seed}"])
    utterances = some_of_each_speaker(read_manifest(recipe.data.prepared), arguments.seed)
    settings = checkpoint.configuration
    encoder = SpeakerEncoder.of_network(
        network,
        checkpoint.identity,
        settings.embedding_size,
        settings.feature_size,
        floor_db=settings.floor_db,
        silence_share=settings.silence_share,
    )
    material = heard(Listener(encoder), layer, utterances, VersionMaker(recipe))
    weight, bias = projected(layer.weight.detach(), layer.bias.detach(), material)
    weight, bias = steadied(weight, bias, material, arguments.seed)
    tensors = {NETWORK + name: tensor for name, tensor in checkpoint.group(NETWORK).items()}
    tensors |= {f"{NETWORK}embedding.weight": weight.contiguous(), f"{NETWORK}embedding.bias": bias}
    facts = {
        **checkpoint.header.training,
        "last_layer_of": {"name": checkpoint.header.name, "hash": checkpoint.hash},
        **({"description": arguments.description} if arguments.description else {}),
    }
    header = replace(checkpoint.header, name=arguments.name, training=facts, score_map=None, probe=None)
    save_checkpoint(arguments.out, tensors, header)
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


class VersionMaker:
    """Makes other recordings of utterances.

    Args:
        recipe: the tempi, noise, rooms and codecs, and the seed of every draw.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._crops, self._seed = recipe.distillation.crops, recipe.seed
        self._augmentation = Augmentation(recipe.augmentation)
        self._surroundings = find_surroundings(recipe.augmentation, recipe.seed)
        self._others = list[Samples]()

    def versions(self, whole: Samples, number: int) -> Iterator[tuple[int, Samples]]:
        """The utterance of a number, whole, and its versions: what was done to each, and its samples."""
        rng = np.random.default_rng((self._seed, number))
        yield WHOLE, whole
        yield TEMPI, change_tempo(cut(whole, TEMPI, rng), log_uniform(rng, self._crops.tempo))
        yield PIECES, cut(whole, PIECES, rng)
        yield SURROUNDED, self._surrounded(cut(whole, SURROUNDED, rng), number, rng)
        yield PAUSES, treated(cut(whole, PAUSES, rng), TREATMENTS[rng.integers(len(TREATMENTS))], rng)
        self._others = [*self._others[1 - OTHERS :], whole]

    def _surrounded(self, samples: Samples, number: int, rng: np.random.Generator) -> Samples:
        """A recording in a room, in noise, over a line, or in several of these."""
        count = len(samples)
        batch = torch.from_numpy(np.stack([repeated(other, count)[:count] for other in (samples, *self._others)]))
        draws = BatchDraws.of_whole_batch(int(rng.integers(2**62)), len(batch))
        around = None if self._surroundings is None else self._surroundings.read([(0, number)], count)
        augmented = self._augmentation(batch, draws, around)[0].numpy()
        samples = within_scale(augmented)
        return encoded_somehow(samples, rng) if rng.random() < self._crops.coded else samples


def cut(samples: Samples, kind: int, rng: np.random.Generator) -> Samples:
    """A part of a length and at a place of its own, or all where there is no more."""
    count = min(round(rng.uniform(*CUTS_S[kind]) * SAMPLE_RATE), len(samples))
    start = int(rng.integers(len(samples) - count + 1))
    return samples[start : start + count]


def heard(listener: Listener, layer: nn.Linear, utterances: Sequence[Utterance], maker: VersionMaker) -> Material:
    """What the last layer is given of every version of every utterance."""
    inputs, kinds, wholes = list[Tensor](), list[int](), list[int]()
    layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0][0].clone()))
    for number, utterance in enumerate(tqdm(utterances, unit="utterance", disable=None)):
        whole = read_crop(utterance, min(sum(utterance.samples), round(LONGEST_S * SAMPLE_RATE)), 0.5)
        first = len(inputs)
        for kind, version in maker.versions(whole, number):
            listener.hear(judge_samples(version))
            kinds.append(kind)
            wholes.append(first)
    if len(inputs) != len(kinds):
        raise SystemExit("a version was heard in several pieces")
    return Material(torch.stack(inputs), np.array(kinds), np.array(wholes))


def projected(weight: Tensor, bias: Tensor, material: Material) -> tuple[Tensor, Tensor]:
    """The layer without the directions in which versions of a kind differ most from the whole."""
    embeddings = nn.functional.normalize(linear(material.inputs, weight, bias), dim=1).double().numpy()
    directions = []
    for kind, name in NAMES.items():
        rows = np.flatnonzero(material.kinds == kind)
        differences = embeddings[rows] - embeddings[material.wholes[rows]]
        values, vectors = np.linalg.eigh(differences.T @ differences)
        directions.append(vectors[:, ::-1][:, : DIRECTIONS[kind]])
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
