"""Wrong labels and bad recordings: what was planted into corpora of made-up embeddings is found, and little else."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sound_groove.audio.content import Content
from sound_groove.audio.listening import AudioFacts, HeardRecording
from sound_groove.cli import main
from sound_groove.curation.corpus import labelled_recordings
from sound_groove.curation.examination import examine
from sound_groove.curation.findings import Examination, Labelled, Told
from sound_groove.curation.heard import HeardCorpus, heard_corpus
from sound_groove.curation.labels import part
from sound_groove.curation.voices import corpus_voices
from sound_groove.errors import AudioError, CorpusError
from sound_groove.scoring.discovery import picked, two_groups
from sound_groove.synthesis.lines import made_up_music
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import ModelIdentity, QualityWarning

SIZE, SPEAKERS, EACH = 32, 120, 12
MODEL = ModelIdentity("made-up", "0" * 64)


class MadeUpCorpus:
    """Embeddings of speakers who differ about as much as real ones do, with labels that can be made wrong."""

    def __init__(self, seed: int = 0) -> None:
        draws = np.random.default_rng(seed)
        voices = draws.standard_normal((SPEAKERS, SIZE))
        self.truth = np.repeat(np.arange(SPEAKERS), EACH)
        vectors = voices[self.truth] + 0.7 * draws.standard_normal((len(self.truth), SIZE))
        self.embeddings = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        self.labels = [f"speaker {number:03d}" for number in self.truth]
        self.draws = draws

    def recordings(self) -> list[Labelled]:
        """As a corpus, of four sessions a speaker."""
        return [Labelled(f"{row}.wav", label, str(row % 4)) for row, label in enumerate(self.labels)]

    def heard(self) -> HeardCorpus:
        """What was heard of it."""
        return heard_corpus(heard_as(f"{row}", embedding) for row, embedding in enumerate(self.embeddings))

    def examined(self, rate: float = 0.05) -> Examination:
        """What is found in it."""
        return examine(self.recordings(), self.heard(), rate)


def heard_as(
    digest: str, embedding: object = None, speech_s: float = 5.0, codes: tuple[str, ...] = ()
) -> HeardRecording:
    return HeardRecording(
        "a recording",
        AudioFacts(6.0, speech_s, 20.0, 16_000),
        tuple(QualityWarning(code, f"is {code}") for code in codes),
        digest,
        embedding=np.zeros(SIZE, np.float32) if embedding is None else np.asarray(embedding, np.float32),
        model=MODEL,
    )


def holding(level_db: float, music_s: float) -> Content:
    """What a recording holds whose sound is well."""
    return Content(level_db, music_s, clipped=0.0, silence_s=1.0, band_db=-9.0)


@pytest.fixture(scope="module")
def clean() -> Examination:
    """What is found in a corpus where nothing is wrong."""
    return MadeUpCorpus().examined()


# --- two groups ---


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_the_share_of_the_rare_kind_is_estimated(share: float) -> None:
    draws = np.random.default_rng(1)
    count = int(4000 * share)
    scores = np.concatenate([draws.normal(10, 2, 4000 - count), draws.normal(-2, 2, count)])
    found = two_groups(scores, draws.normal(-2, 2, 3000))
    assert found.share == pytest.approx(share, rel=0.15)
    chosen = picked(found.posterior, 0.05)
    assert chosen[: 4000 - count].sum() <= 0.1 * chosen.sum()
    assert chosen[4000 - count :].mean() > 0.9


def test_probabilities_are_those_of_bayes() -> None:
    draws = np.random.default_rng(2)
    common, rare = draws.normal(4, 1, 45_000), draws.normal(0, 1, 5_000)
    found = two_groups(np.concatenate([common, rare]), draws.normal(0, 1, 20_000))
    for score in (1.0, 1.5, 2.0):  # 0.1 N(0, 1) against 0.9 N(4, 1)
        truth = 0.1 / (0.1 + 0.9 * np.exp(-0.5 * ((score - 4) ** 2 - score**2)))
        near = np.abs(np.concatenate([common, rare]) - score) < 0.05
        assert found.posterior[near].mean() == pytest.approx(truth, abs=0.1)  # the rare kind's density is smoothed


def test_a_heavy_tail_of_right_labels_is_not_taken_for_wrong_ones() -> None:
    draws = np.random.default_rng(3)
    scores = 10 + 2 * draws.standard_t(5, 4000)
    assert picked(two_groups(scores, draws.normal(-5, 3, 3000)).posterior, 0.05).sum() <= 4


@pytest.mark.parametrize(("scores", "rare"), [([1.0] * 5, [0.0] * 50), ([1.0] * 50, []), ([1.0] * 50, [1.0] * 50)])
def test_of_too_little_or_nothing_that_differs_nothing_is_called_wrong(scores: list[float], rare: list[float]) -> None:
    found = two_groups(scores, rare)
    assert found.share == 0
    assert not found.posterior.any()


# --- labels ---


def test_where_nothing_is_wrong_hardly_anything_is_dropped(clean: Examination) -> None:
    assert len(clean.of_kind("wrong_label")) <= 0.005 * SPEAKERS * EACH
    assert not clean.of_kind("two_people")
    assert not clean.of_kind("one_person")
    assert clean.wrong_share < 0.01
    assert clean.compared == SPEAKERS * EACH


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_labels_that_were_exchanged_are_found_and_little_else(share: float) -> None:
    corpus = MadeUpCorpus()
    rows = corpus.draws.choice(len(corpus.labels), int(share * len(corpus.labels)), replace=False)
    right = list(corpus.labels)
    for row, other in zip(rows, np.roll(rows, 1), strict=True):
        corpus.labels[row] = right[other]
    wrong = {f"{row}.wav" for row in rows if corpus.labels[row] != right[row]}
    found = corpus.examined()
    named = {one.path for one in found.of_kind("wrong_label")}
    assert len(named & wrong) >= 0.95 * len(wrong)
    assert len(named - wrong) <= 0.1 * len(named)
    assert found.wrong_share == pytest.approx(len(wrong) / len(right), rel=0.3)
    own = [one for one in found.of_kind("wrong_label") if one.path in wrong and one.other is not None]
    assert len(own) >= 0.9 * len(wrong)
    assert np.mean([one.other == right[int(str(one.path).removesuffix(".wav"))] for one in own]) > 0.9
    assert not wrong & named & set(found.labels)


def test_speakers_who_are_two_people_and_people_with_two_labels_are_found() -> None:
    corpus = MadeUpCorpus()
    merged = [(f"speaker {a:03d}", f"speaker {a + 1:03d}") for a in range(0, 12, 2)]
    into = {later: first for first, later in merged}
    split = {f"speaker {number:03d}" for number in range(20, 26)}
    corpus.labels = [
        f"{label} again" if label in split and row % 2 else into.get(label, label)
        for row, label in enumerate(corpus.labels)
    ]
    found = corpus.examined()
    assert {one.speaker for one in found.of_kind("two_people")} == {first for first, _ in merged}
    pairs = {(one.speaker, one.other) for one in found.of_kind("one_person")}
    assert pairs == {(label, f"{label} again") for label in split}
    labels = found.labels
    for number in range(12):  # both halves are one label each, and not the same one
        own = {labels[f"{row}.wav"] for row in np.flatnonzero(corpus.truth == number)}
        assert len(own) == 1
        assert own != {labels[f"{row}.wav"] for row in np.flatnonzero(corpus.truth == (number ^ 1))}
    for number in range(20, 26):
        assert {labels[f"{row}.wav"] for row in np.flatnonzero(corpus.truth == number)} == {f"speaker {number:03d}"}


def test_a_session_of_somebody_else_is_found_though_it_bears_itself_out() -> None:
    corpus = MadeUpCorpus()
    rows = np.concatenate([np.flatnonzero(corpus.truth == number)[::4] for number in range(0, 20, 2)])
    for row in rows:  # three recordings each, of one session
        corpus.labels[row] = f"speaker {corpus.truth[row] + 1:03d}"
    left = corpus.examined().labels  # a fifth of a label's recordings count as a second person's, fewer as strays
    gone = [row for row in rows if left.get(f"{row}.wav") != corpus.labels[row]]
    assert len(gone) >= 0.9 * len(rows)
    assert len(left) + len(gone) >= 0.99 * len(corpus.labels)


def test_likeness_is_one_for_one_speaker_and_nothing_for_two_in_the_mean() -> None:
    corpus = MadeUpCorpus()
    voices = corpus_voices(corpus.embeddings, corpus.labels, [None] * len(corpus.labels))
    own, other = np.arange(0, 1400, 12), (np.arange(0, 1400, 12) + 500) % 1440
    ones = np.ones(len(own))
    same = voices.likeness(voices.coordinates[own], ones, voices.coordinates[own + 1], ones)
    apart = voices.likeness(voices.coordinates[own], ones, voices.coordinates[other], ones)
    assert same.mean() == pytest.approx(1, abs=0.15)
    assert apart.mean() == pytest.approx(0, abs=0.15)
    exchanged = voices.likeness(voices.coordinates[own + 1], ones, voices.coordinates[own], ones)
    np.testing.assert_allclose(same, exchanged, atol=1e-6)


def test_likeness_of_one_recording_each_is_the_ratio_that_plda_gives() -> None:
    corpus = MadeUpCorpus()
    from sound_groove.scoring.plda import fit_plda

    voices = corpus_voices(corpus.embeddings, corpus.labels, [None] * len(corpus.labels))
    plda = fit_plda(corpus.embeddings, np.asarray(corpus.truth))
    first, second = np.arange(40), np.arange(40) + 7
    llr = plda.score_trials(corpus.embeddings, first, second)
    ones = np.ones(40)
    likeness = voices.likeness(voices.coordinates[first], ones, voices.coordinates[second], ones)
    slope, offset = np.polyfit(llr, likeness, 1)
    np.testing.assert_allclose(likeness, slope * llr + offset, atol=1e-4)
    assert slope > 0


def test_a_group_is_parted_where_two_people_meet() -> None:
    corpus = MadeUpCorpus()
    voices = corpus_voices(corpus.embeddings, corpus.labels, [None] * len(corpus.labels))
    first, second = part(voices, np.concatenate([np.arange(12), np.arange(100 * 12, 100 * 12 + 5)]))
    assert set(first.tolist()) == set(range(12))
    assert len(second) == 5


def test_two_people_of_many_recordings_are_parted_in_spite_of_a_stray() -> None:
    corpus = MadeUpCorpus()
    voices = corpus_voices(corpus.embeddings, corpus.labels, [None] * len(corpus.labels))
    draws = np.random.default_rng(4)
    size = voices.coordinates.shape[1]
    # Two voices with much noise around them, and a stray far from both.
    middles = np.zeros((2, size))
    middles[:, 0] = 2, -2
    points = middles[np.arange(200) % 2] + draws.standard_normal((200, size))
    stray = 20 * np.eye(size)[[1]]
    many = replace(voices, coordinates=np.concatenate([points, stray]).astype(np.float32), ratios=np.ones(size))
    first, second = part(many, np.arange(201))
    apart = [np.mean(rows[rows < 200] % 2) for rows in (first, second)]
    assert sorted(apart) == pytest.approx([0, 1], abs=0.06)  # two in a hundred lie on the other's side


def test_of_few_speakers_labels_are_not_judged_and_it_says_so() -> None:
    recordings = [Labelled(f"{row}.wav", f"speaker {row % 4}") for row in range(20)]
    found = examine(recordings, heard_corpus(heard_as(one.path) for one in recordings))
    assert "takes 10 speakers" in found.notes[0]
    assert len(found.labels) == 20


@pytest.mark.parametrize("seed", range(8))
def test_small_and_lopsided_corpora_are_examined_too(seed: int) -> None:
    """One speaker with many recordings among others with one, say: then nobody is there to be mixed up with."""
    draws = np.random.default_rng(seed)
    sizes = draws.integers(1, draws.integers(2, 9), int(draws.integers(10, 30)))
    if seed % 2:
        sizes[:] = 1
        sizes[: seed % 6] = draws.integers(4, 30)
    labels = [f"speaker {number}" for number, size in enumerate(sizes) for _ in range(size)]
    vectors = np.repeat(draws.standard_normal((len(sizes), SIZE)), sizes, axis=0)
    vectors += 2 * draws.random() * draws.standard_normal(vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    sessions = [None if seed % 3 else str(draws.integers(3)) for _ in labels]
    recordings = [Labelled(str(row), *one) for row, one in enumerate(zip(labels, sessions, strict=True))]
    found = examine(recordings, heard_corpus(heard_as(one.path, vectors[int(one.path)]) for one in recordings))
    assert found.labels.keys() | {one.path for one in found.findings} >= {one.path for one in recordings}
    assert all(one.probability is None or 0 <= one.probability <= 1 for one in found.findings)


# --- recordings ---


def test_what_cannot_be_used_and_copies_are_named_and_dropped() -> None:
    recordings = [Labelled(f"{row}.wav", "a" if row < 3 else "b") for row in range(6)]
    heard: dict[str, HeardRecording | AudioError] = {one.path: heard_as(one.path) for one in recordings}
    heard["1.wav"] = AudioError(None, "is silent", code="silent")
    heard["2.wav"] = heard_as("2", speech_s=0.1)
    heard["4.wav"] = heard_as("0.wav")
    heard["5.wav"] = heard_as("5", codes=("clipping", "mono"))
    found = examine(recordings, heard_corpus(heard.values()))
    assert [(one.path, *one.told) for one in found.of_kind("unusable")] == [("1.wav", Told("silence")), ("2.wav",)]
    (copy,) = found.of_kind("same_audio")
    assert (copy.path, copy.other) == ("4.wav", "0.wav")
    assert "labelled 'a'" in copy.detail
    assert [(one.path, one.detail) for one in found.of_kind("quality")] == [("5.wav", "clipping")]
    assert sorted(found.labels) == ["0.wav", "3.wav", "5.wav"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (holding(-90.0, 0.0), "0.1 s of speech; silence (-90 dB)"),
        (holding(-90.0, 6.0), "0.1 s of speech; silence (-90 dB)"),
        (holding(-20.0, 2.9), "0.1 s of speech; noise (-20 dB)"),
        (holding(-20.0, 3.0), "0.1 s of speech; music (3.0 / 6.0 s)"),
        (None, "0.1 s of speech"),
    ],
)
def test_of_a_recording_without_speech_it_says_what_it_holds(content: Content | None, told: str) -> None:
    heard = heard_corpus([replace(heard_as("0", speech_s=0.1), content=content)])
    (found,) = examine([Labelled("0.wav", "a")], heard).findings
    assert (found.kind, found.detail) == ("unusable", told)


def test_of_a_word_that_is_too_short_it_says_that_it_is_one() -> None:
    facts = AudioFacts(1.0, 0.4, 20.0, 16_000)
    heard = heard_corpus([replace(heard_as("0"), facts=facts, content=holding(-20.0, 0.0))])
    (found,) = examine([Labelled("0.wav", "a")], heard).findings
    assert found.told == (Told("too_short", "0.4 / 1.0 s"),)


def test_what_is_wrong_with_the_sound_has_its_amount_and_stays() -> None:
    recordings = [Labelled(f"{row}.wav", "a") for row in range(7)]
    good = heard_as("")
    heard = [
        replace(good, digest="0", content=holding(-20.0, 4.5)),
        replace(good, digest="1", facts=replace(good.facts, snr_db=7.6, unfamiliarity=0.4)),
        replace(good, digest="2", facts=replace(good.facts, unfamiliarity=0.6)),
        replace(good, digest="3", facts=replace(good.facts, unfamiliarity=0.5), content=holding(-20.0, 2.9)),
        heard_as("4", speech_s=1.2, codes=("little_speech", "narrow_band")),
        replace(good, digest="5"),
        replace(
            heard_as("6", codes=("clipping", "narrow_band", "long_silence")),
            content=Content(-9.0, 0.0, clipped=0.0123, silence_s=5.04, band_db=-43.2),
        ),
    ]
    found = examine(recordings, heard_corpus(heard), familiar_up_to=0.5)
    assert [(one.path, one.detail) for one in found.of_kind("quality")] == [
        ("0.wav", "music (4.5 / 6.0 s)"),
        ("1.wav", "low_snr (8 dB)"),
        ("2.wav", "unfamiliar (+0.1)"),
        ("4.wav", "little_speech (1.2 s), narrow_band"),
        ("6.wav", "clipping (1.2 %), long_silence (5.0 / 6.0 s), narrow_band (-43 dB)"),
    ]
    assert len(found.labels) == 7
    without = examine(recordings, heard_corpus(heard)).of_kind("quality")
    assert not any(told.code == "unfamiliar" for one in without for told in one.told)


def test_of_bad_sound_what_is_rare_comes_first() -> None:
    codes = [("narrow_band",)] * 5 + [("narrow_band", "clipping")] + [("narrow_band",)] * 3
    heard = heard_corpus(heard_as(f"{row}", codes=each) for row, each in enumerate(codes))
    found = examine([Labelled(f"{row}.wav", "a") for row in range(9)], heard).of_kind("quality")
    assert [one.path for one in found] == [f"{row}.wav" for row in (5, 0, 1, 2, 3, 4, 6, 7, 8)]


def test_speakers_of_one_session_are_named_where_others_have_more() -> None:
    recordings = [Labelled("0.wav", "a", "x"), Labelled("1.wav", "a", "y"), Labelled("2.wav", "b", "x")]
    heard = [heard_as(one.path) for one in recordings]
    assert [one.speaker for one in examine(recordings, heard_corpus(heard)).of_kind("one_session")] == ["b"]
    assert not examine(recordings[2:], heard_corpus(heard[2:])).of_kind("one_session")


# --- the verb ---


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two speakers' recordings, one of which is there under both names, and one file that is no audio."""
    monkeypatch.setattr("sound_groove.curation.examination.MINIMUM_SPEECH_S", 0.0)  # of made-up voices little is speech
    for name, voice, seed in (("anna/1", 0, 0), ("anna/2", 0, 1), ("ben/1", 1, 0), ("ben/2", 0, 0)):
        path = tmp_path / "data" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, speak(made_up_speaker(1, voice), seed, 2.0), 16_000)
    (tmp_path / "data" / "ben" / "3.wav").write_bytes(b"RIFF of nothing")
    music = made_up_music(64_000, np.random.default_rng(3))
    soundfile.write(tmp_path / "data" / "anna" / "3.wav", music, 16_000)
    return tmp_path / "data"


