"""How often enrolment refuses a speaker's own recording, and lets another's in.

    python benchmarks/enrolment.py CORPUS [--model pretrained] [--draws 20]

CORPUS is the development corpus; the recordings are those of its trial lists, as they are, of speakers whom the model
never heard. For each recording with 2 s of speech or more, some others of its speaker are drawn as enrolled already,
and the recording is to be added to them; then it is to be added to as many of every other speaker of its collection.
The rule is that of `enroll`: refused where the evidence speaks for another voice (llr < 0).
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from corpus_trials import read_lists, recordings_of
from tqdm import tqdm

from sound_groove.audio.listening import AudioFacts
from sound_groove.audio.quality import LITTLE_SPEECH_S
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.provenance import machine
from sound_groove.types import Embeddings
from sound_groove.voiceprints.enrolment import strangers

ENROLLED = (1, 2, 4)
SEED = 0


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default="pretrained")
    parser.add_argument("--draws", type=int, default=20, help="of enrolled recordings, for each recording")
    arguments = parser.parse_args()
    encoder = SpeakerEncoder.load(arguments.model, threads=1)
    print(f"model {encoder.identity.label}, {machine(threads=1)}\n")
    print("| collection | recordings | " + " | ".join(f"own, {n} enrolled | others', {n}" for n in ENROLLED) + " |")
    print("| --- | --- | " + " | ".join("--- | ---" for _ in ENROLLED) + " |")
    for name, trials in read_lists(arguments.corpus).items():
        voices = _heard(arguments.corpus, recordings_of([trials]), encoder)
        cells = []
        for count in ENROLLED:
            own, others = _rates(voices, count, arguments.draws, encoder)
            cells.append(f"{own:.1%} refused | {others:.1%} let in")
        print(f"| {name} | {sum(map(len, voices.values()))} | " + " | ".join(cells) + " |", flush=True)


def _heard(corpus: Path, paths: list[str], encoder: SpeakerEncoder) -> dict[str, list[tuple[Embeddings, AudioFacts]]]:
    """Embedding and facts of every recording with enough speech, by speaker."""
    voices, listener = defaultdict(list), Listener(encoder)
    for path in tqdm(paths, desc="embedding", disable=None):
        heard = listener.hear(corpus / path)
        if heard.facts.speech_s >= LITTLE_SPEECH_S:
            voices[Path(path).parts[1]].append((heard.embedding, heard.facts))
    return voices


def _rates(
    voices: dict[str, list[tuple[Embeddings, AudioFacts]]], count: int, draws: int, encoder: SpeakerEncoder
) -> tuple[float, float]:
    """Shares of own recordings that are refused, and of others' that are let in, with so many enrolled."""
    assert encoder.score_map is not None
    generator = np.random.default_rng(SEED)
    refused: list[bool] = []
    refused_others: list[bool] = []
    for speaker, recordings in voices.items():
        for index, candidate in enumerate(recordings):
            for enrolled_speaker, theirs in voices.items():
                pool = [other for other in range(len(theirs)) if enrolled_speaker != speaker or other != index]
                if len(pool) < count:
                    continue
                for _ in range(draws if enrolled_speaker == speaker else 1):
                    known = [theirs[other] for other in generator.choice(pool, count, replace=False)]
                    is_refused = bool(strangers(known, [candidate], encoder.score_map))
                    (refused if enrolled_speaker == speaker else refused_others).append(is_refused)
    return float(np.mean(refused)), 1 - float(np.mean(refused_others))


if __name__ == "__main__":
    main()
