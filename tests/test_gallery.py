"""Galleries: who is enrolled with a model, how near, and that they follow the store."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import sound_groove.voiceprints.gallery as module
from postgres_server import PostgresServer
from sound_groove.types import ModelIdentity
from sound_groove.voiceprints.gallery import Gallery, MemoryGallery, ServerGallery
from sound_groove.voiceprints.store.interface import VoiceprintStore
from sound_groove.voiceprints.store.postgres import PostgresStore
from sound_groove.voiceprints.store.sealing import AesSealer, PlainSealer
from store_places import MODEL, OTHER_MODEL, PostgresPlace, SqlitePlace, recording


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VoiceprintStore]:
    with closing(SqlitePlace(tmp_path / "voiceprints.db").open()) as opened:
        yield opened


def enrol(store: VoiceprintStore, name: str, *seeds: int, model: ModelIdentity = MODEL) -> None:
    entries = {entry.name: entry for entry in store.speakers()}
    version = entries[name].version if name in entries else None
    store.add(name, [recording(seed) for seed in seeds], model, version, "me")


def names(gallery: Gallery, seed: int, count: int = 100) -> list[str]:
    return [item.speaker.name for item in gallery.nearest(recording(seed).embedding, count)]


def test_an_empty_store_has_nobody(store: VoiceprintStore) -> None:
    gallery = MemoryGallery(store, MODEL, threads=1)
    assert (gallery.count(), gallery.others(), names(gallery, 1)) == (0, 0, [])


@pytest.mark.parametrize("part", [3, 1000])
def test_the_nearest_come_first_with_their_cosines(
    store: VoiceprintStore, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(module, "CHUNK", part)  # speakers are taken from the store in parts
    for seed in range(20):
        enrol(store, f"speaker {seed}", seed, seed + 100)
    gallery = MemoryGallery(store, MODEL, threads=1)
    query = recording(7).embedding
    found = gallery.nearest(query, 5)
    cosines = {entry.name: float(store.voiceprint(entry.name).centroid @ query) for entry in store.speakers()}
    expected = sorted(cosines, key=lambda name: -cosines[name])[:5]
    assert expected[0] == "speaker 7" and [item.speaker.name for item in found] == expected
    assert [item.score for item in found] == pytest.approx([cosines[name] for name in expected], abs=1e-6)
    assert found[0].speaker == store.voiceprint("speaker 7").speaker


def test_a_speaker_of_another_model_is_counted_and_never_compared(store: VoiceprintStore) -> None:
    enrol(store, "ours", 1)
    enrol(store, "theirs", 2, model=OTHER_MODEL)
    ours, theirs = MemoryGallery(store, MODEL, threads=1), MemoryGallery(store, OTHER_MODEL, threads=1)
    assert (ours.count(), ours.others(), names(ours, 2)) == (1, 1, ["ours"])
    assert (theirs.count(), theirs.others(), names(theirs, 1)) == (1, 1, ["theirs"])


def test_it_follows_what_is_enrolled_added_embedded_again_and_removed(store: VoiceprintStore) -> None:
    gallery = MemoryGallery(store, MODEL, threads=1)
    enrol(store, "anna", 1)
    assert names(gallery, 1) == ["anna"]
    enrol(store, "anna", 2)
    assert gallery.count() == 1 and gallery.nearest(recording(1).embedding, 1)[0].speaker.recordings == 2
    enrol(store, "ben", 3)
    assert names(gallery, 3) == ["ben", "anna"]
    version = store.voiceprint("ben").speaker.version
    store.replace("ben", [recording(4)], OTHER_MODEL, version, "me")
    assert (names(gallery, 3), gallery.count(), gallery.others()) == (["anna"], 1, 1)
    version = store.voiceprint("ben").speaker.version
    store.replace("ben", [recording(5)], MODEL, version, "me")
    assert (names(gallery, 5), gallery.others()) == (["ben", "anna"], 0)
    store.remove("anna", "me")
    enrol(store, "anna", 9)  # another voice under the name, within one refresh
    assert gallery.nearest(recording(9).embedding, 1)[0].score == pytest.approx(1)
    store.remove("anna", "me")
    store.remove("ben", "me")
    assert (names(gallery, 5), gallery.count(), gallery.others()) == ([], 0, 0)


def test_who_came_and_went_unseen_leaves_nothing(store: VoiceprintStore) -> None:
    gallery = MemoryGallery(store, MODEL, threads=1)
    gallery.refresh()
    for model in (MODEL, OTHER_MODEL):
        enrol(store, "passing", 1, model=model)
        store.remove("passing", "me")
    assert (gallery.count(), gallery.others()) == (0, 0)


def test_where_nothing_changed_one_small_question_is_all(
    store: VoiceprintStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol(store, "anna", 1)
    gallery = MemoryGallery(store, MODEL, threads=1)
    gallery.refresh()
    monkeypatch.setattr(store, "changes", lambda since: pytest.fail("asked for changes where there were none"))
    assert names(gallery, 1) == ["anna"]


def test_a_change_that_cannot_be_taken_in_is_taken_in_later(
    store: VoiceprintStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol(store, "anna", 1)
    gallery = MemoryGallery(store, MODEL, threads=1)
    gallery.refresh()
    enrol(store, "ben", 2)
    with monkeypatch.context() as patch:
        patch.setattr(
            "sound_groove.voiceprints.search.VoiceprintIndex.put_all", lambda *_: (_ for _ in ()).throw(MemoryError)
        )
        with pytest.raises(MemoryError):
            gallery.refresh()
    assert names(gallery, 2) == ["ben", "anna"]


def test_threads_that_ask_while_others_enrol_and_remove_see_whole_changes(store: VoiceprintStore) -> None:
    gallery = MemoryGallery(store, MODEL, threads=1)
    enrol(store, "rock", 1)
    failures: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                found = gallery.nearest(recording(1).embedding, 10)
                assert found[0].speaker.name == "rock" and len({item.speaker.id for item in found}) == len(found)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(15):
        enrol(store, f"guest {number}", 10 + number)
        if number % 3:
            store.remove(f"guest {number}", "me")
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert gallery.count() == 6 and names(gallery, 1)[0] == "rock"


def test_a_server_answers_as_memory_does(postgres: PostgresServer) -> None:
    postgres.clear()
    with closing(PostgresStore(PostgresPlace(postgres, "postgres").location, True, PlainSealer())) as store:
        for seed in range(12):
            enrol(store, f"speaker {seed:02}", seed, seed + 100)
        enrol(store, "theirs", 50, model=OTHER_MODEL)
        memory, server = MemoryGallery(store, MODEL, threads=1), ServerGallery(store, MODEL)
        assert (server.count(), server.others()) == (memory.count(), memory.others()) == (12, 1)
        query = recording(3).embedding
        ours, theirs = memory.nearest(query, 5), server.nearest(query, 5)
        assert [item.speaker for item in ours] == [item.speaker for item in theirs]
        assert [item.score for item in ours] == pytest.approx([item.score for item in theirs], abs=1e-6)
        store.remove("speaker 03", "me")
        assert server.count() == 11 and "speaker 03" not in names(server, 3)


def drawn(gallery: Gallery) -> set[str]:
    return {item.speaker.id for item in gallery.cohort(recording(1).embedding)}


def test_a_small_gallery_is_its_own_cohort(store: VoiceprintStore) -> None:
    gallery = MemoryGallery(store, MODEL, threads=1)
    assert gallery.cohort(recording(1).embedding) == []
    for seed in range(4):
        enrol(store, f"speaker {seed}", seed)
    enrol(store, "theirs", 9, model=OTHER_MODEL)
    query = recording(1).embedding
    by_id = {item.speaker.id: item for item in gallery.nearest(query, 10)}
    assert {item.speaker.id: item for item in gallery.cohort(query)} == by_id and len(by_id) == 4


def test_the_cohort_follows_who_comes_and_goes_as_if_it_were_drawn_anew(
    store: VoiceprintStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sound_groove.voiceprints.gallery.COHORT", 5)
    gallery = MemoryGallery(store, MODEL, threads=1)
    for number in range(30):
        enrol(store, f"speaker {number}", number)
        if number % 3 == 0:
            store.remove(f"speaker {number // 2}", "me")
        assert drawn(gallery) == drawn(MemoryGallery(store, MODEL, threads=1))
    assert len(drawn(gallery)) == 5
    smallest = sorted(entry.id for entry in store.speakers())[:5]
    assert drawn(gallery) == set(smallest)  # ids are random, and tell nothing about a voice


def test_a_server_draws_the_cohort_that_memory_draws(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sound_groove.voiceprints.gallery.COHORT", 5)
    postgres.clear()
    with closing(PostgresStore(PostgresPlace(postgres, "postgres").location, True, PlainSealer())) as store:
        memory, server = MemoryGallery(store, MODEL, threads=1), ServerGallery(store, MODEL)
        for number in range(8):
            enrol(store, f"speaker {number}", number)
            assert drawn(server) == drawn(memory)
        enrol(store, "theirs", 50, model=OTHER_MODEL)
        gone = memory.cohort(recording(1).embedding)[0].speaker.name
        store.remove(gone, "me")
        assert drawn(server) == drawn(memory) and len(drawn(server)) == 5
        query = recording(1).embedding
        scores = [{item.speaker.id: item.score for item in gallery.cohort(query)} for gallery in (memory, server)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-6)


# What may stand in a row of a store that others can write to, or that has rotted; it disables nobody else.
BAD = {
    "another size": "UPDATE speakers SET centroid = zeroblob(32)",
    "not a number": "UPDATE speakers SET centroid = CAST(x'0000c07f' || substr(centroid, 5) AS BLOB)",
    "another length": "UPDATE speakers SET centroid = CAST(x'00007f43' || substr(centroid, 5) AS BLOB)",
    "text for an embedding": "UPDATE speakers SET centroid = 'anna'",
    "no embedding": "UPDATE speakers SET centroid = ''",
    "speech without end": "UPDATE speakers SET speech_s = 9e999",
    "coherence": "UPDATE speakers SET coherence = 9",
    "text for a figure": "UPDATE speakers SET coherence = 'x'",
    "bytes for a name": "UPDATE speakers SET name = x'ff00'",
    "a name that is no text": "UPDATE speakers SET name = CAST(x'61ff62' AS TEXT)",
    "a count": "UPDATE speakers SET recordings = -1",
    "a version of later": "UPDATE speakers SET version = 9000000000",
    "a version of never": "UPDATE speakers SET version = 0",
    "a version that is none": "UPDATE speakers SET version = 'x'",
    "a wrong mark": "UPDATE speakers SET seal = x'00'",
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_row_is_left_out_and_told_of_and_the_others_are_found(tmp_path: Path, bad: str) -> None:
    place = SqlitePlace(tmp_path / "voiceprints.db")
    with closing(place.open()) as store:
        for number, name in enumerate(("anna", "ben", "cleo")):
            enrol(store, name, number)
        speaker = store.voiceprint("anna").speaker.id
        place.execute(f"{BAD[bad]} WHERE name = 'anna'")
        gallery = MemoryGallery(store, MODEL, threads=1)
        assert names(gallery, 1)[0] == "ben" and sorted(names(gallery, 1)) == ["ben", "cleo"]
        assert gallery.count() == 2 and [one.id for one in gallery.left_out()] == [speaker]
        assert gallery.left_out()[0].name.isprintable() and gallery.left_out()[0].reason
        enrol(store, "dora", 7)
        assert names(gallery, 7)[0] == "dora" and len(gallery.left_out()) == 1
        assert store.discard(speaker, "me").complete
        assert gallery.left_out() == [] and gallery.count() == 3


def test_a_speaker_who_goes_bad_later_is_left_out_when_that_is_read_and_comes_back_when_enrolled_anew(
    tmp_path: Path,
) -> None:
    place = SqlitePlace(tmp_path / "voiceprints.db")
    with closing(place.open()) as store:
        enrol(store, "anna", 1)
        enrol(store, "ben", 2)
        gallery = MemoryGallery(store, MODEL, threads=1)
        assert gallery.count() == 2
        enrol(store, "anna", 3)
        place.execute("UPDATE speakers SET coherence = 9 WHERE name = 'anna'")
        assert names(gallery, 1) == ["ben"] and len(gallery.left_out()) == 1
        store.remove("anna", "me")
        enrol(store, "anna", 1)
        assert names(gallery, 1) == ["anna", "ben"] and gallery.left_out() == []


@pytest.mark.parametrize("size", [None, 192])
def test_embeddings_of_another_size_are_left_out_even_if_they_come_first(
    store: VoiceprintStore, size: int | None
) -> None:
    store.add("odd", [recording(1, 8)], MODEL, None, "me")
    enrol(store, "anna", 2)
    enrol(store, "ben", 3)
    gallery = MemoryGallery(store, MODEL, threads=1, size=size)
    assert names(gallery, 2) == ["anna", "ben"]
    assert [one.reason for one in gallery.left_out()] == ["its embeddings have 8 values, and those of the model 192"]


def test_a_store_that_was_put_back_in_part_is_told_of(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path / "voiceprints.db")
    with closing(place.open(sealer=AesSealer(bytes(32)))) as store:
        enrol(store, "anna", 1)
        enrol(store, "ben", 2)
        assert MemoryGallery(store, MODEL, threads=1).is_whole()
        place.execute("DELETE FROM recordings WHERE number = 1")
        place.execute("DELETE FROM speakers WHERE name = 'anna'")
        gallery = MemoryGallery(store, MODEL, threads=1)
        assert not gallery.is_whole() and names(gallery, 1) == ["ben"]


def test_bad_rows_on_a_server_are_left_out_and_told_of(postgres: PostgresServer) -> None:
    postgres.clear()
    place = PostgresPlace(postgres, "postgres")
    with closing(PostgresStore(place.location, True, PlainSealer())) as store:
        for number in range(6):
            enrol(store, f"speaker {number}", number)
        query = recording(1).embedding
        long = "(SELECT array_agg(10) FROM generate_series(1, 192))::vector"
        place.execute(f"UPDATE speakers SET centroid = {long} WHERE name = 'speaker 2'")
        place.execute("UPDATE speakers SET centroid = '[1,0,0,0,0,0,0,0]' WHERE name = 'speaker 3'")
        place.execute("UPDATE speakers SET coherence = 9 WHERE name = 'speaker 4'")
        place.execute("UPDATE speakers SET snr_db = 30 WHERE name = 'speaker 5'")  # which a checksum alone tells
        gallery = ServerGallery(store, MODEL, size=192)
        assert sorted(names(gallery, 1)) == ["speaker 0", "speaker 1"]
        assert {one.name for one in gallery.left_out()} == {"speaker 2", "speaker 3", "speaker 4"}
        assert gallery.nearest(query, 1)[0].speaker.name == "speaker 1"
        assert len(gallery.cohort(query)) == 2 and len(store.damaged()) == 4
