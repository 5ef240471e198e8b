"""What a run and its model files say about where they came from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from sound_groove.errors import printable
from sound_groove.inputs.dataset import Batch
from sound_groove.networks.checkpoint_header import CheckpointHeader
from sound_groove.networks.probe import Probe
from sound_groove.networks.trained_speakers import DIGESTS_KEY
from sound_groove.provenance import code_hash
from sound_groove.recipe.schema import Recipe
from sound_groove.training.plan import TrainingPlan
from sound_groove.training.state import Progress
from sound_groove.training.validation import Validation


def run_facts(plan: TrainingPlan, host: Mapping[str, Any], command: str, processes: int) -> dict[str, Any]:
    """What run.json holds when the run starts.

    Args:
        plan: what the preflight made of the recipe.
        host: processor, system, versions and commit.
        command: the command line.
        processes: that share the run.
    """
    recipe = plan.recipe
    return {
        "name": recipe.name,
        "command": command,
        "manifest": str((recipe.data.prepared / "manifest.jsonl").absolute()),
        "manifest_sha256": plan.manifest_sha256,
        "other_sha256": dict(plan.other_sha256),
        "excluded": None if plan.excluded is None else plan.excluded.as_dict(),
        "label_noise": None if plan.label_trust is None else plan.label_trust.as_dict(),
        "speakers": plan.speakers,
        "classes": plan.classes,
        "utterances": len(plan.utterances),
        "hours": round(plan.hours, 3),
        "validation_utterances": len(plan.validation),
        "steps": [stage.steps for stage in plan.stages],
        "network_parameters": plan.network_parameters,
        "head_parameters": plan.head_parameters,
        "start_from": None,
        "device": str(plan.device),
        "precision": plan.precision,
        "processes": processes,
        "cpu_threads": torch.get_num_threads(),
        "code": code_hash(),
        **host,
    }


def model_header(
    recipe: Recipe,
    facts: Mapping[str, Any],
    speakers: Iterable[str],
    progress: Progress,
    judged: Validation | None,
    averaged: int = 0,
    probe: Probe | None = None,
) -> CheckpointHeader:
    """What a model file says about itself.

    Args:
        recipe: what is trained.
        facts: of the run, as `run_facts` gives them.
        speakers: digests of the names of all on whose speech the weights were trained.
        progress: the place in training.
        judged: the validation of these very weights, if they have been validated.
        averaged: epochs of whose weights these are the mean; 0 = they are those of the epoch itself.
        probe: the embedding that the model must give wherever it is loaded.
    """
    copied = (
        "manifest_sha256",
        "other_sha256",
        "speakers",
        "utterances",
        "hours",
        "start_from",
        "precision",
        "versions",
        "git_commit",
        "code",
    )
    return CheckpointHeader(
        name=recipe.name,
        network=recipe.network.model_dump(),
        score_map=None if judged is None or judged.score_map is None else judged.score_map.as_dict(),
        training={
            "recipe": recipe.model_dump(mode="json"),
            "description": recipe.description,
            **{name: facts[name] for name in copied},
            DIGESTS_KEY: sorted(speakers),
            "epoch": progress.epoch,
            "step": progress.step,
            "averaged_epochs": averaged,
            "validation_eer": progress.best_eer if judged is None else judged.eer,
            "validation_eer_interval": progress.best_interval if judged is None else judged.interval,
            "progress": progress.as_dict(),
        },
        probe=None if probe is None else probe.as_dict(),
    )


def changed_software(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What of the software is another than when a state was written, as a clause; empty when all is the same.

    Args:
        before: the facts in the state's header.
        now: those of this run.

    >>> facts = {"versions": {"torch": "2.4", "numpy": "2.1"}, "code": "abc"}
    >>> changed_software(facts, {**facts, "versions": {"torch": "2.5", "numpy": "2.1"}})
    'goes on with torch 2.5 where it was 2.4'
    >>> changed_software(facts, facts)
    ''
    """
    then = before.get("versions")
    then = then if isinstance(then, dict) else {}
    changes = [
        f"{name} {version} where it was {printable(str(then[name]))}"
        for name, version in now["versions"].items()
        if name in then and then[name] != version
    ]
    if not changes and before.get("code") not in (None, now["code"]):
        changes = ["other code of the same version"]
    return f"goes on with {', '.join(changes)}" if changes else ""


def failure_report(
    what: str,
    row: Mapping[str, Any],
    batch: Batch,
    model: nn.Module,
    utterances: Sequence[str],
    steps_before: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What led to a loss or a gradient that is not a number, as failure.json holds it.

    Args:
        what: "loss" or "gradient".
        row: of the step that failed.
        batch: that it was given.
        model: that gave it; its weights are those before the step.
        utterances: keys of the batch's utterances.
        steps_before: rows of the steps before.
    """
    return {
        "what": what,
        "step": {key: value if math.isfinite(value) else str(value) for key, value in row.items()},
        "inputs_finite": bool(torch.isfinite(batch.inputs).all()),
        "largest_input": str(float(batch.inputs.abs().max())),
        "weights_not_finite": [name for name, p in model.named_parameters() if not torch.isfinite(p).all()],
        "gradients_not_finite": [
            name for name, p in model.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()
        ],
        "steps_before": list(steps_before),
        "utterances": list(utterances),
    }
