"""`sound-groove rooms`: simulate rooms for augmentation."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.options import positive_integer, seed
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.verb import add_verb

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = """examples:
  sound-groove rooms --out data/rooms
  sound-groove train recipes/cnceleb/ecapa512.yaml augmentation.room_folder=data/rooms

Small, medium and large rooms in equal parts, with the sides and the absorption of RIRS_NOISES. 600 rooms take 15 MB and
about 130 s of one core. A run that was stopped goes on when the same command is given again. It needs the
'rooms' extra: pip install --editable '.[rooms]'.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "rooms",
        "simulate rooms for augmentation",
        "Simulate the impulse responses of rooms, once, into a folder for augmentation.room_folder.",
        EXAMPLES,
        run,
    )
    add = parser.add_argument
    add("--out", metavar="DIR", type=Path, required=True, help="folder to write")
    add("--count", metavar="N", type=positive_integer, default=600, help="how many rooms (default: %(default)s)")
    add("--seed", metavar="N", type=seed, default=0, help="of every draw (default: %(default)s)")
    add("--workers", metavar="N", type=positive_integer, help="processes (default: all cores)")
    add("--force", action="store_true", help="start over where --out holds rooms")
    add("--json", action="store_true", help="print what was made as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Simulate, and print where the rooms lie."""
    from sound_groove.synthesis.rooms import simulate_rooms

    try:
        made = simulate_rooms(
            arguments.out, arguments.count, arguments.seed, workers=arguments.workers, force=arguments.force
        )
    except KeyboardInterrupt:
        say("what was done is kept: the same command goes on from here")
        raise
    shortest, median, longest = made.rt60_s
    say(
        f"{made.rooms:,} rooms, {made.simulated:,} of them new, {made.megabytes:.1f} MB; measured reverberation time "
        f"{shortest:.2f} to {longest:.2f} s, median {median:.2f} s"
    )
    if arguments.json:
        show_json(made.as_dict(), indent=None)
    else:
        show(str(made.folder))
    return 0
