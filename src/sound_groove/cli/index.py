"""`sound-groove index`: a folder of recordings, embedded once in windows, for `find`."""

import argparse
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from sound_groove.cli.options import (
    add_channel_option,
    add_model_option,
    add_ray_options,
    check_ray_options,
    positive_integer,
)
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.verb import add_verb, ready_for_computing

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = """examples:
  sound-groove index meetings                        makes meetings.index, beside the folder
  sound-groove index meetings                        again: only new and changed recordings are heard
  sound-groove index calls --channel 2 --out callers.index
  sound-groove index meetings --model campplus-zh-en
  sound-groove index meetings --ray                  on a Ray cluster

All recordings in the folder and below it are heard once, in windows of 2 s. A run that was stopped, or killed, goes on
where it was; recordings that are gone are forgotten. An index holds voiceprints of everybody who speaks in the
recordings: guard it as the recordings themselves. 'sound-groove find' then tells where somebody speaks.
"""
MOST_NAMED = 20  # recordings that cannot be used


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "index",
        "make an archive of recordings one in which somebody can be found",
        "Embed the windows of all recordings in a folder, for 'find'.",
        EXAMPLES,
        run,
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="with recordings in it and below it")
    parser.add_argument(
        "--out", metavar="INDEX", type=Path, help="the index (default: the folder's name with .index, beside it)"
    )
    add_model_option(parser)
    add_channel_option(parser)
    parser.add_argument(
        "--workers", metavar="N", type=positive_integer, help="recordings at a time (default: all cores)"
    )
    add_ray_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Make or bring up the index, and print where it lies."""
    ready_for_computing()
    from sound_groove.archive.indexing import Progress, index_archive
    from sound_groove.errors import printable
    from sound_groove.progress import ProgressBar

    check_ray_options(arguments)
    model, hear = arguments.model, None
    if arguments.ray:
        from sound_groove.archive.ray_indexing import on_ray
        from sound_groove.encoder.encoder import default_model
        from sound_groove.pretrained import model_path

        model = model_path(model or default_model()).absolute()
        hear = on_ray(model, arguments.workers, arguments.ray_address)
    lock, heard_s = Lock(), 0.0

    with ProgressBar(desc="indexing", unit="recording", disable=None) as bar:

        def begin(count: int) -> None:
            bar.reset(count)

        def seconds(more: float) -> None:
            nonlocal heard_s
            with lock:
                heard_s += more
                bar.set_postfix_str(f"{heard_s / 3600:.2f} h heard")

        done = index_archive(
            arguments.folder,
            arguments.out,
            model,
            channel=arguments.channel,
            workers=arguments.workers,
            hear=hear,
            progress=Progress(begin, bar.update, seconds),
        )
    for name, reason in done.failures[:MOST_NAMED]:
        say(f"warning: {printable(name)}: {reason}")
    if len(done.failures) > MOST_NAMED:
        say(f"warning: {len(done.failures) - MOST_NAMED:,} more recordings cannot be used")
    if arguments.json:
        record = asdict(done)
        show_json({**record, "path": str(done.path), "failures": dict(done.failures)})
        return 0
    known = f", {done.kept:,} known already" if done.kept else ""
    gone = f", {done.removed:,} gone" if done.removed else ""
    say(
        f"{done.recordings:,} recordings, {done.duration_s / 3600:.2f} h, {done.windows:,} windows by "
        f"{done.model.label}: {done.heard:,} heard{known}{gone}"
    )
    show(str(done.path))
    return 0
