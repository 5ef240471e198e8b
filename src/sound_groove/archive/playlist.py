"""The stretches of a finding as a playlist: M3U, with the moments in the directives of VLC.

A player that does not know `#EXTVLCOPT` plays each recording from its beginning.
"""

import math
from pathlib import Path

from sound_groove.archive.finding import Finding
from sound_groove.errors import OutputError, printable
from sound_groove.files import write_text

BROKEN = ("\n", "\r")  # in a path would begin a line of its own


def write_playlist(found: Finding, path: Path) -> None:
    """Write a playlist.

    Raises:
        OutputError: it cannot be written, or a recording's path cannot stand in it.
    """
    lines = ["#EXTM3U"]
    for one in found.stretches:
        if any(end in one.recording for end in BROKEN):
            raise OutputError(f"{printable(one.recording)}: a playlist cannot name it, since its name has a line end")
        title = f"{found.name or 'found'}, {one.start_s:.1f} s"
        lines += [
            f"#EXTINF:{math.ceil(one.end_s - one.start_s)},{printable(title)}",
            f"#EXTVLCOPT:start-time={one.start_s:.2f}",
            f"#EXTVLCOPT:stop-time={one.end_s:.2f}",
            one.recording,
        ]
    write_text(path, "\n".join(lines) + "\n")
