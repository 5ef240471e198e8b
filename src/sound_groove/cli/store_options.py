"""Which store of voiceprints a verb is to use."""

import argparse
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sound_groove.voiceprints.store.interface import VoiceprintStore

STORE_HELP = "file or postgresql://… URL of the voiceprints (default: $SOUND_GROOVE_STORE, else voiceprints.db here)"
ACTOR = "command line"  # in the audit trail
KEY_NOTE = """With a key of 64 hexadecimal digits in SOUND_GROOVE_STORE_KEY ('openssl rand -hex 32' prints one) a new
store encrypts embeddings and audio; it cannot be read without that key ever after.
"""


def add_store_option(parser: argparse.ArgumentParser) -> None:
    """Let a verb be told which store to use."""
    parser.add_argument("--store", metavar="S", help=STORE_HELP)


def opened_store(arguments: argparse.Namespace, create: bool = False) -> "AbstractContextManager[VoiceprintStore]":
    """The store that the options name, closed when the block is left."""
    from sound_groove.voiceprints.store.opening import default_store, open_store

    return closing(open_store(arguments.store or default_store(), create))
