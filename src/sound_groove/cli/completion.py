"""Completion in a shell: a script that knows all verbs and options, made by shtab, so that no TAB starts a program.

sound-groove --completion bash > ~/.local/share/bash-completion/completions/sound-groove
sound-groove --completion zsh > ~/.zfunc/_sound-groove         a folder of $fpath
sound-groove --completion fish > ~/.config/fish/completions/sound-groove.fish
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from sound_groove.cli.output import show_script

SHELLS = ("bash", "zsh", "fish")


def add_completion_option(parser: argparse.ArgumentParser, build: Callable[[], argparse.ArgumentParser]) -> None:
    """Let the program print a script for completion.

    Args:
        parser: of the whole program.
        build: makes a parser of all verbs, of which the script is made.
    """

    class Completion(argparse.Action):
        """Prints the script, and leaves."""

        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: str | Sequence[Any] | None,
            option_string: str | None = None,
        ) -> NoReturn:
            show_script(completion_script(build(), str(values)))
            parser.exit()

    parser.add_argument(
        "--completion", metavar="SHELL", choices=SHELLS, action=Completion, help="print a script for bash, zsh or fish"
    )


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell: verbs, options, choices, and files where an argument may be one.

    Args:
        parser: of the whole program.
        shell: one of `SHELLS`.
    """
    import shtab

    _complete_files(parser, shtab.FILE, shtab.DIRECTORY)
    script: str = shtab.complete(parser, shell)
    return script


def _complete_files(parser: argparse.ArgumentParser, file: Any, folder: Any) -> None:
    """Let every argument that is a word be completed by files: what is no file, such as a name, has none like it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for of_verb in action.choices.values():
                _complete_files(of_verb, file, folder)
        elif action.nargs != 0 and action.choices is None:
            action.complete = folder if action.metavar == "DIR" else file  # type: ignore[attr-defined]
