"""Does `doctor` find recordings of silence, music and noise, and those with bad sound, that were planted?

    python benchmarks/planted_recordings.py CORPUS --music FOLDER ... --out outputs/planted [--split abroad] [--model M]

CORPUS is the development corpus: so many real recordings of each of its collections, drawn at random, are written to a
folder of one folder a speaker, and a share of them is spoilt, as many in each of these ways:

- silence: digital silence, and noise 80 dB below full scale;
- noise and music alone, 4 s: noise of CORPUS/noise, music of the given folders (.ogg, .mp3 or .flac, below them too);
- music under the speech, by how many dB the speech is the louder, and noise likewise (low SNR);
- clipping of a share of the samples, a narrow band (8 kHz and back), a part of 0.05 or 0.3 s of it, one with 1 s of
  speech, 6 s of silence behind it;
- sounding unlike speech: a voice 1.6 times as high, GSM twice.

All are told by the verb itself. Prints in Markdown: of each way how many were planted, how many were told by the code
that it should get, and by any; of each code how many recordings got it, and of how many of these that was planted; and
of what was not planted, how many of each collection got which code. Real recordings may well be clipped or narrow.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from corpus_trials import noise_recordings
from tqdm import tqdm
from verdicts import read_table

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.audio.speech import speech_in
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.inputs.crops.voices import change_speed
from sound_groove.provenance import processor
from sound_groove.synthesis.lines import CODECS, clipped, encoded
from sound_groove.types import Samples

SEED = 11
ALONE_S = 4.0  # of noise and of music
SUFFIXES = {".ogg", ".mp3", ".flac"}
LEAST_LEVEL = 0.003  # of a piece of music: quieter ones are the silence before or behind it


@dataclass(frozen=True)
class Materials:
    """What recordings are spoilt with.

    Attributes:
        noises: of which each is some samples.
        music: files of it.
        draw: of both, and of places in them.
    """

    noises: Sequence[Samples]
    music: Sequence[Path]
    draw: np.random.Generator

    def noise(self, samples: int) -> Samples:
        """A piece of noise, repeated where it is short."""
        one = self.noises[int(self.draw.integers(len(self.noises)))]
        return np.resize(np.roll(one, int(self.draw.integers(len(one)))), samples)

    def piece(self, samples: int) -> Samples:
        """A piece of music, repeated where it is short."""
        while True:
            path = self.music[int(self.draw.integers(len(self.music)))]
            about = soundfile.info(path)
            wanted = min(round(samples / SAMPLE_RATE * about.samplerate), about.frames)
            start = int(self.draw.integers(about.frames - wanted + 1))
            found, rate = soundfile.read(path, wanted, start, dtype="float32", always_2d=True)
            mono = np.asarray(soxr.resample(found.mean(axis=1), rate, SAMPLE_RATE), np.float32)
            if len(mono) and np.sqrt(np.mean(np.square(mono))) >= LEAST_LEVEL:
                return np.resize(mono, samples)


Make = Callable[[Samples, Materials], Samples]


@dataclass(frozen=True)
class Way:
    """A way to spoil a recording.

    Attributes:
        name: of it.
        code: by which it should be told.
        make: does it.
    """

    name: str
    code: str
    make: Make


def under(speech: Samples, other: Samples, ratio_db: float) -> Samples:
    """Speech over something else, so many dB louder than it where it is loud: in its loudest half second's mean."""
    level = np.sqrt(np.mean(np.square(np.concatenate([speech[a:b] for a, b in speech_in(speech)] or [speech]))))
    gain = level / max(float(np.sqrt(np.mean(np.square(other)))), 1e-9) * 10 ** (-ratio_db / 20)
    mixed = speech + np.float32(gain) * other
    return np.asarray(mixed * min(1.0, 0.9 / float(np.abs(mixed).max())), np.float32)


def louder(samples: Samples) -> Samples:
    """Brought to full scale, as what is clipped is."""
    return np.asarray(samples / max(float(np.abs(samples).max()), 1e-9), np.float32)


