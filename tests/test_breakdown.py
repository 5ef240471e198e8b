"""Where a model fails: which trials are in which group, by hand, and that a group's figures are those of its trials."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnceleb_tree import GENRES, build_cnceleb
from evaluation_inputs import SpectrumEncoder, write_small_list
from sound_groove.cli import main
from sound_groove.errors import TrialError, UsageError
from sound_groove.evaluation.breakdown import find_traits, measure_groups
from sound_groove.evaluation.figures import measure
from sound_groove.evaluation.grouping import NO_GROUP, Grouping, by_column, by_duration, by_genre, by_session, by_values
from sound_groove.evaluation.judged import JudgedList
from sound_groove.evaluation.report import plots
from sound_groove.evaluation.trials.metadata import read_metadata
from sound_groove.evaluation.trials.places import Place, find_places, read_place
from sound_groove.evaluation.trials.sources import Source
from sound_groove.evaluation.trials.trial_list import TrialList
from sound_groove.evaluation.trials.trial_sets import trials_from_list
from sound_groove.evaluation.verification import VerificationSettings, evaluate
from sound_groove.scoring.metrics import eer

PLOT_PAIRS = plots.plot_pairs  # as it is where `undrawn` has put a point in its place


def trial_list(*trials: tuple[int, int, int], ids: int | tuple[str, ...] = 4) -> TrialList:
    """Trials of (enrolment, test, label)."""
    names = tuple(f"n{index}" for index in range(ids)) if isinstance(ids, int) else ids
    enrolments, tests, labels = (np.array(column, dtype=np.int32) for column in zip(*trials, strict=True))
    lines = np.arange(1, len(trials) + 1, dtype=np.int32)
    return TrialList(names, enrolments, tests, labels.astype(bool), lines, 0)


def members(grouping: Grouping) -> dict[tuple[str, ...], list[int]]:
    """The trials of each group, without the empty ones."""
    found = {name: np.flatnonzero(grouping.codes == code).tolist() for code, name in enumerate(grouping.names)}
    return {name: trials for name, trials in found.items() if trials}


# --- genre and session


@pytest.mark.parametrize(
    ("name", "place"),
    (
        ("test/id00800-singing-01-005.wav", Place("singing", "01")),
        ("id00800/live_broadcast-02-011.flac", Place("live_broadcast", "02")),
        ("eval\\test\\id00800-talk-show-10-005.wav", Place("talk-show", "10")),
        ("/data/id00800/talk-show-10-005", Place("talk-show", "10")),
        ("id00800-enroll", None),
        ("enroll/id00800-enroll.flac", None),
        ("id10270/5r0dWxy17C8/00001.wav", None),
        ("val/ocean-108a19/00-003.opus", None),
        ("meeting-01-005.wav", None),  # no CN-Celeb speaker
    ),
)
def test_genre_and_session_are_read_from_the_right(name: str, place: Place | None) -> None:
    assert read_place(name) == place


def test_an_enrolment_has_the_places_of_its_recordings() -> None:
    ids = ("id00800-enroll", "test/id00800-singing-01-005.wav", "id00801/piece+1")
    enrolments = {"id00800-enroll": ["id00800/singing-01-001.wav", "id00800/drama-02-001.wav"]}
    joined = Source(((Path("w/id00801/vlog-03-001.wav"), Path("w/id00801/vlog-04-001.wav")),))
    places = find_places(ids, [Source(), Source(), joined], enrolments)
    assert places is not None and [set(of_one) for of_one in places] == [
        {Place("singing", "01"), Place("drama", "02")},
        {Place("singing", "01")},
        {Place("vlog", "03"), Place("vlog", "04")},
    ]
    assert find_places(("a.wav", "b.wav", ids[1]), [Source()] * 3, {}) is None  # one name of three is chance


SINGING, DRAMA, SINGING2 = Place("singing", "01"), Place("drama", "01"), Place("singing", "02")


def test_pairs_of_genres_keep_the_sides_apart_only_where_these_differ() -> None:
    places = [frozenset({SINGING}), frozenset({DRAMA}), frozenset({SINGING, DRAMA}), frozenset()]
    trials = trial_list((0, 1, 0), (1, 0, 0), (2, 0, 1), (0, 3, 0), (0, 0, 1))
    assert members(by_genre(trials, places, ordered=True)) == {
        ("singing", "drama"): [0],
        ("drama", "singing"): [1],
        ("several", "singing"): [2],
        ("singing", "unknown"): [3],
        ("singing", "singing"): [4],
    }
    assert members(by_genre(trials, places, ordered=False)) == {
        ("drama", "singing"): [0, 1],
        ("several", "singing"): [2],
        ("singing", "unknown"): [3],
        ("singing", "singing"): [4],
    }


def test_where_no_enrolment_tells_its_genre_the_tests_are_enough() -> None:
    grouping = by_genre(
        trial_list((3, 0, 1), (3, 1, 0)), [frozenset({SINGING}), frozenset({DRAMA}), frozenset(), frozenset()], True
    )
    assert grouping.kind == "groups"
    assert members(grouping) == {("singing",): [0], ("drama",): [1]}


def test_a_session_is_the_same_when_a_recording_of_each_side_shares_it() -> None:
    places = [
        frozenset({SINGING, DRAMA}),
        frozenset({DRAMA}),
        frozenset({SINGING2}),
        frozenset(),
        frozenset({SINGING2, DRAMA}),
    ]
    trials = trial_list((0, 1, 1), (0, 2, 1), (0, 2, 0), (0, 3, 1), (0, 4, 1), (1, 2, 1), ids=5)
    grouping = by_session(trials, places)
    assert grouping is not None and grouping.shares_nontargets
    assert grouping.codes.tolist() == [0, 1, NO_GROUP, NO_GROUP, 0, 1]
    assert by_session(trial_list((0, 3, 1), (0, 1, 0)), places[:4]) is None


def test_a_column_of_sessions_tells_whether_both_sides_share_one() -> None:
    trials = trial_list((0, 1, 1), (0, 2, 1), (1, 2, 1), (0, 3, 0), (1, 3, 1))
    grouping = by_column(trials, "session", ["a", "a", "b", None])
    assert members(grouping) == {("same session",): [0], ("different sessions",): [1, 2]}  # of n3 nothing is known
    assert grouping.shares_nontargets and grouping.by == "session"
    assert members(by_column(trials, "room", ["a", "a", "b", None])) == {("both a",): [0], ("a x b",): [1, 2]}


# --- durations


def test_the_shorter_side_decides_and_a_bound_belongs_to_the_longer_group() -> None:
    durations = np.array([0.99, 1.0, 4.999, 10.0])
    trials = trial_list((0, 3, 1), (1, 3, 1), (2, 3, 0), (3, 3, 1), (3, 0, 0))
    assert members(by_duration(trials, durations)) == {
        ("under 1 s",): [0, 4],
        ("1 to 2 s",): [1],
        ("2 to 5 s",): [2],
        ("10 s and more",): [3],
    }


# --- columns


def test_values_give_a_group_each_and_a_group_for_each_pair() -> None:
    trials = trial_list((0, 1, 1), (0, 2, 0), (2, 0, 0), (2, 2, 1), (0, 3, 0))
    grouping = by_values(trials, "gender", ["male", "male", "female", None])
    assert members(grouping) == {("both female",): [3], ("both male",): [0], ("female x male",): [1, 2]}
    assert grouping.codes[4] == NO_GROUP and not grouping.notes
    assert list(members(grouping)) == [("both female",), ("both male",), ("female x male",)]


def test_numbers_are_sorted_by_their_size() -> None:
    grouping = by_values(trial_list((0, 0, 1), (1, 1, 1), (0, 1, 0)), "rate", ["16000", "8000"])
    assert [name for (name,) in grouping.names] == ["both 8000", "both 16000", "8000 x 16000"]


def test_of_too_many_groups_the_largest_are_kept() -> None:
    trials = trial_list(*[(index, index, 1) for index in range(40)], (39, 39, 1), ids=40)
    grouping = by_values(trials, "street", [f"s{index:02d}" for index in range(40)])
    assert len(grouping.names) == 30 and ("both s39",) in grouping.names
    assert grouping.notes == ("of the 40 groups by street, the 30 largest are shown",)
    assert np.count_nonzero(grouping.codes == NO_GROUP) == 10


# --- figures


def random_trials(count: int = 2000, speakers: int = 30) -> tuple[TrialList, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 2 * speakers, (count, 2))
    own = np.arange(2 * speakers) % speakers
    pairs[: count // 4, 1] = (pairs[: count // 4, 0] + speakers) % (2 * speakers)  # the other recording of the speaker
    labels = own[pairs[:, 0]] == own[pairs[:, 1]]
    trials = trial_list(*[(int(a), int(b), int(c)) for (a, b), c in zip(pairs, labels, strict=True)], ids=2 * speakers)
    return trials, rng.normal(size=count) + 1.5 * labels, own.astype(np.int64)


def test_a_group_of_all_trials_has_the_figures_of_all_trials() -> None:
    trials, scores, speakers = random_trials()
    everything = Grouping("all", "all", (("all",),), "groups", np.zeros(len(trials), dtype=np.int64))
    (group,) = measure_groups(everything, JudgedList(trials, scores, None, speakers, 40, 7), 0.8)
    expected = measure(JudgedList(trials, scores, None, speakers, 40, 7))
    assert group["eer"] == {key: expected["eer"][key] for key in ("value", "low", "high")}
    assert [group[kind] for kind in ("trials", "targets", "nontargets")] == [
        expected[kind] for kind in ("trials", "targets", "nontargets")
    ]
    assert group["miss_rate"] == pytest.approx((scores[trials.labels] < 0.8).mean())
    assert group["false_alarm_rate"] == pytest.approx((scores[~trials.labels] >= 0.8).mean())


def test_each_group_is_measured_on_its_own_trials() -> None:
    trials, scores, speakers = random_trials()
    codes = np.random.default_rng(1).integers(-1, 3, len(trials))
    names = (("x",), ("y",), ("z",), ("nobody",))
    judged = JudgedList(trials, scores, None, speakers, resamples=0)
    groups = measure_groups(Grouping("g", "g", names, "groups", codes), judged, 0.0)
    assert [group["name"] for group in groups] == ["x", "y", "z"]
    for code, group in enumerate(groups):
        own = codes == code
        assert group["trials"] == np.count_nonzero(own)
        assert group["eer"] == {"value": eer(scores[own], trials.labels[own]), "low": None, "high": None}


def test_different_speaker_trials_can_be_shared_by_all_groups() -> None:
    trials, scores, speakers = random_trials()
    codes = np.where(trials.labels, np.arange(len(trials)) % 2, NO_GROUP)
    grouping = Grouping("session", "s", (("even",), ("odd",)), "groups", codes, shares_nontargets=True)
    groups = measure_groups(grouping, JudgedList(trials, scores, None, speakers, resamples=0), 0.0)
    for code, group in enumerate(groups):
        own = (codes == code) | ~trials.labels
        assert group["eer"]["value"] == eer(scores[own], trials.labels[own])
        assert group["nontargets"] == np.count_nonzero(~trials.labels)


@pytest.mark.parametrize(
    ("targets", "nontargets", "reason"),
    (
        (9, 10, "only 9 same-speaker trials"),
        (10, 1, "only 1 different-speaker trial"),
        (0, 20, "no same-speaker trials"),
        (1, 0, "only 1 same-speaker trial and no different-speaker trials"),
        (10, 10, None),
    ),
)
def test_too_few_trials_give_a_reason_and_no_rate(targets: int, nontargets: int, reason: str | None) -> None:
    trials = trial_list(*[(0, 1, 1)] * targets, *[(0, 2, 0)] * nontargets)
    grouping = Grouping("g", "g", (("only",),), "groups", np.zeros(len(trials), dtype=np.int64))
    scores = np.arange(len(trials), dtype=np.float64)
    (group,) = measure_groups(grouping, JudgedList(trials, scores, None, np.array([0, 0, 1, 2]), 20), 5.0)
    assert group["reason"] == reason and (group["eer"] is None) == (reason is not None)
    # 0 to 4 lie below the threshold and are targets, where there are so many
    assert group["miss_rate"] == (None if targets < 10 else 0.5)
    assert group["false_alarm_rate"] == (None if nontargets < 10 else 1.0 if targets else 0.75)


# --- tables


def table(path: Path, *rows: str) -> Path:
    path.write_text("".join(row.replace(" ", "\t") + "\n" for row in rows), encoding="utf-8")
    return path


def test_names_are_found_as_they_are_then_without_suffix_then_by_their_end(tmp_path: Path) -> None:
    path = table(
        tmp_path / "t.tsv",
        "sex path n",
        "f a/1.wav 1",
        "m a/2.flac 2",
        "f /disk/b/3.wav 3",
        "m 4.wav 4",
        "f c/same.wav 5",
        "m d/same.wav 6",
        "f 8 7",
    )
    metadata = read_metadata(path, ["sex", "n"])
    ids = ["a/1.wav", "a/2.wav", "b/3.wav", "x/y/4.opus", "same.wav", "q/8.wav", "r/8.wav", "none.wav"]
    values, notes = metadata.match(ids, {})
    # 'same' ends two rows, and row '8' ends two names: neither says which is meant
    assert values["n"] == ["1", "2", "3", "4", None, None, None, None]
    assert values["sex"] == ["f", "m", "f", "m", None, None, None, None]
    assert len(notes) == 1 and "4 of 8 names are not in" in notes[0] and "'same.wav'" in notes[0]


def test_a_name_of_several_recordings_has_what_they_agree_on(tmp_path: Path) -> None:
    metadata = read_metadata(table(tmp_path / "t.tsv", "name a b", "x 1 1", "y 1 2", "z 1 "), ["a", "b"])
    values, notes = metadata.match(["e", "z"], {"e": ["x.wav", "y.wav"]})
    assert values == {"a": ["1", "1"], "b": ["several", None]}
    assert notes == [f"{tmp_path / 't.tsv'} has no b for 1 names; their trials are in no group of it"]


def test_a_manifest_of_prepare_is_a_table(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"utterance": "s/one", "speaker": "s", "paths": ["/disk/s/one.flac"], "genre": "vlog", "duration_s": 1.5},
        {"utterance": "s/two+1", "speaker": "s", "paths": ["/disk/s/two.flac", "/d/s/three.flac"], "genre": None},
    ]
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    values, _ = read_metadata(path, ["genre"]).match(["s/one", "one.wav", "s/two+1"], {})
    assert values == {"genre": ["vlog", "vlog", None]}
    with pytest.raises(UsageError, match="no column 'gender'; did you mean 'genre'"):
        read_metadata(path, ["gender"])
    path.write_text("[1]\n")
    with pytest.raises(TrialError, match=r"line 1: not a line of a manifest\.jsonl"):
        read_metadata(path, ["genre"])


def test_a_table_that_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    for rows, error, message in (
        (("path sex", "a f"), UsageError, r"t\.tsv has no column 'sexx'; did you mean 'sex'\?"),
        (("path sexx", "a"), TrialError, "line 2: there are 1 cells; expected 2 cells, as the header has"),
        (("path sexx", " f"), TrialError, "line 2: there are 2 cells; expected a name"),
        (("path",), TrialError, "line 1: expected the names of two or more columns"),
        (("path sexx", "a f", "a m"), TrialError, "line 3: 'a' stands there for the second time, with other values"),
        (("path sexx",), TrialError, "the table has no rows"),
    ):
        with pytest.raises(error, match=message):
            read_metadata(table(path, *rows), ["sexx"])
    with pytest.raises(TrialError, match=r"none\.tsv: the table cannot be read: No such file"):
        read_metadata(tmp_path / "none.tsv", ["sex"])
    metadata = read_metadata(table(path, "path sex", "a f", "a f", "", "b m"), ["sex"])
    with pytest.raises(
        TrialError, match=r"none of the 1 names of the trials is in it, first 'x'; its own are like 'a'"
    ):
        metadata.match(["x"], {})


# --- the whole


@pytest.mark.usefixtures("undrawn")
def test_a_cnceleb_list_is_broken_down_by_length_genre_and_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "plot_pairs", PLOT_PAIRS)  # the one that is looked at
    tree = build_cnceleb(tmp_path / "tree", dev=1, evaluation=10, second=0, clean=True)
    said: dict[str, list[dict[str, Any]]] = {}
    for protocol in ("concatenated", "average"):
        trial_set = trials_from_list(tree.lists / "trials.lst", tree.cnceleb1 / "eval", protocol)
        metrics = evaluate(SpectrumEncoder(), trial_set, tmp_path / protocol, VerificationSettings(resamples=30))
        said[protocol] = metrics["breakdowns"]
        assert (tmp_path / protocol / "genre_pairs.png").stat().st_size > 5000
    assert [breakdown["by"] for breakdown in said["average"]] == ["duration", "genre", "session"]
    durations, genres, sessions = said["concatenated"]
    # Tests are of 1.2 s, 2.6 s and 0.5 s; an enrolment has 0.6 s and 1.8 s.
    assert [(group["name"], group["targets"], group["nontargets"]) for group in durations["groups"]] == [
        ("under 1 s", 10, 90),
        ("1 to 2 s", 10, 90),
        ("2 to 5 s", 10, 90),
    ]
    pairs = {tuple(group["pair"]): group["targets"] for group in genres["groups"]}
    assert pairs == {(GENRES[0], GENRES[1]): 20, (GENRES[0], GENRES[2]): 10}
    assert [(group["name"], group["targets"]) for group in sessions["groups"]] == [("different sessions", 30)]
    for group in (*durations["groups"], *genres["groups"]):
        assert group["eer"]["low"] <= group["eer"]["value"] <= group["eer"]["high"]
    assert said["average"][1]["groups"][0]["trials"] == genres["groups"][0]["trials"]


def test_traits_of_other_lists_are_their_durations_alone(tmp_path: Path) -> None:
    folder = write_small_list(tmp_path)
    trial_set = trials_from_list(folder / "trials.txt", folder / "wav")
    traits = find_traits(trial_set.trials.ids, trial_set.sources, trial_set.origin, None)
    assert traits.places is None and not traits.columns and not traits.notes


@pytest.mark.usefixtures("undrawn")
def test_the_command_line_breaks_down_by_columns(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_small_list(tmp_path)
    path = table(folder / "t.tsv", "path pitch", "a1 low", "a2 low", "b1 high")
    common: tuple[str, ...] = ("verify", "--model", str(model_path), "--trials", str(folder / "trials.txt"))
    common += ("--audio-root", str(folder / "wav"), "--out", str(folder / "out"), "--resamples", "5")
    assert main([*common, "--metadata", str(path), "--by", "pitch", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    pitch = metrics["breakdowns"][1]
    assert [(group["name"], group["trials"]) for group in pitch["groups"]] == [("both low", 1), ("high x low", 2)]
    assert metrics["metadata"]["path"] == str(path) and metrics["metadata"]["columns"] == ["pitch"]
    assert len(metrics["metadata"]["sha256"]) == 64
    assert any("1 of 4 names are not in" in note for note in metrics["notes"])
    for words, message in (
        (("--by", "pitch"), "--metadata and --by go together"),
        (("--metadata", str(path)), "--metadata and --by go together"),
        (("--metadata", str(path), "--by", "pich"), "did you mean 'pitch'?"),
        (("--worst", "-1"), "--worst must lie between 0 and 100"),
    ):
        assert main([*common, "--force", *words]) == 2
        assert message in capsys.readouterr().err
