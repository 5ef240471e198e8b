"""Crops: voices made other voices, lines, what no ear should notice, and the shards that hold them."""

import itertools
import os
import signal
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.corpora.shards import to_float
from sound_groove.errors import TrainingError
from sound_groove.inputs.crops.inaudible import FRAME, gated, padded, unheard, with_losses
from sound_groove.inputs.crops.pool import FRAME_SAMPLES, CropPool, CropShard
from sound_groove.inputs.crops.visits import EpochVisits, plan_visits
from sound_groove.inputs.crops.voices import Change, change_speed, change_tempo, shape_spectrum
from sound_groove.networks.features import KaldiFbank
from sound_groove.recipe.distillation import CropConfiguration, UnheardConfiguration
from sound_groove.synthesis.lines import CODECS, encoded, made_up_music
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.training.by_ear.loss import FrameDistance
from sound_groove.types import Samples

TIME_S = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE

OFF = UnheardConfiguration(
    gate_probability=0,
    padding_probability=0,
    loss_probability=0,
    comfort_probability=0,
    cut_probability=0,
    gain_db=(0, 0),
)


def voice(duration_s: float = 2.0) -> Samples:
    return speak(made_up_speaker(4, 1), 0, duration_s)[: int(duration_s * SAMPLE_RATE)]


def loudest_hz(samples: Samples) -> float:
    """The frequency of the largest peak of the spectrum."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


def tone(hz: float) -> Samples:
    return (0.3 * np.sin(2 * np.pi * hz * TIME_S)).astype(np.float32)


def vowel(pitch_hz: float, formant_hz: float) -> Samples:
    """Harmonics of a pitch under one formant."""
    numbers = np.arange(1, int(7000 / pitch_hz))
    heights = np.exp(-np.square((numbers * pitch_hz - formant_hz) / 500.0)) + 0.001
    waves = [h * np.sin(2 * np.pi * n * pitch_hz * TIME_S) for n, h in zip(numbers, heights, strict=True)]
    return np.asarray(0.05 * np.sum(waves, axis=0), dtype=np.float32)


def centre_hz(samples: Samples) -> float:
    """The centre of gravity of the power spectrum."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(power @ np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE) / power.sum())


