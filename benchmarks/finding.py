"""`index` and `find`, on archives of conversations that are made up: misses, false alarms promised and found, and time.

    python benchmarks/finding.py 'data/val/ocean-*' 'data/val/wuw2-*' [--model M] [--recordings 24] [--search-hours 100]

Every pattern names the folders of one collection's speakers. Of each collection an archive is made of so many
recordings, conversations of 2 to 6 people as `made_up_talks` makes them, real voices in made-up talks; `index` hears
it, and `find` looks for every person, enrolled by recordings that the archive does not hold, at each promise. A turn of
2 s or more is missed when no stretch shares half a second with it; a recording, when no stretch in it does, though the
person has such a turn in it; a stretch in which the person is silent all the time is a false alarm.

Then one voice in fifty recordings: of somebody who speaks in all of them, among others, how many are found. Then the
time to search an archive of `--search-hours`, whose embeddings are made up (drawn at random): time does not depend on
what they say.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from made_up_talks import Person, changed, conversations, people_of

from sound_groove.archive.finding import Stretch, find
from sound_groove.archive.index_file import IndexedRecording, IndexFacts, IndexFile
from sound_groove.archive.indexing import index_archive
from sound_groove.archive.recordings import open_archive
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import AudioFacts
from sound_groove.audio.reading import load_audio
from sound_groove.diarization.windows import SHIFT, WINDOW
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.provenance import machine
from sound_groove.synthesis.conversations import Conversation, make_conversation
from sound_groove.voiceprints.sought import SoughtVoice, recorded_voice

TURN_S = 2.0  # a shorter turn is not counted, found or missed
SHARED_S = 0.5  # of a stretch with a turn
FILES = 50  # in which one voice speaks


@dataclass
class Counts:
    """What was counted at one promise."""

    turns: Counter[bool] = field(default_factory=Counter)  # by whether they were found
    recordings: Counter[bool] = field(default_factory=Counter)
    alarms: int = 0
    hours: float = 0.0  # of recordings, once for each person looked for

    def add(self, talks: Sequence[Conversation], person: str, stretches: Sequence[Stretch], hours: float) -> None:
        """Count one search."""
        self.hours += hours
        by_file: dict[int, list[Stretch]] = {}
        for one in stretches:
            by_file.setdefault(int(Path(one.recording).stem), []).append(one)
        for number, talk in enumerate(talks):
            own = [turn for turn in talk.turns if turn.speaker == person]
            there = by_file.get(number, [])
            self.alarms += sum(not any(_shared(one, turn.start_s, turn.end_s) > 0 for turn in own) for one in there)
            long = [turn for turn in own if turn.end_s - turn.start_s >= TURN_S]
            hits = [any(_shared(one, turn.start_s, turn.end_s) >= SHARED_S for one in there) for turn in long]
            self.turns.update(hits)
            if long:
                self.recordings[any(hits)] += 1

    def cells(self) -> list[str]:
        """Of a table's row."""
        missed = (100 * count[False] / max(count.total(), 1) for count in (self.turns, self.recordings))
        return [f"{self.alarms / self.hours:.2f}", *(f"{share:.0f} %" for share in missed)]


def _shared(one: Stretch, start_s: float, end_s: float) -> float:
    return min(one.end_s, end_s) - max(one.start_s, start_s)


def written(talks: Sequence[Conversation], folder: Path) -> float:
    """Write conversations as files, and tell how many hours they last."""
    folder.mkdir()
    for number, talk in enumerate(talks):
        soundfile.write(folder / f"{number}.flac", talk.samples, SAMPLE_RATE)
    return sum(len(talk.samples) for talk in talks) / SAMPLE_RATE / 3600


def one_voice(people: Sequence[Person], seconds: float) -> list[Conversation]:
    """Conversations of one person with two others, who change."""
    first, *others = people
    found = []
    for number in range(FILES):
        draws = np.random.default_rng((1, number))
        chosen = [first, *(others[place] for place in draws.choice(len(others), 2, replace=False))]
        clips = {person.name: [load_audio(path) for path in person.clips] for person in chosen}
        made = make_conversation(clips, seconds, draws)
        found.append(
            Conversation(changed(made.samples, ("as recorded", "room", "noise")[number % 3], number), made.turns)
        )
    return found


