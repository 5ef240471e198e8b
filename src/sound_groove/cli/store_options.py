"""Which store of voiceprints a verb is to use."""

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from sound_groove.cli.output import say

if TYPE_CHECKING:
    from sound_groove.voiceprints.store.interface import VoiceprintStore

STORE_HELP = "file or postgresql://… URL of the voiceprints (default: $SOUND_GROOVE_STORE, else voiceprints.db here)"
ACTOR = "command line"  # in the audit trail
KEY_NOTE = """With a key of 64 hexadecimal digits in SOUND_GROOVE_STORE_KEY ('openssl rand -hex 32' prints one) a new
store encrypts embeddings and audio, and nobody can change anything in it unnoticed; it cannot be read without that key
ever after.
"""


def add_store_option(parser: argparse.ArgumentParser) -> None:
    """Let a verb be told which store to use."""
    parser.add_argument("--store", metavar="S", help=STORE_HELP)


@contextmanager
def opened_store(
    arguments: argparse.Namespace, create: bool = False, take_over: bool = False
) -> "Iterator[VoiceprintStore]":
    """The store that the options name, closed when the block is left; what should be known of its opening is said."""
    from sound_groove.voiceprints.store.opening import default_store, open_store

    with closing(open_store(arguments.store or default_store(), create, take_over)) as store:
        for notice in store.notices:
            say(f"note: {notice}")
        yield store


def show_damaged(store: "VoiceprintStore") -> None:
    """Warn of those whose rows cannot be used, each on a line."""
    for one in store.damaged():
        say(f"warning: '{one.name}' (speaker {one.id}) is left out: {one.reason}")
