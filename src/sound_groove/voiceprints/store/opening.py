"""Which store a path or URL means."""

import os
from pathlib import Path

from sound_groove.arguments import check_kind
from sound_groove.errors import UsageError, printable, require_extra
from sound_groove.voiceprints.store.interface import VoiceprintStore
from sound_groove.voiceprints.store.sealing import sealer_from_environment

STORE_VARIABLE = "SOUND_GROOVE_STORE"  # names the store to use when none is given
DEFAULT_STORE = "voiceprints.db"
POSTGRES_SCHEMES = ("postgresql", "postgres")


def default_store() -> str:
    """The store to use when none is named: that of SOUND_GROOVE_STORE, else `voiceprints.db` in this folder."""
    return os.environ.get(STORE_VARIABLE) or DEFAULT_STORE


def has_default_store() -> bool:
    """Whether there is a store where none is named: SOUND_GROOVE_STORE names one, or one lies in this folder."""
    return bool(os.environ.get(STORE_VARIABLE)) or Path(DEFAULT_STORE).exists()


def open_store(location: str | os.PathLike[str], create: bool = False, take_over: bool = False) -> VoiceprintStore:
    """Open a store of voiceprints.

    Args:
        location: the path of an SQLite file, or a URL `postgresql://user:password@host/database`.
        create: make it where there is none.
        take_over: where an encrypted store is of an earlier version, which did not authenticate names and figures,
            trust what is in it; others are refused such a store, and one that is not encrypted is brought to this
            version.

    Raises:
        MissingExtraError: a package that it needs is not installed.
        StoreError: it cannot be opened, or is none.
        UsageError: a URL of another kind, or a key that is none.
    """
    check_kind(location, (str, os.PathLike), "a store", "a path or a URL")
    sealer = sealer_from_environment()
    text = os.fspath(location)
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme in POSTGRES_SCHEMES:
        require_extra("A store in PostgreSQL", "postgres", "psycopg", "pgvector")
        from sound_groove.voiceprints.store.postgres import PostgresStore

        return PostgresStore(text, create, sealer, take_over)
    if scheme:
        raise UsageError(f"a store is a file or postgresql://…; '{printable(scheme)}://' was given")
    from sound_groove.voiceprints.store.sqlite import SqliteStore

    return SqliteStore(Path(text), create, sealer, take_over)
