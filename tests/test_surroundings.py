"""Recorded noise and rooms: what is found, what is read for which item, and what becomes of it."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from torch import Tensor

from signals import batch_draws
from sound_groove.errors import ConfigurationError, CorpusError, TrainingError
from sound_groove.inputs.augment import Augmentation
from sound_groove.inputs.surroundings import (
    NoiseSource,
    Surroundings,
    SurroundingsReader,
    find_noise,
    find_rooms,
    find_surroundings,
)
from sound_groove.recipe.material import AugmentationConfiguration, NoiseConfiguration
from sound_groove.training.preflight import preflight
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.trainer import train
from training_corpus import prepare_corpus, tiny_recipe

RATE = 16000
SAMPLES = 3200


def write(path: Path, samples: NDArray[np.float64]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return path


def tone(frequency_hz: float, duration_s: float = 0.5, level: float = 0.1) -> NDArray[np.float64]:
    return level * np.sin(2 * np.pi * frequency_hz * np.arange(int(duration_s * RATE)) / RATE)


@pytest.fixture
def musan(tmp_path: Path) -> Path:
    """Noise at 1 kHz, music at 2 kHz, five speakers at 3.0 to 3.4 kHz, at different levels and lengths."""
    root = tmp_path / "musan"
    write(root / "noise" / "free-sound" / "noise-0000.wav", tone(1000, 0.11))  # shorter than a crop
    write(root / "music" / "fma" / "music-0000.wav", tone(2000, 2.0, 0.01))
    for number in range(5):
        write(root / "speech" / "librivox" / f"speech-{number:04}.wav", tone(3000 + 100 * number, 0.5, 0.02 + number))
    (root / "README").write_text("about", encoding="utf-8")
    return root


def frequencies(row: Tensor) -> set[int]:
    """Those of the loud lines of a spectrum, to 100 Hz."""
    spectrum = np.abs(np.fft.rfft(row.double().numpy() * np.hanning(len(row))))
    loud = np.flatnonzero(spectrum > 0.3 * spectrum.max())
    return {round(bin_ * RATE / len(row) / 100) * 100 for bin_ in loud.tolist()}


def reader(folder: Path, seed: int = 0, **changes: Any) -> SurroundingsReader:
    settings = {"noise_probability": 1.0, "babble_share": 0.0, "noise_folders": [{"folder": folder}], **changes}
    found = find_surroundings(AugmentationConfiguration(**settings), seed)
    assert found is not None
    return found


def reader_of(path: Path, samples: int) -> SurroundingsReader:
    """One that hears a single recording, which is not looked at beforehand."""
    return SurroundingsReader((NoiseSource((str(path),), (samples,), (0.0, 15.0), (1, 1)),), (), 1.0, 0.0, 0)


# What is found


def test_the_layout_of_musan_is_known(musan: Path) -> None:
    sources = find_noise(NoiseConfiguration(folder=musan))
    assert [(len(s.paths), s.snr_db, s.voices) for s in sources] == [
        (1, (0.0, 15.0), (1, 1)),
        (1, (5.0, 15.0), (1, 1)),
        (5, (10.0, 30.0), (3, 7)),
    ]
    assert sources[1].lengths == (2 * RATE,)
    (whole,) = find_noise(NoiseConfiguration(folder=musan, snr_db=(3.0, 4.0), voices=(1, 2)))
    assert (len(whole.paths), whole.snr_db, whole.voices) == (7, (3.0, 4.0), (1, 2))
    (part,) = find_noise(NoiseConfiguration(folder=musan / "music"))
    assert (len(part.paths), part.snr_db, part.voices) == (1, (0.0, 15.0), (1, 1))


def test_of_rirs_noises_the_simulated_rooms_are_taken(tmp_path: Path) -> None:
    impulse = np.concatenate([np.zeros(40), [0.5], 0.1 * np.ones(2000)])
    write(tmp_path / "RIRS_NOISES" / "simulated_rirs" / "smallroom" / "Room001" / "a.wav", impulse)
    write(tmp_path / "RIRS_NOISES" / "pointsource_noises" / "noise.wav", tone(500))
    assert [Path(path).name for path in find_rooms(tmp_path / "RIRS_NOISES")] == ["a.wav"]
    assert len(find_rooms(tmp_path / "RIRS_NOISES" / "pointsource_noises")) == 1  # any folder will do


def test_what_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nowhere: there is no such folder of noise"):
        find_noise(NoiseConfiguration(folder=tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="empty: there is no audio in this folder of impulse responses"):
        find_rooms(tmp_path / "empty")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.wav").write_bytes(b"not audio")
    with pytest.raises(CorpusError, match=r"a\.wav.*remove it from the folder, or name another folder"):
        find_noise(NoiseConfiguration(folder=tmp_path / "bad"))


def test_nothing_is_read_where_nothing_is_named() -> None:
    assert find_surroundings(AugmentationConfiguration(noise_probability=1.0), 0) is None


# What is read


def test_each_part_of_musan_is_as_likely_and_heard_as_it_should_be(musan: Path) -> None:
    around = reader(musan).read([(0, place) for place in range(300)], SAMPLES)
    kinds = Counter[str]()
    for row, snr_db in zip(around.noise, around.snr_db.tolist(), strict=True):
        heard = frequencies(row)
        if heard <= {1000}:
            kinds["noise"] += 1
            assert 0 <= snr_db <= 15
        elif heard == {2000}:
            kinds["music"] += 1
            assert 5 <= snr_db <= 15
        else:
            kinds["speech"] += 1
            assert 10 <= snr_db <= 30
            assert 3 <= len(heard & {3000, 3100, 3200, 3300, 3400}) <= 5  # as loud as each other, though recorded so
    assert all(70 < kinds[kind] < 130 for kind in ("noise", "music", "speech"))


def test_what_is_read_is_a_function_of_seed_epoch_and_place(musan: Path) -> None:
    places = [(epoch, place) for epoch in (0, 3) for place in range(20)]
    one, again = reader(musan).read(places, SAMPLES), reader(musan).read(places[::-1], SAMPLES)
    assert torch.equal(one.noise, again.noise.flip(0)) and torch.equal(one.snr_db, again.snr_db.flip(0))
    assert not torch.equal(one.noise, reader(musan, seed=1).read(places, SAMPLES).noise)
    assert len({row.numpy().tobytes() for row in one.noise}) > 20  # the short noise is always whole


@pytest.mark.parametrize(("probability", "babble_share"), [(0.0, 0.0), (0.6, 0.5), (1.0, 0.0)])
def test_the_share_with_recorded_noise_is_what_babble_leaves(
    musan: Path, probability: float, babble_share: float
) -> None:
    around = reader(musan, noise_probability=probability, babble_share=babble_share).read(
        [(0, place) for place in range(1000)], 800
    )
    assert around.noise.any(dim=1).all() and len(around.noise) == len(around.noise_items) == len(around.snr_db)
    measured = len(around.noise_items) / 1000
    assert measured == pytest.approx(probability * (1 - babble_share), abs=0.05)


def test_a_room_begins_with_its_direct_path(tmp_path: Path) -> None:
    response = np.concatenate([np.zeros(40), [-0.5], 0.1 * np.ones(2000)])
    write(tmp_path / "rooms" / "a.wav", response)
    around = reader(
        write(tmp_path / "noise" / "n.wav", tone(1000)).parent,
        room_folder=tmp_path / "rooms",
        reverberation_probability=0.5,
    ).read([(0, place) for place in range(200)], SAMPLES)
    assert 70 < len(around.room_items) < 130
    assert torch.unique(around.room_items).tolist() == around.room_items.tolist()
    assert torch.allclose(around.rooms[0], torch.from_numpy(response[40:] / -0.5).float(), atol=1e-6)


def test_a_recording_that_vanishes_stops_the_run_and_names_itself(musan: Path) -> None:
    around = reader(musan / "music")
    (musan / "music" / "fma" / "music-0000.wav").unlink()
    with pytest.raises(TrainingError, match=r"music-0000\.wav.*\(recorded noise\)"):
        around.read([(0, 0)], SAMPLES)


# What becomes of it


def surroundings(noise: Tensor, noisy: list[int], snr_db: list[float], rooms: Tensor, roomy: list[int]) -> Surroundings:
    """Some of the rows of noise and rooms (B, ...) around their items."""
    noise_items, room_items = torch.tensor(noisy, dtype=torch.long), torch.tensor(roomy, dtype=torch.long)
    return Surroundings(noise[noise_items], noise_items, torch.tensor(snr_db), rooms[room_items], room_items)


def test_recorded_noise_is_added_at_its_ratio_behind_the_recorded_room() -> None:
    settings = AugmentationConfiguration(
        noise_probability=0.5,
        babble_share=0.0,
        noise_folders=(NoiseConfiguration(folder=Path("noise")),),
        reverberation_probability=0.5,
        room_folder=Path("rooms"),
    )
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(4, SAMPLES, generator=generator) * 0.1
    noise = torch.randn(4, SAMPLES, generator=generator)
    rooms = torch.zeros(4, 500)
    rooms[2:, 0], rooms[2:, 200] = 1.0, 0.5
    around = surroundings(noise, [0, 2], [7.0, 12.0], rooms, [2, 3])
    heard = Augmentation(settings)(clean, batch_draws(len(clean)), around)
    assert torch.equal(heard[1], clean[1])
    added = heard[0] - clean[0]
    assert torch.allclose(added / added.norm(), noise[0] / noise[0].norm(), atol=1e-4)
    assert 20 * torch.log10(clean[0].norm() / added.norm()) == pytest.approx(7.0, abs=0.01)
    wet = fftconvolve(clean[3].double(), rooms[3].double())[:SAMPLES]
    assert np.allclose(heard[3], wet * clean[3].norm().item() / np.linalg.norm(wet), atol=1e-5)
    wet = fftconvolve(clean[2].double(), rooms[2].double())[:SAMPLES]
    wet *= clean[2].norm().item() / np.linalg.norm(wet)
    ratio = np.linalg.norm(wet) / np.linalg.norm(heard[2].double().numpy() - wet)
    assert 20 * np.log10(ratio) == pytest.approx(12.0, abs=0.01)


def test_babble_of_the_batch_keeps_its_share_beside_recorded_noise() -> None:
    settings = AugmentationConfiguration(
        noise_probability=0.6,
        babble_share=0.5,
        snr_db=(5.0, 5.0),
        noise_folders=(NoiseConfiguration(folder=Path("noise")),),
    )
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(4000, 160, generator=generator)
    noise, noisy = torch.randn(4000, 160, generator=generator), torch.rand(4000, generator=generator) < 0.3
    items = noisy.nonzero().squeeze(1).tolist()
    around = surroundings(noise, items, [20.0] * len(items), torch.zeros(4000, 1), [])
    added = Augmentation(settings)(clean, batch_draws(len(clean)), around) - clean
    ratio = 20 * torch.log10(clean.norm(dim=1) / added.norm(dim=1))
    recorded, babbling = (ratio - 20).abs() < 0.1, (ratio - 5).abs() < 0.1
    assert torch.equal(recorded, noisy)
    assert babbling.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert ((added == 0).all(dim=1) | recorded | babbling).all()


def test_coloured_noise_takes_its_share_beside_recorded_noise_and_babble() -> None:
    settings = AugmentationConfiguration(
        noise_probability=0.8,
        babble_share=0.25,
        coloured_share=0.25,
        snr_db=(5.0, 5.0),
        noise_folders=(NoiseConfiguration(folder=Path("noise")),),
    )
    # Voices are tones: babble is a sum of them, and coloured noise is anything else.
    voices = torch.sin(torch.arange(800.0) * torch.linspace(0.5, 1.0, 3000).unsqueeze(1))
    noise, noisy = torch.ones(3000, 800), torch.rand(3000, generator=torch.Generator().manual_seed(1)) < 0.4
    items = noisy.nonzero().squeeze(1).tolist()
    around = surroundings(noise, items, [20.0] * len(items), torch.zeros(3000, 1), [])
    added = Augmentation(settings)(voices, batch_draws(len(voices)), around) - voices
    spectrum = torch.fft.rfft(added * torch.hann_window(800)).abs().square()
    share = spectrum[:, 60:131].sum(dim=1) / spectrum.sum(dim=1).clamp(min=1e-9)  # in the band of the voices
    changed = added.abs().amax(dim=1) > 1e-4
    made_up = changed & ~noisy
    ratio = 20 * torch.log10(voices[made_up].norm(dim=1) / added[made_up].norm(dim=1))
    assert torch.allclose(ratio, torch.full_like(ratio, 5.0), atol=0.1)
    assert (made_up & (share > 0.95)).float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert (made_up & (share < 0.8)).float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert not (noisy & ~changed).any()


def test_shares_of_noise_that_are_more_than_all_of_it_are_refused() -> None:
    with pytest.raises(ValueError, match=r"(?s)coloured_share.*babble_share \(0\.7\) are more than 1 together"):
        AugmentationConfiguration(babble_share=0.7, coloured_share=0.4)


def test_short_recordings_of_noise_are_decoded_once_and_heard_to_the_bit(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(-9000, 9000, 3 * RATE) / 32768
    write(tmp_path / "noise.wav", noise)
    first, second = (reader(tmp_path).read([(0, place)], SAMPLES).noise[0].double().numpy() for place in (1, 2))
    (tmp_path / "noise.wav").unlink()  # it has been kept
    third = reader_of(tmp_path / "noise.wav", 3 * RATE).read([(0, 1)], SAMPLES).noise[0].double().numpy()
    assert np.array_equal(third, first)
    for heard in (first, second):
        start = int(np.argmax(np.correlate(noise, heard / np.abs(heard).max())))
        part = noise[start : start + SAMPLES]
        assert np.allclose(heard, part / np.sqrt(np.mean(part**2)), atol=1e-5)


@pytest.mark.slow
def test_a_recipe_with_recorded_noise_and_rooms_trains_and_says_what_it_found(tmp_path: Path, musan: Path) -> None:
    write(tmp_path / "rooms" / "a.wav", np.concatenate([[1.0], 0.1 * np.ones(1999)]))
    prepared = prepare_corpus(tmp_path / "corpus", training=4, validation=2, utterances=2)
    augmentation: dict[str, Any] = {
        "noise_probability": 0.8,
        "noise_folders": [{"folder": str(musan)}],
        "reverberation_probability": 0.5,
        "room_folder": str(tmp_path / "rooms"),
    }
    stage = {"training": {"epochs": 1}, "augmentation": {"noise_folders": [], "noise_probability": 0.0}}
    losses = []
    for workers in (0, 1):
        recipe = tiny_recipe(
            prepared,
            augmentation=augmentation,
            stages=[stage],
            training__epochs=1,
            training__batches_per_epoch=2,
            data__workers=workers,
        )
        said: list[str] = []
        train(recipe, tmp_path / f"run{workers}", say=said.append)
        losses.append((tmp_path / f"run{workers}" / "steps.jsonl").read_text(encoding="utf-8"))
    assert losses[0] == losses[1]
    assert "around     7 recordings of noise in 3 folders, 1 room responses" in "\n".join(said)
    assert "around     1 room responses\n" in "\n".join(said)


def test_folders_that_nothing_would_be_read_from_are_mistakes(tmp_path: Path, musan: Path) -> None:
    prepared = prepare_corpus(tmp_path / "corpus", training=4, validation=2, utterances=2)
    unused = {"noise_folders": [{"folder": str(musan)}], "room_folder": str(musan)}
    missing = {"noise_folders": [{"folder": "nowhere"}], "noise_probability": 0.5}
    for augmentation, expected in (
        (unused, ["noise_probability is 0", "reverberation_probability is 0"]),
        (missing, ["nowhere: there is no such folder of noise"]),
    ):
        with pytest.raises(ConfigurationError) as caught:
            preflight(tiny_recipe(prepared, augmentation=augmentation), RunFolder(tmp_path / "run"), False, False)
        assert len(caught.value.problems) == len(expected)
        assert all(words in problem for words, problem in zip(expected, caught.value.problems, strict=True))


def test_a_source_of_few_recordings_gives_as_many_voices_as_it_has(musan: Path) -> None:
    path = str(musan / "music" / "fma" / "music-0000.wav")
    around = SurroundingsReader((NoiseSource((path,), (2 * RATE,), (0.0, 0.0), (3, 7)),), (), 1.0, 0.0, 0)
    assert frequencies(around.read([(0, 0)], SAMPLES).noise[0]) == {2000}
