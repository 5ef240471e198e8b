"""What a store in PostgreSQL has of its own: a server that restarts, rights, durability, search by the server."""

import random
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from postgres_server import PostgresServer
from sound_groove.errors import StoreError, UsageError
from sound_groove.scoring.cosine import cosine
from sound_groove.voiceprints.store import postgres as module
from sound_groove.voiceprints.store.changing import changed_entry
from sound_groove.voiceprints.store.interface import SearchingStore
from sound_groove.voiceprints.store.opening import open_store
from sound_groove.voiceprints.store.postgres import PostgresStore
from sound_groove.voiceprints.store.records import EnrolledRecording
from sound_groove.voiceprints.store.rows import WRITTEN_COLUMNS
from sound_groove.voiceprints.store.sealing import AesSealer, PlainSealer
from store_places import MODEL, OTHER_MODEL, PostgresPlace, present, recording


@pytest.fixture
def place(postgres: PostgresServer) -> PostgresPlace:
    postgres.clear()
    return PostgresPlace(postgres, "postgres")


@pytest.fixture
def store(place: PostgresPlace) -> Iterator[PostgresStore]:
    store = PostgresStore(place.location, True, PlainSealer())
    yield store
    store.close()


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as name:
        yield name


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETURNING_S", 0.3)


