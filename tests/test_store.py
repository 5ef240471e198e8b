"""Voiceprints are kept whole, apart, in order and only as long as wanted, in a file and on a server alike."""

import errno
import math
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from sound_groove.errors import (
    OtherModelError,
    SoundGrooveError,
    StaleVoiceprintError,
    StoreError,
    UnknownSpeakerError,
    UsageError,
)
from sound_groove.scoring.cosine import mean_embedding
from sound_groove.voiceprints.store import sqlite, tables
from sound_groove.voiceprints.store.interface import VoiceprintStore
from sound_groove.voiceprints.store.opening import default_store, open_store
from sound_groove.voiceprints.store.records import Centroid, EnrolledRecording
from sound_groove.voiceprints.store.sealing import KEY_VARIABLE, AesSealer, PlainSealer, sealer_from_environment
from store_places import MODEL, OTHER_MODEL, Place, SqlitePlace, present, recording

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
ODD_NAMES = [
    "Zoë", "../../etc/passwd", "a/b", "..c", "'; DROP TABLE speakers; --", '"', "%s ? %% $1 {}", "\\", "NULL", "0", "-",
    "<b>", "李 小龍", "😀", "a" * 200, "Ａ", "ß", "two  spaces",
]  # fmt: skip


@pytest.fixture
def store(place: Place) -> Iterator[VoiceprintStore]:
    store = place.open()
    yield store
    store.close()


def same(kept: EnrolledRecording, given: EnrolledRecording) -> bool:
    one, other = ({**asdict(recording), "embedding": None} for recording in (kept, given))
    return one == other and bool(np.array_equal(kept.embedding, given.embedding))


