"""Every error that Sound-Groove raises on purpose, drawn in one place.

    SoundGrooveError
    ├── AudioError            a recording that cannot be used
    │   └── ForeignFormatError    a recording in a format or coding that the decoder does not know
    ├── CorpusError           a corpus, manifest or list that is not laid out as it should be
    ├── DownloadError         a corpus or model that no server gives, or whose file is not what it should be
    ├── ConfigurationError    a recipe with mistakes in it, all of them at once
    ├── CheckpointError       a model file that is missing, damaged or of another kind
    ├── TrainingError         training that cannot start or go on
    ├── TrialError            a trial list that cannot be read, or trials that cannot be scored
    ├── MetricError           scores from which a figure cannot be computed
    ├── StoreError            a store of voiceprints that cannot be used, or not for this
    │   ├── UnknownSpeakerError   a name that nobody is enrolled under
    │   ├── OtherModelError       a voiceprint made by another model than the one at hand
    │   ├── DamagedVoiceprintError  a voiceprint that is not what the store wrote, or cannot be
    │   └── StaleVoiceprintError  a voiceprint that has changed since it was looked at
    ├── ArchiveError          an index of recordings that cannot be used, or not for this
    ├── EnrolmentError        recordings that may not be enrolled, all of them at once
    ├── ServiceError          a service that cannot be started, or whose file of API keys cannot be used
    ├── RequestError          a request that the service refuses, with its HTTP status
    ├── UnreachableError      a service that does not answer, or an answer that is none of a service
    ├── OutputError           a result that cannot be written, or would overwrite another
    ├── UsageError            an argument out of its range, or one that is needed and was not given
    └── MissingExtraError     an optional dependency that is not installed

The message of each is one sentence that says what, where and what to do. The command line prints it and exits with 1
(with 2 for a UsageError).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sound_groove._version import __version__


class SoundGrooveError(Exception):
    """Base of every error raised on purpose."""


class AudioError(SoundGrooveError):
    """A recording cannot be used.

    Attributes:
        path: the file, or None for samples that came from memory.
        reason: one clause in lower case, such as "is digital silence".
        called: what to call a recording without a path.
        code: a stable word for machines: "not_audio", "foreign_format", "damaged", "empty", "too_short", "too_long",
            "silent", or "unusable" for all else.
        values: what the reason measures, such as `length_s`; in seconds where the name says so.
    """

    def __init__(
        self,
        path: str | Path | None,
        reason: str,
        called: str = "the recording",
        *,
        code: str = "unusable",
        values: Mapping[str, float] | None = None,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.reason = reason
        self.called = called
        self.code = code
        self.values = dict(values or {})
        # A name with control characters or undecodable bytes must not break the terminal or the one-line promise.
        name = called if path is None else printable(str(path))
        super().__init__(f"{name}: {reason}")

    def __reduce__(self) -> tuple[Callable[..., "AudioError"], tuple[Any, ...]]:
        """Let the error cross process borders (the default would pass the message as the path)."""
        return partial(type(self), code=self.code, values=self.values), (self.path, self.reason, self.called)

    def named(self, called: str) -> "AudioError":
        """The same of a recording that is called otherwise where it has no path."""
        kind, facts = self.__reduce__()
        return kind(*facts[:-1], called)


class ForeignFormatError(AudioError):
    """A recording has a format, or a coding inside of a known format, that is recognised and cannot be decoded here.

    Attributes:
        format: its name, such as "WebM", or "G.722 inside a wav".
    """

    def __init__(
        self, path: str | Path | None, format: str, reason: str | None = None, called: str = "the recording"
    ) -> None:
        self.format = format
        cannot = f"is {format}, which cannot be read; convert it first: ffmpeg -i INPUT OUTPUT.wav"
        super().__init__(path, reason or cannot, called, code="foreign_format")

    def __reduce__(self) -> tuple[Callable[..., "ForeignFormatError"], tuple[Any, ...]]:
        return type(self), (self.path, self.format, self.reason, self.called)


class CorpusError(SoundGrooveError):
    """A corpus, manifest or list is not laid out as it should be."""


class DownloadError(SoundGrooveError):
    """A corpus or model that no server gives, or whose file is not what it should be."""


class ConfigurationError(SoundGrooveError):
    """A recipe has mistakes in it.

    Attributes:
        problems: one sentence for each mistake.
    """

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = "1 mistake" if len(self.problems) == 1 else f"{len(self.problems)} mistakes"
        # A line each: a key or a path with line ends of its own must not add to them.
        super().__init__(
            "\n".join([f"{printable(source)}: {count}", *(f"  - {printable(one)}" for one in self.problems)])
        )

    def __reduce__(self) -> tuple[type["ConfigurationError"], tuple[str, tuple[str, ...]]]:
        return type(self), (self.source, self.problems)


class CheckpointError(SoundGrooveError):
    """A model file is missing, damaged, or not one of ours."""


class TrainingError(SoundGrooveError):
    """Training cannot start or cannot go on."""


class TrialError(SoundGrooveError):
    """A trial list cannot be read, or trials in it cannot be scored."""


class MetricError(SoundGrooveError):
    """A figure cannot be computed from these scores."""


class StoreError(SoundGrooveError):
    """A store of voiceprints cannot be opened, read or written, or what it holds does not allow what was asked."""


class UnknownSpeakerError(StoreError):
    """Nobody is enrolled under this name."""


class OtherModelError(StoreError):
    """A voiceprint was made by another model than the one at hand, so that the two cannot be compared."""


class DamagedVoiceprintError(StoreError):
    """What a store keeps of a speaker is not what it wrote, or cannot be; the other speakers are as they were."""


class StaleVoiceprintError(StoreError):
    """A voiceprint has changed since it was looked at; look again."""


class ArchiveError(SoundGrooveError):
    """An index of recordings cannot be opened, read or written, or what it holds does not allow what was asked."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one recording is refused, for people and for programs.

    Attributes:
        recording: what it is called.
        code: a stable word for machines: those of an `AudioError`, or a rule of enrolment or of the service.
        reason: one clause in lower case, which says what to do.
        values: what the reason measures, by name; units are in the names.

    >>> str(Refusal("b.wav", "silent", "is digital silence"))
    'b.wav: is digital silence'
    """

    recording: str
    code: str
    reason: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.recording}: {self.reason}"

    @classmethod
    def of(cls, error: AudioError) -> "Refusal":
        """What an error says of its recording."""
        name = error.called if error.path is None else printable(str(error.path))
        return cls(name, error.code, error.reason, error.values)


class EnrolmentError(SoundGrooveError):
    """Recordings may not be enrolled.

    Attributes:
        speaker: the name that they were to be enrolled under.
        refusals: one for each reason why a recording was refused.
        problems: the same, as sentences.
    """

    def __init__(self, speaker: str, refusals: Sequence[Refusal]) -> None:
        self.speaker = speaker
        self.refusals = tuple(refusals)
        self.problems = tuple(map(str, self.refusals))
        super().__init__(f"nothing was enrolled for '{printable(speaker)}': " + "; ".join(self.problems))

    def __reduce__(self) -> tuple[type["EnrolmentError"], tuple[str, tuple[Refusal, ...]]]:
        return type(self), (self.speaker, self.refusals)


class ServiceError(SoundGrooveError):
    """The service cannot be started, or its file of API keys cannot be used."""


class RequestError(SoundGrooveError):
    """The service refuses a request.

    Attributes:
        status: of the answer (HTTP).
        code: a stable word for machines, such as "upload_too_large".
        problems: one sentence for each thing that is wrong, where there are several.
        retry_after_s: when to try again, where that may help; else None.
        refusals: where recordings were refused: each, and why.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        problems: Sequence[str] = (),
        retry_after_s: int | None = None,
        refusals: Sequence[Refusal] = (),
    ) -> None:
        self.status = status
        self.code = code
        self.problems = tuple(problems)
        self.retry_after_s = retry_after_s
        self.refusals = tuple(refusals)
        super().__init__(message)


