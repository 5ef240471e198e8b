"""What silence does to verdicts: the trial lists with the pauses of one side or both emptied, filled or cut out.

    python benchmarks/silence.py CORPUS [--trials DIR] [--model pretrained] [--maps FILE] [--longest 10] [--out DIR]

CORPUS is the development corpus, or any folder with the recordings that the trial lists in DIR name. Every recording
is taken as it is and in each way of `sound_groove.synthesis.treated_pauses`: digital silence, or noise at -90 or -70
dB, in place of the pauses; a noise gate; 3 s of digital silence behind it; the pauses cut out. A trial is scored with
its second side so, and with both. The table has the equal error rate of each list, and over the lists' mean how many
strangers are called 'same' and how many of one speaker's own recordings 'different', at a prior of one half and the
default costs, by the model's score map, or for each list by the one of --maps that was fitted without it
(`unseen_collections.py --maps` writes them). Where there is too little speech for a verdict, there is none. Embeddings
are kept below --out by model, length and treatment.
"""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from corpus_trials import recordings_of
from judged_systems import middle
from numpy.typing import NDArray
from tqdm import tqdm

from sound_groove.audio.listening import MINIMUM_SPEECH_S, HeardRecording, judge_samples
from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.evaluation.trials.trial_list import TrialList, read_trials
from sound_groove.files import read_json, replaced_bytes
from sound_groove.provenance import machine
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.scoring.cosine import score_trials
from sound_groove.scoring.decision import DecisionRule
from sound_groove.scoring.measures import number_or_nan, trial_measures
from sound_groove.scoring.metrics import eer
from sound_groove.synthesis.treated_pauses import TREATMENTS, treated
from sound_groove.types import Embeddings, Scores

AS_IT_IS = "as they are"
AT_ONCE = 32


class Heard(NamedTuple):
    """Recordings in one treatment: embeddings (N, D), and of each the seconds of speech, the signal-to-noise ratio,
    the norm of its embedding before it was brought to unit length, and how unfamiliar it sounds, NaN where that is not
    known."""

    embeddings: Embeddings
    speech_s: Scores
    snr_db: Scores
    norms: Scores
    unfamiliarity: Scores


class Row(NamedTuple):
    """What came of a list: its equal error rate, and shares of wrong verdicts, each a fraction."""

    eer: float
    strangers_same: float
    own_different: float


