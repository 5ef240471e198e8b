"""Speaker models of others made ours: fed as their makers feed them, and found out where the file does not say."""

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import torch
from onnx import TensorProto
from safetensors.torch import save_file

from foreign_models import write_foreign
from lively_weights import lively
from sound_groove.audio.front_end import FrontEnd, of_family, parsed_front_end
from sound_groove.audio.reading import load_audio
from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.foreign_files import recognise
from sound_groove.errors import CheckpointError, OutputError, UsageError
from sound_groove.importing import importer, known_calibrations, speech
from sound_groove.importing.finding import Answer, Finding, find_front_end
from sound_groove.importing.importer import Examined, examine, import_model, imported_hash
from sound_groove.importing.sources import open_source
from sound_groove.importing.speech import made_up_speech
from sound_groove.networks.architectures import build_network
from sound_groove.networks.campplus import CamPlusPlus
from sound_groove.networks.front_ends import build_front_end
from sound_groove.public_models import public_models
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.types import Samples
from test_campplus import PUBLISHED
from test_finding import WRONG
from test_front_ends import by_kaldi

RATE = 16000
LENGTHS = {"length": TensorProto.INT64}
SHARES = {"lens": TensorProto.FLOAT}


def noise(duration_s: float, seed: int = 0) -> Samples:
    return (0.05 * np.random.default_rng(seed).standard_normal(round(duration_s * RATE))).astype(np.float32)


