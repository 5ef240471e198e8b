"""`sound-groove download`: fetch a corpus from OpenSLR, check it, and unpack it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.verb import add_verb

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.corpora.downloads import Collection, Delivery

EXAMPLES = {
    "cnceleb": "sound-groove download cnceleb data/raw           both parts: CN-Celeb_flac and CN-Celeb2_flac",
    "musan": "sound-groove download musan data/raw             noise for augmentation.noise_folders",
    "rirs": "sound-groove download rirs data/raw              rooms for augmentation.room_folder",
}
CORPORA = {
    "cnceleb": "CN-Celeb1 and CN-Celeb2 (OpenSLR 82), about 22 and 75 GB",
    "musan": "MUSAN, music, speech and noise (OpenSLR 17), 11 GB",
    "rirs": "RIRS_NOISES, rooms and noise (OpenSLR 28), 1.3 GB",
}
RESUMES = "A download that was stopped goes on when the same command is given again."


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "download",
        "fetch CN-Celeb, MUSAN or RIRS_NOISES",
        "Fetch a corpus from OpenSLR or one of its mirrors, check its md5, and unpack it.",
        "\n  ".join(["examples:", *EXAMPLES.values()]) + f"\n\n{RESUMES}",
    )
    corpora = parser.add_subparsers(dest="corpus", metavar="CORPUS", required=True)
    for name, text in CORPORA.items():
        corpus = add_verb(corpora, name, text, f"Download {text}.", f"example:\n  {EXAMPLES[name]}\n\n{RESUMES}", run)
        if name == "cnceleb":
            corpus.add_argument("--part", metavar="N", type=int, choices=(1, 2), help="1 or 2 alone (default: both)")
        _add_options(corpus)


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", metavar="DIR", type=Path, help="folder to write; it needs room for the archives and their content")
    add(
        "--mirror",
        metavar="URL",
        action="append",
        default=[],
        help="try this copy of https://www.openslr.org/resources before the known ones (may be given again)",
    )
    add("--keep", action="store_true", help="keep the archives (default: removed once they are unpacked)")
    add("--json", action="store_true", help="print what lies where as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Download the corpus, and say where it lies."""
    from sound_groove.corpora.downloads import COLLECTIONS, MIRRORS, download

    collection = COLLECTIONS[arguments.corpus]
    part = getattr(arguments, "part", None)
    archives = [archive for archive in collection.archives if part in (None, archive.part)]
    say(f"licence: {collection.title}: {collection.licence}")
    try:
        deliveries = download(archives, arguments.folder, [*arguments.mirror, *MIRRORS], keep=arguments.keep, tell=say)
    except KeyboardInterrupt:
        say("what was downloaded is kept: the same command goes on from here")
        raise
    if arguments.json:
        show_json(_record(arguments.corpus, collection, deliveries), indent=None)
    else:
        show(*_results(deliveries))
    return 0


def _results(deliveries: "tuple[Delivery, ...]") -> list[str]:
    lines = []
    for delivery in deliveries:
        lines.append(f"{delivery.folder.name}: {delivery.folder}")
        lines += [f"archive: {path}" for path in delivery.archives]
    return lines


def _record(name: str, collection: "Collection", deliveries: "tuple[Delivery, ...]") -> dict[str, Any]:
    folders = [
        {
            "part": delivery.part,
            "folder": str(delivery.folder),
            "was_there": delivery.was_there,
            "md5": delivery.md5 or None,
            "archives": [str(path) for path in delivery.archives],
        }
        for delivery in deliveries
    ]
    return {"corpus": name, "licence": collection.licence, "folders": folders}