def main() -> None:
    """Embed what is missing, judge, print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--trials", type=Path, help="folder of trial lists (default: CORPUS/val_trials)")
    parser.add_argument("--model", default="pretrained")
    parser.add_argument("--maps", type=Path, help="score maps by the name of the list that each was fitted without")
    parser.add_argument("--lists", nargs="+", help="names of lists (default: all)")
    parser.add_argument("--longest", type=float, default=10.0, help="seconds taken of a recording, from the middle")
    parser.add_argument("--out", type=Path, default=Path("outputs/silence"))
    arguments = parser.parse_args()
    encoder = SpeakerEncoder.load(arguments.model, threads=1)
    files = sorted((arguments.trials or arguments.corpus / "val_trials").glob("*.txt"))
    lists = {file.stem: read_trials(file)[0] for file in files if file.stem in (arguments.lists or [file.stem])}
    maps = dict.fromkeys(lists, encoder.score_map)
    if arguments.maps is not None:
        maps = {name: ScoreMap.restored(fields) for name, fields in read_json(arguments.maps).items()}
    names = recordings_of(lists.values())
    recordings = hashlib.sha256("\n".join(names).encode()).hexdigest()
    cache = arguments.out / f"{encoder.identity.hash[:12]}-{arguments.longest:g}s-{recordings[:12]}"
    heard = {
        treatment: heard_in(encoder, arguments, names, treatment, cache / f"{treatment.replace(' ', '-')}.npz")
        for treatment in (AS_IT_IS, *TREATMENTS)
    }
    print(f"model {encoder.identity.label}, {machine(threads=1)}")
    print("; ".join(f"{name} {len(trials):,} trials" for name, trials in lists.items()) + "\n")
    columns = [*(f"EER {name}" for name in lists), "mean", "strangers 'same'", "own 'different'"]
    print(f"| pauses | sides | {' | '.join(columns)} |")
    print("| --- | --- |" + " --: |" * (len(lists) + 3))
    for treatment in (AS_IT_IS, *TREATMENTS):
        for side in ("one", "both") if treatment != AS_IT_IS else ("",):
            first = heard[AS_IT_IS if side == "one" else treatment]
            rows = [judged(maps[name], trials, names, first, heard[treatment]) for name, trials in lists.items()]
            cells = [f"{100 * row.eer:.1f}" for row in rows]
            cells += [f"{100 * float(np.mean(column)):.1f}" for column in zip(*rows, strict=True)]
            print(f"| {treatment} | {side} | {' | '.join(cells)} |", flush=True)


def heard_in(
    encoder: SpeakerEncoder, arguments: argparse.Namespace, names: Sequence[str], treatment: str, path: Path
) -> Heard:
    """The recordings in one treatment, from a file where they are there already."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        rows, listener = [], Listener(encoder)
        for start in tqdm(range(0, len(names), AT_ONCE), treatment, unit="batch", disable=None):
            whole = [load_audio(arguments.corpus / name) for name in names[start : start + AT_ONCE]]
            recordings = [middle(samples, arguments.longest) for samples in whole]
            for wanted in TREATMENTS:
                if wanted == treatment:
                    draws = (np.random.default_rng((0, start + place)) for place in range(len(recordings)))
                    recordings = [treated(one, wanted, draw) for one, draw in zip(recordings, draws, strict=True)]
            for one in listener.hear_all(recordings, judge_samples, window_s=AT_ONCE * arguments.longest):
                assert isinstance(one, HeardRecording)
                facts = one.facts
                known = (number_or_nan(facts.embedding_norm), number_or_nan(facts.unfamiliarity))
                rows.append((one.embedding, facts.speech_s, facts.snr_db, *known))
        with replaced_bytes(path, durable=False) as file:
            columns = Heard(*(np.array(column) for column in zip(*rows, strict=True)))
            np.savez(file, allow_pickle=False, **columns._asdict())
    with np.load(path, allow_pickle=False) as stored:
        return Heard(**{name: stored[name] for name in Heard._fields})


def judged(score_map: ScoreMap | None, trials: TrialList, names: Sequence[str], first: Heard, second: Heard) -> Row:
    """A list with its first sides in one treatment and its second in another."""
    assert score_map is not None
    place: Mapping[str, int] = {name: row for row, name in enumerate(names)}
    rows = np.array([place[name] for name in trials.ids])
    sides = rows[trials.enrolments], rows[trials.tests]
    both = np.concatenate((first.embeddings, second.embeddings))
    scores = score_trials(both, sides[0], sides[1] + len(names))
    measures = trial_measures(_facts(first, sides[0], score_map), _facts(second, sides[1], score_map))
    llrs = score_map.llr(scores, measures)
    has_verdict = np.minimum(first.speech_s[sides[0]], second.speech_s[sides[1]]) >= MINIMUM_SPEECH_S
    low, high = DecisionRule().limits(0.5)
    same, different = has_verdict & (llrs >= high), has_verdict & (llrs < low)
    labels = trials.labels
    return Row(eer(scores, labels), float(same[~labels].mean()), float(different[labels].mean()))


def _facts(heard: Heard, rows: NDArray[np.int64], score_map: ScoreMap) -> dict[str, Scores]:
    return {
        "speech_s": heard.speech_s[rows],
        "snr_db": heard.snr_db[rows],
        "embedding_norm": heard.norms[rows],
        "closeness": score_map.closeness(heard.embeddings[rows]),
        "unfamiliarity": heard.unfamiliarity[rows],
    }


if __name__ == "__main__":
    main()