def one_in_fifty(folder: Path, people: Sequence[Person], encoder: SpeakerEncoder, arguments: argparse.Namespace) -> str:
    """In how many of the recordings the voice that speaks in all of them is found, at each promise."""
    talks = one_voice(people, arguments.seconds / 2)
    hours = written(talks, folder)
    index_archive(folder, model=encoder, workers=1)
    archive = open_archive(folder.with_suffix(".index"))
    voice = recorded_voice([str(path) for path in people[0].enrolled], encoder)
    rows = []
    for promised in arguments.per_hour:
        count = Counts()
        count.add(talks, people[0].name, find(archive, voice, encoder, per_hour=promised).stretches, hours)
        found, all_of_them = count.recordings[True], count.recordings.total()
        rows.append(f"promised {promised:g} an hour, found in {found} of {all_of_them}, {count.alarms} alarms")
    return f"one voice in {FILES} recordings, {hours:.2f} h: " + "; ".join(rows)


def search_time(folder: Path, hours: float, encoder: SpeakerEncoder, voice: SoughtVoice) -> str:
    """How long it takes to read and to search an archive of so many hours, of embeddings that are drawn at random."""
    draws, size = np.random.default_rng(0), encoder.embedding_size
    each = int(3600 / (SHIFT / SAMPLE_RATE))
    spans = np.arange(each)[:, None] * SHIFT + [0, WINDOW]
    facts = AudioFacts(3600.0, 3500.0, 20.0, SAMPLE_RATE, 40.0)
    path = folder / "made-up.index"
    with IndexFile(path, IndexFacts(str(folder), encoder.identity, size, None, True)) as index:
        for number in range(round(hours)):
            values = draws.standard_normal((each, size), np.float32)
            values /= np.linalg.norm(values, axis=1, keepdims=True)
            norms = np.full(each, 40.0, np.float32)
            index.put(IndexedRecording(f"{number}.wav", (0, 0), "", facts, spans.astype(np.int32), norms, values))
    began = time.perf_counter()
    archive = open_archive(path)
    read = time.perf_counter()
    find(archive, voice, encoder)
    searched = time.perf_counter()
    return (
        f"{hours:g} h, {len(archive.windows):,} windows (made up), {path.stat().st_size / 1e6:.0f} MB: "
        f"read in {read - began:.2f} s, searched in {searched - read:.2f} s"
    )


def main() -> None:
    """Make the archives, look for everybody, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", metavar="PATTERN", nargs="+")
    parser.add_argument("--model", default="pretrained")
    parser.add_argument("--recordings", type=int, default=24, help="of each collection")
    parser.add_argument("--seconds", type=float, default=90.0, help="of each recording")
    parser.add_argument("--per-hour", type=float, nargs="+", default=[0.1, 1.0, 10.0, 60.0])
    parser.add_argument("--search-hours", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    encoder = SpeakerEncoder.load(arguments.model, threads=1)
    print(f"model {encoder.identity.name} {encoder.identity.hash[:12]}; {json.dumps(machine(1))}\n")
    print("| collection | people | h | promised an hour | alarms found an hour | turns missed | recordings missed |")
    print("| --- " * 7 + "|", flush=True)
    everything: dict[float, Counts] = {}
    build_s, hours = 0.0, 0.0
    fifty = ""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, pattern in enumerate(arguments.collections):
            people = people_of(pattern)
            label = Path(pattern).name.rstrip("-*") or Path(pattern).parent.name
            talks = list(conversations(people, arguments.recordings, arguments.seconds, arguments.seed))
            lasting = written(talks, folder / f"{number}")
            began = time.process_time()
            index_archive(folder / f"{number}", model=encoder, workers=1)
            build_s, hours = build_s + time.process_time() - began, hours + lasting
            archive = open_archive(folder / f"{number}.index")
            counts = {promised: Counts() for promised in arguments.per_hour}
            for person in people:
                voice = recorded_voice([str(path) for path in person.enrolled], encoder)
                for promised, count in counts.items():
                    stretches = find(archive, voice, encoder, per_hour=promised).stretches
                    for one in (count, everything.setdefault(promised, Counts())):
                        one.add(talks, person.name, stretches, lasting)
            for promised, count in counts.items():
                cells = [label, str(len(people)), f"{lasting:.2f}", f"{promised:g}", *count.cells()]
                print(f"| {' | '.join(cells)} |", flush=True)
            if not fifty and len(people) > 3:
                fifty = f"{label}: " + one_in_fifty(folder / "fifty", people, encoder, arguments)
        for promised, count in everything.items():
            cells = ["all", "", f"{hours:.2f}", f"{promised:g}", *count.cells()]
            print(f"| {' | '.join(cells)} |")
        print(f"\n{fifty}")
        print(f"index: {100 * build_s / 3600 / hours:.1f} % of the audio's time (processor)")
        print(search_time(folder, arguments.search_hours, encoder, voice))


if __name__ == "__main__":
    main()
