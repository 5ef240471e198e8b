"""Identification on made-up galleries worked by hand, on a store, and on speech with the model of the package."""

import json
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from sound_groove.audio.listening import AudioFacts, HeardRecording, hear
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import OtherModelError, UsageError
from sound_groove.scoring.calibration import ScoreMap, Term
from sound_groove.scoring.decision import DecisionRule
from sound_groove.types import Embeddings, ModelIdentity, QualityWarning
from sound_groove.voiceprints.enrolment import enroll
from sound_groove.voiceprints.gallery import COHORT, MemoryGallery, Neighbour, open_gallery
from sound_groove.voiceprints.identification import WEIGHED, Identification, identify
from sound_groove.voiceprints.store.opening import open_store
from sound_groove.voiceprints.store.records import DamagedVoiceprint, SpeakerEntry
from store_places import MODEL, OTHER_MODEL, SqlitePlace, recording

EXAMPLES = Path(__file__).parents[1] / "examples"
MAP = ScoreMap(20.0, -10.0, "an example", calibrated=True)  # llr 0 at a score of 0.5, 10 at 1
NOTHING = np.zeros(2, dtype=np.float32)


def entry(number: int, speech_s: float = 5.0, coherence: float = 1.0, norm: float | None = None) -> SpeakerEntry:
    then, spread = "2026-01-01T00:00:00+00:00", None if norm is None else 0.0
    return SpeakerEntry(
        f"{number:032x}", f"speaker {number}", MODEL, 1, 0, speech_s, 20.0, coherence, norm, spread, then, then, number
    )  # fmt: skip


@dataclass
class Made:
    """A gallery whose scores are told."""

    scores: list[float]
    model: ModelIdentity = MODEL
    elsewhere: int = 0
    speech_s: float = 5.0

    def _all(self) -> list[Neighbour]:
        return [Neighbour(entry(number, self.speech_s), score) for number, score in enumerate(self.scores)]

    def count(self) -> int:
        return len(self.scores)

    def others(self) -> int:
        return self.elsewhere

    def left_out(self) -> list[DamagedVoiceprint]:
        return []

    def is_whole(self) -> bool:
        return True

    def probe(self) -> Embeddings | None:
        return None

    def nearest(self, embedding: Embeddings, count: int) -> list[Neighbour]:
        return sorted(self._all(), key=lambda item: -item.score)[:count]

    def cohort(self, embedding: Embeddings) -> list[Neighbour]:
        return self._all()[::-1][:COHORT]


def heard(
    speech_s: float = 3.0, *warnings: QualityWarning, embedding: Embeddings = NOTHING, norm: float | None = None
) -> HeardRecording:
    facts = AudioFacts(4.0, speech_s, 20.0, 16_000, norm)
    return HeardRecording("a.wav", facts, warnings, "", embedding=embedding, model=MODEL)


class Scored(SpeakerEncoder):
    """An encoder that nobody asks for an embedding."""

    def __init__(self, score_map: ScoreMap | None = MAP) -> None:
        self.identity = MODEL
        self.score_map = score_map


def ask(*scores: float, score_map: ScoreMap | None = MAP, top: int = 5, rule: DecisionRule | None = None,
        prior: float = 0.5) -> Identification:  # fmt: skip
    return identify(
        Made(list(scores)), heard(), Scored(score_map), top=top, prior=prior, rule=rule or DecisionRule()
    )  # fmt: skip


def test_two_enrolled_are_weighed_by_hand() -> None:
    found = ask(0.6, 0.5)  # llrs 2 and 0: ratios e^2 and 1, c = (30 + 1) / 31
    evidence = 0.5 + 0.25 * math.exp(2) + 0.25
    assert [match.name for match in found.candidates] == ["speaker 0", "speaker 1"]
    assert [match.llr for match in found.candidates] == pytest.approx([2.0, 0.0])
    assert [match.normalised for match in found.candidates] == pytest.approx([2.0, 0.0])
    expected = [0.25 * math.exp(2) / evidence, 0.25 / evidence]
    assert [match.probability for match in found.candidates] == pytest.approx(expected)
    assert found.nobody == pytest.approx(0.5 / evidence)
    assert (found.verdict, found.speaker, found.enrolled, found.others) == ("inconclusive", None, 2, 0)


def test_a_near_one_is_named_and_all_far_are_nobody() -> None:
    found = ask(0.9, 0.1, 0.0)
    assert (found.verdict, found.speaker) == ("identified", "speaker 0")
    found = ask(0.2, 0.1, 0.0)
    assert (found.verdict, found.speaker) == ("nobody", None)
    assert found.nobody is not None and found.nobody > 0.99


def test_the_threshold_follows_the_number_enrolled() -> None:
    rule = DecisionRule(max_false_accept=0.01)
    found = [ask(*[-1.0] * count, rule=rule) for count in (1, 10, 100)]
    assert [one.limit for one in found] == pytest.approx([math.log(count / 0.01) for count in (1, 10, 100)])
    assert [one.threshold for one in found] == pytest.approx(
        [0.5 + math.log(count / 0.01) / 20 for count in (1, 10, 100)]
    )
    for one in found:
        assert one.threshold is not None
        others = [-1.0] * (one.enrolled - 1)
        assert ask(one.threshold + 1e-6, *others, rule=rule).verdict == "identified"
        assert ask(one.threshold - 1e-6, *others, rule=rule).verdict != "identified"


