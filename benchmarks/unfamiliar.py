"""Teach the detector of unfamiliar recordings, and show what it finds on collections that it was not taught on.

    pip install pyworld 'setuptools<81'
    python benchmarks/unfamiliar.py CORPUS [--model pretrained] [--out src/sound_groove/weights/familiar_speech.json]

CORPUS is the development corpus. Familiar is speech: up to 22 recordings of each collection in train/, in more/, in
val/ and abroad/. Unfamiliar is what is made of the same recordings: the voice without its pitch (its envelopes on
noise), 1.6 times as high with formants where they were (by the cepstrum and by WORLD) and with all that it has (by
pieces laid over one another and by phases), through GSM twice, in a crowd 5 dB louder, and music and sounds of animals
where the speech detector takes them for speech. What calibrations see as well (noise of 0
to 20 dB, rooms, lines, other pauses) counts a little as familiar.

A line of the table is of a detector that was taught without that collection, and without what was made of it; what it
finds of recordings as they are is counted over up to 110 of the collection, with their number. `same` and Cllr are of
trials within it: each recording with a stranger's and with its speaker's other ones, one side or both
made unfamiliar, by the model's own score map, before and after the evidence fades. With `--out` the detector of all
collections is written.
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyworld
from numpy.typing import NDArray
from scipy.signal import istft, stft
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm
from unseen_collections import collections
from verdicts import read_table

from sound_groove.audio.familiarity import FARTHEST, Detector, leniency, speech_of
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import MINIMUM_SPEECH_S, judge_samples
from sound_groove.audio.pieces import repeated
from sound_groove.audio.reading import load_audio
from sound_groove.audio.sound_statistics import COUNT, sound_statistics
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.evaluation.calibration_material import weighted_quantile
from sound_groove.evaluation.versions import Condition, Kind, make_versions
from sound_groove.files import write_json
from sound_groove.inputs.crops.voices import change_speed, change_tempo, shape_spectrum
from sound_groove.provenance import machine
from sound_groove.scoring.measures import number_or_nan, trial_measures
from sound_groove.scoring.metrics import cllr
from sound_groove.synthesis.lines import CODECS, encoded, made_up_music
from sound_groove.types import Samples

MOST, SPEAKERS = 22, 11  # recordings of a collection, and speakers of the twelve that are judged
MOST_CLEAR = 110  # recordings as they are that are judged of a collection: 22 cannot show a share of 5 %
LONGEST_S, SHORTEST_S = 6.0, 0.75
LEAST_S = (1.5, 6.0)  # to which recordings are joined
PITCH = 1.6
BABBLE_DB, TALKERS = -5.0, 6
NOISE_SHARE = 0.15  # of what another kind counts: few sounds of other things than voices pass for speech
MILD_SHARE = 0.1  # of what speech as it is counts
STRENGTH = 0.003  # of the fit, a recording: the less, the simpler the detector
FAMILIAR = 0.975  # of the speech of collections that it was not taught on lies below 0, with room to spare:
TO_SPARE = 0.25  # log odds, since a collection has so few recordings that its share over the limit scatters
CLEAR, MILD = "as it is", "noise, rooms, lines, pauses"
MILD_KINDS: tuple[Kind, ...] = ("noisy", "other pauses", "in a room", "over a line")
WINDOW, HOP = 512, 128


class Heard(NamedTuple):
    """A recording, or what was made of one.

    Attributes:
        collection: of the recording.
        speaker: of it.
        number: of the recording that it was made of.
        kind: what was made.
        samples: (samples,).
    """

    collection: str
    speaker: str
    number: int
    kind: str
    samples: Samples


def main() -> None:
    """Teach, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default="pretrained")
    parser.add_argument("--out", type=Path, help="write the detector of all collections")
    arguments = parser.parse_args()
    judged = list(made(arguments.corpus, judged_recordings(arguments.corpus), mild=False))
    taught = list(made(arguments.corpus, taught_recordings(arguments.corpus), mild=True))
    material = Material(judged + taught, len(judged))
    detectors, whole = taught_detectors(material)
    as_they_are = list(clear_recordings(arguments.corpus))
    clear = Material(as_they_are, len(as_they_are))
    print(f"{json.dumps(machine(1))}\n\n{material.table(detectors, clear)}\n", flush=True)
    encoder = SpeakerEncoder.load(arguments.model, threads=1)
    print(f"model {encoder.identity.label}\n\n{trials_table(encoder, material, detectors)}")
    if arguments.out is not None:
        about = "python benchmarks/unfamiliar.py CORPUS, the development corpus; made-up kinds beside its speech"
        behind = sorted(set(material.collections) - {"music"})
        write_json(arguments.out, {"made_by": about, "collections": behind, **whole.as_dict()})


