"""A small CN-Celeb1 and CN-Celeb2 on disk, laid out like the real ones, with made-up voices and every pitfall.

    tree = build_cnceleb(tmp_path)
    prepare(CnCeleb(tree.cnceleb1, tree.cnceleb2), out)
    verify(trials=tree.lists / "trials.lst", audio_root=tree.cnceleb1 / "eval")

The voices are those of `sound_groove.synthesis.voices`, so that speakers can be told apart; recordings of
one speaker and genre share their channel. Two trees built with the same arguments are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import Samples

SAMPLE_RATE = 16000
GENRES = ("singing", "live_broadcast", "talk-show")  # plain, with an underscore, with a dash
DURATIONS_S = (0.6, 1.8, 1.2, 2.6, 0.9, 1.5)  # a third under a second or so, as in the real one
SHORT_TEST_S = 0.5


@dataclass(frozen=True, slots=True)
class CnCelebTree:
    """Where things lie in the tree, and what should be found in it.

    Attributes:
        cnceleb1, cnceleb2: the corpora's own folders, CN-Celeb_flac and CN-Celeb2_flac.
        lists: eval/lists of CN-Celeb1, with enroll.lst, enroll.map, test.lst and trials.lst.
        dev_speakers: those of dev.lst that have a folder.
        eval_speakers: those of the evaluation; they have folders in data/ too.
        second_speakers: those of CN-Celeb2.
        missing_speakers: named in dev.lst, without a folder (empty when `clean`).
        corrupt_files: files of dev speakers that cannot be decoded (empty when `clean`).
        dev_files: files of dev speakers that can be used.
        second_files: files of CN-Celeb2 that can be used.
        enrolments, tests, trials, targets: what the evaluation's lists hold.
        short_tests: names in test.lst of those shorter than a second.
    """

    cnceleb1: Path
    cnceleb2: Path
    lists: Path
    dev_speakers: tuple[str, ...]
    eval_speakers: tuple[str, ...]
    second_speakers: tuple[str, ...]
    missing_speakers: tuple[str, ...]
    corrupt_files: tuple[Path, ...]
    dev_files: int
    second_files: int
    enrolments: int
    tests: int
    trials: int
    targets: int
    short_tests: tuple[str, ...]


def build_cnceleb(
    root: Path, *, dev: int = 6, evaluation: int = 3, second: int = 3, utterances: int = 6, clean: bool = False
) -> CnCelebTree:
    """Build the tree.

    Args:
        root: an empty folder; CN-Celeb_flac and CN-Celeb2_flac are made in it.
        dev: speakers of CN-Celeb1's development set.
        evaluation: speakers of its evaluation set: each has one enrolment of two files, and three tests.
        second: speakers of CN-Celeb2.
        utterances: files of each speaker in data/, at least 5.
        clean: without corrupt files, missing speakers and strays (the other pitfalls stay).

    Returns:
        What was built.
    """
    first, other = root / "CN-Celeb_flac", root / "CN-Celeb2_flac"
    dev_speakers = tuple(f"id{number:05d}" for number in range(dev))
    eval_speakers = tuple(f"id{800 + number:05d}" for number in range(evaluation))
    second_speakers = tuple(f"id{10000 + number:05d}" for number in range(second))
    missing = () if clean else ("id00790",)
    for index, speaker in enumerate((*dev_speakers, *eval_speakers, *second_speakers)):
        home = other if speaker in second_speakers else first
        _write_speaker(home / "data" / speaker, index, utterances)
    _write_list(first / "dev/dev.lst", (*dev_speakers, *missing))
    _write_list(other / "spk.lst", second_speakers)
    # As some copies of the real one say: 797 and 2,793 are right.
    _write_list(first / "README.TXT", ["dev: 196 speakers", "2973 speakers in all"])
    short_tests = _write_evaluation(first, eval_speakers)
    corrupt = () if clean else _spoil(first, dev_speakers)
    return CnCelebTree(
        cnceleb1=first,
        cnceleb2=other,
        lists=first / "eval/lists",
        dev_speakers=dev_speakers,
        eval_speakers=eval_speakers,
        second_speakers=second_speakers,
        missing_speakers=missing,
        corrupt_files=corrupt,
        dev_files=dev * utterances,
        second_files=second * utterances,
        enrolments=evaluation,
        tests=3 * evaluation,
        trials=3 * evaluation * evaluation,
        targets=3 * evaluation,
        short_tests=short_tests,
    )


def utterance_names(count: int) -> list[str]:
    """Names of a speaker's utterances, the same for every speaker: two files a session, genres in turn."""
    return [f"{GENRES[n // 2 % len(GENRES)]}-{1 + n // 6:02d}-{1 + n % 2:03d}" for n in range(count)]


