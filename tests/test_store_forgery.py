"""Nobody changes what decides in an encrypted store without its key, and damage is noticed in every store."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace as changed
from typing import Any

import numpy as np
import pytest

from sound_groove.errors import DamagedVoiceprintError, OtherModelError, SoundGrooveError, StoreError
from sound_groove.types import Embeddings
from sound_groove.voiceprints.store.interface import VoiceprintStore
from sound_groove.voiceprints.store.marks import contents_mark, speaker_mark
from sound_groove.voiceprints.store.sealing import AesSealer, PlainSealer, Sealer
from store_places import MODEL, OTHER_MODEL, Place, PostgresPlace, SqlitePlace, age, recording

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
KIM, LEE = "(SELECT id FROM speakers WHERE name = 'Kim')", "(SELECT id FROM speakers WHERE name = 'Lee')"


def filled(place: Place, sealer: Sealer) -> VoiceprintStore:
    """A store in which Kim has two recordings, Lee one, and Mia one of another model, whose norm nobody knows."""
    store = place.open(sealer=sealer)
    store.add("Kim", [recording(1, audio=b"sound", norm=8.0), recording(2, norm=10.0)], MODEL, None, "me")
    store.add("Lee", [recording(3, norm=9.0)], MODEL, None, "me")
    store.add("Mia", [recording(4)], OTHER_MODEL, None, "me")
    return store


@pytest.fixture
def encrypted(place: Place) -> Iterator[VoiceprintStore]:
    with closing(filled(place, AesSealer(KEY))) as store:
        yield store


def unit(*values: float) -> Embeddings:
    return np.array(values, np.float32) / np.float32(np.linalg.norm(values))


@pytest.mark.parametrize("sealer", [PlainSealer(), AesSealer(KEY)], ids=["plain", "encrypted"])
def test_a_model_is_known_by_what_it_gave_of_the_probe_when_it_was_first_enrolled_with(
    place: Place, sealer: Sealer
) -> None:
    with closing(filled(place, sealer)) as store:  # as by a version that kept no probe
        assert store.probe(MODEL.hash) is None
        store.add("Ann", [recording(5)], MODEL, None, "me", unit(3, 4, 0))
        store.add("Bob", [recording(6)], MODEL, None, "me", unit(3.1, 3.9, 0.1))  # the same weights in fewer bits
        for other in (unit(4, 3, 0), unit(3, 4), unit(3, 4, 0) * np.nan):
            with pytest.raises(OtherModelError, match=r"calls itself small \(1f1f1f1f1f1f\) and is another"):
                store.add("Cat", [recording(7)], MODEL, None, "me", other)
            with pytest.raises(OtherModelError, match="the cosine with the embedding of the probe"):
                store.replace("Mia", [recording(7)], MODEL, 3, "me", other)
        assert store.count() == 5 and store.is_whole()
    with closing(place.open(create=False, sealer=sealer)) as store:
        kept = store.probe(MODEL.hash)
        assert kept is not None and np.array_equal(kept, unit(3, 4, 0)) and store.probe(OTHER_MODEL.hash) is None
        assert store.is_whole()
        # Put in the place of another, it says nothing of that one; taken away, it is missed where there is a key.
        place.execute(
            f"INSERT INTO facts SELECT 'probe 1 {OTHER_MODEL.hash}', value FROM facts WHERE key LIKE 'probe%'"
        )
        with pytest.raises(StoreError, match="what the store knows model 2e2e2e2e2e2e by"):
            store.probe(OTHER_MODEL.hash)
        place.execute("DELETE FROM facts WHERE key LIKE 'probe%'")
        assert store.probe(MODEL.hash) is None and store.is_whole() is not store.encrypted


def refused(store: VoiceprintStore) -> set[str]:
    """Who of Kim, Lee and Mia cannot be used any more; the others are as they were."""
    found = set()
    for name, count in (("Kim", 2), ("Lee", 1), ("Mia", 1)):
        try:
            assert len(store.voiceprint(name).recordings) == count
        except DamagedVoiceprintError as error:
            found.add(name)
            assert f"the voiceprint of '{name}' cannot be used: " in str(error) and "enrol again" in str(error)
        except SoundGrooveError:  # nobody has this name any more
            found.add(name)
    return found


# What a stranger may write into the rows of Kim without the key, to be taken for her or to be let in more easily.
FORGERIES = {
    "a name": "UPDATE speakers SET name = 'Anna' WHERE name = 'Kim'",
    "exchanged names": "",  # in three steps, as names are unique
    "a model's name": "UPDATE speakers SET model_name = 'large' WHERE name = 'Kim'",
    "a model": f"UPDATE speakers SET model_hash = '{OTHER_MODEL.hash}' WHERE name = 'Kim'",
    "coherence beyond one": "UPDATE speakers SET coherence = 9 WHERE name = 'Kim'",
    "coherence": "UPDATE speakers SET coherence = 0.99 WHERE name = 'Kim'",
    "a count": "UPDATE speakers SET recordings = 3 WHERE name = 'Kim'",
    "a count of audio": "UPDATE speakers SET with_audio = 2 WHERE name = 'Kim'",
    "speech": "UPDATE speakers SET speech_s = speech_s + 1 WHERE name = 'Kim'",
    "noise": "UPDATE speakers SET snr_db = 40 WHERE name = 'Kim'",
    "a norm": "UPDATE speakers SET embedding_norm = 20 WHERE name = 'Kim'",
    "a spread of norms": "UPDATE speakers SET norm_spread = 0 WHERE name = 'Kim'",
    "no norm": "UPDATE speakers SET embedding_norm = NULL, norm_spread = NULL WHERE name = 'Kim'",
    "a norm without a spread": "UPDATE speakers SET norm_spread = NULL WHERE name = 'Kim'",
    "a time": "UPDATE speakers SET enrolled_at = '2020-01-01T00:00:00+00:00' WHERE name = 'Kim'",
    "a version": "UPDATE speakers SET version = version + 1 WHERE name = 'Kim'",
    "a centroid": "UPDATE speakers SET centroid = (SELECT o.centroid FROM speakers o WHERE o.name = 'Lee') "
    "WHERE name = 'Kim'",
    "the marks of another": "UPDATE speakers SET seal = (SELECT o.seal FROM speakers o WHERE o.name = 'Lee'), "
    "contents = (SELECT o.contents FROM speakers o WHERE o.name = 'Lee') WHERE name = 'Kim'",
    "a mark of none": "UPDATE speakers SET seal = '' WHERE name = 'Kim'",
}
# The same of the recordings, which only who looks at the whole voiceprint sees.
FORGERIES_OF_RECORDINGS = {
    "a recording's speech": f"UPDATE recordings SET speech_s = 3 WHERE speaker = {KIM}",
    "a recording's norm": f"UPDATE recordings SET embedding_norm = 20 WHERE speaker = {KIM}",
    "no norm of a recording": f"UPDATE recordings SET embedding_norm = NULL WHERE speaker = {KIM}",
    "a recording's source": f"UPDATE recordings SET source = 'b.wav' WHERE speaker = {KIM}",
    "a recording's digest": f"UPDATE recordings SET digest = 'ff' WHERE speaker = {KIM}",
    "a recording's time": f"UPDATE recordings SET enrolled_at = '2020' WHERE speaker = {KIM}",
    "a recording's rate": f"UPDATE recordings SET sample_rate = 8000 WHERE speaker = {KIM}",
    "a recording less": "DELETE FROM recordings WHERE number = (SELECT min(number) FROM recordings)",
    "a recording's audio": "UPDATE recordings SET audio = ''",
    "another order": f"UPDATE recordings SET number = 100 - number WHERE speaker = {KIM}",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_speaker_of_an_encrypted_store_is_refused_and_nobody_else(
    place: Place, encrypted: VoiceprintStore, forgery: str
) -> None:
    assert refused(encrypted) == set() and encrypted.damaged() == [] and encrypted.is_whole()
    if forgery == "exchanged names":
        for old, new in (("Kim", "?"), ("Lee", "Kim"), ("?", "Lee")):
            place.execute(f"UPDATE speakers SET name = '{new}' WHERE name = '{old}'")
    else:
        place.execute(FORGERIES[forgery])
    touched = {"Kim", "Lee"} if forgery == "exchanged names" else {"Kim"}
    assert refused(encrypted) == touched
    assert len(encrypted.damaged()) == len(touched)
    changes = encrypted.changes()
    assert {centroid.speaker.name for centroid in changes.changed} == {"Kim", "Lee", "Mia"} - touched
    assert {entry.name for entry in encrypted.speakers()} == {"Kim", "Lee", "Mia"} - touched
    assert len(changes.damaged) == len(touched)


@pytest.mark.parametrize("forgery", FORGERIES_OF_RECORDINGS)
def test_a_forged_recording_of_an_encrypted_store_is_refused(
    place: Place, encrypted: VoiceprintStore, forgery: str
) -> None:
    statement = FORGERIES_OF_RECORDINGS[forgery]
    if forgery == "another order" and isinstance(place, PostgresPlace):
        place.execute("ALTER TABLE recordings ALTER COLUMN number DROP IDENTITY")
    place.execute(statement)
    assert refused(encrypted) == {"Kim"}
    with pytest.raises(DamagedVoiceprintError):  # nor is it made good by what comes after
        encrypted.add("Kim", [recording(9)], MODEL, 1, "me")
    with pytest.raises(DamagedVoiceprintError):
        encrypted.replace("Kim", [recording(9)], MODEL, 1, "me")


def test_a_recording_moved_to_another_speaker_is_refused_in_both(place: Place, encrypted: VoiceprintStore) -> None:
    place.execute(f"UPDATE recordings SET speaker = {LEE} WHERE speaker = {KIM}")
    assert refused(encrypted) == {"Kim", "Lee"}


def test_a_speaker_of_another_store_with_the_same_key_is_refused(place: Place, encrypted: VoiceprintStore) -> None:
    """The marks are of one store: its id is in the key that they are made with."""
    other = "x'00112233445566778899aabbccddeeff'" if isinstance(place, SqlitePlace) else "'\\x00112233'"
    place.execute(f"UPDATE facts SET value = {other} WHERE key = 'id'")
    with closing(place.open(sealer=AesSealer(KEY))) as store:
        assert refused(store) == {"Kim", "Lee", "Mia"} and not store.is_whole()


@pytest.mark.parametrize(
    "forgery", ["a name", "coherence beyond one", "coherence", "a centroid", "speech", "a norm", "no norm"]
)
def test_damage_is_noticed_in_a_store_that_is_not_encrypted(place: Place, forgery: str) -> None:
    with closing(filled(place, PlainSealer())) as store:
        place.execute(FORGERIES[forgery])
        assert refused(store) == {"Kim"} and len(store.damaged()) == len(store.changes().damaged) == 1
        assert store.remove("Lee", "me").complete


@pytest.mark.parametrize(("column", "value"), [("coherence", 1.0), ("embedding_norm", 9.5), ("norm_spread", 0.5)])
def test_figures_that_the_recordings_do_not_give_are_refused_though_the_mark_is_right(
    place: Place, column: str, value: float
) -> None:
    """Whoever writes to a store that is not encrypted can make the checksum, too; not embeddings that belong to it."""
    with closing(filled(place, PlainSealer())) as store:
        kim = store.voiceprint("Kim")
        figures: dict[str, Any] = {column: value}
        forged = changed(kim.speaker, **figures)
        contents = contents_mark(kim.recordings, PlainSealer())
        seal = speaker_mark(forged, kim.centroid, contents, PlainSealer()).hex()
        literal = f"x'{seal}'" if isinstance(place, SqlitePlace) else f"'\\x{seal}'"
        place.execute(f"UPDATE speakers SET {column} = {value}, seal = {literal} WHERE name = 'Kim'")
        with pytest.raises(DamagedVoiceprintError, match="does not agree with its recordings"):
            store.voiceprint("Kim")


def copied(place: Place) -> None:
    """Keep what Kim is now, as somebody who copies the file does."""
    for table, where in (("speakers", "name = 'Kim'"), ("recordings", f"speaker = {KIM}")):
        place.execute(f"CREATE TABLE old_{table} AS SELECT * FROM {table} WHERE {where}")


def put_back(place: Place) -> None:
    place.execute("DELETE FROM recordings WHERE speaker IN (SELECT id FROM old_speakers)")
    place.execute("DELETE FROM speakers WHERE id IN (SELECT id FROM old_speakers)")
    place.execute("INSERT INTO speakers SELECT * FROM old_speakers")
    as_they_are = "" if isinstance(place, SqlitePlace) else "OVERRIDING SYSTEM VALUE "
    place.execute(f"INSERT INTO recordings {as_they_are}SELECT * FROM old_recordings")


def change_kim(store: VoiceprintStore) -> None:
    store.add("Kim", [recording(5)], MODEL, 1, "me")


def remove_kim(store: VoiceprintStore) -> None:
    store.remove("Kim", "me")


@pytest.mark.parametrize("change", [change_kim, remove_kim])
def test_a_speaker_put_back_to_what_was_is_noticed_in_an_encrypted_store(
    place: Place, encrypted: VoiceprintStore, change: Callable[[VoiceprintStore], None]
) -> None:
    copied(place)
    change(encrypted)
    assert encrypted.is_whole()
    put_back(place)
    assert not encrypted.is_whole() and encrypted.damaged() == []  # each row is right, and the set is not
    encrypted.add("Noa", [recording(6)], MODEL, None, "me")
    assert not encrypted.is_whole()  # a later change makes nothing good


def test_a_speaker_who_was_taken_away_is_noticed_in_an_encrypted_store(
    place: Place, encrypted: VoiceprintStore
) -> None:
    place.execute("DELETE FROM recordings")
    place.execute("DELETE FROM speakers WHERE name = 'Lee'")
    assert not encrypted.is_whole()


def test_the_tally_of_another_revision_does_not_fit(place: Place, encrypted: VoiceprintStore) -> None:
    place.execute("CREATE TABLE old_facts AS SELECT * FROM facts")
    encrypted.add("Noa", [recording(6)], MODEL, None, "me")
    assert encrypted.is_whole()
    place.execute("UPDATE facts SET value = (SELECT value FROM old_facts WHERE key = 'tally') WHERE key = 'tally'")
    assert not encrypted.is_whole()


def test_an_encrypted_store_of_an_earlier_version_is_not_trusted_unless_that_is_said(place: Place) -> None:
    filled(place, AesSealer(KEY)).close()
    age(place)
    place.execute("UPDATE speakers SET coherence = 9 WHERE name = 'Kim'")
    for _ in range(2):
        with pytest.raises(StoreError, match=r"of an earlier version, .*'sound-groove speakers upgrade' takes it over"):
            place.open(sealer=AesSealer(KEY))
    with pytest.raises(StoreError, match="another key"):
        place.open(sealer=AesSealer(OTHER_KEY), take_over=True)
    with closing(place.open(sealer=AesSealer(KEY), take_over=True)) as store:
        assert refused(store) == set() and store.is_whole() and store.notices
        assert store.voiceprint("Kim").speaker.coherence < 1  # what can be is computed anew
        change_kim(store)
        assert store.is_whole()
    with closing(place.open(sealer=AesSealer(KEY))) as store:
        assert store.notices == [] and len(store.voiceprint("Kim").recordings) == 3


def test_another_store_of_an_earlier_version_is_brought_to_this_one_when_it_is_opened(place: Place) -> None:
    with closing(filled(place, PlainSealer())) as store:
        before = store.voiceprint("Kim").speaker
    age(place)
    empty = "x''" if isinstance(place, SqlitePlace) else "''"
    place.execute(f"UPDATE recordings SET embedding = {empty} WHERE speaker = {LEE}")
    with closing(place.open(create=False)) as store:
        assert refused(store) == {"Lee"}
        after = store.voiceprint("Kim").speaker  # whose norms the earlier version did not keep
        assert after == changed(before, embedding_norm=None, norm_spread=None) and store.notices
        assert store.look_alikes("Mіa") == ["Mia"]  # with a Cyrillic letter
        change_kim(store)
    with closing(place.open(create=False)) as store:
        assert store.notices == [] and len(store.voiceprint("Kim").recordings) == 3
