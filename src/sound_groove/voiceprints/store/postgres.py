"""A store of voiceprints on a server: PostgreSQL, with pgvector 0.8 or later.

The tables lie in a schema of their own, `sound_groove`. Several stores, in several processes and on several machines,
may use them at once; one of them has two connections, one that changes and one that only reads, which its threads take
turns with and which come again after the server has restarted.

A change that was acknowledged is in the server's write-ahead log on its disk, and on that of a synchronous standby
where the administrator named one: `synchronous_commit` is on for this session, whatever the server's default is. What
`fsync = off` takes away from that, a session cannot give back.

Changes wait for each other (a row that each of them locks first), so that revisions have no gaps and are visible in
their order: who has seen a revision has seen all before it.

Erasing: PostgreSQL leaves deleted rows in its files, and a plain VACUUM only marks their space as free. The tables are
therefore written anew (`VACUUM FULL`, which locks them meanwhile) up to REWRITTEN_BYTES; beyond that, they
are vacuumed, which clears the index, and `Erasure.complete` says that this was not all. The administrator's
`VACUUM FULL sound_groove.speakers, sound_groove.recordings` is. Where another session still sees the deleted rows, they
stay in either case. Copies in the write-ahead log, on standbys and in backups are out of reach.

Searching: a plain store has centroids as vectors, which the server compares, with an HNSW index (Malkov and Yashunin,
2018) for each model once `build_index` was called. An encrypted store has sealed bytes only, so that a search reads and
decrypts all of them: there is no index, and a gallery in memory is the better way.
"""

import dataclasses
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import numpy as np
import psycopg
from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict

from sound_groove.errors import StoreError, UsageError, printable
from sound_groove.scoring.cosine import cosine
from sound_groove.types import Embeddings
from sound_groove.voiceprints.store.erasing import PENDING, pending_bytes
from sound_groove.voiceprints.store.plausibility import LENGTH_TOLERANCE
from sound_groove.voiceprints.store.records import Centroid, DamagedVoiceprint
from sound_groove.voiceprints.store.sealing import Sealer
from sound_groove.voiceprints.store.tables import TableStore

NAMESPACE = "sound_groove"  # the schema of the tables
VECTORS = (0, 8)  # pgvector's first version that searches on where what it found was deleted
MAKING = 0x5367766D  # the advisory lock of those who make a store
CONNECTING_S = 10  # to wait for the server
RETURNING_S = 10.0  # to wait for a server that was there and restarts
BUSY_S = 60  # to wait for another who is writing
# What is written anew when a speaker is removed: a few seconds of it, as benchmarks/pgvector_recall.py finds. An HNSW
# index takes about a second for each MiB.
REWRITTEN_BYTES = 256 * 2**20  # of a table with its indexes
REBUILT_BYTES = 4 * 2**20  # of its HNSW indexes

# Of these the planner's statistics, which outlive the rows that they were taken from, would keep examples.
PERSONAL = {"speakers": ("name", "skeleton", "centroid"), "recordings": ("embedding", "source", "digest", "audio")}

# The graph of HNSW: neighbours of each speaker in it, and candidates for them. With pgvector's own defaults, 16 and 64,
# and 100 candidates in a search, one in eleven of 100,000 voiceprints was not found (benchmarks/pgvector_recall.py).
M = 32
EF_CONSTRUCTION = 200
EF_SEARCH = 200  # candidates in a search
MOST_CANDIDATES = 1000  # that pgvector allows
INDEX_MEMORY = "512MB"  # for building; a graph that does not fit is built far more slowly


