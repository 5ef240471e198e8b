"""The parser of the command line: what it complains of is one sentence, with the nearest word that there is."""

import argparse
import re
import sys
from typing import Any, NoReturn

from sound_groove.cli.output import tell_error
from sound_groove.errors import nearest, printable


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one sentence with the nearest valid word.

    Attributes:
        scattered: the positional argument that takes words which stand among the options, too; None where all come
            before these.
        usual: the first word where none is given, of verbs that have verbs of their own.
    """

    scattered: str | None = None
    usual: str | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and complain about what is left over here, where the verb's own options are known."""
        if self.usual is not None and (not args or (args[0].startswith("-") and args[0] not in ("-h", "--help"))):
            args = [self.usual, *args]
        parsed, rest = super().parse_known_args(args, namespace)
        if self.scattered is not None:
            getattr(parsed, self.scattered).extend(word for word in rest if not word.startswith("-"))
            rest = [word for word in rest if word.startswith("-")]
        if rest:
            options = [option for action in self._actions for option in action.option_strings]
            if rest[0].startswith("-"):
                self.error(f"there is no option '{rest[0]}'; {nearest(rest[0].split('=')[0], options)}")
            self.error(f"unexpected '{rest[0]}'; words come before the options")
        return parsed, rest

    def error(self, message: str) -> NoReturn:
        """Print the complaint and where to look, and exit with 2."""
        choice = re.fullmatch(
            r"(?:argument )?(.*?): invalid choice: (['\"])(.*)\2 \(choose from (.*)\)", message, re.DOTALL
        )
        if choice:
            subject, _, given, listed = choice.groups()
            choices = [word.strip(" '") for word in listed.split(",")]
            message = f"{subject}: there is no '{given}'; {nearest(given, choices)}"
        tell_error(f"{printable(message)} (see '{self.prog} --help')")
        sys.exit(2)