def test_who_comes_beside_another_is_the_same_whatever_the_order() -> None:
    scores = np.random.default_rng(0).uniform(0, 0.9, 20).tolist()
    forward, backward = ask(*scores), ask(*scores[::-1])
    assert [match.score for match in forward.candidates] == [match.score for match in backward.candidates]
    assert forward.nobody == pytest.approx(backward.nobody)


def test_many_are_weighed_by_the_nearest_and_a_cohort() -> None:
    rng = np.random.default_rng(1)
    scores = [0.85, *rng.normal(0.2, 0.05, 4 * WEIGHED).tolist()]
    found = ask(*scores)
    every = 20 * np.array(scores) - 10
    c = (30 + (len(scores) - 1) * math.exp(every[1:].mean() + every[1:].var() / 2)) / (29 + len(scores))
    assert math.exp(found.cohort_llr or 0.0) == pytest.approx(max(c, 0.1), rel=1e-9)
    assert found.enrolled == len(scores) and found.verdict == "identified"
    assert sum(match.probability or 0.0 for match in found.candidates) + (found.nobody or 0.0) <= 1.0


def test_a_long_enrolment_may_come_before_a_nearer_short_one() -> None:
    score_map = ScoreMap(10.0, -5.0, "", (Term("speech", 5.0, -1.0, 0.0, 2.0),), calibrated=True)
    gallery = Made([0.8, 0.7])
    long = [Neighbour(entry(0, 1.0), 0.8), Neighbour(entry(1, 30.0), 0.7)]
    gallery.nearest = lambda embedding, count: long  # type: ignore[method-assign]
    found = identify(gallery, heard(), Scored(score_map))
    assert [match.name for match in found.candidates] == ["speaker 1", "speaker 0"]
    assert found.candidates[0].score == pytest.approx(0.7)


def test_the_smaller_norm_of_the_two_weighs_a_candidate_and_an_unknown_one_counts_as_the_middle() -> None:
    score_map = ScoreMap(0.0, 0.0, "", (Term("norm", 10.0, -5.0, 0.0, 2.0),), calibrated=True)
    gallery = Made([0.9, 0.9, 0.9])
    near = [Neighbour(entry(number, norm=norm), 0.9) for number, norm in enumerate((1.5, math.e**4, None))]
    gallery.nearest = lambda embedding, count: near  # type: ignore[method-assign]
    found = identify(gallery, heard(norm=math.e**1.5), Scored(score_map))
    llrs = {match.name: match.llr for match in found.candidates}
    measures = {"speaker 0": math.log(1.5), "speaker 1": 1.5, "speaker 2": 1.0}
    assert llrs == pytest.approx({name: 4.0 * measure for name, measure in measures.items()})
    # What the model was not calibrated on is said, of this measure as of the others.
    score_map = replace(score_map, terms=(Term("norm", 10.0, -5.0, 1.0, 2.0),))
    (warning,) = identify(gallery, heard(norm=math.e**1.5), Scored(score_map)).warnings
    assert warning.code == "outside_calibration" and "less to know a voice by" in warning.message


def test_recordings_that_disagree_count_by_their_mean_cosine() -> None:
    gallery = Made([0.8])
    gallery.nearest = lambda embedding, count: [Neighbour(entry(0, coherence=0.75), 0.8)]  # type: ignore[method-assign]
    found = identify(gallery, heard(), Scored())
    assert found.candidates[0].score == pytest.approx(0.6) and found.candidates[0].llr == pytest.approx(2.0)


def test_an_empty_gallery_is_nobody_and_says_why() -> None:
    found = ask()
    assert (found.verdict, found.nobody, found.candidates, found.limit) == ("nobody", 1.0, (), None)
    assert [warning.code for warning in found.warnings] == ["nobody_enrolled"]
    assert "sound-groove enroll" in found.warnings[0].message


def test_those_of_another_model_are_mentioned() -> None:
    found = identify(Made([0.9], elsewhere=2), heard(), Scored())
    (warning,) = found.warnings
    assert found.others == 2 and warning.code == "other_model"
    assert (
        warning.message.startswith("2 more speakers are enrolled with another model") and "re-embed" in warning.message
    )
    assert "1 more speaker is" in identify(Made([], elsewhere=1), heard(), Scored()).warnings[1].message


def test_a_model_without_a_map_gives_scores_and_no_verdict() -> None:
    found = ask(0.9, 0.3, score_map=None)
    assert [(match.score, match.llr, match.normalised, match.probability) for match in found.candidates] == [
        (0.9, None, None, None), (0.3, None, None, None)
    ]  # fmt: skip
    assert (found.verdict, found.speaker, found.nobody, found.threshold) == ("inconclusive", None, None, None)
    assert [warning.code for warning in found.warnings] == ["uncalibrated"]


