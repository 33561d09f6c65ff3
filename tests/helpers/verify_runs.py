"""Statements about dialogues for a tiny model, and recipes that train on them."""

import functools
from dataclasses import replace

import torch
import yaml

from helpers.small_runs import raw_recipe, trained
from helpers.tiny import folder, short_dialogues
from rolesum.dialogue import Statement
from rolesum.formats import read_dialogues
from rolesum.formats.jsonl import to_json
from rolesum.instructions import instruction_set
from rolesum.recipe_loading import parse_recipe

# Neither yes nor no is one token of the tiny tokenizer.
ANSWERS = [["y", "n"]]


def answer_set(**changes):
    """A built-in instruction set whose answers the tiny tokenizers have, as a file."""
    path = folder() / "answers.yaml"
    own = {**instruction_set("en").model_dump(), "name": "answers", "answers": ANSWERS, **changes}
    path.write_text(yaml.safe_dump(own), encoding="utf-8")
    return path


def statement_file(name="statements", **changes):
    """Five dialogues with three statements each, but the last with none; `changes` replace fields of the first."""
    path = folder() / f"{name}.jsonl"
    dialogues = read_dialogues(short_dialogues("en-train", 5, 2))
    dialogues = [*(replace(one, statements=_statements(one)) for one in dialogues[:-1]), dialogues[-1]]
    dialogues[0] = replace(dialogues[0], **changes)
    path.write_text("".join(f"{to_json(one)}\n" for one in dialogues), encoding="utf-8")
    return path


def many_statements(name="many-statements"):
    """Four dialogues, each with eight true statements and eight false ones: enough to fit a threshold to."""
    path = folder() / f"{name}.jsonl"
    dialogues = read_dialogues(short_dialogues("en-test", 4, 2))
    path.write_text("".join(f"{to_json(replace(one, statements=_many(one)))}\n" for one in dialogues), encoding="utf-8")
    return path


def _many(dialogue):
    words = dialogue.turns[0].text.split()
    said = [Statement(f"One said {' '.join(words[place : place + 3])}.", "user", True, (0,)) for place in range(8)]
    return (*said, *(Statement(f"It rained {place} days.", "overall", False, kind="invented") for place in range(8)))


def _statements(dialogue):
    first, second = dialogue.turns[:2]
    return (
        Statement(f"{first.speaker} said: {first.text}", "user", True, (0,)),
        Statement(f"{second.speaker} said nothing at all.", "agent", False, kind="negation"),
        Statement("It rained.", "overall", False, kind="invented"),
    )


STATEMENTS = statement_file()


def verify_recipe(file=STATEMENTS, verify=None, validation=None, **others):
    raw = raw_recipe(verify=verify or {}, instructions=str(answer_set()), **others)
    raw["data"] = {"train": {"path": str(file)}} | ({"validation": validation} if validation else {})
    return parse_recipe(raw, "test")


def alone(engine, dialogue, statement):
    """The log-odds and the probability by the library's own forward on the statement's whole text."""
    loaded = engine.loaded
    (branch,) = engine.encode(0, engine.layout.verify_prompt(dialogue, [statement])).branches
    prefix = loaded.encoder.encode(engine.layout.prefix(dialogue))
    ids = loaded.encoder.answer_ids(engine.layout.instruction_set_for(dialogue).answer_pairs)
    with torch.inference_mode():
        said, not_said = loaded.model(torch.tensor([[*prefix, *branch]])).logits[0, -1, list(ids)].double()
    return float(said - not_said), float(torch.stack([said, not_said]).softmax(0)[0])


def pieces(number, texts):
    """Statements of generated texts, fewer of some than of others, none of one, and one that all have."""
    found = []
    for place, text in enumerate(texts):
        count = (number + place) % 4
        parts = [text[start : start + 20] for start in range(0, 20 * count, 20)]
        found.append([*(f"Piece {part}" for part in parts), "It rained."] if count else [])
    return found


@functools.cache
def verify_adapter():
    """An adapter of a tiny model that was trained to summarize and to verify; tests leave it as it is."""
    return trained(folder() / "verify-run", verify_recipe(roles=["overall", "user", "agent"])).adapter
