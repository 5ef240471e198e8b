"""`sound-groove serve`: the verifier over HTTP."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.options import add_model_option, number, positive_integer
from sound_groove.cli.output import say, show
from sound_groove.cli.verb import add_verb

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = """examples:
  sound-groove serve
  sound-groove serve --port 0 --store team.db --log-file service.log
  sound-groove serve --host 0.0.0.0 --keys keys.json --name voice.lan

It listens at 127.0.0.1 and lets everybody in who can reach that. Any other address needs API keys ('sound-groove keys
add'). The address is printed when it answers; Ctrl-C or SIGTERM stops it, after what was accepted is finished.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "serve",
        "compare, enrol, verify and identify over HTTP",
        "Serve over HTTP: compare, embed, enrol, verify, identify, tell who speaks when, forget; and a page to try it.",
        EXAMPLES,
        run,
    )
    add = parser.add_argument
    add("--host", metavar="H", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    add("--port", metavar="P", type=port, default=8000, help="default: %(default)s; 0 takes a free one")
    add("--store", metavar="S", help="file or postgresql://… (default: $SOUND_GROOVE_STORE, else voiceprints.db)")
    add_model_option(parser)
    add(
        "--archive",
        metavar="INDEX",
        action="append",
        type=Path,
        default=[],
        help="let voices be found in this index, as 'sound-groove index' makes it (may be given again)",
    )
    add("--keys", metavar="FILE", type=Path, help="API keys, as 'sound-groove keys' writes them")
    add(
        "--name",
        metavar="HOST",
        action="append",
        default=[],
        help="a host name under which clients reach it (may be given again)",
    )
    add(
        "--allow-origin",
        metavar="ORIGIN",
        action="append",
        default=[],
        help="let web pages of another place ask: https://app.example.org (may be given again; default: none)",
    )
    add("--log-file", metavar="FILE", type=Path, help="where the log goes (default: stderr)")
    add("--workers", metavar="N", type=positive_integer, help="recordings in work at once (default: one a core)")
    add("--waiting", metavar="N", type=positive_integer, help="requests that may wait (default: 128)")
    add("--max-upload", metavar="MB", type=number, help="of one request, all its recordings (default: 25)")
    add("--max-duration", metavar="S", type=number, help="of one recording (default: 600)")
    add("--max-decode", metavar="S", type=number, help="to decode one recording (default: 10)")
    add("--max-recordings", metavar="N", type=positive_integer, help="in one enrolment (default: 20)")
    add("--who-upload", metavar="MB", type=number, help="of a recording of who speaks when (default: 60)")
    add("--who-duration", metavar="S", type=number, help="of such a recording (default: 3600)")
    add("--who-jobs", metavar="N", type=positive_integer, help="of these in work at once (default: 1)")
    add("--who-waiting", metavar="N", type=positive_integer, help="of these that may wait (default: 4)")
    add("--who-kept", metavar="S", type=number, help="for which such a result can be had (default: 600)")
    add("--listeners", metavar="N", type=positive_integer, help="voices that are heard live at once (default: 4)")
    add("--listen-duration", metavar="S", type=number, help="of sound over one live connection (default: 3600)")
    add(
        "--segmentation",
        metavar="M",
        help="tells who speaks at the same time; 'none' for none (default: segmentation-3.0, if it was fetched)",
    )
    add("--read-timeout", metavar="S", type=number, help="for a request to arrive (default: 30)")
    add("--grace", metavar="S", type=number, help="to finish accepted requests when stopped (default: 30)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped."""
    from sound_groove.diarization.segmentation import chosen_segmentation
    from sound_groove.encoder.encoder import default_model
    from sound_groove.service.limits import MEGABYTE, Limits
    from sound_groove.service.serving import serve
    from sound_groove.voiceprints.store.opening import default_store

    given = {
        "workers": arguments.workers,
        "waiting": arguments.waiting,
        "upload_bytes": None if arguments.max_upload is None else int(arguments.max_upload * MEGABYTE),
        "duration_s": arguments.max_duration,
        "decode_s": arguments.max_decode,
        "recordings": arguments.max_recordings,
        "reading_s": arguments.read_timeout,
        "who_upload_bytes": None if arguments.who_upload is None else int(arguments.who_upload * MEGABYTE),
        "who_duration_s": arguments.who_duration,
        "who_jobs": arguments.who_jobs,
        "who_waiting": arguments.who_waiting,
        "who_kept_s": arguments.who_kept,
        "listeners": arguments.listeners,
        "listening_s": arguments.listen_duration,
        "grace_s": arguments.grace,
    }
    serve(
        arguments.host,
        arguments.port,
        store=arguments.store or default_store(),
        model=arguments.model or default_model(),
        keys=arguments.keys,
        names=tuple(arguments.name),
        origins=tuple(arguments.allow_origin),
        log_file=arguments.log_file,
        segmentation=chosen_segmentation(arguments.segmentation),
        limits=Limits(**{name: value for name, value in given.items() if value is not None}),
        archives=tuple(arguments.archive),
        on_start=lambda address: show(f"Sound-Groove answers at {address} (Ctrl-C stops it)", at_once=True),
    )
    say("stopped")
    return 0


def port(text: str) -> int:
    """A port: a whole number from 0 to 65535."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, not '{text}'")
    return int(text)
