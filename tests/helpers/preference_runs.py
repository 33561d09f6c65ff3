"""Pairs of summaries for a tiny model, and recipes that train on them."""

from dataclasses import replace

from helpers.small_runs import raw_recipe
from helpers.tiny import folder, short_dialogues
from rolesum.dialogue import Pair
from rolesum.formats import read_dialogues
from rolesum.formats.jsonl import to_json
from rolesum.recipe_loading import parse_recipe


def pair_file(name="pairs", **changes):
    """Five dialogues with a pair for each summary; `changes` replace fields of the first."""
    path = folder() / f"{name}.jsonl"
    dialogues = [replace(one, pairs=_pairs(one)) for one in read_dialogues(short_dialogues("en-train", 5, 2))]
    dialogues[0] = replace(dialogues[0], **changes)
    path.write_text("".join(f"{to_json(one)}\n" for one in dialogues), encoding="utf-8")
    return path


def _pairs(dialogue):
    texts = {role: several[0] for role, several in dialogue.summaries.items()}
    return tuple(Pair(role, text, f"{text[: len(text) // 2]} refused to pay.") for role, text in texts.items())


PAIRS = pair_file()


def preference_recipe(file=PAIRS, base_adapter=None, preference=None, validation=None, **others):
    raw = raw_recipe(preference=preference or {}, **others)
    raw["data"] = {"train": {"path": str(file)}} | ({"validation": validation} if validation else {})
    if base_adapter is not None:
        del raw["base"], raw["lora"]
        raw["base_adapter"] = str(base_adapter)
    return parse_recipe(raw, "test")
