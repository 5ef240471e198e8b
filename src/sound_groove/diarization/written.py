"""What `who` leaves on disk: turns in RTTM, subtitles with names, a page; each whole under its name, or not there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sound_groove.audio.given import AnyRecording
from sound_groove.diarization.answer import Diarization
from sound_groove.diarization.rttm import rttm_lines
from sound_groove.diarization.subtitles import with_names
from sound_groove.errors import OutputError, UsageError, printable, require_extra
from sound_groove.files import replaced, writing
from sound_groove.types import SpeakerTurn

MOST_SUBTITLES = 64 << 20  # bytes of a file of subtitles


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that are asked for; None for those that are not.

    Attributes:
        rttm: to be written.
        srt: subtitles to be read; those with names are written beside them.
        html: a page, to be written.
        audio: put the sound into the page.
        force: replace files that are there.
    """

    rttm: Path | None = None
    srt: Path | None = None
    html: Path | None = None
    audio: bool = False
    force: bool = False

    @property
    def named_srt(self) -> Path | None:
        """Where subtitles with names are written."""
        return None if self.srt is None else self.srt.with_suffix(".who.srt")

    def check(self) -> None:
        """Refuse what cannot be written, before hours are listened to.

        Raises:
            MissingExtraError: what writes pages is not installed.
            OutputError: a file is there already, or its folder is not.
            UsageError: the subtitles cannot be read, or are none.
        """
        if self.html is not None:
            require_extra("A page", "who", "jinja2")
        for path in (self.rttm, self.named_srt, self.html):
            if path is None:
                continue
            if not path.parent.is_dir():
                raise OutputError(f"{printable(str(path))}: there is no folder {printable(str(path.parent))}; make it")
            if path.is_dir():
                raise OutputError(f"{printable(str(path))}: is a folder; name a file")
            if path.exists() and not self.force:
                raise OutputError(f"{printable(str(path))}: is there already; pass --force to replace it")
        if self.srt is not None:
            self._with_names(())

    def write(self, found: Diarization, recording: AnyRecording, channel: int | None = None) -> list[Path]:
        """Write the files.

        Args:
            found: who spoke when.
            recording: is read again where its sound is put into the page.
            channel: of it.

        Returns:
            Those that were written.

        Raises:
            OutputError: one of them cannot be written.
        """
        written = []
        for path, content in self._contents(found, recording, channel):
            with writing(path), replaced(path) as file:
                file.write(content)
            written.append(path)
        return written

    def _contents(self, found: Diarization, recording: AnyRecording, channel: int | None) -> Iterator[tuple[Path, str]]:
        name = recording if isinstance(recording, str | Path) else "recording"
        if self.rttm is not None:
            lines = rttm_lines(found.turns, Path(name).stem)
            yield self.rttm, "".join(f"{line}\n" for line in lines)
        if self.srt is not None and self.named_srt is not None:
            yield self.named_srt, self._with_names(found.turns)
        if self.html is not None:
            from sound_groove.diarization.page import page, sound_of

            sound = sound_of(recording, channel) if self.audio else None
            yield self.html, page(found, str(name), sound)

    def _with_names(self, turns: Sequence[SpeakerTurn]) -> str:
        """The subtitles with the names of those who speak."""
        assert self.srt is not None
        name = printable(str(self.srt))
        try:
            if self.srt.stat().st_size > MOST_SUBTITLES:
                raise UsageError(f"{name}: is larger than subtitles are ({MOST_SUBTITLES >> 20} MiB); name a .srt file")
            text = self.srt.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror or error}; name a .srt file") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"{name}: is not text in UTF-8; convert it first") from error
        try:
            return with_names(text, turns)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
