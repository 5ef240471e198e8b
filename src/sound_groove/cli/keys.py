"""`sound-groove keys`: who may use the service."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sound_groove.cli.options import number, positive_integer
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.verb import add_verb

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = {
    "add": "sound-groove keys add front-desk --scope enrol --keys keys.json",
    "limit": "sound-groove keys limit front-desk --requests 60 --audio 600 --keys keys.json",
    "list": "sound-groove keys list --keys keys.json",
    "remove": "sound-groove keys remove front-desk --keys keys.json",
}
TEXT = """A key's scope includes those before it: read (compare, embed, verify, identify, and see who is enrolled),
enrol, and admin (remove speakers, read the audit trail). A key is shown once; the file keeps a hash of it. A service
that runs heeds a change of the file at once. Limits bound what a key may ask for in a minute; beyond them it is
answered 429, with the time after which it may try again.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "keys",
        "API keys of the service",
        "Make, list and remove the API keys of the service.",
        "\n  ".join(["examples:", *EXAMPLES.values()]) + f"\n\n{TEXT}",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = _add(actions, "add", "make a key, and print it", run_add)
    add.add_argument("name", metavar="NAME", help="what logs and the audit trail call it")
    add.add_argument("--scope", metavar="SCOPE", required=True, help="read, enrol or admin")
    add.add_argument("--expires", metavar="DAY", help="the day (UTC) from which on it is refused, such as 2027-01-31")
    limit = _add(actions, "limit", "give a key other limits", run_limit)
    limit.add_argument("name", metavar="NAME", help="of the key")
    for action in (add, limit):
        note = "" if action is add else "; without it the limit is taken away"
        action.add_argument(
            "--requests", metavar="N", type=positive_integer, help=f"that it may ask in a minute (any number){note}"
        )
        action.add_argument(
            "--audio", metavar="S", type=number, help=f"seconds of audio in a minute (any length){note}"
        )
    listing = _add(actions, "list", "list the keys by name", run_list)
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    remove = _add(actions, "remove", "remove a key", run_remove)
    remove.add_argument("name", metavar="NAME", help="of the key")
    for action in (add, limit, listing, remove):
        action.add_argument("--keys", metavar="FILE", type=Path, required=True, help="the file of keys")


def _add(actions: "Verbs", name: str, text: str, run: Any) -> argparse.ArgumentParser:
    title = f"{text[0].upper()}{text[1:]}."
    return add_verb(actions, name, text, title, f"example:\n  {EXAMPLES[name]}\n\n{TEXT}", run)


def run_add(arguments: argparse.Namespace) -> int:
    """Make a key and print it."""
    from sound_groove.service.keys import add_key

    given = arguments
    show(add_key(given.keys, given.name, given.scope, given.requests, given.audio, given.expires))
    say("this is the key; it is shown once and kept nowhere, only its hash is")
    return 0


def run_limit(arguments: argparse.Namespace) -> int:
    """Give a key other limits, and print them."""
    from sound_groove.service.keys import limit_key

    show(_line(asdict(limit_key(arguments.keys, arguments.name, arguments.requests, arguments.audio))))
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """Print the keys, without their hashes."""
    from sound_groove.service.keys import load_keys

    entries = [asdict(key) for key in load_keys(arguments.keys)]
    for entry in entries:
        del entry["hash"]
    if arguments.json:
        show_json({"keys": entries})
    else:
        for entry in entries:
            show(_line(entry))
    return 0


def _line(entry: dict[str, Any]) -> str:
    """A key for people: name, scope, date, limits."""
    requests, audio_s = entry["requests_a_minute"], entry["audio_s_a_minute"]
    limits = [
        *([] if requests is None else [f"{requests:,} requests"]),
        *([] if audio_s is None else [f"{audio_s:g} s of audio"]),
    ]
    told = f"  {' and '.join(limits)} a minute" if limits else ""
    told += f"  until {entry['expires']}" if entry["expires"] else ""
    return f"{entry['name']:24} {entry['scope']:6} {entry['created']}{told}"


def run_remove(arguments: argparse.Namespace) -> int:
    """Remove a key."""
    from sound_groove.service.keys import remove_key

    remove_key(arguments.keys, arguments.name)
    return 0