def judged_recordings(corpus: Path) -> Iterator[tuple[str, str, Samples]]:
    """Of the twelve collections: collection, speaker, samples."""
    for rows in collections(corpus):
        own = defaultdict(list)
        for row in rows:
            own[row["speaker"]].append(row["path"])
        speakers = sorted(own)
        for place in spaced(len(speakers), SPEAKERS):
            paths = own[speakers[place]]
            count = max(2, MOST // min(SPEAKERS, len(speakers)))
            for start in spaced(len(paths), count):
                draw = random.Random(f"{place} {start}")
                yield rows[0]["corpus"], speakers[place], cut(paths[start:] + paths[:start], draw)


def spaced(count: int, most: int) -> list[int]:
    """At most so many places of a row, evenly spaced from the first to the last."""
    places: list[int] = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist()
    return places


def clear_recordings(corpus: Path) -> Iterator[Heard]:
    """Of the twelve collections, as they are: evenly spaced, speaker after speaker."""
    for rows in collections(corpus):
        ordered = sorted(rows, key=lambda row: (row["speaker"], row["path"]))
        for start in spaced(len(rows), MOST_CLEAR):
            speaker = ordered[start]["speaker"]
            behind = [row["path"] for row in ordered[start:] + ordered[:start] if row["speaker"] == speaker]
            samples = cut(behind, random.Random(f"clear {start}"))
            if len(samples) >= SHORTEST_S * SAMPLE_RATE:
                yield Heard(rows[0]["corpus"], speaker, start, CLEAR, samples)


def taught_recordings(corpus: Path) -> Iterator[tuple[str, str, Samples]]:
    """Of the collections of train/ and more/."""
    by_collection: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for folder in (corpus, corpus / "more"):
        for row in read_table(folder):
            if row.get("split", "train") == "train" and row["corpus"] != "coswara":
                by_collection[row["corpus"]][row["speaker"] or row["path"]].append(row["path"])
    for name, own in by_collection.items():
        draw = random.Random(name)
        speakers = draw.sample(sorted(own), min(MOST, len(own)))
        for number in range(MOST):
            speaker = speakers[number % len(speakers)]
            yield name, speaker, cut(draw.sample(own[speaker], len(own[speaker])), draw)


def cut(paths: Sequence[str], draw: random.Random) -> Samples:
    """Some seconds of the first recording, every other time joined with those behind it while it is short."""
    samples, least = load_audio(paths[0]), draw.choice(LEAST_S) * SAMPLE_RATE
    for path in paths[1:]:
        if len(samples) >= least:
            break
        samples = np.concatenate((samples, load_audio(path)))
    most = round(LONGEST_S * SAMPLE_RATE)
    start = draw.randint(0, max(0, len(samples) - most))
    return samples[start : start + most]


def made(corpus: Path, recordings: Iterator[tuple[str, str, Samples]], mild: bool) -> Iterator[Heard]:
    """The recordings, and what is made of them."""
    talked: list[Samples] = [load_audio(row["path"]) for row in read_table(corpus) if row["split"] == "train"][::400]
    rng = np.random.default_rng(0)
    for number, (collection, speaker, samples) in enumerate(tqdm(recordings, "making", disable=None)):
        if len(samples) < SHORTEST_S * SAMPLE_RATE:
            continue
        yield Heard(collection, speaker, number, CLEAR, samples)
        for kind, make in MADE.items():
            yield Heard(collection, speaker, number, kind, make(samples))
        others = [talked[place] for place in rng.choice(len(talked), TALKERS, replace=False)]
        yield Heard(collection, speaker, number, "crowd, -5 dB", in_a_crowd(samples, others))
        if mild:
            wanted = [Condition(None, kind) for kind in MILD_KINDS]
            for _, version in make_versions(samples, wanted, others, seed=number):
                yield Heard(collection, speaker, number, MILD, version)
    if mild:
        for number in range(400):
            yield Heard("music", "", number, "music", made_up_music(SAMPLE_RATE * 6, np.random.default_rng(number)))
        for number, path in enumerate(sorted((corpus / "noise").glob("esc10-*"))):
            yield Heard("esc10", "", number, "esc10", load_audio(path))


def without_pitch(samples: Samples) -> Samples:
    """The envelopes of a voice on noise: a whisper by its sound."""
    window = np.hanning(WINDOW + 1)[:-1]
    padded = np.pad(samples, (WINDOW, 2 * WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * window
    logs = np.log(np.abs(np.fft.rfft(frames)) + 1e-7)
    cepstra = np.fft.irfft(logs)
    cepstra[:, 32 : WINDOW - 31] = 0.0  # above 2 ms: the pitch
    envelopes = np.exp(np.fft.rfft(cepstra).real)
    noise = np.lib.stride_tricks.sliding_window_view(
        np.random.default_rng(len(samples)).standard_normal(len(padded)), WINDOW
    )[::HOP]
    frames = np.fft.irfft(np.fft.rfft(noise * window) * envelopes) * window
    made = np.zeros(len(padded))
    for place, frame in enumerate(frames):
        made[place * HOP : place * HOP + WINDOW] += frame
    return scaled(made[WINDOW : WINDOW + len(samples)], samples)


def higher(samples: Samples) -> Samples:
    """Pitch and formants higher by PITCH, in the same time."""
    return scaled(change_tempo(change_speed(samples, PITCH), 1.0 / PITCH)[: len(samples)], samples)


def in_a_crowd(samples: Samples, others: Sequence[Samples]) -> Samples:
    """Under the babble of others that is louder by BABBLE_DB."""
    crowd = np.sum([repeated(one, len(samples))[: len(samples)] / one.std() for one in others], axis=0)
    crowd *= samples.std() / crowd.std() * 10.0 ** (-BABBLE_DB / 20.0)
    return scaled(samples + crowd, samples)


def through_gsm_twice(samples: Samples) -> Samples:
    """Through the codec of telephones, and again."""
    return encoded(encoded(scaled(samples, samples), CODECS["gsm"], 0.0), CODECS["gsm"], 0.0)


def scaled(made: NDArray[np.float64] | Samples, like: Samples) -> Samples:
    """At the loudness of another, as far as that is not beyond full scale."""
    factor = like.std() / max(float(made.std()), 1e-9)
    return np.asarray(made * min(factor, 1.0 / max(float(np.abs(made).max()), 1e-9)), dtype=np.float32)


def higher_by_phases(samples: Samples) -> Samples:
    """The same by a phase vocoder: its hops are stretched in time, and the whole is resampled."""
    size, hop = 1024, 256
    spectra = stft(samples, nperseg=size, noverlap=size - hop)[2]  # (bins, frames)
    expected = 2 * np.pi * hop * np.arange(len(spectra)) / size
    phases, made = np.angle(spectra[:, 0]), []
    for place in np.arange(0, spectra.shape[1] - 1, 1.0 / PITCH):
        first, share = int(place), place - int(place)
        one, other = spectra[:, first], spectra[:, first + 1]
        made.append(((1 - share) * np.abs(one) + share * np.abs(other)) * np.exp(1j * phases))
        step = np.angle(other) - np.angle(one) - expected
        phases = phases + expected + step - 2 * np.pi * np.round(step / (2 * np.pi))
    longer = istft(np.array(made).T, nperseg=size, noverlap=size - hop)[1].astype(np.float32)
    return scaled(change_speed(longer, PITCH)[: len(samples)], samples)


def by_world(samples: Samples, pitch: float) -> Samples:
    """The voice made anew by WORLD (Morise et al. 2016), its pitch times a factor; 0 leaves noise alone."""
    whole = samples.astype(np.float64)
    found, times = pyworld.dio(whole, SAMPLE_RATE)
    pitches = pyworld.stonemask(whole, found, times, SAMPLE_RATE)
    envelopes = pyworld.cheaptrick(whole, pitches, times, SAMPLE_RATE)
    noise = pyworld.d4c(whole, pitches, times, SAMPLE_RATE) if pitch else np.ones_like(envelopes)
    return scaled(pyworld.synthesize(pitches * pitch, envelopes, noise, SAMPLE_RATE)[: len(samples)], samples)


MADE: dict[str, Callable[[Samples], Samples]] = {
    "no pitch": without_pitch,
    "no pitch, WORLD": lambda samples: by_world(samples, 0.0),
    "pitch x 1.6": lambda samples: shape_spectrum(higher(samples), formants=1.0 / PITCH),
    "pitch x 1.6, WORLD": lambda samples: by_world(samples, PITCH),
    "all x 1.6": higher,
    "all x 1.6, phases": higher_by_phases,
    "GSM twice": through_gsm_twice,
}
KINDS = (*MADE, "crowd, -5 dB")
NOISES = ("music", "esc10")


class Material:
    """What was heard, and its statistics where it has speech enough.

    Args:
        heard: the recordings, and what was made of them.
        judged: how many of them, from the first on, are of the collections that are judged.
    """

    def __init__(self, heard: Sequence[Heard], judged: int) -> None:
        rows, statistics, speech_s = [], [], []
        for place, one in enumerate(tqdm(heard, "listening", disable=None)):
            found = judge_samples(one.samples)
            told = sound_statistics(speech_of(one.samples, found.speech))
            if told is not None and found.facts.speech_s >= MINIMUM_SPEECH_S:
                rows.append(place)
                statistics.append(told)
                speech_s.append(found.facts.speech_s)
        self.heard = [heard[row] for row in rows]
        self.statistics = np.array(statistics)
        self.leniency = leniency(speech_s)
        self.kinds = np.array([one.kind for one in self.heard])
        self.collections = np.array([one.collection for one in self.heard])
        self.is_judged = np.array(rows) < judged
        self.found = {
            kind: (int((self.kinds == kind).sum()), sum(one.kind == kind for one in heard))
            for kind in (CLEAR, MILD, *KINDS, *NOISES)
        }

    def detector(self, without: str | None) -> Detector:
        """Taught without a collection; collections of speech weigh the same, and so do kinds."""
        weights = np.zeros(len(self.kinds))
        taught = self.collections != without
        for kind, share in ((CLEAR, 1.0), (MILD, MILD_SHARE)):
            for name in set(self.collections[taught & (self.kinds == kind)]):
                own = taught & (self.kinds == kind) & (self.collections == name)
                weights[own] = share / own.sum()
        unfamiliar = taught & np.isin(self.kinds, (*KINDS, *NOISES))
        for kind in (*KINDS, *NOISES):
            if (own := unfamiliar & (self.kinds == kind)).any():
                weights[own] = (NOISE_SHARE if kind in NOISES else 1.0) / own.sum()
        for side in (unfamiliar, taught & ~unfamiliar):
            weights[side] *= 0.5 / weights[side].sum()
        mean, deviation = self.statistics[taught].mean(axis=0), self.statistics[taught].std(axis=0)
        x = np.clip((self.statistics[taught] - mean) / deviation, -FARTHEST, FARTHEST)
        first, second = np.triu_indices(COUNT)
        design = np.column_stack((x, x[:, first] * x[:, second]))
        middle, spread = design.mean(axis=0), design.std(axis=0)
        fit = LogisticRegression(C=STRENGTH * taught.sum(), max_iter=5000)
        fit.fit((design - middle) / spread, unfamiliar[taught], sample_weight=weights[taught])
        slopes = fit.coef_[0] / spread
        products = np.zeros((COUNT, COUNT))
        products[first, second] = slopes[COUNT:]
        return Detector(mean, deviation, slopes[:COUNT], products, float(fit.intercept_[0] - slopes @ middle))

    def limit(self, log_odds: Mapping[str, NDArray[np.float64]], without: str | None = None) -> float:
        """What all but 1 - FAMILIAR of clear recordings lie below, collections weighing the same, and TO_SPARE more.

        Args:
            log_odds: by collection, of its clear recordings, by a detector that was taught without it.
            without: a collection that is not asked.
        """
        asked = [values for name, values in log_odds.items() if name != without]
        weights = np.concatenate([np.full(len(values), 1.0 / len(values)) for values in asked])
        return weighted_quantile(np.concatenate(asked), weights, FAMILIAR) + TO_SPARE

    def clear(self, name: str) -> NDArray[np.bool_]:
        """(N,) the recordings of a collection as they are."""
        return np.asarray((self.collections == name) & (self.kinds == CLEAR), dtype=np.bool_)

    def table(self, detectors: dict[str, Detector], clear: "Material") -> str:
        """How many are found, in percent, in Markdown; of recordings as they are, those of `clear`."""
        lines = [f"| collection, left out | {CLEAR} | {' | '.join(KINDS)} |", f"| --- |{' --: |' * (1 + len(KINDS))}"]
        shown = []
        for name, detector in detectors.items():
            asked = [(clear, clear.clear(name)), *((self, self.judged_of(name, kind)) for kind in KINDS)]
            found = [detector.log_odds(material.statistics[rows]) > material.leniency[rows] for material, rows in asked]
            shown.append([100 * share.mean() for share in found])
            first, *others = shown[-1]
            cells = " | ".join(f"{share:.0f}" for share in others)
            lines.append(f"| {name} | {first:.1f} ({found[0].sum()} of {len(found[0])}) | {cells} |")
        lines.append(f"| mean | {' | '.join(f'{share:.1f}' for share in np.mean(shown, axis=0))} |")
        heard = ", ".join(f"{kind} {some:,} of {all_:,}" for kind, (some, all_) in self.found.items())
        return "\n".join([*lines, "", f"with speech enough for a verdict: {heard}"])

    def judged_of(self, name: str, kind: str) -> NDArray[np.bool_]:
        """(N,) what was made of a collection's judged recordings."""
        return np.asarray(self.is_judged & (self.collections == name) & (self.kinds == kind), dtype=np.bool_)


def taught_detectors(material: Material) -> tuple[dict[str, Detector], Detector]:
    """By judged collection the detector that was taught without it, and the one of all.

    The limit of each is found on collections that the detector which judges them was not taught on.
    """
    names = sorted(set(material.collections[material.kinds == CLEAR]))
    found = {name: material.detector(name) for name in tqdm(names, "teaching", disable=None)}
    values = {}
    for name, detector in found.items():
        clear = material.clear(name)
        values[name] = detector.log_odds(material.statistics[clear]) - material.leniency[clear]
    judged = dict.fromkeys(material.collections[material.is_judged])
    return {
        name: replace(found[name], offset=found[name].offset - material.limit(values, name)) for name in judged
    }, replace(whole := material.detector(None), offset=whole.offset - material.limit(values))


def trials_table(encoder: SpeakerEncoder, material: Material, detectors: dict[str, Detector]) -> str:
    """What the evidence of trials is worth that are called unfamiliar, in Markdown."""
    score_map = encoder.score_map
    if score_map is None:
        return "the model has no score map"
    listener = Listener(encoder)
    rows = np.flatnonzero(material.is_judged & np.isin(material.collections, list(detectors)))
    heard = [listener.hear(judge_samples(material.heard[row].samples)) for row in tqdm(rows, "embedding", disable=None)]
    embeddings = np.array([one.embedding for one in heard])
    sides = {
        "speech_s": np.array([one.facts.speech_s for one in heard]),
        "snr_db": np.array([one.facts.snr_db for one in heard]),
        "embedding_norm": np.array([number_or_nan(one.facts.embedding_norm) for one in heard]),
        "closeness": score_map.closeness(embeddings),
        "unfamiliarity": np.array(
            [
                float(detectors[material.collections[row]].log_odds(material.statistics[row])) - material.leniency[row]
                for row in rows
            ]
        ),
    }
    known = {**sides, "unfamiliarity": np.full(len(rows), -np.inf)}
    speakers = np.array([material.heard[row].speaker for row in rows])
    numbers = np.array([material.heard[row].number for row in rows])
    kinds, own = material.kinds[rows], material.collections[rows]
    lines = [
        "| made | other side | called unfamiliar % | Cllr | faded | strangers 'same' % | faded |",
        "| --- " * 7 + "|",
    ]
    for kind in (CLEAR, *KINDS):
        for other in dict.fromkeys((CLEAR, kind)):
            first, second = np.nonzero(
                (own[:, None] == own) & (numbers[:, None] != numbers) & (kinds == kind)[:, None] & (kinds == other)
            )
            scores = np.einsum("ij,ij->i", embeddings[first], embeddings[second])
            labels = speakers[first] == speakers[second]
            before, after = (
                score_map.llr(
                    scores, trial_measures(*({k: v[side] for k, v in told.items()} for side in (first, second)))
                )
                for told in (known, sides)
            )
            found = np.maximum(sides["unfamiliarity"][first], sides["unfamiliarity"][second]) > 0
            numbers_of = [
                (cllr(llrs[found], labels[found]), 100 * (llrs > np.log(4))[found & ~labels].mean())
                for llrs in (before, after)
            ]
            (cost, same), (faded, faded_same) = numbers_of
            lines.append(
                f"| {kind} | {other} | {100 * found.mean():.0f} | {cost:.2f} | {faded:.2f} | {same:.1f} | "
                f"{faded_same:.1f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
