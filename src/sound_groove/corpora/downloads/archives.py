"""The archives that can be downloaded: where they lie, how large they are, their sums, and their licences.

Names, sums and licences are those that OpenSLR states, and that public recipes (WeSpeaker, PaddleSpeech, Kiwano) check
against. A size in bytes is exact: servers gave it, and for CN-Celeb1 and RIRS_NOISES it also stands in their ETag.
CN-Celeb2's is known to the GB only; how large its files are is learnt from the server.
"""

from dataclasses import dataclass

from sound_groove.corpora.layouts.cnceleb import LICENCE as CNCELEB_LICENCE
from sound_groove.fetching.remote_file import GB, RemoteFile

# Tried in this order; below each stands /<number of the resource>/<name of the file>.
MIRRORS = (
    "https://www.openslr.org/resources",
    "https://us.openslr.org/resources",
    "https://openslr.trmal.net/resources",
    "https://openslr.elda.org/resources",
    "https://openslr.magicdatatech.com/resources",
)


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive, in one file or cut into several.

    Attributes:
        part: its number among the archives of its collection, from 1.
        resource: its number at OpenSLR.
        files: joined in this order.
        md5: of the files joined.
        size: of the files joined, in bytes; an estimate where a file's is not known.
        folder: what stands in it and is left once it is unpacked.
        unpacked: how much disk that takes, in bytes, an estimate on the safe side.
    """

    part: int
    resource: int
    files: tuple[RemoteFile, ...]
    md5: str
    size: int
    folder: str
    unpacked: int

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip, and not a tar."""
        return self.files[0].name.endswith(".zip")


@dataclass(frozen=True, slots=True)
class Collection:
    """What is downloaded under one name.

    Attributes:
        title: what it is, for people.
        licence: under which terms, in sentences.
        archives: its archives, in order.
    """

    title: str
    licence: str
    archives: tuple[Archive, ...]


# flac does not shrink, so that CN-Celeb takes unpacked what it takes packed, and some for the ends of 656,000 files.
COLLECTIONS = {
    "cnceleb": Collection(
        "CN-Celeb1 and CN-Celeb2",
        f"OpenSLR states CC BY-SA 4.0 (https://www.openslr.org/82/). {CNCELEB_LICENCE}",
        (
            Archive(
                part=1,
                resource=82,
                files=(RemoteFile("cn-celeb_v2.tar.gz", 22_264_439_915),),
                md5="7ab1b214028a7439e26608b2d5a0336c",
                size=22_264_439_915,
                folder="CN-Celeb_flac",
                unpacked=23 * GB,
            ),
            Archive(
                part=2,
                resource=82,
                files=(
                    RemoteFile("cn-celeb2_v2.tar.gzaa", md5="4cdf738cff565ce35ad34274848659c3"),
                    RemoteFile("cn-celeb2_v2.tar.gzab", md5="4ff59a7009b79ef7043498ad3882b81b"),
                    RemoteFile("cn-celeb2_v2.tar.gzac", md5="3aa8e6e7f7ec4382f9926b1b31498228"),
                ),
                md5="55c47cf0b6d0bf793e88bf79d5dfc660",
                size=75 * GB,
                folder="CN-Celeb2_flac",
                unpacked=78 * GB,
            ),
        ),
    ),
    "musan": Collection(
        "MUSAN: music, speech and noise",
        "OpenSLR states CC BY 4.0 (https://www.openslr.org/17/).",
        (
            Archive(
                part=1,
                resource=17,
                files=(RemoteFile("musan.tar.gz", 11_086_114_085),),
                md5="0c472d4fc0c5141eca47ad1ffeb2a7df",
                size=11_086_114_085,
                folder="musan",
                unpacked=13 * GB,  # 109 hours of 16 kHz, 16 bit, mono
            ),
        ),
    ),
    "rirs": Collection(
        "RIRS_NOISES: room impulse responses and noise",
        "OpenSLR states Apache License 2.0 (https://www.openslr.org/28/).",
        (
            Archive(
                part=1,
                resource=28,
                files=(RemoteFile("rirs_noises.zip", 1_311_166_223),),
                md5="e6f48e257286e05de56413b4779d8ffb",
                size=1_311_166_223,
                folder="RIRS_NOISES",
                unpacked=3 * GB,  # before the zip lies here and says it itself
            ),
        ),
    ),
}
