"""How a model is to be fed is found out: wrong feedings are named wrong or not told apart, and never confirmed.

Without published weights a small model stands in for one: the deviations of squashed features, and the discriminant
directions of made-up voices that were fed as 3D-Speaker feeds its own. Fed otherwise it errs more, as a network does,
and these tests can fail. CAM++ itself is asked in `test_importing`, where its weights are.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import soundfile
import torch
from torch import Tensor

from sound_groove.audio.front_end import FrontEnd, of_family, parsed_front_end
from sound_groove.errors import CheckpointError, CorpusError, UsageError
from sound_groove.importing import finding
from sound_groove.importing.finding import Answer, Finding, described_finding, find_front_end
from sound_groove.importing.speech import TrialSpeech, speech_of
from sound_groove.networks.front_ends import build_front_end
from sound_groove.synthesis.voices import made_up_speaker, speak

RIGHT = "3d-speaker"
# Of each wrong feeding, the question of which it must not be said that the feeding is confirmed.
WRONG = {
    "3d-speaker,scale=32768": "scale",
    "3d-speaker,window=hamming": "window",
    "3d-speaker,high=7600": "upper edge",
    "3d-speaker,mean=kept": "mean",
    "3d-speaker,mean=kept,scale=32768": "scale and mean",
}
SPEAKERS = 20


def voices(population: int, clips_of_each: int = 2) -> TrialSpeech:
    """Made-up voices that are taken for real speech."""
    numbers = np.repeat(np.arange(SPEAKERS), clips_of_each)
    seeds = 100 * population + np.arange(len(numbers))
    clips = [
        speak(made_up_speaker(population, one), seed, 1.5)
        for one, seed in zip(numbers.tolist(), seeds.tolist(), strict=True)
    ]
    return TrialSpeech("speech", False, np.stack(clips), numbers)


class StandIn:
    """A model that was taught on voices that were fed rightly, and remembers what it was given."""

    def __init__(self) -> None:
        self.known: dict[tuple[FrontEnd, float], Tensor] = {}
        speech = voices(5, 4)
        features = self.statistics(torch.from_numpy(speech.clips), of_family("3d-speaker"))
        means = np.stack([features[speech.speakers == speaker].mean(dim=0) for speaker in range(SPEAKERS)])
        inside = np.cov((features.numpy() - means[speech.speakers]).T)
        inside += 0.02 * np.trace(inside) / len(inside) * np.eye(len(inside))
        self.directions = torch.from_numpy(scipy.linalg.eigh(np.cov(means.T), inside)[1][:, -20:].copy())
        self.centre = features.mean(dim=0)

    def statistics(self, waveforms: Tensor, fed: FrontEnd) -> Tensor:
        """(B, samples) -> (B, 2 F)."""
        key = fed, float(waveforms.sum())
        if key not in self.known:
            squashed = torch.tanh(0.5 * build_front_end(fed)(waveforms).double())
            self.known[key] = torch.cat((squashed.std(dim=1), squashed.mean(dim=1)), dim=1)
        return self.known[key]

    def fed(self, fed: FrontEnd) -> Callable[[Tensor], Tensor]:
        """(B, samples) -> (B, K)."""
        return lambda waveforms: (self.statistics(waveforms, fed) - self.centre) @ self.directions


@pytest.fixture(scope="module")
def model() -> StandIn:
    return StandIn()


@pytest.fixture(scope="module")
def found(model: StandIn) -> dict[str | None, Finding]:
    """What comes of claiming each way to feed the stand-in, and of claiming none."""
    speech = voices(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finding, "DRAWS", 100)
        patch.setattr(finding, "_AT_ONCE", 40)
        of_text: dict[str | None, Finding] = {
            text: find_front_end(model.fed, parsed_front_end(text), 80, speech) for text in (RIGHT, *WRONG)
        }
        return {**of_text, None: find_front_end(model.fed, None, 80, speech)}


def verdicts(one: Finding) -> dict[str, str]:
    return {answer.question: answer.verdict for answer in one.answers}


@pytest.mark.slow
@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_feeding_is_never_confirmed(found: dict[str | None, Finding], text: str) -> None:
    assert verdicts(found[text])[WRONG[text]] in ("wrong", "not told apart")
    assert found[text].verdict in ("wrong", "not told apart")


@pytest.mark.slow
def test_what_can_be_told_is_told(found: dict[str | None, Finding]) -> None:
    right = verdicts(found[RIGHT])
    assert right["scale and mean"] == "confirmed" and "wrong" not in right.values()
    assert right["window"] == right["upper edge"] == "not told apart"
    assert found[RIGHT].best == found[RIGHT].claimed == of_family("3d-speaker")
    worst = found["3d-speaker,mean=kept,scale=32768"]
    assert worst.verdict == "wrong" and worst.best.removes_mean
    lines = "\n".join(described_finding(worst))
    assert "the claimed one is WRONG" in lines and "window: hamming window:" in lines
    nobody = found[None]
    assert not nobody.is_claimed and nobody.claimed.removes_mean and nobody.eer == nobody.least_eer


@pytest.mark.slow
def test_on_made_up_voices_window_and_edge_are_not_asked(model: StandIn) -> None:
    speech = voices(0)
    few = TrialSpeech("made-up voices", True, speech.clips[:8], speech.speakers[:8])
    one = find_front_end(model.fed, of_family("3d-speaker"), 80, few)
    assert set(verdicts(one)) == {"scale", "mean", "scale and mean", "family"}
    assert set(verdicts(one).values()) == {"not told apart"}  # four speakers show nothing
    assert "below 20 speakers" in described_finding(one)[-1]


def answer(question: str, difference: float, verdict: str) -> Answer:
    return Answer(question, of_family("nemo"), 0.1 + difference, difference, -1.0, 1.0, verdict)  # type: ignore[arg-type]


def test_one_mistake_that_goes_better_with_another_confirms_neither() -> None:
    # Fed with the mean kept, a scale may be better than the other: of the mean removed it is not known.
    scale, both = answer("scale", 0.05, "confirmed"), answer("scale and mean", -0.02, "not told apart")
    assert not finding._stands(scale, [scale, both])
    assert finding._stands(scale, [scale, answer("scale and mean", 0.02, "not told apart")])
    assert not finding._stands(scale, [scale, answer("window", -0.03, "wrong")])
    assert finding._stands(answer("window", 0.05, "confirmed"), [scale, both])


def test_a_model_that_fails_as_it_is_said_to_be_fed_is_refused() -> None:
    speech = TrialSpeech("speech", False, np.ones((4, 400), np.float32), np.array([0, 0, 1, 1]))
    with pytest.raises(CheckpointError, match="not finite or are zero"):
        find_front_end(lambda fed: lambda waveforms: torch.zeros(len(waveforms), 3), of_family("nemo"), 80, speech)


def test_speech_is_taken_by_folders_of_speakers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for speaker in range(4):
        for clip in range(6 if speaker else 1):
            path = tmp_path / f"s{speaker}" / f"{clip}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, 0.1 * rng.standard_normal(16000 * (1 + 4 * (clip % 2))), 16000)
    (tmp_path / "s1" / "5.wav").write_bytes(b"no sound")
    speech = speech_of(tmp_path)
    assert speech.count == 3 and speech.clips.shape == (11, 48000)  # four of each, but for the one that cannot be read
    with pytest.raises(UsageError, match="0 speakers have two recordings that can be used, and 3 are needed"):
        speech_of(of_one(tmp_path / "one"))
    with pytest.raises(CorpusError):
        speech_of(tmp_path / "nowhere")


def of_one(folder: Path) -> Path:
    """A folder with one recording of one speaker."""
    (folder / "anna").mkdir(parents=True)
    soundfile.write(folder / "anna" / "a.wav", np.full(16000, 0.1), 16000)
    return folder