def test_a_provisional_map_is_called_uncalibrated() -> None:
    found = ask(0.9, score_map=replace(MAP, calibrated=False))
    assert found.verdict == "identified" and [warning.code for warning in found.warnings] == ["uncalibrated"]


def test_a_flat_map_says_nothing_and_has_no_threshold() -> None:
    found = ask(0.9, 0.1, score_map=ScoreMap(0.0, 0.0, "flat", calibrated=True))
    assert (found.verdict, found.threshold) == ("inconclusive", None) and found.nobody == pytest.approx(0.5)


def test_too_little_speech_gives_no_verdict() -> None:
    told = QualityWarning("too_little_speech", "a.wav: too little")
    for scores in ([0.95], [0.1]):
        found = identify(Made(scores), heard(0.3, told), Scored())
        assert (found.verdict, found.speaker) == ("inconclusive", None)
        assert found.candidates and found.warnings == (told,)


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match=f"must lie between 1 and {WEIGHED}; 0 was given"):
        ask(0.5, top=0)
    with pytest.raises(UsageError, match="prior must lie between 0 and 1"):
        ask(0.5, prior=0.0)


def test_as_many_candidates_are_shown_as_were_asked_for() -> None:
    assert len(ask(*[0.1] * 10, top=3).candidates) == 3
    assert len(ask(0.1, 0.2, top=3).candidates) == 2
    assert ask(*[0.3] * 10, top=1).nobody == pytest.approx(ask(*[0.3] * 10, top=5).nobody)


def test_the_answer_is_json_with_its_own_names() -> None:
    record = json.loads(json.dumps(ask(0.9, 0.2).as_dict()))
    assert record["candidates"][0].keys() == {"name", "score", "llr", "normalised", "probability"}
    assert (record["verdict"], record["speaker"], record["model"]) == (
        "identified", "speaker 0", {"name": MODEL.name, "hash": MODEL.hash}
    )  # fmt: skip
    assert record["audio"]["speech_s"] == 3.0 and record["warnings"] == []


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder.load("pretrained", threads=1)


@pytest.fixture(scope="module")
def gallery(encoder: SpeakerEncoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryGallery]:
    path = tmp_path_factory.mktemp("store") / "voiceprints.db"
    with closing(open_store(path, create=True)) as store:
        for voice in ("awb", "rms", "slt"):
            enroll(store, voice, [EXAMPLES / f"{voice}-1.flac"], encoder)
        yield MemoryGallery(store, encoder.identity, threads=1)


def test_a_store_is_followed_and_other_models_are_never_compared(tmp_path: Path) -> None:
    with closing(SqlitePlace(tmp_path / "voiceprints.db").open()) as store:
        gallery = MemoryGallery(store, MODEL, threads=1)
        query = recording(1).embedding
        assert identify(gallery, heard(embedding=query), Scored()).verdict == "nobody"
        store.add("theirs", [recording(1)], OTHER_MODEL, None, "me")
        found = identify(gallery, heard(embedding=query), Scored())
        assert (found.verdict, found.enrolled, found.others) == ("nobody", 0, 1)
        store.add("ours", [recording(1)], MODEL, None, "me")
        assert identify(gallery, heard(embedding=query), Scored()).speaker == "ours"
        store.remove("ours", "me")
        assert identify(gallery, heard(embedding=query), Scored()).verdict == "nobody"


@pytest.mark.parametrize("voice", ["awb", "rms", "slt"])
def test_voices_are_known_again_by_another_sentence(
    encoder: SpeakerEncoder, gallery: MemoryGallery, voice: str
) -> None:
    clip = hear(EXAMPLES / f"{voice}-2.flac")
    found = identify(gallery, clip, encoder)
    assert (found.verdict, found.speaker, found.enrolled) == ("identified", voice, 3)


def test_a_voice_that_nobody_enrolled_is_not_named(encoder: SpeakerEncoder, gallery: MemoryGallery) -> None:
    clip = hear(EXAMPLES / "kal16-1.flac")
    found = identify(gallery, clip, encoder)
    assert found.speaker is None and found.verdict != "identified"


def test_a_file_is_heard_embedded_and_identified_by_the_gallerys_model_alone(tmp_path: Path) -> None:
    encoder = SpeakerEncoder.load("pretrained", threads=1)
    with closing(open_store(tmp_path / "voices.db", create=True)) as store:
        enroll(store, "ours", [EXAMPLES / "slt-1.flac"], encoder)
        gallery = open_gallery(store, encoder.identity)
        assert identify(gallery, EXAMPLES / "slt-2.flac", encoder).speaker == "ours"
        assert identify(gallery, EXAMPLES / "rms-2.flac", encoder).verdict == "nobody"
        with pytest.raises(OtherModelError, match=r"the gallery is of model other \(000000000000\)"):
            identify(open_gallery(store, ModelIdentity("other", "0" * 64)), EXAMPLES / "slt-2.flac", encoder)
