"""API keys: who may ask for what.

A key is 256 random bits, shown once. The file keeps its SHA-256: a slow hash protects passwords, which people choose
and others can guess; nobody guesses 256 bits, and a slow hash would only cost every request. A key that comes is
compared with every entry in constant time, so that the time of an answer tells nothing about the entries.

A key has one scope, which includes those before it:

    read    compare, embed, verify, identify, and see who is enrolled
    enrol   and enrol
    admin   and remove, and read the audit trail
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from sound_groove.client.records import Scope
from sound_groove.errors import OutputError, ServiceError, UsageError, nearest, printable
from sound_groove.files import locked_folder, replaced
from sound_groove.json_reading import parse_json
from sound_groove.voiceprints.store.records import timestamp

SCOPES: tuple[Scope, ...] = get_args(Scope)  # each includes those before it
PREFIX = "sg_"  # by which scanners of source code can find a key that leaked
MOST_A_MINUTE = 1_000_000  # requests, seconds of audio
MOST_REMOVED = 100  # of which the file keeps the hashes
MOST_BYTES = 1_000_000  # of a file of keys
HASH = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of the file.

    Attributes:
        name: of the key, for logs and the audit trail.
        scope: what it allows.
        hash: SHA-256 of the key (hexadecimal).
        created: when, in UTC (ISO 8601).
        requests_a_minute: that it may ask; None for any number.
        audio_s_a_minute: seconds of audio that it may have decoded; None for any length.
        expires: the moment (UTC, ISO 8601) from which on it is refused; None for never.
    """

    name: str
    scope: Scope
    hash: str
    created: str
    requests_a_minute: int | None = None
    audio_s_a_minute: float | None = None
    expires: str | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether its scope includes another.

        >>> Key("app", "enrol", "", "").allows("read"), Key("app", "enrol", "", "").allows("admin")
        (True, False)
        """
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def has_expired(self, now: datetime) -> bool:
        """Whether it lets nobody in any more.

        >>> key = Key("app", "read", "", "", expires="2026-12-01T00:00:00+00:00")
        >>> key.has_expired(datetime(2026, 12, 1, tzinfo=UTC))
        True
        """
        return self.expires is not None and now >= datetime.fromisoformat(self.expires)


@dataclass(frozen=True, slots=True)
class RemovedKey:
    """What is kept of a key that was removed: the log can so name the key that somebody still uses.

    Attributes:
        name: it had.
        hash: as of a key.
        removed: when, in UTC (ISO 8601).
    """

    name: str
    hash: str
    removed: str


@dataclass(slots=True)
class _Content:
    """Of a file of keys."""

    keys: list[Key]
    removed: list[RemovedKey]


def hash_of(key: str) -> str:
    """What the file keeps of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def fingerprint(key: str) -> str:
    """By which the log tells refused keys from each other: 8 digits of the hash, of which nothing can be made."""
    return hash_of(key)[:8]


def add_key(
    path: Path,
    name: str,
    scope: str,
    requests_a_minute: int | None = None,
    audio_s_a_minute: float | None = None,
    expires: str | None = None,
) -> str:
    """Make a key and write it into the file, which is made where it is missing.

    Args:
        path: of the file.
        name: of the key.
        scope: what it allows.
        requests_a_minute: that it may ask; None for any number.
        audio_s_a_minute: seconds of audio that it may have decoded; None for any length.
        expires: the day, or the moment, from which on it is refused (ISO 8601, in UTC unless it says otherwise); None
            for never.

    Returns:
        The key itself, which is nowhere else.

    Raises:
        OutputError: the file cannot be written.
        ServiceError: the file is no file of keys.
        UsageError: the name is taken or none, there is no such scope, or a limit or a day cannot be.
    """
    _check_limits(requests_a_minute, audio_s_a_minute)
    if not NAME.fullmatch(name):
        raise UsageError(
            f"a key's name has up to 64 letters, digits, dots, dashes and underscores; '{printable(name[:70])}' was "
            "given"
        )
    known = [one for one in SCOPES if one == scope]
    if not known:
        raise UsageError(f"there is no scope '{printable(scope)}'; {nearest(scope, SCOPES)}")
    ends = None if expires is None else _moment(expires)
    with _changing(path) as content:
        if any(key.name == name for key in content.keys):
            raise UsageError(f"{printable(str(path))}: has a key '{name}' already; remove it first, or choose another")
        key = PREFIX + secrets.token_urlsafe(32)
        content.keys.append(Key(name, known[0], hash_of(key), timestamp(), requests_a_minute, audio_s_a_minute, ends))
    return key


def remove_key(path: Path, name: str) -> None:
    """Let a key let nobody in any more; a service that runs heeds it from then on. Its name may be given again.

    Raises:
        OutputError: the file cannot be written.
        ServiceError: the file is missing, or no file of keys.
        UsageError: it has no such key.
    """
    load_keys(path)
    with _changing(path) as content:
        key = _named(content.keys, name, path)
        content.keys.remove(key)
        content.removed = [*content.removed, RemovedKey(name, key.hash, timestamp())][-MOST_REMOVED:]


def limit_key(path: Path, name: str, requests_a_minute: int | None, audio_s_a_minute: float | None) -> Key:
    """Give a key other limits; a service that runs heeds them from then on. Arguments as for `add_key`.

    Returns:
        The entry as it is now.

    Raises:
        OutputError: the file cannot be written.
        ServiceError: the file is missing, or no file of keys.
        UsageError: it has no such key, or a limit is out of range.
    """
    _check_limits(requests_a_minute, audio_s_a_minute)
    load_keys(path)
    with _changing(path) as content:
        before = _named(content.keys, name, path)
        after = replace(before, requests_a_minute=requests_a_minute, audio_s_a_minute=audio_s_a_minute)
        content.keys[content.keys.index(before)] = after
    return after