class PostgresStore(TableStore):
    """Voiceprints in a database of PostgreSQL; see `interface.SearchingStore`.

    Args:
        url: `postgresql://user:password@host:port/database`, with the options that libpq knows.
        create: make the tables where there are none.
        sealer: encrypts embeddings and audio, or does not.
        take_over: an encrypted store of an earlier version, as it is.

    Raises:
        StoreError: the server cannot be reached, has no such store or one of a later version, or needs another key.
        UsageError: the URL cannot be read.
    """

    TYPES: ClassVar = {
        "text": 'TEXT COLLATE "C"',
        "blob": "BYTEA",
        "real": "DOUBLE PRECISION",
        "number": "BIGINT GENERATED ALWAYS AS IDENTITY",
    }
    OUT_OF_REACH = (
        "the server's write-ahead log keeps copies until it has been overwritten, and so do its archive, standbys and "
        "backups"
    )

    def __init__(self, url: str, create: bool, sealer: Sealer, take_over: bool = False) -> None:
        self._parameters = _parameters(url)
        super().__init__(_location(self._parameters), sealer)
        self._is_open = True
        self._connections: dict[bool, psycopg.Connection[Any]] = {}  # by whether it only reads
        try:
            with self._told():
                self._reconnect()
            self._prepare(create, take_over)
        except BaseException:
            self._disconnect()
            raise

    @property
    def _connection(self) -> psycopg.Connection[Any]:
        """The one that this thread uses."""
        return self._connections[self._is_reading]

    def _disconnect(self) -> None:
        for connection in self._connections.values():
            connection.close()

    def _connected(self) -> psycopg.Connection[Any]:
        """A connection that is set up as the store needs it, whatever the server's defaults are."""
        connection: psycopg.Connection[Any] = psycopg.connect(
            **self._parameters,
            autocommit=True,
            # What is planned for its values can take the index of one model. And poolers between us and the server may
            # not know prepared statements.
            prepare_threshold=None,
        )
        try:
            connection.execute(
                # A server that waits for more than its own disk is left at that.
                "SELECT set_config('synchronous_commit', 'on', false) "
                "WHERE current_setting('synchronous_commit') <> 'remote_apply'"
            )
            found = connection.execute(
                "SELECT quote_ident(nspname), extversion FROM pg_extension "
                "JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector'"
            ).fetchone()
            path = NAMESPACE if found is None else f"{NAMESPACE}, {found[0]}"
            connection.execute("SELECT set_config('search_path', %s, false)", (path,))
            connection.execute(f"SET lock_timeout = '{BUSY_S}s'")
            if found is not None and not self.encrypted:
                self._check_version(found[1])
                register_vector(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_version(self, version: str) -> None:
        if tuple(int(part) for part in version.split(".")[:2]) < VECTORS:
            raise StoreError(
                f"{self.location}: has pgvector {version}, and {'.'.join(map(str, VECTORS))} is needed; have its "
                "administrator install that and run 'ALTER EXTENSION vector UPDATE'"
            )

    def _prepare(self, create: bool, take_over: bool) -> None:
        """Check that there is a store of ours, or make one."""
        with self._told():
            encoding = self._value("SELECT current_setting('server_encoding')")
            if encoding != "UTF8":
                raise StoreError(f"{self.location}: keeps text as {encoding}; a store needs a database in UTF8")
            is_there = self._is_there()
        if not is_there and not create:
            raise StoreError(f"{self.location}: holds no store of voiceprints; 'sound-groove enroll' makes one")
        if not is_there:
            self._make()
        with self._reading():
            schema = int(bytes(self._fact("schema")))
        self._open(schema, True, take_over)

    def _is_there(self) -> bool:
        """Whether the schema is a store.

        Raises:
            StoreError: it is something else.
        """
        tables = [
            row[0]
            for row in self._execute(
                "SELECT relname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
                "WHERE nspname = ? AND relkind = 'r'",
                (NAMESPACE,),
            )
        ]
        if tables and not {"facts", "speakers", "recordings", "events"} <= {*tables}:
            raise StoreError(f"{self.location}: the schema {NAMESPACE} there is another program's, not a store")
        return bool(tables)

    def _make(self) -> None:
        with self._told():
            if not self.encrypted:
                self._install_vectors()
            try:
                self._begin("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
                self._execute("SELECT pg_advisory_xact_lock(?)", (MAKING,))
                if not self._is_there():  # else another process was first
                    self._execute(f"CREATE SCHEMA IF NOT EXISTS {NAMESPACE}")
                    self._lay_out("BYTEA" if self.encrypted else "VECTOR")
                    self._keep_no_examples()
                self._commit()
            except BaseException:
                self._roll_back()
                raise

    def _keep_no_examples(self) -> None:
        for table, columns in PERSONAL.items():
            for column in columns:
                self._execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")

    def _take_over(self) -> None:
        super()._take_over()
        self._keep_no_examples()

    def _install_vectors(self) -> None:
        """Have pgvector in this database.

        Raises:
            StoreError: the server does not have it, or this user may not install it.
        """
        try:
            with self._connection.transaction():
                # As is usual for an extension, in the first schema of the user's own path: other programs share it.
                self._execute("SELECT pg_advisory_xact_lock(?)", (MAKING,))
                self._execute("SET LOCAL search_path TO DEFAULT")
                self._execute("CREATE EXTENSION IF NOT EXISTS vector")
        except (errors.FeatureNotSupported, errors.UndefinedFile) as error:
            raise StoreError(
                f"{self.location}: the server has no pgvector; have its administrator install it "
                "(https://github.com/pgvector/pgvector)"
            ) from error
        except (errors.InsufficientPrivilege, errors.InvalidSchemaName) as error:
            raise StoreError(
                f"{self.location}: this user may not install pgvector; have the administrator run "
                "'CREATE EXTENSION vector' in this database"
            ) from error
        self._disconnect()  # a connection knows the types that were there when it was made
        self._reconnect()

    def close(self) -> None:
        """Close the connections."""
        with self._lock, self._reading_lock:
            self._is_open = False
            self._disconnect()

    def nearest(
        self, embedding: Embeddings, model_hash: str, count: int, exact: bool = False, ef_search: int = EF_SEARCH
    ) -> list[tuple[Centroid, float]]:
        """The speakers of a model whose centroids are nearest to an embedding.

        `ef_search` is how many candidates HNSW keeps, 1 to 1,000, and at least `count` of them: more find more and take
        longer.
        """
        if count < 1 or ef_search < 1:
            raise UsageError(f"count and ef_search must be 1 or more; {count} and {ef_search} were given")
        if self.encrypted:
            with self._reading():
                rows = [*self._rows("WHERE model_hash = ?", (model_hash,))]
        else:
            candidates = min(max(ef_search, count), MOST_CANDIDATES)
            rows = self._nearest_rows(embedding, model_hash, count, exact, candidates)
        found = self._sorted_out(rows)[0]
        scored = [(centroid, cosine(centroid.embedding, embedding)) for centroid in found]
        return sorted(scored, key=lambda pair: (-pair[1], pair[0].speaker.name))[:count]

    def _nearest_rows(
        self, embedding: Embeddings, model_hash: str, count: int, exact: bool, candidates: int
    ) -> list[Any]:
        """The rows that the server finds nearest."""

        def found(condition: str, limit: int) -> list[Any]:
            with self._reading():
                self._tune(exact, candidates)
                clauses = f"WHERE model_hash = ?{condition} ORDER BY centroid::vector({len(embedding)}) <#> ? LIMIT ?"
                return [*self._rows(clauses, (model_hash, Vector(embedding), limit))]

        try:
            rows = found("", count)
            damaged = len(self._sorted_out(rows)[1])
        except StoreError as error:
            if not isinstance(error.__cause__, errors.DataException):
                raise
            damaged = 1  # an embedding of another size, which the server cannot compare
        if not damaged:
            return rows
        # Slower, as the planner believes that hardly a row is like this, and takes no index.
        return found(f" AND {_plausible(len(embedding))}", count + damaged)

    def sample(self, model_hash: str, count: int) -> list[Centroid]:
        """Some speakers of a model: those with the smallest ids, which are random."""
        with self._reading():
            rows = [*self._rows("WHERE model_hash = ? ORDER BY id LIMIT ?", (model_hash, count))]
        return self._sorted_out(rows)[0]

    def implausible(self, model_hash: str, size: int | None) -> list[DamagedVoiceprint]:
        """Speakers of a model whose rows cannot be, as far as the server tells."""
        with self._reading():
            rows = [*self._rows(f"WHERE model_hash = ? AND NOT ({_plausible(size)})", (model_hash,))]
        damaged = {one.id: one for one in self._sorted_out(rows)[1]}
        others = [DamagedVoiceprint(row[0], printable(row[1]), "its centroid is of another size") for row in rows]
        return [damaged.get(one.id, one) for one in others]

    def _tune(self, exact: bool, candidates: int) -> None:
        """Have this transaction's searches use the index, or not."""
        if exact:
            self._execute("SET LOCAL enable_indexscan = off")
            return
        self._execute(f"SET LOCAL hnsw.ef_search = {candidates}")
        # Every change of a speaker leaves the earlier centroid in the index until the next VACUUM. Without this, a
        # speaker who was changed a hundred times would hide behind a hundred deleted ones.
        self._execute("SET LOCAL hnsw.iterative_scan = relaxed_order")

    def build_index(self, model_hash: str, m: int = M, ef_construction: int = EF_CONSTRUCTION) -> None:
        """Make the HNSW index of a model's speakers, anew where there is one.

        Other stores, and threads that read, go on meanwhile; threads that change this one wait. Speakers who come later
        are added to it as they are enrolled. Without it, `nearest` compares with every one.

        Args:
            model_hash: of the model.
            m: neighbours of each speaker in the graph, 2 to 100; twice as many in its lowest layer.
            ef_construction: candidates for them, at least twice m.

        Raises:
            StoreError: the store is encrypted, the model has no speaker, or the server refuses the figures.
        """
        if self.encrypted:
            raise StoreError(f"{self.location}: is encrypted, so that the server cannot compare what it keeps")
        with self._reading():
            size = self._value("SELECT vector_dims(centroid) FROM speakers WHERE model_hash = ? LIMIT 1", (model_hash,))
        if size is None:
            raise StoreError(f"{self.location}: nobody is enrolled there with model {printable(model_hash[:12])}")
        name = sql.Identifier(f"speakers_nearest_{model_hash[:40]}").as_string()
        model = sql.Literal(model_hash).as_string()
        with self._lock, self._told():
            self._begin(f"SET maintenance_work_mem = '{INDEX_MEMORY}'")
            try:
                self._execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
                self._execute(
                    f"CREATE INDEX CONCURRENTLY {name} ON speakers USING hnsw "
                    f"((centroid::vector({int(size)})) vector_ip_ops) WITH (m = {int(m)}, ef_construction = "
                    f"{int(ef_construction)}) WHERE model_hash = {model}"
                )
            finally:
                self._execute("RESET maintenance_work_mem")

    def _stored_centroid(self, embedding: Embeddings, owner: str) -> Any:
        return super()._stored_centroid(embedding, owner) if self.encrypted else Vector(embedding)

    def _opened_centroid(self, stored: Any, owner: str) -> Embeddings:
        return super()._opened_centroid(stored, owner) if self.encrypted else np.array(stored.to_numpy(), np.float32)

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> Iterable[Any]:
        # No values, no places: a literal in the statement may have any characters then.
        text = statement.replace("?", "%s") if values else statement
        return self._connection.execute(text, values or None, binary=True)

    def _execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(statement.replace("?", "%s"), rows)

    def _begin_reading(self) -> None:
        self._begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def _begin_changing(self) -> None:
        # What is read after the lock was got is what the change before has left: hence not REPEATABLE READ.
        self._begin("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        self._execute("SELECT 1 FROM facts WHERE key = 'schema' FOR UPDATE")

    def _begin(self, statement: str) -> None:
        """Execute a statement that nothing came before, on a connection that may have been lost since the last."""
        self._reconnect()
        try:
            self._execute(statement)
        except psycopg.OperationalError:
            # The server has restarted since the last statement. Nothing of this transaction was lost with it.
            if not self._connection.closed:
                raise
            self._reconnect()
            self._execute(statement)

    def _reconnect(self) -> None:
        """Connect again where the connection is lost, and wait for a server that is about to come back."""
        if not self._is_open:
            raise StoreError(f"{self.location}: was closed")
        end = time.monotonic() + RETURNING_S
        which = self._is_reading
        while which not in self._connections or self._connection.closed:
            try:
                self._connections[which] = self._connected()
            except psycopg.OperationalError:
                if which not in self._connections or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def _commit(self) -> None:
        try:
            self._execute("COMMIT")
        except psycopg.OperationalError as error:
            if not self._connection.closed:
                raise
            raise StoreError(
                f"{self.location}: the connection was lost while a change was being confirmed; look whether it is "
                "there before trying again"
            ) from error

    def _roll_back(self) -> None:
        with suppress(psycopg.OperationalError):  # the server does it too when the connection is lost
            if not self._connection.closed:
                self._execute("ROLLBACK")

    def _has_index(self, name: str) -> bool:
        return bool(
            self._value("SELECT count(*) FROM pg_indexes WHERE schemaname = ? AND indexname = ?", (NAMESPACE, name))
        )

    def _wipe(self, wait_s: float) -> str:
        """Write the tables anew without deleted rows, or vacuum them where they are large."""
        try:
            with self._reading():
                pending = self._pending()
            self._begin(f"SET lock_timeout = '{max(1, round(1000 * wait_s))}ms'")
            self._execute(f"SET maintenance_work_mem = '{INDEX_MEMORY}'")
            try:
                layout = self._layout()
                # Large tables that the administrator has written anew since then have nothing of these.
                is_left = any(not _rewritten(one.layout, layout) for one in pending)
                reasons = [self._rewrite(table, is_left) for table in PERSONAL]
            finally:
                self._execute("RESET maintenance_work_mem")
                self._execute(f"SET lock_timeout = '{BUSY_S}s'")
            reason, layout = next(filter(None, reasons), ""), self._layout()
            with self._changing():  # others may have removed somebody meanwhile
                others = [one for one in self._pending() if one not in pending]
                left = [dataclasses.replace(one, layout=layout) for one in pending] if reason else []
                self._remember(PENDING, pending_bytes([*others, *left]))
            return reason
        except (psycopg.Error, StoreError) as error:
            return f"the tables cannot be written anew ({printable(' '.join(str(error).split()))})"

    def _layout(self) -> str:
        """The numbers of the tables' files, which are others after VACUUM FULL."""
        return ",".join(
            str(self._value("SELECT pg_relation_filenode(CAST(? AS text)::regclass)", (table,))) for table in PERSONAL
        )

    def _rewrite(self, table: str, is_left: bool) -> str:
        """Write a table and its indexes anew where it is small enough; why a deleted row may be left in it, or nothing.

        `is_left` says whether it may be where the table is too large.
        """
        reason = f"its tables are too large to be written anew at once; 'VACUUM FULL {NAMESPACE}.{table}' does it"
        size = self._value("SELECT pg_total_relation_size(CAST(? AS text)::regclass)", (table,))
        graphs = self._value(
            "SELECT coalesce(sum(pg_relation_size(indexrelid)), 0)::bigint FROM pg_index "
            "JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam "
            "WHERE amname = 'hnsw' AND indrelid = CAST(? AS text)::regclass",
            (table,),
        )
        if size <= REWRITTEN_BYTES and graphs <= REBUILT_BYTES:
            left: list[int] = []

            def heed(notice: errors.Diagnostic) -> None:
                if notice.severity_nonlocalized == "INFO" and notice.message_detail:
                    # "3 dead row versions cannot be removed yet.", in the server's language.
                    left.extend(int(number) for number in re.findall(r"\d+", notice.message_detail)[:1])

            self._connection.add_notice_handler(heed)
            try:
                self._execute(f"VACUUM (FULL, VERBOSE) {table}")
                return "" if left == [0] else "another session still sees what was removed, or may not be looked at"
            except errors.LockNotAvailable:
                reason = "another session is using the store"
            finally:
                self._connection.remove_notice_handler(heed)
            self._execute(f"VACUUM (INDEX_CLEANUP ON) {table}")
            return reason
        if not is_left:
            return ""
        self._execute(f"VACUUM (INDEX_CLEANUP ON) {table}")
        return reason

    @contextmanager
    def _told(self) -> Iterator[None]:
        """PostgreSQL's errors as sentences about this store."""
        try:
            yield
        except psycopg.Error as error:
            text = error.diag.message_primary or str(error).strip().partition("\n")[0] or type(error).__name__
            raise StoreError(f"{self.location}: {printable(text)}") from error


def _plausible(size: int | None) -> str:
    """The condition that a speaker's row can be, and holds an embedding of this size."""
    of_size = "" if size is None else f"vector_dims(centroid) = {int(size)} AND "
    return (
        f"{of_size}vector_norm(centroid) BETWEEN {1 - LENGTH_TOLERANCE} AND {1 + LENGTH_TOLERANCE} "
        "AND coherence > 0 AND coherence <= 1 AND recordings >= 1 AND speech_s >= 0 AND speech_s < 'Infinity'"
    )


def _rewritten(before: str, now: str) -> bool:
    """Whether all tables have other files than before."""
    pairs = list(zip(before.split(","), now.split(","), strict=False))
    return bool(before) and all(one != other for one, other in pairs)


def _parameters(url: str) -> dict[str, Any]:
    """What a URL says, for psycopg."""
    try:
        given: dict[str, Any] = conninfo_to_dict(url)
    except psycopg.Error:
        given = {}
    # A '/' in a password ends the host for libpq, and what follows would be shown as the database.
    if not given or "@" in given.get("dbname", "") or not re.fullmatch(r"[0-9,]*", str(given.get("port", ""))):
        # Not with libpq's words, which may quote a part of the password.
        raise UsageError(
            "the URL of a store is postgresql://user:password@host:port/database, with '%' and two hexadecimal digits "
            "for special characters in user and password; the one that was given cannot be read"
        )
    return {"connect_timeout": CONNECTING_S, **given, "client_encoding": "UTF8"}


def _location(parameters: dict[str, Any]) -> str:
    """The URL for people, without password and options."""
    user, host, port, database = (str(parameters.get(key) or "") for key in ("user", "host", "port", "dbname"))
    where = f"{user}@" * bool(user) + (host if not host.startswith("/") else "") + f":{port}" * bool(port)
    return printable(f"postgresql://{where}/{database}" + (f"?host={host}" if host.startswith("/") else ""))