def spacing_hz(samples: Samples) -> float:
    """The pitch: where the autocorrelation is largest between 60 and 400 Hz."""
    power = np.abs(np.fft.rfft(samples, 2 * len(samples))) ** 2
    correlation = np.fft.irfft(power)[: SAMPLE_RATE // 60]
    least = SAMPLE_RATE // 400
    return SAMPLE_RATE / (least + int(np.argmax(correlation[least:])))


@pytest.mark.parametrize("speed", [0.7, 0.9137, 1.4])
def test_speed_moves_everything_and_the_length(speed: float) -> None:
    played = change_speed(tone(1000.0), speed)
    assert len(played) == pytest.approx(2 * SAMPLE_RATE / speed, abs=2)
    assert loudest_hz(played) == pytest.approx(1000.0 * speed, abs=2.0)


@pytest.mark.parametrize("tempo", [0.8, 1.25])
def test_tempo_moves_the_length_alone(tempo: float) -> None:
    changed = change_tempo(tone(200.0), tempo)
    assert len(changed) == int(2 * SAMPLE_RATE / tempo)
    assert loudest_hz(changed) == pytest.approx(200.0, abs=2.0)
    level = np.sqrt(np.mean(np.square(changed[2000:-4000])))
    assert level == pytest.approx(0.3 / np.sqrt(2), rel=0.05)  # pieces fit: none cancels its neighbour


@pytest.mark.parametrize("factor", [0.85, 1.18])
def test_formants_move_and_the_pitch_stays(factor: float) -> None:
    before = vowel(120.0, 1500.0)
    after = shape_spectrum(before, formants=factor)
    assert len(after) == len(before)
    assert spacing_hz(after) == pytest.approx(120.0, rel=0.02)
    assert centre_hz(before) == pytest.approx(1500.0, abs=10.0)
    assert centre_hz(after) == pytest.approx(1500.0 * factor, rel=0.05)


@pytest.mark.parametrize("pitch", [0.8, 1.25])
def test_another_mood_of_a_made_voice_has_its_formants(pitch: float) -> None:
    voice = Change(speed=1.1)
    plain, moved = (change.of(vowel(120.0, 1500.0)) for change in (voice, voice.spoken(pitch, 1.0, 0.0)))
    assert spacing_hz(moved) == pytest.approx(spacing_hz(plain) * pitch, rel=0.03)
    assert centre_hz(moved) == pytest.approx(centre_hz(plain), rel=0.1)
    assert len(vowel(120.0, 1500.0)[: voice.samples_for(8000)]) / 1.1 >= 8000


def test_tilt_is_so_many_decibels_an_octave() -> None:
    noise = np.random.default_rng(1).standard_normal(4 * SAMPLE_RATE).astype(np.float32)
    tilted = shape_spectrum(noise, tilt_db=3.0)

    def band_db(samples: Samples, low: int) -> float:
        power = np.abs(np.fft.rfft(samples)) ** 2
        return float(10 * np.log10(power[low * 4 : low * 8].mean()))  # an octave from `low` Hz

    rise = [band_db(tilted, hz) - band_db(noise, hz) for hz in (500, 1000, 2000)]
    assert np.diff(rise) == pytest.approx([3.0, 3.0], abs=0.3)


def test_nothing_changed_is_the_voice_itself() -> None:
    samples = voice()
    assert np.abs(shape_spectrum(samples) - samples).max() < 1e-4
    quiet = np.zeros(SAMPLE_RATE, dtype=np.float32)
    assert np.isfinite(shape_spectrum(quiet, 1.1, 2.0)).all()
    assert np.isfinite(change_tempo(quiet, 1.1)).all()


@pytest.mark.parametrize("name", sorted(CODECS))
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_a_codec_keeps_length_and_voice(name: str, strength: float) -> None:
    samples = 0.5 * voice() / np.abs(voice()).max()
    back = encoded(samples, CODECS[name], strength)
    assert back.shape == samples.shape and np.isfinite(back).all()
    assert not np.array_equal(back, samples)
    powers = [np.abs(np.fft.rfft(x)) ** 2 for x in (samples, back)]
    bands = [[p[low : low + 1000].sum() for low in range(600, 6000, 1000)] for p in powers]  # 300 to 3,000 Hz
    assert np.abs(10 * np.log10(np.divide(bands[0], bands[1]))).max() < 6.0


def test_music_is_music_and_a_function_of_its_draws() -> None:
    first, again, other = (made_up_music(SAMPLE_RATE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.sqrt(np.mean(np.square(first))) == pytest.approx(0.1, rel=1e-3)


def test_a_gate_closes_on_pauses_alone() -> None:
    samples = voice()
    samples[8000:16000] *= 0.001
    closed = gated(samples, 0.1, None, np.random.default_rng(0))
    assert not closed[8000:16000].any()
    assert (closed != 0).sum() > 0.4 * len(samples)
    faint = gated(samples, 0.1, -70.0, np.random.default_rng(0))[8320:15680]
    assert 20 * np.log10(np.sqrt(np.mean(np.square(faint)))) == pytest.approx(-70.0, abs=0.5)


def test_lost_packets_are_zeros_of_20_to_60_ms() -> None:
    samples, found = np.ones(4 * SAMPLE_RATE, dtype=np.float32), 0
    for seed in range(20):
        lost = with_losses(samples, np.random.default_rng(seed)) == 0.0
        runs = [len(list(run)) for is_lost, run in itertools.groupby(lost) if is_lost]
        assert lost.sum() < 0.5 * len(samples)
        if runs:
            found += 1
            assert min(runs[:-1] or runs) >= FRAME
            assert min(runs) <= 3 * FRAME
    assert found > 10


def test_padding_is_zeros_around_or_the_crop_repeated() -> None:
    samples = np.arange(1, 101, dtype=np.float32)
    seen = set()
    for seed in range(20):
        longer, start = padded(samples, 160, np.random.default_rng(seed))
        assert longer.shape == (160,) and start == 0
        if (longer == 0).any():
            assert np.array_equal(longer[longer != 0], samples)
            seen.add("zeros")
        else:
            assert np.array_equal(longer[100:], samples[:60])
            seen.add("repeated")
    assert seen == {"zeros", "repeated"}


def test_a_padded_crop_begins_where_it_says() -> None:
    samples = np.arange(1, 3201, dtype=np.float32)
    starts = set()
    for seed in range(40):
        longer, start = padded(samples, 4800, np.random.default_rng(seed))
        assert np.array_equal(longer[start : start + 3200], samples)
        starts.add(start)
    assert starts == set(range(0, 1601, FRAME_SAMPLES))


def test_pauses_that_are_cut_out_are_gone_and_the_speech_fills_the_crop() -> None:
    only_cut = OFF.model_copy(update={"cut_probability": 1.0})
    speech = voice()
    samples = np.concatenate((speech, np.zeros(3 * SAMPLE_RATE, np.float32)))
    cut, start = unheard(samples, only_cut, np.random.default_rng(3))
    assert start is None
    assert cut.shape == samples.shape
    assert np.abs(cut[-SAMPLE_RATE:]).max() > 0.1 * np.abs(speech).max()  # where there were zeros


def test_what_is_off_changes_nothing() -> None:
    samples = voice()
    copy = unheard(samples, OFF, np.random.default_rng(3))
    assert np.array_equal(copy.samples, samples) and copy.start == 0


def shard_of(number: int, crops: int = 8) -> CropShard:
    """A shard whose crops can be told: sample 0 is the shard, sample 1 the crop."""
    steps, targets, labels = {}, {}, {}
    for length in (1600, 3200):
        steps[length] = np.full((crops, length), 1000, dtype=np.int16)
        steps[length][:, 0], steps[length][:, 1] = number, np.arange(crops)
        targets[length] = np.eye(crops, 6, dtype=np.float32) + 0.1
        labels[length] = np.arange(crops, dtype=np.int64) - 1
    return CropShard(steps, targets, labels)


@pytest.mark.parametrize("visits", [1, 2, 3])
def test_every_crop_is_visited_so_often_and_never_more(visits: int) -> None:
    settings = CropConfiguration(
        visits=visits, kept=8, lengths=2, rounds=2,
        unheard=UnheardConfiguration(
            gate_probability=0, padding_probability=0, loss_probability=0, comfort_probability=0, gain_db=(0, 0)
        ),
    )  # fmt: skip
    plan, epochs = plan_visits(settings), 20
    counts: dict[tuple[int, int, int], list[int]] = {}
    for epoch in range(epochs):
        numbers = plan.shards(epoch)
        assert min(numbers) >= plan.oldest(epoch)
        visit = EpochVisits([shard_of(number) for number in numbers], settings, 4, seed=1, epoch=epoch)
        assert len(visit) == 4 * len(numbers)
        for batch in (visit.batch(index) for index in range(len(visit))):
            assert len(batch.waveforms) == 4
            for row in (batch.waveforms[:, :2] * 32768).round().int().tolist():
                counts.setdefault((batch.waveforms.shape[1], *row), []).append(epoch)
    assert len(counts) == epochs * 16
    for (_, shard, _), when in counts.items():
        assert len(when) == sum(shard + turn * plan.gap < epochs for turn in range(visits)) <= 3
        assert when == [shard + turn * plan.gap for turn in range(len(when))]


def test_the_order_of_visits_is_a_function_of_seed_and_epoch() -> None:
    settings = CropConfiguration(lengths=2)
    first, again, other = (
        [EpochVisits([shard_of(0)], settings, 4, seed, 3).batch(index).waveforms for index in range(4)]
        for seed in (1, 1, 2)
    )
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert not all(a.shape == b.shape and a.equal(b) for a, b in zip(first, other, strict=True))


def test_padded_batches_have_few_lengths() -> None:
    settings = CropConfiguration(lengths=2, unheard=UnheardConfiguration(padding_probability=1))
    visits = [EpochVisits([shard_of(0)], settings, 4, 1, epoch) for epoch in range(40)]
    found = {visit.batch(index).waveforms.shape[1] for visit in visits for index in range(len(visit))}
    assert found == {length * (8 + eighths) // 8 for length in (1600, 3200) for eighths in (1, 2, 3, 4)}


def test_frames_of_a_crop_are_found_where_the_network_hears_them() -> None:
    settings = CropConfiguration(
        lengths=2,
        unheard=UnheardConfiguration(
            gate_probability=0, padding_probability=0.7, loss_probability=0, comfort_probability=0, gain_db=(0, 0),
            cut_probability=0.3,
        ),
    )  # fmt: skip
    noise, front_end = np.random.default_rng(5), KaldiFbank().eval()
    steps = {n: noise.integers(-3000, 3000, (12, n)).astype(np.int16) for n in (8000, 9600)}
    # What the "teacher" pools are filterbanks of the crop, every second of them: a frame for every 20 ms.
    told = {n: front_end(torch.from_numpy(to_float(crops)))[:, ::2].transpose(1, 2) for n, crops in steps.items()}
    shard = CropShard(
        steps,
        {n: np.eye(12, 6, dtype=np.float32) for n in steps},
        {n: np.zeros(12, dtype=np.int64) for n in steps},
        {n: frames.numpy().astype(np.float16) for n, frames in told.items()},
    )
    distance, seen = FrameDistance(80, 80, stride=1), set()
    for epoch in range(6):
        visits = EpochVisits([shard], settings, 4, 1, epoch, silence_share=0.5)
        for visit in (visits.batch(number) for number in range(len(visits))):
            assert visit.frames is not None
            heard = front_end(visit.waveforms).transpose(1, 2)
            assert distance(heard, visit.frames, visit.starts) < 1e-4
            seen |= set(visit.starts.tolist())
            placed = torch.where(visit.starts >= 0, visit.starts + FRAME_SAMPLES, -1)
            if (placed >= 0).any():
                assert distance(heard, visit.frames, placed) > 0.1
    assert {-1, 0, FRAME_SAMPLES} < seen


@pytest.mark.parametrize("visits", [1, 2, 3])
@pytest.mark.parametrize("kept", [5, 6, 16])
def test_the_shards_of_a_resumed_epoch_fit_into_what_is_kept(visits: int, kept: int) -> None:
    plan = plan_visits(CropConfiguration(visits=visits, kept=kept))
    for epoch in range(40):
        # the state may be an epoch old, and the next shard must have a place
        window = range(plan.oldest(max(0, epoch - 1)), plan.oldest(max(0, epoch - 1)) + kept)
        assert all(number in window for number in [*plan.shards(epoch), epoch + 1])


def test_a_pool_is_bounded_and_forgets_what_is_not_needed(tmp_path: Path) -> None:
    pool = CropPool(tmp_path / "crops", 4)
    pool.begin({"seed": 1, "seconds": (1, 2)})
    pool.begin({"seed": 1, "seconds": (1, 2)})
    pool.need_from(0, 9)
    while (number := pool.next_missing()) is not None:
        pool.write(number, shard_of(number))
    assert pool.numbers() == [0, 1, 2, 3]
    pool.need_from(2, 9)
    assert (pool.numbers(), pool.next_missing()) == ([2, 3], 4)
    pool.path(3).unlink()
    assert pool.next_missing() == 3  # what was lost is made again
    pool.need_from(8, 9)
    for number in (8, 9):
        assert pool.next_missing() == number
        pool.write(number, shard_of(number))
    assert pool.next_missing() is None and not pool.is_done
    pool.need_from(10, 9)
    assert pool.is_done and pool.numbers() == []
    with pytest.raises(TrainingError, match="made with another seed; remove the folder"):
        pool.begin({"seed": 2, "seconds": (1, 2)})


def test_a_shard_comes_back_as_it_was(tmp_path: Path) -> None:
    pool = CropPool(tmp_path, 4)
    pool.write(7, shard_of(7))
    back, shard = pool.read(7), shard_of(7)
    assert len(back) == len(shard) == 16
    for length in (1600, 3200):
        assert np.array_equal(back.steps[length], shard.steps[length])
        assert np.array_equal(back.labels[length], shard.labels[length])
        norms = np.linalg.norm(shard.targets[length], axis=1, keepdims=True)
        assert np.allclose(back.targets[length], shard.targets[length] / norms, atol=1e-3)
    assert back.frames == {}
    frames = {length: np.full((8, 3, 2), length, dtype=np.float16) for length in (1600, 3200)}
    pool.write(8, replace(shard, frames=frames))
    assert all(np.array_equal(pool.read(8).frames[length], frames[length]) for length in frames)
    pool.path(7).write_bytes(pool.path(7).read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"00000007\.safetensors: the crops cannot be read .* it is made again"):
        pool.read(7)


def _write_for_ever(folder: Path) -> None:
    pool = CropPool(folder, 1000)
    for number in itertools.count():
        pool.write(number, shard_of(number))


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_whole_shards_alone(tmp_path: Path) -> None:
    for delay_s in (0.0, 0.013, 0.029):
        process = get_context("fork").Process(target=_write_for_ever, args=(tmp_path,))
        process.start()
        while len(list(tmp_path.glob("*.safetensors"))) < 3:
            time.sleep(0.01)
        time.sleep(delay_s)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        pool = CropPool(tmp_path, 1000)
        assert len(pool.numbers()) >= 3
        for number in pool.numbers():
            assert pool.read(number).steps[1600][0, 0] == number