def unit(values: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
    values = np.asarray(values, np.float64).ravel()
    return np.asarray(values / np.linalg.norm(values))


def squares(features: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
    return np.asarray(np.square(np.asarray(features, np.float64)).mean(axis=0))


def by_module(family: Any, samples: Samples, bins: int) -> Any:
    """(T, F) by the modules that test_front_ends compares with other code."""
    return build_front_end(of_family(family, bins))(torch.from_numpy(samples)[None])[0].numpy()


# What a file looks like, and what it must give of samples.
FOREIGN: dict[str, tuple[Callable[[Path], Path], Callable[[Samples], Any]]] = {
    "WeSpeaker": (
        lambda path: write_foreign(path, {"feats": ["B", "T", 80]}, {"embs": ["B", 80]}, 1),
        lambda samples: squares(by_kaldi(samples, of_family("wespeaker"))),
    ),
    "sherpa-onnx's WeSpeaker, without a word of the mean": (
        lambda path: write_foreign(
            path, {"x": ["N", "T", 80]}, {"embedding": ["N", 80]}, 1, framework="wespeaker", normalize_samples="0"
        ),
        lambda samples: squares(by_kaldi(samples, of_family("wespeaker"))),
    ),
    "3D-Speaker, a batch of one": (
        lambda path: write_foreign(path, {"feature": [1, "T", 80]}, {"embedding": [1, 80]}, 1),
        lambda samples: squares(by_kaldi(samples, of_family("3d-speaker"))),
    ),
    "NeMo": (
        lambda path: write_foreign(
            path,
            {"audio_signal": ["B", 64, "T"], "length": ["B"]},
            {"logits": ["B", 64], "embs": ["B", 65]},
            2,
            LENGTHS,
            framework="nemo",
            feature_normalize_type="per_feature",
        ),
        lambda samples: np.append(squares(by_module("nemo", samples, 64)) / (len(samples) // 160), len(samples) // 160),
    ),
    "ReDimNet": (
        lambda path: write_foreign(path, {"features": [1, 1, 72, "T"]}, {"embedding": [1, 72]}, 3),
        lambda samples: squares(by_module("redimnet", samples, 72)),
    ),
    "waveforms with shares": (
        lambda path: write_foreign(path, {"wav": ["B", "N"], "lens": ["B"]}, {"emb": ["B", 1, 9]}, 1, SHARES),
        lambda samples: np.append(squares(samples.reshape(-1, 8)), 1.0),
    ),
    "waveforms of one length": (
        lambda path: write_foreign(path, {"audio": ["B", 96_000]}, {"embedding": ["B", 8]}, 1),
        lambda samples: squares(np.tile(samples, 4)[:96_000].reshape(-1, 8)),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FOREIGN)
def test_an_imported_file_is_fed_as_its_makers_feed_it(tmp_path: Path, name: str) -> None:
    make, expected = FOREIGN[name]
    source = make(tmp_path / "theirs.onnx")
    done = import_model(source, tmp_path / "ours.onnx", pinned=True, licence="CC BY 4.0")
    encoder = SpeakerEncoder.load(done.file)
    recordings = [noise(2.5), noise(2.5, 1), noise(3.2, 2)]
    embeddings = encoder.embed(recordings, keep_pauses=True)
    for samples, embedding in zip(recordings, embeddings, strict=True):
        assert float(embedding @ unit(expected(samples))) > 1.0 - 1e-6
    metadata = {entry.key: entry.value for entry in onnx.load(done.file).metadata_props}
    assert json.loads(metadata["origin"])["sha256"] == done.source_sha256
    assert metadata["licence"] == "CC BY 4.0" and str(tmp_path) not in done.file.read_bytes().decode("latin-1")
    assert encoder.score_map is None and encoder.identity.hash == done.hash != done.source_sha256


@pytest.mark.slow
def test_the_verb_imports_a_file_that_every_verb_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "made_up_speech", lambda: made_up_speech(4, 2))
    source = write_foreign(tmp_path / "theirs.onnx", {"feats": ["B", "T", 80]}, {"embs": ["B", 80]}, 1)
    words = ["import", str(source), "--front-end", "wespeaker", "--floor"]
    assert main([*words, "--check"]) == 0
    out, err = capsys.readouterr()
    assert list(tmp_path.iterdir()) == [source]
    assert "SHA-256" in out and "not told apart on this speech" in out and "trying wespeaker" in err
    assert "fed: wespeaker: 80 Kaldi filterbanks of 16-bit samples, hamming window" in out
    assert main([*words, "--out", str(tmp_path / "m.onnx"), "--json", "--licence", "MIT", "--name", "mine"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["name"] == "mine" and facts["front_end"]["floor"] == "step" and facts["worst_cosine"] > 0.99999
    assert main(["info", str(tmp_path / "m.onnx"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["front_end"]["description"].endswith("mean removed; floor of one 16-bit step")
    assert told["origin"]["sha256"] == facts["source"]["sha256"] and told["metadata"]["licence"] == "MIT"
    assert told["front_end_found"]["verdict"] == "not told apart" and told["problem"] is None
    soundfile.write(tmp_path / "a.wav", noise(2.5), RATE)
    assert main(["compare", str(tmp_path / "a.wav"), str(tmp_path / "a.wav"), "--model", str(tmp_path / "m.onnx")]) == 0
    with pytest.raises(OutputError, match="is there already"):
        import_model(source, tmp_path / "m.onnx", pinned=True)
    with pytest.raises(CheckpointError, match="is a model of ours already"):
        import_model(tmp_path / "m.onnx", tmp_path / "again.onnx", pinned=True)


@pytest.mark.slow
def test_a_published_state_dictionary_is_imported(tmp_path: Path) -> None:
    configuration = NetworkConfiguration(kind="resnet34", channels=8, embedding_size=16)
    network = lively(build_network(configuration)).float()
    state = network.state_dict()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "r.pt")
    done = import_model(tmp_path / "r.pt", tmp_path / "r.onnx", pinned=True)
    samples = noise(2.7)
    with torch.no_grad():
        expected = network(torch.from_numpy(by_kaldi(samples, of_family("wespeaker")))[None])
    encoder = SpeakerEncoder.load(done.file)
    assert float(encoder.embed(samples, keep_pauses=True) @ unit(expected)) > 1.0 - 1e-6
    assert encoder.identity.name == "r"
    save_file(state, tmp_path / "r.safetensors")
    again = open_source(tmp_path / "r.safetensors")
    assert again.kind == "resnet34" and again.front_end == of_family("wespeaker")


def test_a_network_for_batches_of_two_is_tried_on_any_number(tmp_path: Path) -> None:
    shapes = {"feats": [2, "T", 80]}, {"embs": [2, 80]}
    of_two = open_source(write_foreign(tmp_path / "two.onnx", *shapes, 1))
    samples = [noise(1.0, seed) for seed in range(3)]
    found = of_two.fed(of_family("3d-speaker"))(torch.from_numpy(np.stack(samples)))
    expected = np.stack([squares(by_kaldi(one, of_family("3d-speaker"))) for one in samples])
    assert np.allclose(found.numpy(), expected, rtol=1e-3)


class Poisoned:
    """Runs something when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def test_nothing_of_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "more": Poisoned(tmp_path / "was run")}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=r"bad\.pt: holds more than tensors; nothing is unpickled here"):
        open_source(tmp_path / "bad.pt")
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("no.onnx", None, "there is no such file"),
        ("m.txt", b"", r"is imported from ONNX \(.onnx\) or a state dictionary"),
        ("m.onnx", b"nonsense", "is damaged, truncated or not an ONNX file"),
        ("m.safetensors", b"nonsense", "is damaged or not a safetensors file"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=complaint) as error:
        open_source(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("inputs", "outputs", "metadata", "told"),
    [
        ({"x": ["N", "T", 80]}, ["embedding"], {"framework": "3d-speaker", "normalize_samples": "1"}, "3d-speaker"),
        ({"x": ["N", "T", 80]}, ["embedding"], {}, None),
        ({"x": ["N", "T", 80]}, ["embedding"], {"framework": "somebody's"}, None),
        ({"audio_signal": ["B", 80, "T"], "length": ["B"]}, ["logits", "embs"], {}, "nemo"),
        ({"feature": ["B", "T", 80]}, ["embedding"], {}, "3d-speaker"),
        ({"waveform": ["B", "N"]}, ["embedding"], {}, "waveform"),
        ({"features": [1, 1, 72, "T"]}, ["embedding"], {}, "redimnet"),
    ],
)
def test_files_tell_their_family(
    inputs: dict[str, list[Any]], outputs: list[str], metadata: dict[str, str], told: str | None
) -> None:
    file = recognise("m.onnx", inputs, outputs, metadata)
    assert (file.front_end.family if file.front_end else None) == told
    assert file.output == outputs[-1]


def test_what_is_asked_for_must_suit_the_file(tmp_path: Path) -> None:
    source = write_foreign(tmp_path / "w.onnx", {"audio": ["B", 96_000]}, {"embedding": ["B", 8]}, 1)
    with pytest.raises(UsageError, match="takes waveforms, with its front end inside; the front end 'nemo'"):
        import_model(source, tmp_path / "o.onnx", front_end="nemo")
    with pytest.raises(UsageError, match="has its front end inside, under which no floor can be laid"):
        import_model(source, tmp_path / "o.onnx", floor="step")
    with pytest.raises(UsageError, match=r"must end in \.onnx"):
        import_model(source, tmp_path / "o.pt")


def test_speech_overrules_a_file_and_made_up_voices_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_foreign(tmp_path / "m.onnx", {"feats": ["B", "T", 80]}, {"embs": ["B", 80]}, 1)
    other = parsed_front_end("wespeaker,mean=kept")

    def found(is_made_up: bool, eer: float = 0.2, claimed: FrontEnd | None = None) -> Finding:
        answer = Answer("mean", other, eer - 0.1, -0.1, -0.15, -0.05, "wrong")
        return Finding(claimed or of_family("wespeaker"), True, eer, "speech", is_made_up, 20, 400, (answer,))

    spoken = made_up_speech(4, 2)
    monkeypatch.setattr(importer, "made_up_speech", lambda: spoken)

    def examined(finding: Finding, front_end: str | None = None) -> Examined:
        monkeypatch.setattr(importer, "find_front_end", lambda *_: finding)
        return examine(source, front_end)

    overruled = examined(found(False))
    assert overruled.front_end == other and "names its family and behaves otherwise on speech" in overruled.notes[0]
    kept = examined(found(True))
    assert kept.front_end == of_family("wespeaker") and "behaves otherwise" in kept.notes[0]
    asked = examined(found(False, claimed=of_family("3d-speaker")), "3d-speaker")
    assert asked.front_end == of_family("3d-speaker") and "is to be fed as was asked" in asked.notes[0]
    with pytest.raises(CheckpointError, match=r"does well in none of the ways .* name what it is fed with --front-end"):
        examined(found(False, 0.5))
    assert "does well in none" in examined(found(False, 0.5, of_family("3d-speaker")), "3d-speaker").notes[1]


# With real weights: CAM++ (zh-en) of 3D-Speaker, where somebody has it

published = pytest.mark.skipif(
    PUBLISHED is None, reason="SOUND_GROOVE_CAMPPLUS does not name the published state dictionary"
)


@pytest.mark.slow
@pytest.mark.corpus
@published
def test_campplus_is_fed_as_3d_speaker_feeds_it(corpus: Path, tmp_path: Path) -> None:
    done = import_model(str(PUBLISHED), tmp_path / "campplus.onnx", pinned=True, licence="Apache-2.0")
    assert done.front_end == of_family("3d-speaker") and done.embedding_size == 192
    network = CamPlusPlus().eval()
    network.load_state_dict(torch.load(str(PUBLISHED), weights_only=True), strict=True)
    encoder = SpeakerEncoder.load(done.file, threads=1)
    paths = sorted((corpus / "abroad" / "urdu").glob("*/*.opus"))[::60]
    assert len(paths) > 3
    for path in paths:
        samples = load_audio(path)
        samples = samples if len(samples) > 2 * RATE else np.tile(samples, 4)
        with torch.no_grad():
            expected = network(torch.from_numpy(by_kaldi(samples, of_family("3d-speaker")))[None])
        assert float(encoder.embed(samples, keep_pauses=True) @ unit(expected)) > 1.0 - 1e-5


@pytest.mark.slow
@pytest.mark.corpus
@published
def test_five_wrong_feedings_of_campplus_are_never_confirmed(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "SPEAKERS", 24)
    heard = speech.speech_of(corpus / "abroad" / "hyke_digits")
    feed = functools.cache(open_source(str(PUBLISHED)).fed)
    known: dict[tuple[FrontEnd, float], torch.Tensor] = {}

    def fed(front_end: FrontEnd) -> Callable[[torch.Tensor], torch.Tensor]:
        def embed(waveforms: torch.Tensor) -> torch.Tensor:
            key = front_end, float(waveforms.double().sum())
            if key not in known:
                known[key] = feed(front_end)(waveforms)
            return known[key]

        return embed

    for text, question in WRONG.items():
        finding = find_front_end(fed, parsed_front_end(text), 80, heard)
        (verdict,) = [answer.verdict for answer in finding.answers if answer.question == question]
        assert verdict in ("wrong", "not told apart") and finding.verdict != "confirmed", text
        assert finding.verdict == "wrong" or "mean=kept" not in text, text
    right = find_front_end(fed, of_family("3d-speaker"), 80, heard)
    assert right.verdict != "wrong" and right.eer < 0.15


# --- calibrations that come with the package


@pytest.mark.slow
def test_a_calibration_is_of_one_source_fed_in_one_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_foreign(tmp_path / "s.onnx", {"feats": ["B", "T", 80]}, {"embs": ["B", 80]}, 1)
    plain = import_model(source, tmp_path / "plain.onnx", pinned=True)
    score_map = ScoreMap(20.0, -5.0, "elsewhere", calibrated=True, figures={"collections": 3.0})
    known = tmp_path / "calibrations" / f"{plain.hash[:12]}.json"
    known.parent.mkdir()
    known.write_text(json.dumps({"hash": plain.hash, "score_map": score_map.as_dict()}))
    monkeypatch.setattr(known_calibrations, "FOLDER", known.parent)
    assert plain.score_map is None and "not calibrated" in plain.calibration_note
    words = ["import", str(source), "--front-end", "wespeaker"]
    monkeypatch.setattr(importer, "made_up_speech", lambda: made_up_speech(4, 2))
    assert main([*words, "--out", str(tmp_path / "calibrated.onnx")]) == 0
    assert "calibrated: a map comes with the package, fitted on 3 collections" in capsys.readouterr().err
    assert SpeakerEncoder.load(tmp_path / "calibrated.onnx").score_map == score_map
    floored = import_model(source, tmp_path / "floored.onnx", pinned=True, floor="step")
    assert floored.hash != plain.hash and floored.score_map is None
    known.write_text(json.dumps({"hash": plain.hash[:12] + "0" * 52, "score_map": score_map.as_dict()}))
    assert import_model(source, tmp_path / "again.onnx", pinned=True).score_map is None


def test_calibrations_in_the_package_are_of_models_of_the_list() -> None:
    listed = {
        imported_hash(model.sha256, replace(parsed_front_end(model.front_end, None), floor=model.floor))
        for model in public_models().values()
        if model.kind == "speaker"
    }
    files = sorted(known_calibrations.FOLDER.glob("*.json"))
    assert files
    for path in files:
        model_hash = json.loads(path.read_text())["hash"]
        score_map = known_calibrations.known_calibration(model_hash)
        assert model_hash in listed and path.stem == model_hash[:12]
        assert score_map is not None and score_map.calibrated and (score_map.collections or 0) >= 3
