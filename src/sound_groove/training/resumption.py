"""Whether a run can be gone on with: the same recipe, on the same data."""

from collections.abc import Iterator, Mapping
from typing import Any

from sound_groove.errors import SoundGrooveError
from sound_groove.files import read_json
from sound_groove.recipe.loading import load_recipe
from sound_groove.recipe.schema import Recipe
from sound_groove.training.run_folder import RunFolder

PRECISION = ("training", "precision")
# What may differ between a run and its resumption without changing what is computed. The manifest's hash stands for
# the data, wherever the prepared folder lies now.
FREE_TO_CHANGE = {("data", "workers"), ("data", "prepared"), ("training", "device"), ("training", "checkpoint_every")}


def check_resumption(
    run: RunFolder, recipe: Recipe, manifest_sha256: str | None, other_sha256: Mapping[str, str]
) -> list[str]:
    """What stands against going on with a run.

    Args:
        run: the folder of the run.
        recipe: what it is to be gone on with.
        manifest_sha256: of the data that it is to be gone on with; None where that could not be read.
        other_sha256: of what else it is to be gone on with, by name.

    Returns:
        A sentence for each setting that differs, and for other data; none if all is well.
    """
    try:
        before, after = (dict(_flat(r.model_dump(mode="json"))) for r in (load_recipe(run.recipe), recipe))
        facts = read_json(run.facts)
        trained_on, others = facts.get("manifest_sha256"), facts.get("other_sha256", {})
    except SoundGrooveError as error:
        return [f"{run.path}: the run cannot be resumed, begin it anew with --force: {error}"]
    # "auto" was something when the run began, and goes on as that.
    before[PRECISION] = begun_precision(run) or before[PRECISION]
    if after[PRECISION] == "auto":
        after[PRECISION] = before[PRECISION]
    problems = [
        f"{'.'.join(key)}: the run was started with {before.get(key)!r}, and now it is {after.get(key)!r}; "
        "a resumed run keeps its recipe"
        for key in before
        if before[key] != after.get(key) and key not in FREE_TO_CHANGE
    ]
    if manifest_sha256 is not None and trained_on != manifest_sha256:
        problems.append(
            f"{recipe.data.prepared}: the manifest is not the one that this run was trained on so far; "
            "prepare the same corpus again, or begin a new run"
        )
    problems += [
        f"{setting_of(name)}: is not the one that this run learnt from so far; bring it back, or begin a new run"
        for name, sha256 in other_sha256.items()
        if others.get(name) != sha256
    ]
    return problems


def setting_of(name: str) -> str:
    """The setting that names what has this name in `other_sha256`."""
    return f"data.{name}" if name in ("exclude", "label_noise") else f"distillation.{name}"


def begun_precision(run: RunFolder) -> str | None:
    """The precision in which a run was begun; None where its files cannot say, which `check_resumption` reports."""
    try:
        # Runs that are older than "auto" have it in their recipe.
        begun = read_json(run.facts).get("precision", load_recipe(run.recipe).training.precision)
    except SoundGrooveError:
        return None
    return begun if begun in ("bf16", "fp16", "fp32") else None


def _flat(settings: dict[str, Any], parents: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Nested settings as pairs of key path and value."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, (*parents, key))
        else:
            yield (*parents, key), value