def part_with(samples: Samples, seconds: float) -> Samples:
    """The beginning of a recording, up to so many seconds of speech."""
    left = round(seconds * SAMPLE_RATE)
    for start, end in speech_in(samples):
        if end - start >= left:
            return samples[: start + left]
        left -= end - start
    return samples


def narrow(samples: Samples) -> Samples:
    """As a telephone has it: 8 kHz and back."""
    return np.asarray(soxr.resample(soxr.resample(samples, SAMPLE_RATE, 8000), 8000, SAMPLE_RATE), np.float32)


def gsm_twice(samples: Samples) -> Samples:
    """Through GSM and through it again."""
    return encoded(encoded(samples, CODECS["gsm"], 0.5), CODECS["gsm"], 0.5)


def ways() -> Iterator[Way]:
    """All of them."""
    alone = round(ALONE_S * SAMPLE_RATE)
    yield Way("digital silence", "silence", lambda x, m: np.zeros(len(x), np.float32))
    yield Way("noise at -80 dB", "silence", lambda x, m: (1e-4 * m.draw.standard_normal(len(x))).astype(np.float32))
    yield Way("noise alone", "noise", lambda x, m: m.noise(alone))
    yield Way("music alone", "music", lambda x, m: m.piece(alone))
    for ratio_db in (0, 5, 10, 15):
        yield Way(f"music {ratio_db} dB below the speech", "music", _music_at(ratio_db))
    for ratio_db in (0, 5, 10):
        yield Way(f"noise {ratio_db} dB below the speech", "low_snr", _noise_at(ratio_db))
    for share in (0.002, 0.01, 0.05):
        yield Way(f"{100 * share:g} % of the samples clipped", "clipping", _clipped_by(share))
    yield Way("8 kHz", "narrow_band", lambda x, m: narrow(x))
    yield Way("0.05 s", "too_short", lambda x, m: x[: SAMPLE_RATE // 20])
    yield Way("0.3 s", "too_short", lambda x, m: x[: round(0.3 * SAMPLE_RATE)])
    yield Way("1 s of speech", "little_speech", lambda x, m: part_with(x, 1.0))
    yield Way("6 s of noise at -60 dB behind it", "long_silence", _with_silence)
    yield Way("1.6 times as high", "unfamiliar", lambda x, m: np.asarray(change_speed(x, 1.6), np.float32))
    yield Way("GSM twice", "unfamiliar", lambda x, m: gsm_twice(x))


def _music_at(ratio_db: float) -> Make:
    return lambda x, m: under(x, m.piece(len(x)), ratio_db)


def _noise_at(ratio_db: float) -> Make:
    return lambda x, m: under(x, m.noise(len(x)), ratio_db)


def _clipped_by(share: float) -> Make:
    return lambda x, m: louder(clipped(x, share, is_soft=False))


def _with_silence(samples: Samples, materials: Materials) -> Samples:
    quiet = 1e-3 * materials.draw.standard_normal(6 * SAMPLE_RATE)
    return np.concatenate((samples, quiet)).astype(np.float32)


@dataclass(frozen=True)
class Planted:
    """A recording of the corpus that is made.

    Attributes:
        collection: that it is from.
        way: how it was spoilt; None where it was not.
    """

    collection: str
    way: Way | None


def main() -> None:
    """Plant, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--music", type=Path, nargs="+", required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "val", "more", "abroad"), default="abroad")
    parser.add_argument("--count", type=int, default=120, help="recordings of each collection (default: 120)")
    parser.add_argument("--each", type=int, default=20, help="planted in each way (default: 20)")
    parser.add_argument("--model", default="pretrained")
    arguments = parser.parse_args()
    corpus = arguments.out / "corpus"
    planted = dict(plant(arguments, corpus))
    out = arguments.out / "doctor"
    command = [sys.executable, "-m", "sound_groove", "doctor", str(corpus), "--model", arguments.model, "--force"]
    answer = subprocess.run([*command, "--out", str(out), "--json"], check=True, capture_output=True).stdout
    told = codes_of(json.loads(answer)["findings"])
    model = SpeakerEncoder.load(arguments.model, threads=1).identity.label
    count = sum(one.way is None for one in planted.values())
    print(f"{len(planted):,} recordings of {arguments.split}, {count:,} as they were; model {model}; {processor()}\n")
    print("\n\n".join("\n".join(table) for table in tables(planted, told)))


def plant(arguments: argparse.Namespace, corpus: Path) -> Iterator[tuple[str, Planted]]:
    """Write the corpus: the path of each recording, and what it is."""
    draw = np.random.default_rng(SEED)
    music = sorted(path for folder in arguments.music for path in folder.rglob("*") if path.suffix in SUFFIXES)
    noises = [load_audio(path) for path, _ in noise_recordings(arguments.corpus)]
    materials = Materials(noises, music, draw)
    folder = arguments.corpus / arguments.split if arguments.split in ("more", "abroad") else arguments.corpus
    by_collection: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in read_table(folder):
        if row.get("split", arguments.split) == arguments.split:
            by_collection[row["corpus"]].append(row)
    chosen = list[dict[str, str]]()
    for rows in by_collection.values():
        chosen += [rows[at] for at in draw.permutation(len(rows))[: arguments.count].tolist()]
    kinds = [way for way in ways() for _ in range(arguments.each)]
    if len(kinds) > len(chosen) / 2:
        sys.exit(f"{len(kinds)} are to be planted into {len(chosen)} recordings; plant fewer with --each")
    spoilt = dict(zip(draw.permutation(len(chosen)).tolist(), kinds, strict=False))
    for number, row in enumerate(tqdm(chosen, "planting", leave=False, disable=None)):
        way = spoilt.get(number)
        samples = load_audio(row["path"])
        samples = samples if way is None else way.make(samples, materials)
        path = corpus / (row["speaker"] or row["corpus"]) / f"{number}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.clip(samples, -1, 1), SAMPLE_RATE)
        yield str(path.absolute()), Planted(row["corpus"], way)


def codes_of(findings: Sequence[dict[str, object]]) -> dict[str, set[str]]:
    """By the path of each recording, the codes that it was told by."""
    found: dict[str, set[str]] = defaultdict(set)
    for one in findings:
        if one["kind"] in ("unusable", "quality") and one["path"] is not None:
            own = found[str(Path(str(one["path"])).absolute())]
            own.add(str(one["kind"]))
            own |= {str(told["code"]) for told in one["told"]}  # type: ignore[attr-defined]
    return found


def tables(planted: dict[str, Planted], told: dict[str, set[str]]) -> Iterator[list[str]]:
    """What is printed, as lines of Markdown."""
    lines = ["| planted | as | planted | told so | told as anything |", "| --- | --- | --: | --: | --: |"]
    for way in ways():
        own = [path for path, one in planted.items() if one.way is not None and one.way.name == way.name]
        right = sum(way.code in told.get(path, ()) for path in own)
        lines.append(f"| {way.name} | `{way.code}` | {len(own)} | {right} | {sum(path in told for path in own)} |")
    yield lines
    lines = [
        "| code | told | of these planted as such | spoilt otherwise | as it was |",
        "| --- | --: | --: | --: | --: |",
    ]
    for code in sorted({way.code for way in ways()}):
        own_ways = [planted[path].way for path, codes in told.items() if code in codes]
        right = sum(way is not None and way.code == code for way in own_ways)
        clean = sum(way is None for way in own_ways)
        lines.append(f"| `{code}` | {len(own_ways)} | {right} | {len(own_ways) - right - clean} | {clean} |")
    yield lines
    yield of_the_unplanted(planted, told)


def of_the_unplanted(planted: dict[str, Planted], told: dict[str, set[str]]) -> list[str]:
    """How many recordings of each collection that were left as they were got which code."""
    codes = sorted({way.code for way in ways()})
    lines = [f"| collection | left as they were | {' | '.join(codes)} |", f"| --- |{' --: |' * (len(codes) + 1)}"]
    clean = {path: one.collection for path, one in planted.items() if one.way is None}
    for collection, count in Counter(clean.values()).items():
        own = [told.get(path, set()) for path, of in clean.items() if of == collection]
        lines.append(f"| {collection} | {count} | {' | '.join(str(sum(c in one for one in own)) for c in codes)} |")
    return lines


if __name__ == "__main__":
    main()