def clustered(count: int, size: int, seed: int = 0) -> list[EnrolledRecording]:
    """Recordings of speakers who are like each other in groups of five."""
    generator = np.random.default_rng(seed)
    groups = generator.standard_normal((count // 5 + 1, size))
    points = groups[np.arange(count) // 5] + 0.5 * generator.standard_normal((count, size))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    return [EnrolledRecording(f"{seed}-{i}", p, "", "", 1, 1, 20, 16_000, "") for i, p in enumerate(points)]


def fill(store: PostgresStore, recordings: Sequence[EnrolledRecording]) -> None:
    """Speakers of one recording each, in one go and without the recordings themselves."""
    rows = []
    for number, each in enumerate(recordings):
        entry = changed_entry(f"Filler {number}", None, [each], MODEL, 1)
        rows.append(store._written_row(entry, [each]))
    places = ", ".join("?" * len(rows[0]))
    with store._changing():
        store._execute_many(f"INSERT INTO speakers ({WRITTEN_COLUMNS}) VALUES ({places})", rows)


def end_sessions(server: PostgresServer) -> None:
    """What a restart does to the sessions, at once."""
    server.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'client backend' "
        "AND pid <> pg_backend_pid()"
    )


def settings(store: PostgresStore, *names: str) -> list[str]:
    return [str(store._value(f"SHOW {name}")) for name in names]


def test_the_password_is_in_no_place_and_no_error(postgres: PostgresServer, store: PostgresStore) -> None:
    assert store.location == f"postgresql://postgres@/postgres?host={postgres.folder}"
    for url in (
        "postgresql://me:not-a-secret@127.0.0.1:1/voices",
        "postgresql://me@127.0.0.1:1/voices?password=not-a-secret",
    ):
        with pytest.raises(StoreError, match=r"^postgresql://me@127\.0\.0\.1:1/voices: connection.*failed") as refusal:
            open_store(url)
        assert "not-a-secret" not in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["postgresql://me:not/a-secret@h/v", "postgresql://[not-a-secret", "postgres://h/?secret=1"]
)
def test_a_url_that_cannot_be_read_is_told_without_its_parts(url: str) -> None:
    with pytest.raises(UsageError, match="the URL of a store is postgresql://user:password@host:port/database") as told:
        open_store(url)
    assert "secret" not in str(told.value).replace("password", "")


def test_a_restart_of_the_server_between_two_calls_is_not_noticed(
    postgres: PostgresServer, store: PostgresStore
) -> None:
    entry = store.add("Kim", [recording(1)], MODEL, None, "me")
    postgres.stop()
    postgres.start()
    assert store.voiceprint("Kim").speaker == entry
    postgres.stop("immediate")  # a crash: the server recovers from its log
    postgres.start()
    store.add("Kim", [recording(2)], MODEL, entry.version, "me")
    end_sessions(postgres)
    assert len(store.nearest(recording(1).embedding, MODEL.hash, 1)) == 1
    end_sessions(postgres)
    store.build_index(MODEL.hash)
    end_sessions(postgres)
    store.remove("Kim", "me")
    assert settings(store, "synchronous_commit", "search_path") == ["on", "sound_groove, public"]


def test_a_call_waits_for_a_server_that_is_about_to_come_back(postgres: PostgresServer, store: PostgresStore) -> None:
    postgres.stop()
    threading.Timer(0.5, postgres.start).start()
    assert store.add("Kim", [recording(1)], MODEL, None, "me").version == 1


@pytest.mark.usefixtures("short_waits")
def test_a_server_that_stays_away_is_an_error_and_the_store_goes_on_when_it_comes(
    postgres: PostgresServer, store: PostgresStore
) -> None:
    postgres.stop()
    try:
        for call in (store.count, lambda: store.add("Kim", [recording(1)], MODEL, None, "me")):
            with pytest.raises(StoreError, match=r"^postgresql://postgres@/postgres\?host=\S+: connection .*failed"):
                call()
    finally:
        postgres.start()
    assert store.add("Kim", [recording(1)], MODEL, None, "me").version == 1


def test_a_change_that_loses_its_server_half_way_did_not_happen(
    postgres: PostgresServer, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("Kim", [recording(1)], MODEL, None, "me")
    record = store._insert_event

    def interrupted(*values: object) -> None:
        end_sessions(postgres)
        record(*values)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(store, "_insert_event", interrupted)
        for call in (
            lambda: store.add("Lee", [recording(1)], MODEL, None, "me"),
            lambda: store.replace("Kim", [recording(1), recording(2)], MODEL, 1, "me"),
            lambda: store.remove("Kim", "me"),
        ):
            with pytest.raises(StoreError, match="postgresql://"):
                call()
    assert [entry.name for entry in store.speakers()] == ["Kim"] and store.revision() == 1
    assert len(store.voiceprint("Kim").recordings) == 1


def test_a_confirmation_that_was_lost_is_told_as_such(
    postgres: PostgresServer, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = store._execute

    def cut(statement: str, values: tuple[object, ...] = ()) -> object:
        if statement == "COMMIT":
            end_sessions(postgres)
        return commit(statement, values)

    with monkeypatch.context() as patched:
        patched.setattr(store, "_execute", cut)
        with pytest.raises(StoreError, match="lost while a change was being confirmed; look whether it is there"):
            store.add("Kim", [recording(1)], MODEL, None, "me")
    assert store.count() == 0  # here it was not


def test_a_crash_of_the_server_loses_no_enrolment_that_was_acknowledged(
    postgres: PostgresServer, store: PostgresStore
) -> None:
    acknowledged = []
    for turn in range(2):
        stopper = threading.Timer(random.Random(turn).uniform(0.02, 0.2), postgres.stop, ["immediate"])
        stopper.start()
        try:
            for number in range(10_000):
                store.add(f"{turn}-{number}", [recording(number)], MODEL, None, "me")
                acknowledged.append(f"{turn}-{number}")
                if not stopper.is_alive():
                    break
        except StoreError:
            pass
        finally:
            stopper.join()
            postgres.start()
        names = [entry.name for entry in store.speakers()]
        assert {*acknowledged} <= {*names} and len(names) <= len(acknowledged) + turn + 1
        assert [event.revision for event in store.events()] == list(range(1, len(names) + 1))
    assert len(acknowledged) > 5


@pytest.mark.parametrize(
    ("default", "ours"), [("off", "on"), ("local", "on"), ("remote_write", "on"), ("remote_apply", "remote_apply")]
)
def test_changes_are_synced_to_the_disk_whatever_the_servers_default_is(
    place: PostgresPlace, default: str, ours: str
) -> None:
    place.execute(f"ALTER DATABASE postgres SET synchronous_commit = {default}")
    place.execute("ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'")
    try:
        store = PostgresStore(place.location, True, PlainSealer())
        assert settings(store, "synchronous_commit") == [ours]
        with store._changing():
            assert settings(store, "transaction_isolation") == ["read committed"]
        with store._reading():
            assert settings(store, "transaction_isolation") == ["repeatable read"]
        store.close()
    finally:
        place.execute("ALTER DATABASE postgres RESET ALL")


def test_a_database_that_keeps_text_in_another_way_is_refused(postgres: PostgresServer) -> None:
    with (
        postgres.database("ENCODING 'LATIN1' TEMPLATE template0") as name,
        pytest.raises(StoreError, match="keeps text as LATIN1; a store needs a database in UTF8"),
    ):
        PostgresPlace(postgres, name).open()


def test_a_schema_of_another_program_is_refused_and_stays_as_it_is(place: PostgresPlace) -> None:
    place.execute("CREATE SCHEMA sound_groove; CREATE TABLE sound_groove.facts (theirs TEXT)")
    for create in (True, False):
        with pytest.raises(StoreError, match="the schema sound_groove there is another program's, not a store"):
            place.open(create)
    tables = place.server.execute("SELECT tablename::text FROM pg_tables WHERE schemaname = 'sound_groove'")
    assert tables == [("facts",)]


def test_who_may_not_make_schemas_or_install_pgvector_is_told_what_to_ask_for(
    postgres: PostgresServer, database: str
) -> None:
    name = database
    postgres.execute("CREATE ROLE guest LOGIN")
    url = postgres.url(name, "guest")
    with pytest.raises(StoreError, match="have the administrator run 'CREATE EXTENSION vector' in this database"):
        open_store(url, create=True)
    with pytest.raises(StoreError, match="holds no store of voiceprints"):
        open_store(url)
    postgres.execute("CREATE SCHEMA tools; GRANT USAGE ON SCHEMA tools TO guest", name)
    postgres.execute("CREATE EXTENSION vector SCHEMA tools", name)  # where nobody looks by default
    with pytest.raises(StoreError, match=f"permission denied for database {name}"):
        open_store(url, create=True)
    postgres.execute(f"GRANT CREATE ON DATABASE {name} TO guest")
    store = open_store(url, create=True)
    store.add("Kim", [recording(1)], MODEL, None, "me")
    assert store.voiceprint("Kim").speaker.version == 1 and store.remove("Kim", "me").complete
    postgres.execute("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'", name)
    with pytest.raises(StoreError, match=r"has pgvector 0\.7\.4, and 0\.8 is needed; have its administrator"):
        open_store(url)
    store.close()


def test_an_encrypted_store_needs_no_pgvector(postgres: PostgresServer, database: str) -> None:
    place = PostgresPlace(postgres, database)
    store = place.open(sealer=AesSealer(bytes(32)))
    store.add("Kim", [recording(1)], MODEL, None, "me")
    assert postgres.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'", place.database) == []
    store.close()


def test_who_may_not_vacuum_is_not_told_that_all_is_erased(postgres: PostgresServer, database: str) -> None:
    place = PostgresPlace(postgres, database)
    store = place.open()
    store.add("Kim", [recording(1)], MODEL, None, "me")
    postgres.execute("CREATE ROLE reader LOGIN")
    postgres.execute("GRANT USAGE ON SCHEMA sound_groove TO reader", place.database)
    postgres.execute(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sound_groove TO reader", place.database
    )
    theirs = open_store(postgres.url(place.database, "reader"))
    assert not theirs.remove("Kim", "me").complete and store.count() == 0
    theirs.close()
    store.close()


def test_the_planners_statistics_keep_nothing_of_anybody(place: PostgresPlace, store: PostgresStore) -> None:
    for number in range(50):
        store.add(f"Rare name {number}", [recording(number, audio=b"sound")], MODEL, None, "me")
    place.execute("ANALYZE")
    seen = {
        row[0] for row in place.server.execute("SELECT attname::text FROM pg_stats WHERE schemaname = 'sound_groove'")
    }
    assert "model_hash" in seen and not seen & {"name", "centroid", "embedding", "source", "digest", "audio"}
    assert not place.server.execute("SELECT 1 FROM pg_stats WHERE pg_stats::text LIKE '%Rare name%'")


@pytest.mark.parametrize("limit", ["REWRITTEN_BYTES", "REBUILT_BYTES"])
def test_large_tables_are_vacuumed_and_not_called_clear(
    place: PostgresPlace, store: PostgresStore, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    for number in range(10):
        store.add(f"Speaker {number}", [recording(number)], MODEL, None, "me")
    store.build_index(MODEL.hash)
    traces = [recording(number).embedding.tobytes()[:40] for number in (3, 4)]
    assert present(place, traces) == traces
    with monkeypatch.context() as patched:
        patched.setattr(module, limit, 0)
        erasure = store.remove("Speaker 3", "me")
    assert not erasure.complete and "write-ahead log" in erasure.out_of_reach
    assert len(store.nearest(recording(3).embedding, MODEL.hash, 20)) == 9
    assert store.remove("Speaker 4", "me").complete and not present(place, traces)


def test_a_table_that_others_use_is_waited_for_no_longer_than_allowed(
    place: PostgresPlace, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sound_groove.voiceprints.store.tables.ERASING_S", 1)
    store.add("Kim", [recording(1)], MODEL, None, "me")
    reader = place.hold()
    reader.execute("SELECT count(*) FROM sound_groove.speakers")  # with a lock on the table
    assert not store.remove("Kim", "me").complete
    assert settings(store, "lock_timeout") == ["1min"]
    reader.close()


def test_exact_search_gives_what_comparing_with_every_one_gives(store: PostgresStore) -> None:
    searching: SearchingStore = store
    kept = clustered(60, 16)
    for number, each in enumerate(kept):
        store.add(f"Speaker {number}", [each], MODEL, None, "me")
    store.add("Stranger", [recording(1, 24)], OTHER_MODEL, None, "me")
    for query in clustered(5, 16, seed=1):
        scores = {f"Speaker {n}": cosine(c.embedding, query.embedding) for n, c in enumerate(kept)}
        expected = sorted(scores, key=lambda name: -scores[name])
        for exact in (True, False):
            found = searching.nearest(query.embedding, MODEL.hash, 7, exact=exact)
            assert [centroid.speaker.name for centroid, _ in found] == expected[:7]
            assert [score for _, score in found] == pytest.approx([scores[name] for name in expected[:7]], abs=1e-7)
    assert len(store.nearest(kept[0].embedding, MODEL.hash, 1000)) == 60
    assert store.nearest(kept[0].embedding, "no such model", 5) == []
    stranger = store.nearest(recording(1, 24).embedding, OTHER_MODEL.hash, 5)
    assert [centroid.speaker.name for centroid, _ in stranger] == ["Stranger"]
    for count, ef_search in ((0, 10), (1, 0)):
        with pytest.raises(UsageError, match="must be 1 or more"):
            store.nearest(kept[0].embedding, MODEL.hash, count, ef_search=ef_search)


def test_an_encrypted_store_is_searched_by_comparing_with_every_one(
    postgres: PostgresServer, place: PostgresPlace
) -> None:
    store = PostgresStore(place.location, True, AesSealer(bytes(32)))
    for number, each in enumerate(clustered(10, 16)):
        store.add(f"Speaker {number}", [each], MODEL, None, "me")
    query = clustered(10, 16)[4].embedding
    ((first, score), *rest) = store.nearest(query, MODEL.hash, 3)
    assert first.speaker.name == "Speaker 4" and score == pytest.approx(1.0, abs=1e-6) and len(rest) == 2
    with pytest.raises(StoreError, match="is encrypted, so that the server cannot compare"):
        store.build_index(MODEL.hash)
    store.close()


def plan(store: PostgresStore, query: EnrolledRecording, exact: bool) -> str:
    """How the server goes about a search."""
    execute = store._execute
    plans: list[str] = []

    def explained(statement: str, values: tuple[object, ...] = ()) -> object:
        if "<#>" in statement:
            plans.extend(row[0] for row in execute(f"EXPLAIN {statement}", values))
        return execute(statement, values)

    store._execute = explained  # type: ignore[method-assign, assignment]
    try:
        store.nearest(query.embedding, MODEL.hash, 5, exact=exact, ef_search=40)
    finally:
        store._execute = execute  # type: ignore[method-assign]
    return "\n".join(plans)


def test_the_index_of_a_model_is_used_and_finds_nearly_all_and_who_comes_later(
    place: PostgresPlace, store: PostgresStore
) -> None:
    with pytest.raises(StoreError, match="nobody is enrolled there with model 1f1f1f1f1f1f"):
        store.build_index(MODEL.hash)
    kept = clustered(100, 24)
    for number, each in enumerate(kept):
        store.add(f"Speaker {number}", [each], MODEL, None, "me")
    fill(store, clustered(4000, 24, seed=9))  # so many that the planner finds the index worth it
    for _ in range(2):  # anew, too
        store.build_index(MODEL.hash)
    queries = clustered(40, 24, seed=2)
    store._execute("ANALYZE speakers")
    assert "speakers_nearest_1f1f" in plan(store, queries[0], exact=False)
    assert "speakers_nearest" not in plan(store, queries[0], exact=True)
    hits = 0
    for query in queries:
        near, exact = (store.nearest(query.embedding, MODEL.hash, 5, exact, 40) for exact in (False, True))
        assert [score for _, score in exact] == sorted((score for _, score in exact), reverse=True)
        hits += len({c.speaker.name for c, _ in near} & {c.speaker.name for c, _ in exact})
    assert hits >= 0.98 * 5 * len(queries)
    late = clustered(1, 24, seed=3)[0]
    store.add("Late", [late], MODEL, None, "me")
    ((found, _),) = store.nearest(late.embedding, MODEL.hash, 1, ef_search=40)
    assert found.speaker.name == "Late"
    store.remove("Late", "me")
    ((found, _),) = store.nearest(late.embedding, MODEL.hash, 1, ef_search=40)
    assert found.speaker.name != "Late"


def test_a_speaker_who_changed_many_times_is_still_found(store: PostgresStore) -> None:
    for number, each in enumerate(clustered(300, 24)):
        store.add(f"Speaker {number}", [each], MODEL, None, "me")
    store.build_index(MODEL.hash)
    place = recording(5, 24).embedding
    generator, version = np.random.default_rng(0), None
    for number in range(40):
        nearby = place + 0.01 * generator.standard_normal(24).astype(np.float32)
        nearby /= np.linalg.norm(nearby)
        each = EnrolledRecording(f"kim-{number}", nearby, "", "", 1, 1, 20, 16_000, "")
        version = (
            store.replace("Kim", [each], MODEL, version, "me")
            if version
            else store.add("Kim", [each], MODEL, None, "me")
        ).version
    store._execute("SET enable_seqscan = off")
    assert "speakers_nearest_1f1f" in plan(store, recording(5, 24), exact=False)
    found = store.nearest(place, MODEL.hash, 3, ef_search=10)  # 39 deleted ones are nearer than the rest
    assert found[0][0].speaker.name == "Kim" and len(found) == 3
