"""The model card of an adapter or a fully fine-tuned model: what it is, how it was trained, how it is used."""

from collections.abc import Mapping
from typing import Any, cast

from rolesum.counts import counted
from rolesum.models.adapter_metadata import AdapterMetadata, adapter_chain
from rolesum.recipe import Recipe


def model_card(recipe: Recipe, note: Mapping[str, Any], dialogues: int) -> str:
    """The card as Markdown with the hub's front matter."""
    full = recipe.method == "full"
    lora, options = recipe.lora, recipe.training
    switches = (("rsLoRA", lora.rslora), ("DoRA", lora.dora), ("base in 4 bits", recipe.quantize))
    kinds = [name for name, on in switches if on]
    trained = "all weights"
    if not full:
        trained = ", ".join([f"LoRA, rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g}", *kinds])
    files = ", ".join(file.path for file in recipe.data.train_files)
    rows = [
        ("Base model", f"{recipe.base} ({note['fingerprint']['architecture']})"),
        *([("Roles", ", ".join(recipe.roles))] if recipe.roles else []),
        *_verify_rows(recipe, note),
        ("Training data", f"{files}, {counted(dialogues, 'dialogue')}; its license binds what you do with this"),
        ("Trained", trained),
        *_preference_rows(recipe),
        ("NEFTune", f"alpha {recipe.neftune.alpha:g}, scaled by each example's own length"),
        (
            "Training",
            f"{counted(options.epochs, 'epoch')}, learning rate {options.learning_rate:g}, {options.schedule} schedule",
        ),
        ("Seed", str(options.seed)),
        *_origin_rows(note),
        ("Made with", f"rolesum {note['rolesum']}, recipe {recipe.name}"),
    ]
    table = "\n".join(f"| {key} | {value} |" for key, value in rows)
    use = "--model DIRECTORY" if full else f"--model {recipe.base} --adapter DIRECTORY"
    return f"""---
library_name: {"transformers" if full else "peft"}
base_model: {recipe.base}
{_license_line(note)}tags: [dialogue-summarization, rolesum{"" if full else ", lora"}]
---

# {recipe.name}

{"A model" if full else "An adapter"} that {_task(recipe)}.

| | |
|---|---|
{table}
{_inherited_terms(note)}
```
rolesum summarize chat.txt {use}
```

`recipe.yaml` and `environment.json` beside this directory say how to reproduce it. Summaries can be wrong: check
names, amounts and dates before you rely on them.
"""


def _task(recipe: Recipe) -> str:
    tasks = ["summarizes a dialogue for each of its roles"] if recipe.roles else []
    tasks += ["tells whether a dialogue says a statement"] if recipe.verify else []
    return " and ".join(tasks)


def _verify_rows(recipe: Recipe, note: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How statements were trained on, and what was fitted to those of the validation data."""
    if recipe.verify is None:
        return _inherited_rows(note)
    rows = [("Verifies", f"statements; an answer weighs {recipe.verify.weight:g}")]
    verify = note["verify"]
    if fitted := verify.get("fitted_on"):
        quality = f"AUROC {fitted['auroc']:.3f}, balanced accuracy {fitted['balanced_accuracy']:.3f}"
        chosen = f"temperature {verify['temperature']:g}, threshold {verify['threshold']:g}"
        count = counted(fitted["statements"], "statement")
        where = f"{count} of {counted(fitted['dialogues'], 'validation dialogue')}"
        rows.append(("Support", f"{chosen}, fitted to {where}: {quality} there"))
    return rows


def _inherited_rows(note: Mapping[str, Any]) -> list[tuple[str, str]]:
    """That it verifies statements without having been trained on any, and how well."""
    verify = note.get("verify") or {}
    if not (measured := verify.get("measured_on")):
        return []
    where = f"{counted(measured['statements'], 'statement')} of rolesum-dialogues"
    return [("Verifies", f"statements, as {verify['inherited_from']}: AUROC {measured['auroc']:.3f} on {where}")]


def _preference_rows(recipe: Recipe) -> list[tuple[str, str]]:
    chosen = recipe.preference
    if chosen is None:
        return []
    length = ", length-normalized" if chosen.length_normalized else ""
    return [("Preference tuning", f"DPO on pairs of summaries, beta {chosen.beta:g}, SFT {chosen.sft:g}{length}")]


def _origin_rows(note: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A row for each adapter that this one goes on from, the nearest first."""
    rows = []
    for one in adapter_chain(cast(AdapterMetadata, note)):
        facts = [f"recipe {one['recipe']}"] if one.get("recipe") else []
        facts += [f"trained on {', '.join(one['data'])}"] if one.get("data") else []
        rows.append(("Goes on from", f"{one['name']} ({'; '.join(facts)})" if facts else one["name"]))
    return rows


def _license_line(note: Mapping[str, Any]) -> str:
    """The line of the front matter for the license that binds what goes on from an adapter under it."""
    found = [one["license"] for one in adapter_chain(cast(AdapterMetadata, note)) if one.get("license")]
    return f"license: {found[0]}\n" if found else ""


def _inherited_terms(note: Mapping[str, Any]) -> str:
    """The paragraph on what the data of the adapters that this one goes on from allow."""
    bound = [one for one in adapter_chain(cast(AdapterMetadata, note)) if one.get("terms")]
    said = [f"{one['name']} ({one.get('license', 'its license')}): {one['terms']}." for one in bound]
    return f"\n**Bound by what it goes on from.** {' '.join(said)}\n" if said else ""