def child(call: str, **environment: str) -> subprocess.Popen[str]:
    """A process that executes a call of store_places."""
    return subprocess.Popen(
        [sys.executable, "-c", f"from store_places import *\n{call}"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
        env=os.environ | environment,
    )


class Mirror:
    """Who is enrolled, told by `changes` alone, as a gallery in memory hears of it; by parts where there is a limit."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.revision = 0
        self.speakers: dict[str, Centroid] = {}

    def follow(self, store: VoiceprintStore) -> None:
        while self.revision < store.revision():
            changes = store.changes(self.revision, self.limit)
            assert changes.revision > self.revision
            assert self.limit is None or len(changes.changed) <= self.limit
            self.revision = changes.revision
            for speaker_id in changes.removed:
                self.speakers.pop(speaker_id, None)
            self.speakers |= {centroid.speaker.id: centroid for centroid in changes.changed}


def test_a_new_store_is_empty(store: VoiceprintStore) -> None:
    assert (store.revision(), store.count(), store.speakers(), store.events()) == (0, 0, [], [])
    assert store.changes().changed == () and not store.encrypted


def test_what_was_enrolled_comes_back_after_reopening(place: Place) -> None:
    first, second = recording(1, audio=b"fLaC\x00\xff" * 1000), recording(2)
    with_store = place.open()
    entry = with_store.add("Kim", [first, second], MODEL, None, "me")
    with_store.close()
    store = place.open(create=False)
    voiceprint = store.voiceprint("Kim")
    assert voiceprint.speaker == entry == store.speakers()[0]
    assert [same(*pair) for pair in zip(voiceprint.recordings, (first, second), strict=True)] == [True, True]
    assert (entry.recordings, entry.with_audio, entry.speech_s, entry.version) == (2, 1, 5.0, 1)
    expected = mean_embedding(np.stack([first.embedding, second.embedding]))
    (centroid,) = store.changes().changed
    assert np.array_equal(voiceprint.centroid, expected) and np.array_equal(centroid.embedding, expected)
    assert centroid.embedding.dtype == np.float32 and centroid.speaker == entry
    store.close()


def test_the_norm_that_an_embedding_had_is_kept_and_where_one_is_unknown_there_is_no_mean(place: Place) -> None:
    with closing(place.open()) as store:
        store.add("Kim", [recording(1, norm=10.0), recording(2, norm=16.0)], MODEL, None, "me")
        store.add("Lee", [recording(3, norm=12.3457)], MODEL, None, "me")
        store.add("Mia", [recording(4, norm=9.0), recording(5)], MODEL, None, "me")
    with closing(place.open(create=False)) as store:
        norms = {entry.name: (entry.embedding_norm, entry.norm_spread) for entry in store.speakers()}
        assert norms == {"Kim": (13.0, 3.0), "Lee": (12.3457, 0.0), "Mia": (None, None)}
        kept = {name: [one.embedding_norm for one in store.voiceprint(name).recordings] for name in norms}
        assert kept == {"Kim": [10.0, 16.0], "Lee": [12.3457], "Mia": [9.0, None]}
        assert store.voiceprint("Lee").recordings[0].entry.embedding_norm == 12.3457
        entry = store.add("Kim", [recording(6)], MODEL, 1, "me")  # whose norm is not known
        assert (entry.embedding_norm, entry.norm_spread) == (None, None) and store.voiceprint("Kim").speaker == entry


@pytest.mark.parametrize("norm", [0.0, -1.0, 1e7, math.inf, math.nan])
def test_a_norm_that_no_embedding_has_is_refused(tmp_path: Path, norm: float) -> None:
    with closing(SqlitePlace(tmp_path / "voiceprints.db").open()) as store:
        with pytest.raises(StoreError, match="has an embedding_norm that no recording has"):
            store.add("Kim", [recording(1, norm=norm)], MODEL, None, "me")
        assert store.count() == 0


def test_recordings_are_added_in_order_and_kept_apart(store: VoiceprintStore) -> None:
    entry = store.add("Kim", [recording(5)], MODEL, None, "me")
    later = store.add("Kim", [recording(3), recording(4)], MODEL, entry.version, "me")
    kept = store.voiceprint("Kim").recordings
    assert [int(each.digest, 16) for each in kept] == [5, 3, 4]
    assert (later.id, later.enrolled_at, later.version, later.recordings) == (entry.id, entry.enrolled_at, 2, 3)


def test_what_was_looked_at_and_has_changed_is_refused(store: VoiceprintStore) -> None:
    entry = store.add("Kim", [recording(1)], MODEL, None, "me")
    for version in (None, entry.version + 1):
        with pytest.raises(StaleVoiceprintError, match="'Kim' was changed by somebody else at the same time"):
            store.add("Kim", [recording(2)], MODEL, version, "me")
    with pytest.raises(StaleVoiceprintError):
        store.add("Lee", [recording(2)], MODEL, 1, "me")
    with pytest.raises(StaleVoiceprintError):
        store.replace("Kim", [recording(2)], MODEL, entry.version + 1, "me")
    assert store.revision() == 1 and store.count() == 1 and len(store.voiceprint("Kim").recordings) == 1


def test_recordings_of_another_model_are_never_mixed(store: VoiceprintStore) -> None:
    entry = store.add("Kim", [recording(1)], MODEL, None, "me")
    with pytest.raises(OtherModelError, match=r"enrolled with model small \(1f1f1f1f1f1f\), and this is large"):
        store.add("Kim", [recording(2, 256)], OTHER_MODEL, entry.version, "me")
    again = store.replace("Kim", [recording(3, 256)], OTHER_MODEL, entry.version, "me")
    voiceprint = store.voiceprint("Kim")
    assert voiceprint.speaker == again and again.model == OTHER_MODEL and again.id == entry.id
    assert voiceprint.centroid.shape == (256,) and len(voiceprint.recordings) == 1
    assert [event.action for event in store.events()] == ["enrolled", "re-embedded"]


def test_embeddings_of_several_sizes_and_none_are_refused(store: VoiceprintStore) -> None:
    entry = store.add("Kim", [recording(1)], MODEL, None, "me")
    for recordings in ([], [recording(1), recording(2, 256)], [recording(2, 256)]):
        with pytest.raises(StoreError, match=r"embeddings .* of one size"):
            store.add("Kim", recordings, MODEL, entry.version, "me")
    assert store.revision() == 1


def test_an_unknown_name_is_refused(store: VoiceprintStore) -> None:
    for call in (
        lambda: store.voiceprint("Kim"),
        lambda: store.remove("Kim", "me"),
        lambda: store.replace("Kim", [recording(1)], MODEL, 1, "me"),
    ):
        with pytest.raises(UnknownSpeakerError, match=r"nobody is enrolled as 'Kim' in .*; 'sound-groove speakers"):
            call()
    assert store.revision() == 0


@pytest.mark.parametrize(
    "name",
    ["", " ", "a ", "\ta", "a\nb", "a\x00b", "\x1b[2J", "​", ".", "..", "x" * 10_000, "\ud800"]
    + [f"a{chr(point)}b" for point in (0x034F, 0x115F, 0x17B5, 0x180E, 0x2800, 0x3164, 0xFE0F, 0xFFA0, 0xE0101)],
)
def test_a_name_that_people_cannot_see_or_write_is_refused(place: Place, name: str) -> None:
    store = place.open()
    with pytest.raises(UsageError) as refusal:
        store.add(name, [recording(1)], MODEL, None, "me")
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 200
    for call in (lambda: store.voiceprint(name), lambda: store.remove(name, "me")):
        with pytest.raises(UsageError):
            call()
    assert store.revision() == 0
    store.close()


def test_odd_names_are_kept_as_they_are_in_the_order_of_code_points(store: VoiceprintStore) -> None:
    for number, name in enumerate(ODD_NAMES):
        assert store.add(name, [recording(number)], MODEL, None, name).name == name
    assert [entry.name for entry in store.speakers()] == sorted(ODD_NAMES)
    paged: list[str] = []
    while page := store.speakers(after=paged[-1] if paged else "", limit=4):
        paged += [entry.name for entry in page]
    assert paged == sorted(ODD_NAMES)
    for name in ODD_NAMES:
        assert store.voiceprint(name).speaker.name == name
    removed = store.remove(ODD_NAMES[4], "me").speaker
    assert removed is not None and removed.name == ODD_NAMES[4]
    assert store.count() == len(ODD_NAMES) - 1
    assert [event.actor for event in store.events()][: len(ODD_NAMES)] == ODD_NAMES


def test_one_letter_written_in_two_ways_is_one_name(store: VoiceprintStore) -> None:
    entry = store.add("Zoe\u0308", [recording(1)], MODEL, None, "me")
    assert entry.name == "Zo\u00eb" and store.voiceprint("Zo\u00eb").speaker == entry
    with pytest.raises(StaleVoiceprintError):
        store.add("Zo\u00eb", [recording(2)], MODEL, None, "me")
    assert store.remove("Zoe\u0308", "me").speaker == entry


def test_a_file_name_of_any_bytes_can_be_enrolled(store: VoiceprintStore) -> None:
    store.add("Kim", [recording(1, source="a\x00b\udcff\n.wav")], MODEL, None, "a\x00\udcff")
    assert store.voiceprint("Kim").recordings[0].source == "a\\x00b\\udcff\\n.wav"
    assert store.events()[0].actor == "a\\x00\\udcff"


def test_the_audit_trail_tells_what_was_done_and_to_whom_without_names(store: VoiceprintStore) -> None:
    entry = store.add("Kim", [recording(1), recording(2)], MODEL, None, "door")
    store.add("Lee", [recording(1)], OTHER_MODEL, None, "window")
    assert (store.count(), store.count(MODEL.hash), store.count("none")) == (2, 1, 0)
    store.remove("Kim", "attic")
    told = [(e.revision, e.action, e.recordings, e.model, e.actor) for e in store.events()]
    assert told == [
        (1, "enrolled", 2, MODEL.hash, "door"),
        (2, "enrolled", 1, OTHER_MODEL.hash, "window"),
        (3, "removed", 2, MODEL.hash, "attic"),
    ]
    assert store.events()[0].speaker_id == store.events()[2].speaker_id == entry.id
    assert store.events(after=1, limit=1) == store.events()[1:2]
    assert "Kim" not in repr(store.events())


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_changes_gives_what_a_dictionary_gives(place: Place, seed: int) -> None:
    draws = random.Random(seed)
    stores = [place.open(), place.open()]  # as two processes have them
    expected: dict[str, list[int]] = {}
    versions: dict[str, int] = {}
    early, late, by_parts = Mirror(), Mirror(), Mirror(limit=2)
    revision = 0
    for step in range(60):
        store, name = draws.choice(stores), draws.choice("abcdefg")
        action = draws.choice(["add", "add", "add", "replace", "remove", "stale"])
        seeds = [draws.randrange(1000) for _ in range(draws.randint(1, 3))]
        recordings = [recording(each, 8) for each in seeds]
        if action == "stale":
            with pytest.raises(StaleVoiceprintError):
                store.add(name, recordings, MODEL, versions.get(name, 0) - 1, "test")
        elif action == "add":
            versions[name] = store.add(name, recordings, MODEL, versions.get(name), "test").version
            expected[name] = expected.get(name, []) + seeds
        elif name not in expected:
            with pytest.raises(UnknownSpeakerError):
                store.remove(name, "test")
            continue
        elif action == "replace":
            versions[name] = store.replace(name, recordings, MODEL, versions[name], "test").version
            expected[name] = seeds
        else:
            store.remove(name, "test")
            del expected[name], versions[name]
        revision += action != "stale"
        assert store.revision() == revision and versions.get(name, revision) in (revision, versions.get(name))
        early.follow(draws.choice(stores))
        if step % 7 == 0:
            late.follow(draws.choice(stores))
            by_parts.follow(draws.choice(stores))
    for mirror in (early, late, by_parts):
        mirror.follow(stores[0])
    for store in stores:
        assert [entry.name for entry in store.speakers()] == sorted(expected)
        for name, seeds in expected.items():
            assert [int(each.digest, 16) for each in store.voiceprint(name).recordings] == seeds
            assert store.voiceprint(name).speaker.version == versions[name]
    assert [event.revision for event in store.events()] == list(range(1, revision + 1))
    for mirror in (early, late, by_parts):
        told = {centroid.speaker.name: centroid for centroid in mirror.speakers.values()}
        assert sorted(told) == sorted(expected) and len(told) > 1
        for name, centroid in told.items():
            assert np.array_equal(centroid.embedding, stores[0].voiceprint(name).centroid)
    for store in stores:
        store.close()


def test_a_speaker_who_came_and_went_and_came_again_is_a_new_one(store: VoiceprintStore) -> None:
    first = store.add("Kim", [recording(1)], MODEL, None, "me")
    store.remove("Kim", "me")
    second = store.add("Kim", [recording(1)], MODEL, None, "me")
    changes = store.changes(since=1)
    assert second.id != first.id and second.version == 3
    assert changes.removed == (first.id,) and [each.speaker.id for each in changes.changed] == [second.id]


def test_a_voiceprint_is_of_one_moment(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = place.open(), place.open()
    entry = store.add("Kim", [recording(1)], MODEL, None, "me")
    read = store._recordings  # type: ignore[attr-defined]

    def interrupted(known: object) -> object:
        other.add("Kim", [recording(2)], MODEL, entry.version, "me")  # between the two questions to the database
        return read(known)

    monkeypatch.setattr(store, "_recordings", interrupted)
    voiceprint = store.voiceprint("Kim")
    assert voiceprint.speaker == entry and len(voiceprint.recordings) == 1
    assert other.voiceprint("Kim").speaker.recordings == 2
    store.close()
    other.close()


def test_a_change_that_fails_half_way_did_not_happen(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    store = place.open()
    store.add("Kim", [recording(1)], MODEL, None, "me")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store, "_insert_event", fail)  # the last thing that a change writes
        for call in (
            lambda: store.add("Lee", [recording(1)], MODEL, None, "me"),
            lambda: store.replace("Kim", [recording(1), recording(2)], MODEL, 1, "me"),
            lambda: store.remove("Kim", "me"),
        ):
            with pytest.raises(KeyboardInterrupt):
                call()
    assert [entry.name for entry in store.speakers()] == ["Kim"] and store.revision() == 1
    assert len(store.voiceprint("Kim").recordings) == 1
    assert store.add("Lee", [recording(1)], MODEL, None, "me").version == 2
    store.close()


def test_of_threads_that_add_to_one_name_exactly_one_wins(store: VoiceprintStore) -> None:
    barrier = threading.Barrier(4)

    def enrol(seed: int, version: int | None) -> int | None:
        barrier.wait()
        try:
            return store.add("Kim", [recording(seed)], MODEL, version, "me").version
        except StaleVoiceprintError:
            return None

    for turn in range(5):
        with ThreadPoolExecutor(4) as pool:
            won = [
                version for version in pool.map(enrol, range(10 * turn, 10 * turn + 4), [turn or None] * 4) if version
            ]
        assert won == [turn + 1]
    assert len(store.voiceprint("Kim").recordings) == 5


@pytest.mark.slow
def test_processes_change_a_store_together_and_no_change_is_missed(place: Place) -> None:
    children = [child(f"contend({place.location!r}, {prefix!r}, 12)") for prefix in "ABC"]  # they make it, too
    store, mirror, seen = place.open(), Mirror(), 0
    while any(process.poll() is None for process in children):
        mirror.follow(store)
        known = {c.speaker.name: c.speaker.version for c in mirror.speakers.values()}
        # Who has seen a revision has seen all before it.
        assert len({*known.values()}) == len(known)
        assert mirror.revision >= seen and max(known.values(), default=0) == mirror.revision
        assert len(store.events()) >= mirror.revision
        seen = mirror.revision
    outputs = [process.communicate()[0] for process in children]
    assert [process.returncode for process in children] == [0, 0, 0]
    shared = sum(int(output) for output in outputs)
    mirror.follow(store)
    names = sorted(centroid.speaker.name for centroid in mirror.speakers.values())
    assert names == sorted(["everybody's", *(f"{prefix}-{number}" for prefix in "ABC" for number in range(12))])
    assert [event.revision for event in store.events()] == list(range(1, 36 + shared + 1))
    assert len(store.voiceprint("everybody's").recordings) == shared >= 12
    assert Counter(event.actor for event in store.events()).keys() == {*"ABC"}
    store.close()


@pytest.mark.slow
def test_a_process_that_is_killed_loses_no_enrolment_that_it_acknowledged_and_leaves_no_half_one(place: Place) -> None:
    draws = random.Random(1)
    acknowledged: list[str] = []
    for attempt in range(4):
        process = child(f"enrol_forever({place.location!r}, {f'{attempt}'!r})")
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        time.sleep(draws.uniform(0.0, 0.15))
        process.kill()
        lines += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        acknowledged += [line.strip() for line in lines if line.endswith("\n")]
        store = place.open(create=False)
        names = [entry.name for entry in store.speakers()]
        assert {*acknowledged} <= {*names}
        assert len(names) <= len(acknowledged) + attempt + 1  # one that was on the disk and not yet acknowledged
        for name in names:
            number = int(name.split("-")[1])
            kept = store.voiceprint(name).recordings
            assert [int(each.digest, 16) for each in kept] == [3 * number, 3 * number + 1, 3 * number + 2]
            assert all(each.audio == b"sound" * 500 for each in kept)
        assert [event.revision for event in store.events()] == list(range(1, len(names) + 1))
        store.close()
    assert len(acknowledged) > 8


def test_nothing_of_a_speaker_who_was_removed_is_in_any_file(place: Place) -> None:
    store = place.open()
    for number in range(20):
        store.add(f"Bystander {number}", [recording(100 + number)], MODEL, None, "me")
    given = [recording(1, audio=random.Random(0).randbytes(9000), source="quite-a-rare-source.wav"), recording(2)]
    entry = store.add("Quite-a-rare-name", given[:1], MODEL, None, "me")
    store.add("Quite-a-rare-name", given[1:], MODEL, entry.version, "me")  # and the centroid before this one
    centroid = store.voiceprint("Quite-a-rare-name").centroid
    traces = [b"Quite-a-rare-name", b"quite-a-rare-source", given[0].audio[2000:2032], f"{1:064x}".encode()]
    traces += [each.embedding.tobytes()[:32] for each in given]
    traces += [centroid.tobytes()[:32]]
    assert present(place, traces) == traces
    erasure = store.remove("Quite-a-rare-name", "me")
    assert erasure.complete and erasure.speaker is not None and erasure.speaker.name == "Quite-a-rare-name"
    assert present(place, traces) == []
    assert store.count() == 20 and present(place, [b"Bystander 3"])
    assert np.array_equal(store.voiceprint("Bystander 3").centroid, mean_embedding(recording(103).embedding[None]))
    store.close()


def test_an_erasure_that_somebody_is_reading_through_is_not_called_complete(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ERASING_S", 0.2)
    store = place.open()
    for name, seed in (("Kim", 1), ("Lee", 2), ("Mia", 3)):
        store.add(name, [recording(seed)], MODEL, None, "me")
    trace = recording(1).embedding.tobytes()[:40]
    reader = place.hold()
    erasure = store.remove("Kim", "me")
    assert not erasure.complete and "another" in erasure.reason and present(place, [trace])
    with pytest.raises(UnknownSpeakerError):
        store.voiceprint("Kim")
    again = store.remove("Kim", "me")
    assert (again.speaker, again.complete, again.reason) == (None, False, erasure.reason)
    with pytest.raises(UnknownSpeakerError):
        store.remove("Nobody", "me")
    reader.rollback()  # unlike closing, a server has ended the reading when this comes back
    reader.close()
    assert store.remove("Lee", "me").complete and not present(place, [trace])
    assert store.count() == 1
    store.close()


def test_an_encrypted_store_shows_nothing_of_voices_and_opens_with_its_key_alone(place: Place) -> None:
    given = recording(1, audio=random.Random(0).randbytes(9000))
    store = place.open(sealer=AesSealer(KEY))
    store.add("Kim", [given], MODEL, None, "me")
    assert store.encrypted and same(store.voiceprint("Kim").recordings[0], given)
    assert np.array_equal(store.changes().changed[0].embedding, mean_embedding(given.embedding[None]))
    secret = [given.embedding.tobytes()[:16], given.audio[2000:2032], given.audio[:16]]
    assert present(place, [b"Kim", *secret]) == [b"Kim"]  # the search finds what is there
    store.close()
    with pytest.raises(StoreError, match=f"is encrypted; give its key in {KEY_VARIABLE}"):
        place.open()
    with pytest.raises(StoreError, match="encrypted with another key"):
        place.open(sealer=AesSealer(OTHER_KEY))


def test_a_key_for_a_store_that_is_not_encrypted_is_refused(place: Place) -> None:
    place.open().close()
    with pytest.raises(StoreError, match="is not encrypted, but there is a key"):
        place.open(sealer=AesSealer(KEY))


def test_sealed_values_put_in_other_rows_are_not_opened(place: Place) -> None:
    store = place.open(sealer=AesSealer(KEY))
    for name, seed in (("Kim", 1), ("Lee", 2)):
        store.add(name, [recording(seed, audio=b"sound")], MODEL, None, "me")
    kim, lee = (f"(SELECT id FROM speakers WHERE name = '{name}')" for name in ("Kim", "Lee"))
    for column in ("audio", "embedding"):
        theirs = f"(SELECT {column} FROM recordings WHERE speaker = {lee})"
        place.execute(f"UPDATE recordings SET {column} = {theirs} WHERE speaker = {kim}")
        with pytest.raises(StoreError, match=r"keeps for .*recording \w{32} cannot be decrypted"):
            store.voiceprint("Kim")
    place.execute("UPDATE speakers SET centroid = (SELECT centroid FROM speakers WHERE name = 'Lee')")
    ((damaged,), (changed,)) = store.changes().damaged, store.changes().changed
    assert damaged.name == "Kim" and "cannot be decrypted" in damaged.reason and changed.speaker.name == "Lee"
    assert len(store.voiceprint("Lee").recordings) == 1
    store.close()


@pytest.mark.parametrize("key", ["", "abc", "00" * 31, "zz" * 32])
def test_a_key_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(KEY_VARIABLE, key)
    if not key:
        assert isinstance(sealer_from_environment(), PlainSealer)
        return
    with pytest.raises(UsageError, match="64 hexadecimal digits") as refusal:
        sealer_from_environment()
    assert key not in str(refusal.value)


def test_the_key_comes_from_the_environment(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY.hex())
    store = open_store(place.location, create=True)
    assert store.encrypted
    store.close()


def test_a_damaged_embedding_is_refused(place: Place) -> None:
    store = place.open()
    store.add("Kim", [recording(1, 8)], MODEL, None, "me")
    for content in ("", "00ff", "0000c07f" * 8):  # none, not whole values, not numbers
        blob = f"x'{content}'" if isinstance(place, SqlitePlace) else f"'\\x{content}'"
        place.execute(f"UPDATE recordings SET embedding = {blob}")
        with pytest.raises(StoreError, match=r"keeps for recording \w{32} is damaged"):
            store.voiceprint("Kim")
    store.close()


def test_a_store_of_a_later_version_is_refused(place: Place) -> None:
    place.open().close()
    sqlite = isinstance(place, SqlitePlace)
    place.execute("PRAGMA user_version = 3" if sqlite else "UPDATE facts SET value = '3' WHERE key = 'schema'")
    with pytest.raises(StoreError, match="made by a later version of Sound-Groove; update it"):
        place.open()


def test_a_store_that_is_not_there_is_made_only_where_that_was_asked_for(place: Place) -> None:
    for _ in range(2):
        with pytest.raises(StoreError, match=r"no store of voiceprints.*'sound-groove enroll' makes one"):
            place.open(create=False)
    place.open().close()
    place.open(create=False).close()


def test_a_store_that_was_closed_says_so(place: Place) -> None:
    store = place.open()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.count()
    with pytest.raises(StoreError, match="closed"):
        store.add("Kim", [recording(1)], MODEL, None, "me")


def test_another_programs_database_and_other_files_are_refused_and_stay_as_they_are(tmp_path: Path) -> None:
    theirs = SqlitePlace(tmp_path / "theirs.db")
    theirs.execute("CREATE TABLE speakers (name TEXT)")
    text = SqlitePlace(tmp_path / "notes.txt")
    text.path.write_text("Not a database, and dear to somebody.\n" * 100)
    short = SqlitePlace(tmp_path / "short.txt")
    short.path.write_text("short")
    for place, reason in ((theirs, "another program's"), (text, "not a store"), (short, "not a store")):
        before = place.path.read_bytes()
        for create in (True, False):
            with pytest.raises(StoreError, match=reason):
                place.open(create)
        assert place.path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "short.txt", "theirs.db"]


def test_a_folder_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "voiceprints.db"):
        with pytest.raises(StoreError, match="cannot be made: "):
            SqlitePlace(path).open()
        with pytest.raises(StoreError, match="there is no store of voiceprints at"):
            SqlitePlace(path).open(create=False)


def refuse(descriptor: int, first: int, count: int) -> None:
    """What takes no room on the disk, as on a file system that knows no such thing."""
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps rights in another way")
def test_a_file_of_voiceprints_is_its_owners_alone(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        store = SqlitePlace(tmp_path / "voiceprints.db").open()
        store.add("Kim", [recording(1)], MODEL, None, "me")
    finally:
        os.umask(umask)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys([f"voiceprints.db{end}" for end in ("", "-wal", "-shm", "-reserve")], 0o600)
    store.close()


@pytest.mark.parametrize("call", ["as it is", "refuses", "missing"])
def test_room_is_reserved_also_where_no_call_does_that(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if call == "refuses":
        monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    elif call == "missing":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    reserve = tmp_path / "voiceprints.db-reserve"
    SqlitePlace(tmp_path / "voiceprints.db").open().close()
    assert reserve.stat().st_size == sqlite.RESERVE_BYTES <= 512 * reserve.stat().st_blocks
    os.truncate(reserve, 1000)  # as a removal on a full disk that was killed may leave it
    SqlitePlace(tmp_path / "voiceprints.db").open().close()
    assert reserve.stat().st_size == sqlite.RESERVE_BYTES


def test_a_file_that_was_cut_short_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path / "voiceprints.db")
    store = place.open()
    store.add("Kim", [recording(1, audio=bytes(100_000))], MODEL, None, "me")
    store.close()
    place.path.write_bytes(place.path.read_bytes()[:5000])
    with pytest.raises(SoundGrooveError, match=r"voiceprints\.db: "):
        place.open().voiceprint("Kim")


def test_who_reads_does_not_wait_while_a_change_waits_for_another_program(place: Place) -> None:
    with closing(place.open()) as store, ThreadPoolExecutor(1) as executor:
        store.add("Kim", [recording(1)], MODEL, None, "me")
        with closing(place.hold_up()):
            waiting = executor.submit(store.add, "Lee", [recording(2)], MODEL, None, "me")
            time.sleep(0.2)
            began = time.monotonic()
            assert [store.revision(), store.count(), len(store.events()), len(store.changes().changed)] == [1] * 4
            assert [entry.name for entry in store.speakers()] == ["Kim"] == [store.voiceprint("Kim").speaker.name]
            assert store.is_whole() and not store.damaged() and not store.is_enrolled("Lee")
            assert time.monotonic() - began < 5.0 and not waiting.done()
        assert waiting.result(timeout=30).version == 2 == store.revision()  # who changed something sees it at once


def test_changes_are_synced_to_the_disk(tmp_path: Path) -> None:
    store = SqlitePlace(tmp_path / "voiceprints.db").open()
    database: sqlite3.Connection = store._database  # type: ignore[attr-defined]
    settings = [database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]  # 2 is FULL: the log is synced with each change
    store.close()


def test_a_url_of_another_database_is_refused() -> None:
    for url in ("mysql://host/voices", "http://[bad"):
        with pytest.raises(UsageError, match="a store is a file or postgresql://"):
            open_store(url)


def test_the_store_to_use_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOUND_GROOVE_STORE", raising=False)
    assert default_store() == "voiceprints.db"
    monkeypatch.setenv("SOUND_GROOVE_STORE", "postgresql://host/voices")
    assert default_store() == "postgresql://host/voices"
