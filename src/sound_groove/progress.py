"""Progress bars: tqdm's, on the terminal only, whose words cannot move the cursor."""

import sys
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from sound_groove.errors import printable
from sound_groove.terminal import unguarded

if TYPE_CHECKING:
    ProgressBar = tqdm
else:

    class ProgressBar(tqdm):
        """tqdm's bar on stderr, with its arguments but for `file`.

        Only the bar itself may return to the start of a line; its title, which may be a stranger's word, may not.
        """

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, file=unguarded(sys.stderr), **named)

        def display(self, msg: str | None = None, pos: int | None = None) -> bool:
            """Draw the bar, or a message in its place."""
            return super().display(printable(str(self) if msg is None else msg), pos)


def say_above_bars(text: str) -> None:
    """Write a line to stderr, above the bars that are shown.

    Args:
        text: one line, or several, printable already.
    """
    ProgressBar.write(text, file=unguarded(sys.stderr))
