"""What was found in a corpus, as a page to listen and choose by, in English and Chinese.

Every finding has its evidence, players for the recordings it is about, and what is proposed: keep, drop or move.
Whoever chooses otherwise saves a file of choices (`corpora.choices`) with all that is proposed and chosen. A script in
the page does that; the browser keeps what was chosen until then. Without scripts the page shows what was found.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sound_groove.audio.data_uri import encode
from sound_groove.audio.excerpts import read_excerpt
from sound_groove.audio.given import split_name
from sound_groove.audio.reading import probe
from sound_groove.corpora.choices import Action, absolute
from sound_groove.curation.findings import KINDS, SECOND, Examination, Finding, Kind, Labelled, proposals
from sound_groove.curation.recordings import Code
from sound_groove.errors import AudioError, printable
from sound_groove.templates import environment_of

MOST_SHOWN = 100  # findings of a kind, the surest; of the others the proposals are in the saved file all the same
MOST_WITH_AUDIO = 30  # where their sound is in the page: a recording takes about 50 kB
BESIDE = 2  # recordings of a label that are put beside one in question
IN_CHINESE: dict[Kind, str] = {  # in the order of the page: what people must listen to comes first
    "wrong_label": "不是标签所说的人的录音",
    "two_people": "其实是两个人的标签",
    "one_person": "其实是同一个人的两个标签",
    "several_voices": "有两个或更多声音的录音",
    "same_audio": "与另一录音相同的录音",
    "unusable": "无法读取或语音太少的录音",
    "quality": "音质差的录音",
    "one_session": "只有一次会话的说话人",
}
WORDS: dict[Code, tuple[str, str]] = {
    "silence": ("silence", "静音"),
    "music": ("music", "音乐"),
    "noise": ("noise", "噪声"),
    "too_short": ("too little speech", "语音太短"),
    "channels_differ": ("channels that differ", "各声道不同"),
    "clipping": ("clipping", "削波"),
    "little_speech": ("little speech", "语音少"),
    "long_silence": ("a long silence", "长时间静音"),
    "low_snr": ("noise nearly as loud as the speech", "噪声几乎与语音一样响"),
    "narrow_band": ("a narrow band, as of a telephone", "窄带（如电话录音）"),
    "unfamiliar": ("sounds unlike speech", "听起来不像正常语音"),
}


@dataclass(frozen=True, slots=True)
class Player:
    """A recording to listen to.

    Attributes:
        name: of the file, with its folder.
        source: address for the browser; None where there is nothing to play.
    """

    name: str
    source: str | None


@dataclass(frozen=True, slots=True)
class Side:
    """Recordings of one label, beside each other.

    Attributes:
        label: whose they are.
        asked: whether these are the ones in question.
        players: some of them.
        count: how many there are.
    """

    label: str
    asked: bool
    players: tuple[Player, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A finding as the page has it.

    Attributes:
        number: of it on the page.
        finding: itself.
        sides: what to listen to.
        action: what is proposed.
        speaker: the label that is proposed, or that a move would suggest.
        asked: recordings that a choice is about; none where there is nothing to choose.
    """

    number: int
    finding: Finding
    sides: tuple[Side, ...]
    action: Action
    speaker: str
    asked: tuple[str, ...]

    @property
    def known_by(self) -> str:
        """What tells this finding from all others, in another examination too."""
        one = self.finding
        return f"{one.kind} {one.path or one.speaker} {one.other or ''}"


