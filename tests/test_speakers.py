"""A model file says whom it was trained on, by digests of the names, and so does all that is made from it."""

import doctest
import hashlib
import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

import sound_groove.networks.trained_speakers
from sound_groove.cli import main
from sound_groove.corpora.manifest import read_manifest
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError
from sound_groove.export.onnx_file import export_onnx
from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint
from sound_groove.networks.tensor_groups import GROUPS
from sound_groove.networks.trained_speakers import check_unheard, listed_digests, speaker_digest, speaker_digests
from sound_groove.training.preflight import preflight
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.trainer import train
from test_onnx_facts import foreign
from training_corpus import prepare_corpus, tiny_recipe


def of_split(prepared: Path, split: str) -> set[str]:
    return {utterance.speaker for utterance in read_manifest(prepared) if utterance.split == split}


def by_hand(names: set[str]) -> list[str]:
    return sorted(hashlib.sha256(name.encode()).hexdigest()[:16] for name in names)


def renamed(model: Path, target: Path, training: dict[str, object]) -> Path:
    """The model with other facts of its training."""
    checkpoint = load_checkpoint(model, GROUPS)
    header = replace(checkpoint.header, training=checkpoint.header.training | training)
    save_checkpoint(target, checkpoint.tensors, header)
    return target


def test_one_name_has_one_digest_however_its_letters_are_written() -> None:
    composed, taken_apart = unicodedata.normalize("NFC", "Zoë"), unicodedata.normalize("NFD", "Zoë")
    assert composed != taken_apart
    assert speaker_digest(composed) == speaker_digest(taken_apart) == hashlib.sha256("Zoë".encode()).hexdigest()[:16]
    assert speaker_digest("id00010") != speaker_digest("id00011") != speaker_digest("ID00011")
    assert len(speaker_digest(b"caf\xe9".decode("utf-8", "surrogateescape"))) == 16  # a name of undecodable bytes


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(sound_groove.networks.trained_speakers)
    assert result.attempted >= 2 and not result.failed


def test_only_speakers_that_were_trained_on_are_named() -> None:
    trained = speaker_digests(["id00010", "张三"])
    assert check_unheard(trained, ["id00011", "张三", "id00010", "张三"]) == ["id00010", "张三"]
    assert check_unheard(trained, ["id0001", "id000100"]) == check_unheard(frozenset(), ["id00010"]) == []


def test_training_lists_its_speakers_and_not_those_held_out(tiny_run: Path) -> None:
    prepared = tiny_run.parent / "prepared"
    training, held_out = of_split(prepared, "train"), of_split(prepared, "validation")
    for name in ("best", "last"):
        facts = load_checkpoint(tiny_run / f"{name}.safetensors").header.training
        assert facts["speaker_digests"] == by_hand(training) and facts["speakers"] == len(training) == 8
    trained = SpeakerEncoder.load(tiny_run).trained_speakers
    assert check_unheard(trained, training | held_out) == sorted(training) and held_out


@pytest.mark.slow
def test_fine_tuning_unites_old_speakers_and_new_and_resuming_keeps_both(tiny_run: Path, tmp_path: Path) -> None:
    base = renamed(tiny_run / "best.safetensors", tmp_path / "b.safetensors", {"speaker_digests": by_hand({"anna"})})
    prepared = prepare_corpus(tmp_path, training=4, validation=2)
    recipe = tiny_recipe(
        prepared, training__start_from=str(base), training__epochs=2, training__batches_per_epoch=1, seed=8
    )
    train(recipe, tmp_path / "run")
    both = by_hand(of_split(prepared, "train") | {"anna"})
    assert len(both) == 5
    assert load_checkpoint(tmp_path / "run").header.training["speaker_digests"] == both
    base.unlink()  # what it said is in the run's own files now
    train(recipe, tmp_path / "run", resume=True)
    assert load_checkpoint(tmp_path / "run/last.safetensors").header.training["speaker_digests"] == both


@pytest.mark.slow
def test_it_is_said_when_the_model_to_start_from_does_not_know_its_speakers(tiny_run: Path, tmp_path: Path) -> None:
    base = renamed(tiny_run / "best.safetensors", tmp_path / "b.safetensors", {"speaker_digests": []})
    recipe = tiny_recipe(tiny_run.parent / "prepared", training__start_from=str(base), training__epochs=1)
    said: list[str] = []
    train(recipe, tmp_path / "run", say=said.append)
    assert any("does not say whom it was trained on" in line for line in said)


@pytest.mark.slow
def test_an_exported_file_carries_them_along(tiny_run: Path, tmp_path: Path, exported: Path, model_path: Path) -> None:
    file = export_onnx(tiny_run, tmp_path / "model.onnx").file
    trained = SpeakerEncoder.load(file, threads=1).trained_speakers
    assert trained == SpeakerEncoder.load(tiny_run).trained_speakers == load_checkpoint(tiny_run).trained_speakers
    assert len(trained) == 8
    assert SpeakerEncoder.load(model_path).trained_speakers == frozenset()  # as of a file of an older version
    assert SpeakerEncoder.load(exported, threads=1).trained_speakers == frozenset()
    others = foreign(tmp_path / "foreign.onnx", training=json.dumps({"speaker_digests": ["0" * 16]}))
    assert SpeakerEncoder.load(others, threads=1).trained_speakers == frozenset()


@pytest.mark.parametrize("digests", [None, "0" * 16, ["0" * 15], ["G" * 16], [1], {"0" * 16: 1}])
def test_a_damaged_list_of_speakers_is_refused(tiny_run: Path, tmp_path: Path, digests: object) -> None:
    with pytest.raises(CheckpointError, match="m: the digests of its training speakers are damaged"):
        listed_digests({"speaker_digests": digests}, "m")
    model = renamed(tiny_run / "best.safetensors", tmp_path / "m.safetensors", {"speaker_digests": digests})
    with pytest.raises(CheckpointError, match="digests of its training speakers are damaged"):
        SpeakerEncoder.load(model)


def test_info_counts_them_and_lists_them_only_for_machines(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tiny_run)]) == 0
    printed = capsys.readouterr().out
    listed = load_checkpoint(tiny_run).header.training["speaker_digests"]
    assert "8, listed by --json" in printed and not any(digest in printed for digest in listed)
    assert main(["info", str(tiny_run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["speaker_digests"] == listed


def test_speakers_of_unlabelled_speech_were_heard_too(tiny_run: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(tiny_run.parent / "prepared")
    plan = preflight(recipe, RunFolder(tmp_path / "run"), resume=False, force=False)
    more = replace(plan.utterances[0], key="carla/1", speaker="carla")
    heard = check_unheard(replace(plan, unlabelled=[more]).speaker_digests, ["carla", more.speaker, "dora"])
    assert heard == ["carla"] and len(plan.speaker_digests) == 8