class UnreachableError(SoundGrooveError):
    """A service does not answer, or what answers is no such service."""


class OutputError(SoundGrooveError):
    """A result cannot be written, or would overwrite an earlier one."""


class UsageError(SoundGrooveError):
    """An argument lies out of its range, or one that is needed was not given."""


def installing(extra: str) -> str:
    """How an extra is installed, in the words of a command: from the source, or from the wheel that was installed.

    The package is in no index yet, so that its name alone would install nothing, or something else.
    """
    is_source = (Path(__file__).parents[2] / "pyproject.toml").is_file()
    what = f"--editable '.[{extra}]'" if is_source else f"'sound_groove-{__version__}-py3-none-any.whl[{extra}]'"
    return f"pip install {what}"


class MissingExtraError(SoundGrooveError):
    """An optional dependency is not installed.

    Attributes:
        extra: the extra of the package that brings it.
    """

    def __init__(self, what: str, extra: str) -> None:
        self.what = what
        self.extra = extra
        super().__init__(f"{what} needs the '{extra}' extra: {installing(extra)}")

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        return type(self), (self.what, self.extra)


def require_extra(what: str, extra: str, *modules: str) -> None:
    """Check that optional modules are installed, without importing them.

    Args:
        what: what needs them, as the start of a sentence: "Training".
        extra: the extra that brings them: "train".
        modules: their import names.

    Raises:
        MissingExtraError: one of them is missing.
    """
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in modules):
        raise MissingExtraError(what, extra)


def printable(text: str) -> str:
    r"""Text with control characters and undecodable bytes escaped, safe to print on one line.

    >>> printable("a\nb")
    'a\\nb'
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogateescape").decode("ascii", "replace") for c in text
    )


def nearest(given: str, valid: Sequence[str]) -> str:
    """A hint that names the nearest valid word, or lists the valid ones.

    >>> nearest("ecapa_tdn", ["ecapa_tdnn"])
    "did you mean 'ecapa_tdnn'?"
    >>> nearest("xyz", ["adamw", "sgd"])
    'choose from adamw, sgd'
    """
    from difflib import get_close_matches

    close = get_close_matches(given, valid, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else "choose from " + ", ".join(valid)