def test_doctor_writes_what_it_found_and_what_is_left(
    folder: Path, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["doctor", str(folder), "--model", str(model_path), "--out", str(out)]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {(one["kind"], Path(one["path"]).name) for one in told["findings"] if one["path"]} >= {
        ("unusable", "3.wav"),
        ("same_audio", "2.wav"),
        ("quality", "3.wav"),
    }
    (music,) = (one for one in told["findings"] if "music" in [each["code"] for each in one["told"]])
    assert Path(music["path"]) == folder / "anna" / "3.wav"
    assert told["kept"] == 4
    listed = dict(line.split("\t") for line in (out / "clean.tsv").read_text().splitlines())
    assert {Path(path).parent.name for path in listed} == {"anna", "ben"}
    assert listed[str(folder / "anna" / "1.wav")] == "anna"
    assert (out / "findings.tsv").read_text().startswith("kind\tspeaker\trecording\tother\tprobability\tdetail\n")
    assert main(command) == 1  # an answer is not overwritten
    assert "--force" in capsys.readouterr().err


def test_another_rate_hears_nothing_again(
    folder: Path,
    model_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    command = ["doctor", str(folder), "--model", str(model_path), "--out", str(out)]
    assert main(command) == 0
    first = (out / "findings.tsv").read_text()
    (out / "findings.tsv").unlink()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it hears again")

    monkeypatch.setattr("sound_groove.curation.corpus.embed_all", refuse)
    assert main([*command, "--fdr", "0.2"]) == 0
    assert (out / "findings.tsv").read_text() == first
    capsys.readouterr()


def test_a_prepared_corpus_a_list_and_a_folder_are_the_same_corpus(folder: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.tsv"
    of_folder = labelled_recordings(folder)
    listed.write_text("".join(f"{one.path}\t{one.speaker}\n" for one in of_folder))
    assert {(one.path, one.speaker) for one in labelled_recordings(listed)} == {
        (one.path, one.speaker) for one in of_folder
    }
    with pytest.raises(CorpusError, match=r"no such|there is no|is no"):
        labelled_recordings(tmp_path / "nothing")
