"""ROUGE of a model that is being trained, on a few validation dialogues: what training asks of evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rolesum.dialogue import Dialogue
from rolesum.errors import DataError
from rolesum.evaluation.evaluate import evaluate
from rolesum.instructions import load_instruction_set
from rolesum.instructions.fit import drop_middle
from rolesum.progress import say
from rolesum.recipe import Recipe
from rolesum.roles import OVERALL

if TYPE_CHECKING:
    from rolesum.generation.transformers_engine import TransformersEngine
    from rolesum.models.loading import LoadedModel

MEASURES = ("rouge1", "rouge2", "rougeL")


def rouge(recipe: Recipe) -> "Callable[[LoadedModel, Sequence[Dialogue]], dict[str, float]]":
    """A function for `train`: the mean ROUGE over the recipe's roles, and each role's, by the text's usual scorer."""

    told = False

    def score(loaded: "LoadedModel", dialogues: Sequence[Dialogue]) -> dict[str, float]:
        from rolesum.generation.transformers_engine import TransformersEngine

        own = load_instruction_set(recipe.instructions) if recipe.instructions else None
        engine = TransformersEngine(loaded, loaded.layout(recipe.language, own, recipe.definitions))
        chosen = _that_can_be_scored(dialogues, engine, recipe)
        nonlocal told
        if len(chosen) < len(dialogues) and not told:
            told = True
            without = len(dialogues) - len(chosen)
            say(f"{without} of {len(dialogues)} validation dialogues cannot be summarised: too long, or roles unplayed")
        done = evaluate(
            engine,
            chosen,
            roles=recipe.roles,
            max_new_tokens=recipe.validation.max_new_tokens,
            label="validation summaries",
        )
        found = {role: score.means for role, score in done.scores.items()}
        means = {measure: sum(of[measure] for of in found.values()) / len(found) for measure in MEASURES}
        by_role = {f"{measure}_{role}": of[measure] for role, of in found.items() for measure in MEASURES}
        return means | (by_role if len(found) > 1 else {})

    return score


def _that_can_be_scored(dialogues: Sequence[Dialogue], engine: "TransformersEngine", recipe: Recipe) -> list[Dialogue]:
    """The dialogues that fit the model with their summaries, each with the summaries of roles that somebody plays."""
    encode, limit = engine.loaded.encoder.encode, engine.loaded.max_length - recipe.validation.max_new_tokens
    chosen = []
    for dialogue in dialogues:
        played = {
            role: texts
            for role, texts in dialogue.summaries.items()
            if role in recipe.roles and (role == OVERALL or dialogue.speakers(role))
        }
        if not played:
            continue

        def fits(shorter: Dialogue, roles: tuple[str, ...] = tuple(played)) -> bool:
            prompt = engine.layout.prompt(shorter, roles)
            longest = max(len(encode(branch)) for branch in prompt.branches)
            return bool(len(encode(prompt.prefix)) + longest <= limit)

        whole = replace(dialogue, summaries=played)
        if fits(whole):
            chosen.append(whole)
        elif recipe.training.on_long == "drop-middle" and (cut := drop_middle(whole, fits)):
            chosen.append(cut[0])
    if not chosen:
        raise DataError("no validation dialogue fits the model with a summary", fix="leave validation.summaries out")
    return chosen