def _write_speaker(folder: Path, index: int, utterances: int) -> None:
    folder.mkdir(parents=True)
    names = utterance_names(utterances)
    voice = made_up_speaker(1, index)
    for number, genre in enumerate(GENRES):
        mine = [n for n, name in enumerate(names) if name.startswith(genre)]
        lengths = [round(DURATIONS_S[n % len(DURATIONS_S)] * SAMPLE_RATE) for n in mine]
        speech = speak(voice, seed=10 * index + number, duration_s=(sum(lengths) + 1) / SAMPLE_RATE)
        for n, piece in zip(mine, np.split(speech, np.cumsum(lengths)), strict=False):
            # A mix: most of the files are flac, as in the real one, some are wav.
            _write(folder / (names[n] + (".wav" if n % 5 == 1 else ".flac")), piece)


def _write_evaluation(root: Path, speakers: Sequence[str]) -> tuple[str, ...]:
    (root / "eval/enroll").mkdir(parents=True)
    (root / "eval/test").mkdir(parents=True)
    enrolments, maps, tests, short = [], [], [], []
    for speaker in speakers:
        names = utterance_names(5)
        pieces = [_read(root / "data" / speaker, name) for name in names]
        _write(root / f"eval/enroll/{speaker}-enroll.flac", np.concatenate(pieces[:2]))
        enrolments.append(f"{speaker}-enroll enroll/{speaker}-enroll.wav")
        maps.append(f"{speaker}-enroll " + " ".join(f"{speaker}/{name}.wav" for name in names[:2]))
        for number, name in enumerate(names[2:]):
            is_short = number == 2
            piece = pieces[2 + number][: round(SHORT_TEST_S * SAMPLE_RATE)] if is_short else pieces[2 + number]
            _write(root / f"eval/test/{speaker}-{name}.flac", piece)
            tests.append(f"test/{speaker}-{name}.wav")
            if is_short:
                short.append(tests[-1])
    lists = root / "eval/lists"
    _write_list(lists / "enroll.lst", enrolments)
    _write_list(lists / "enroll.map", maps)
    _write_list(lists / "test.lst", tests)
    _write_list(
        lists / "trials.lst",
        [f"{speaker}-enroll {test} {int(f'test/{speaker}-' in test)}" for speaker in speakers for test in tests],
    )
    return tuple(short)


def _spoil(root: Path, dev_speakers: Sequence[str]) -> tuple[Path, ...]:
    """Add what half a million files will have among them."""
    data = root / "data"
    truncated = data / dev_speakers[0] / "singing-09-001.flac"
    whole = next((data / dev_speakers[0]).glob("*.flac")).read_bytes()
    truncated.write_bytes(whole[: len(whole) // 2])
    empty = data / dev_speakers[1] / "singing-09-001.flac"
    empty.write_bytes(b"")
    text = data / dev_speakers[2] / "singing-09-001.wav"
    text.write_text("this is no audio\n")
    (data / dev_speakers[0] / "._singing-01-001.flac").write_bytes(b"\x00\x05\x16\x07 resource fork")
    (data / dev_speakers[0] / "notes.txt").write_text("not audio\n")
    (data / "__MACOSX").mkdir()
    return truncated, empty, text


def _write(path: Path, samples: Samples) -> None:
    soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")


def _read(folder: Path, name: str) -> Samples:
    path = next(path for path in folder.iterdir() if path.stem == name)
    samples: Samples = soundfile.read(path, dtype="float32")[0]
    return samples


def _write_list(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