class FindingsPage:
    """Makes the page of an examination.

    Args:
        out: the folder in which the page will lie; players find recordings from there.
        recordings: of the corpus.
        found: in it.
        with_audio: put the first seconds of what can be listened to into the page, so that it needs no other file.
    """

    def __init__(self, out: Path, recordings: Sequence[Labelled], found: Examination, with_audio: bool = False) -> None:
        self.out, self.recordings, self.found, self.with_audio = Path(absolute(out)), recordings, found, with_audio
        self.proposed = proposals(recordings, found)
        self._speakers = {one.path: one.speaker for one in recordings}
        self._sounds: dict[str, str | None] = {}
        self._of_label: dict[str, list[str]] = {}  # what is left of each label that was not moved there
        moved = {choice.recording for choice, _ in self.proposed}
        for one in recordings:
            if one.path not in moved:
                self._of_label.setdefault(one.speaker, []).append(one.path)
        self._asked: dict[int, list[str]] = {}  # by the identity of the finding
        for choice, why in self.proposed:
            self._asked.setdefault(id(why), []).append(choice.recording)

    def text(self, data: str, rate: float) -> str:
        """The page.

        Args:
            data: what the corpus is called.
            rate: false discovery rate that was asked for.
        """
        parts = list[dict[str, Any]]()
        number = 0
        for kind, chinese in IN_CHINESE.items():
            here = self.found.of_kind(kind)
            if here:
                most = MOST_WITH_AUDIO if self.with_audio else MOST_SHOWN
                shown = [self._shown(number + place, one) for place, one in enumerate(here[:most])]
                number += len(shown)
                parts.append({"kind": kind, "en": KINDS[kind], "zh": chinese, "shown": shown, "count": len(here)})
        return (
            environment_of("sound_groove.curation")
            .get_template("doctor.html")
            .render(
                data=data,
                rate=rate,
                found=self.found,
                count=len(self.recordings),
                speakers=len(set(self.found.labels.values())),
                parts=parts,
                second=SECOND,
                words=WORDS,
                script=_json(self._script([one for part in parts for one in part["shown"]])),
            )
        )

    def _script(self, shown: Sequence[Shown]) -> dict[str, Any]:
        """What the page's script works with."""
        names = {id(one.finding): one.number for one in shown}
        proposed = [
            [printable(absolute(one.recording)), one.action, one.speaker, printable(one.reason), names.get(id(why), -1)]
            for one, why in self.proposed
        ]
        known = hashlib.sha256(repr([row[:3] for row in proposed]).encode("utf-8", "replace")).hexdigest()[:16]
        return {
            "key": f"sound-groove doctor {known}",
            "proposed": proposed,
            "shown": [
                {
                    "known": one.known_by,
                    "action": one.action,
                    "speaker": one.speaker,
                    "asked": [printable(absolute(path)) for path in one.asked],
                }
                for one in shown
            ],
        }

    def _shown(self, number: int, one: Finding) -> Shown:
        asked, others = self._asked.get(id(one), []), self._of_label
        sides = list[Side]()
        action: Action = "keep"
        speaker = ""
        if one.kind in ("two_people", "one_person") and one.other is not None:
            first, second = one.speaker, one.other
            sides = [self._side(first, False, others.get(first, [])), self._side(second, True, asked)]
            action, speaker = "move", second if one.kind == "two_people" else self._label_of(asked, first)
        elif one.path is None:
            sides = [self._side(one.speaker, False, others.get(one.speaker, []))]
        else:
            asked = [one.path]
            sides = [self._side(one.speaker, True, asked)]
            if one.kind == "wrong_label":
                sides.append(self._side(one.speaker, False, others.get(one.speaker, [])))
                if one.other is not None:
                    sides.append(self._side(one.other, False, others.get(one.other, [])))
            elif one.kind == "same_audio" and one.other is not None:
                sides.append(self._side(self._speaker_of(one.other), False, [one.other]))
            action = "keep" if one.path in self.found.labels else "drop"
            speaker = (one.other or "") if one.kind == "wrong_label" else ""
        sides = [side for side in sides if side.players]
        return Shown(number, one, tuple(sides), action, speaker, tuple(asked))

    def _label_of(self, asked: Sequence[str], otherwise: str) -> str:
        return self.found.labels.get(asked[0], otherwise) if asked else otherwise

    def _speaker_of(self, path: str) -> str:
        return self._speakers.get(path, "")

    def _side(self, label: str, asked: bool, paths: Sequence[str]) -> Side:
        return Side(label, asked, tuple(self._player(path) for path in paths[:BESIDE]), len(paths))

    def _player(self, path: str) -> Player:
        name = "/".join(Path(path).parts[-2:])
        if not self.with_audio:
            file = Path(absolute(split_name(path)[0]))
            return Player(name, quote(_relative(file, self.out)) if _is_audio(file) else None)
        if path not in self._sounds:
            try:
                self._sounds[path] = encode(read_excerpt([Path(path)]))
            except AudioError:  # it is on the page for that very reason
                self._sounds[path] = None
        return Player(name, self._sounds[path])


def _is_audio(file: Path) -> bool:
    """Whether there is anything to play; what cannot be read is on the page too."""
    try:
        return probe(file).samples > 0
    except AudioError:
        return False


def _relative(file: Path, folder: Path) -> str:
    """The way to a file from a folder; on another drive, where there is none, its address."""
    try:
        return os.path.relpath(file, folder).replace(os.sep, "/")
    except ValueError:
        return file.as_uri()


def _json(content: Any) -> str:
    """JSON as it may stand in a script of a page: nothing in it ends the script."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