def _named(keys: Sequence[Key], name: str, path: Path) -> Key:
    for key in keys:
        if key.name == name:
            return key
    names = [key.name for key in keys]
    hint = f"; {nearest(name, names)}" if names else ""
    raise UsageError(f"{printable(str(path))}: has no key '{printable(name)}'{hint}")


def _check_limits(requests_a_minute: int | None, audio_s_a_minute: float | None) -> None:
    if not (_is_limit(requests_a_minute, int) and _is_limit(audio_s_a_minute, int, float)):
        raise UsageError(
            f"a key's limits are whole requests and seconds of audio a minute, from 1 to {MOST_A_MINUTE:,}; "
            f"{requests_a_minute} and {audio_s_a_minute} were given"
        )


def _is_limit(value: object, *kinds: type) -> bool:
    return value is None or (type(value) in kinds and 1 <= value <= MOST_A_MINUTE)  # type: ignore[operator]


def _moment(text: str) -> str:
    """A day or a moment as the file has it."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"a key expires on a day such as 2027-01-31; '{printable(text[:40])}' was given") from None
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")


def _is_moment(text: object) -> bool:
    try:
        return text is None or (isinstance(text, str) and datetime.fromisoformat(text).tzinfo is not None)
    except ValueError:
        return False


def load_keys(path: Path) -> tuple[Key, ...]:
    """The entries of a file, without those that were removed.

    Raises:
        ServiceError: it cannot be read, is no file of keys, or may be written by others.
    """
    return tuple(_load(path).keys)


def _load(path: Path) -> _Content:
    shown = printable(str(path))
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = parse_json(file.read(MOST_BYTES + 1), MOST_BYTES)
        keys = [Key(**entry) for entry in content["keys"]]
        removed = [RemovedKey(**entry) for entry in content.get("removed", [])]
    except OSError as error:
        advice = "; 'sound-groove keys add' makes one" if isinstance(error, FileNotFoundError) else ""
        raise ServiceError(f"{shown}: cannot be read: {error.strerror or error}{advice}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ServiceError(f"{shown}: is no file of API keys; 'sound-groove keys add' makes one") from None
    if not all(map(_is_sound, keys)) or not all(map(_was_sound, removed)):
        raise ServiceError(f"{shown}: is damaged; make a new one with 'sound-groove keys add'")
    if os.name == "posix" and mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ServiceError(f"{shown}: others may write to it, and so let themselves in; chmod 600 it")
    return _Content(keys, removed)


def entry_of(key: Key) -> dict[str, Any]:
    """An entry as the file has it: without the limits that it has not."""
    return {name: value for name, value in asdict(key).items() if value is not None}


def _is_sound(key: Key) -> bool:
    """Every field is what it should be, whatever somebody wrote into the file."""
    if not all(isinstance(value, str) for value in (key.name, key.scope, key.hash, key.created)):
        return False
    if not (_is_limit(key.requests_a_minute, int) and _is_limit(key.audio_s_a_minute, int, float)):
        return False
    return (
        _is_moment(key.expires)
        and key.scope in SCOPES
        and bool(NAME.fullmatch(key.name))
        and bool(HASH.fullmatch(key.hash))
    )


def _was_sound(key: RemovedKey) -> bool:
    return all(isinstance(value, str) for value in (key.name, key.hash, key.removed)) and bool(HASH.fullmatch(key.hash))


@contextmanager
def _changing(path: Path) -> Iterator[_Content]:
    """What a file holds, written back in one piece when the block ends well; one process at a time."""
    shown = printable(str(path))
    try:
        with locked_folder(path.absolute().parent, f"{shown}: is being changed by another process; try again"):
            content = _load(path) if path.exists() else _Content([], [])
            yield content
            listed = {"keys": [entry_of(key) for key in content.keys]}
            if content.removed:
                listed["removed"] = [asdict(key) for key in content.removed]
            with replaced(path) as file:
                Path(file.name).chmod(0o600)
                file.write(json.dumps(listed, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise OutputError(f"{shown}: cannot be written: {error.strerror or error}") from error


class KeyRing:
    """The keys of a file, read again when it changes.

    Args:
        path: of the file.

    Raises:
        ServiceError: the file cannot be used, or holds no key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._state: tuple[int, ...] = ()
        self._content = _Content([], [])
        if not self.keys():
            raise ServiceError(f"{printable(str(path))}: holds no API key; 'sound-groove keys add' makes one")

    def keys(self) -> tuple[Key, ...]:
        """The entries as the file has them now.

        Raises:
            ServiceError: the file cannot be used any more: then nobody is let in.
        """
        return tuple(self._current().keys)

    def find_removed(self, given: str) -> RemovedKey | None:
        """What is kept of a key that was removed; None where it never was, or long ago.

        Raises:
            ServiceError: as `keys`.
        """
        sought = hash_of(given)
        return next((key for key in self._current().removed if hmac.compare_digest(key.hash, sought)), None)

    def _current(self) -> _Content:
        """What the file holds now.

        Raises:
            ServiceError: the file cannot be used any more: then nobody is let in.
        """
        with self._lock:
            try:
                found = self._path.stat()
            except OSError as error:
                raise ServiceError(f"{printable(str(self._path))}: cannot be read: {error.strerror or error}") from None
            state = (found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode)
            if state != self._state:
                self._content = _load(self._path)
                self._state = state
            return self._content

    def find(self, given: str) -> Key | None:
        """The entry of a key; None where there is none."""
        sought = hash_of(given)
        found = None
        for key in self.keys():  # all of them, whichever fits
            if hmac.compare_digest(key.hash, sought):
                found = key
        return found
