"""The adapter that a run goes on from: what a recipe takes over from it, and what of the two must agree."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rolesum.counts import counted
from rolesum.errors import ModelError, Problem, UsageError
from rolesum.instructions import load_instruction_set
from rolesum.models.adapter_metadata import (
    CONFIG_FILE,
    METADATA_FILE,
    AdapterMetadata,
    adapter_chain,
    adapter_directory,
    beyond_plain_lora,
    custom_instructions,
    custom_sections,
    read_adapter_metadata,
)
from rolesum.models.bundled_adapters import adapter_for, bundled_name
from rolesum.recipe import Recipe

# The recipe's lora keys that an adapter decides, as PEFT names them. Dropout is for training only.
_SETTINGS = {"rank": "r", "alpha": "lora_alpha", "rslora": "use_rslora", "dora": "use_dora"}
# Of what goes beyond plain LoRA, what a recipe can ask for too.
_TRAINABLE = ("use_dora", "target_modules", "exclude_modules")
# Fewer training dialogues than this are called few: see docs/results.md, the bundled dialogues.
FEW = 100
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
# The fields of an adapter's metadata that are copied into those of adapters trained on from it.
_HANDED_ON = ("rolesum", "recipe", "base", "roles", "data", "license", "terms", "base_adapter")


@dataclass(frozen=True)
class BaseAdapter:
    """A trained LoRA adapter: as the recipe names it, where it lies, and what its files say of it."""

    name: str
    directory: Path
    metadata: AdapterMetadata
    config: Mapping[str, Any]

    @property
    def targets(self) -> tuple[str, ...] | None:
        """The names of the adapted modules; None where the config has a pattern for them."""
        found = self.config.get("target_modules")
        return None if isinstance(found, str) or not found else tuple(sorted(found))

    @property
    def terms(self) -> dict[str, str]:
        """What the data of the adapter, and of those that it goes on from itself, allow, by the adapter's name."""
        own = {self.name: self.metadata["terms"]} if "terms" in self.metadata else {}
        return own | {one["name"]: one["terms"] for one in adapter_chain(self.metadata) if one.get("terms")}

    def provenance(self) -> dict[str, Any]:
        """What the metadata of an adapter that goes on from this one keep of it."""
        return {**provenance(self.name, self.metadata), "sha256": self.digest()}

    def digest(self) -> str:
        """A hash of the weights, the config and the metadata. Raises ModelError where they cannot be read."""
        digest = hashlib.sha256()
        try:
            for name in (*_WEIGHTS, CONFIG_FILE, METADATA_FILE):
                file = self.directory / name
                digest.update(file.read_bytes() if file.is_file() else b"")
        except OSError as error:
            raise ModelError(f"the adapter cannot be read: {error}", str(self.directory), "restore its files") from None
        return digest.hexdigest()

    def describe(self) -> str:
        """One line: its name, and the recipe and the data that it was trained with where they are known."""
        facts = [f"recipe {self.metadata['recipe']}"] if "recipe" in self.metadata else []
        facts += [f"trained on {', '.join(self.metadata['data'])}"] if self.metadata.get("data") else []
        return f"{self.name} ({'; '.join(facts)})" if facts else self.name


def provenance(name: str, metadata: AdapterMetadata) -> dict[str, Any]:
    """What is kept of trained weights in the metadata of what goes on from them: their own chain is among that."""
    facts: Mapping[str, object] = metadata
    return {"name": name, **{key: facts[key] for key in _HANDED_ON if key in facts}}


def read_base_adapter(recipe: Recipe) -> BaseAdapter | None:
    """The adapter that base_adapter names; None where the recipe names none. Raises ModelError for what is none."""
    if recipe.base_adapter is None:
        return None
    directory = adapter_directory(recipe.base_adapter)
    metadata = read_adapter_metadata(directory)
    try:
        config = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = None
    if not isinstance(config, dict):
        raise ModelError("broken adapter config", str(directory / CONFIG_FILE), "restore the adapter's files")
    if beyond := [one for one in beyond_plain_lora(config) if not one.startswith(_TRAINABLE)]:
        what = f"training cannot go on from this adapter: it is more than plain LoRA ({'; '.join(beyond)})"
        raise ModelError(what, str(directory), "merge it into its base (rolesum export --to merged) and train on that")
    return BaseAdapter(recipe.base_adapter, directory, metadata, config)


def with_base_adapter(recipe: Recipe) -> Recipe:
    """The recipe with what it leaves out taken from its base adapter: the base, and LoRA's rank, alpha and targets.

    Raises UsageError with everything that the recipe sets to another value than the adapter's, ModelError for an
    adapter that cannot be read.
    """
    adapter = read_base_adapter(recipe)
    if adapter is None:
        return recipe
    lora, problems = _agreed_lora(recipe, adapter)
    problems += _other_base(recipe, adapter) + _other_prompts(recipe, adapter)
    if problems:
        raise UsageError([Problem(what, f"base_adapter {adapter.name}", fix) for what, fix in problems])
    base = recipe.base if "base" in recipe.model_fields_set else adapter.metadata.get("base", recipe.base)
    return recipe.model_copy(update={"base": base, "lora": recipe.lora.model_copy(update=lora)})


def base_adapter_notes(recipe: Recipe, adapter: BaseAdapter | None, dialogues: int) -> list[str]:
    """What a run has from its base adapter, and what it changes of its roles, a line each.

    With few `dialogues` to train on, also how to find out what they change, or, without an adapter, which bundled one
    the run could start from.
    """
    if adapter is None:
        return _few_notes(recipe, adapter, dialogues)
    notes = [f"goes on from {adapter.describe()}"]
    notes += [f"{name}: {terms}; that holds for what goes on from it" for name, terms in adapter.terms.items()]
    trained = adapter.metadata.get("roles")
    if trained is None:
        notes.append(f"{adapter.name} does not say for which roles, and by which instructions, it was trained")
    elif new := [role for role in recipe.roles if role not in trained]:
        notes.append(f"{adapter.name} was not trained for {', '.join(new)}: this run alone teaches it")
    if left := [role for role in trained or () if role not in recipe.roles]:
        notes.append(f"{adapter.name} was also trained for {', '.join(left)}, which this run may make worse")
    if adapter.metadata.get("verify") and not recipe.verify:
        notes.append(f"{adapter.name} also verifies statements: whether it still can is measured when it is written")
    return notes + _few_notes(recipe, adapter, dialogues)


def _few_notes(recipe: Recipe, adapter: BaseAdapter | None, dialogues: int) -> list[str]:
    """For few dialogues: how to find out whether they improve the adapter, or which one the run could start from."""
    few = f"{counted(dialogues, 'dialogue')} to train on: few"
    if dialogues >= FEW:
        return []
    if adapter is None:
        bundled = adapter_for(recipe.base) if recipe.method == "lora" else None
        more = f"--from-adapter {bundled_name(bundled)} goes on from an adapter that knows the task" if bundled else ""
        return [f"{few} for the base model alone; {more}"] if more else []
    held_out = recipe.data.validation
    how = "hold some out (data.validation.share) and score both adapters on them"
    if held_out:
        how = f"score both adapters on {held_out.path or 'validation.jsonl of the run'}"
    return [f"{few}. Of TweetSumm, 12 were enough (docs/results.md); here, {how} (rolesum evaluate)"]


Fault = tuple[str, str]  # what is wrong, and its fix


def _agreed_lora(recipe: Recipe, adapter: BaseAdapter) -> tuple[dict[str, Any], list[Fault]]:
    """The adapter's settings by the recipe's keys, and what the recipe sets otherwise."""
    stored = {ours: adapter.config.get(theirs) for ours, theirs in _SETTINGS.items()}
    found: dict[str, Any] = {
        key: float(value) if key == "alpha" else value for key, value in stored.items() if value is not None
    }
    found["targets"] = adapter.targets
    faults: list[Fault] = []
    for key, value in found.items():
        asked = getattr(recipe.lora, key)
        same = asked == value or (key == "targets" and set(asked or ()) == set(value or ()))
        if key in recipe.lora.model_fields_set and not same and asked is not None:
            shown = f"[{', '.join(value or ())}]" if key == "targets" else value
            asked = f"[{', '.join(asked)}]" if key == "targets" else asked
            fix = f"leave lora.{key} out, or --set lora.{key}=null" if key == "targets" else f"--set lora.{key}={shown}"
            faults.append((f"lora.{key} is {asked}, and the adapter has {shown}", fix))
    return found, faults


def _other_base(recipe: Recipe, adapter: BaseAdapter) -> list[Fault]:
    """The base cannot be told where neither names it; whether it is the same is seen by its fingerprint."""
    if "base" in recipe.model_fields_set or adapter.metadata.get("base"):
        return []
    return [("it does not say which base it was trained on", "name the base in the recipe: --set base=NAME")]


def _other_prompts(recipe: Recipe, adapter: BaseAdapter) -> list[Fault]:
    """Where the recipe would ask with other words than those that the adapter was trained with."""
    trained, faults = adapter.metadata, list[Fault]()
    if recipe.instructions and trained:
        own, theirs = load_instruction_set(recipe.instructions).with_defaults(), custom_instructions(trained)
        if theirs is None or own != theirs.with_defaults():  # an older adapter's set lacks the newer keys
            had = f"the set {theirs.name}" if theirs else "the built-in instructions"
            what = f"it was trained with {had}, and {recipe.instructions} asks in other words"
            faults.append((what, "leave instructions out: the adapter's own are used"))
    language = trained.get("language")
    if recipe.language and language and recipe.language != language:
        fix = f"leave language out, or --set language={language}"
        faults.append((f"language is {recipe.language}, and the adapter was asked in {language}", fix))
    known = trained.get("definitions", {})
    faults += [
        (f"custom_roles.{role}: the adapter was trained with the definition {known[role]!r}", "use the same")
        for role, definition in recipe.definitions.items()
        if role in known and known[role] != definition
    ]
    sections = custom_sections(trained)
    if recipe.section_set and sections and recipe.section_set != sections:
        faults.append((f"it was trained with other sections than {recipe.sections}", "use the same sections"))
    return faults
