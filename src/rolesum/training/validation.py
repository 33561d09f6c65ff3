"""ROUGE of a model that is being trained, on a few validation dialogues: what training asks of evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rolesum.console import log
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError
from rolesum.evaluation.evaluate import evaluate
from rolesum.generation import Decoding
from rolesum.instructions import load_instruction_set
from rolesum.instructions.fit import drop_middle
from rolesum.recipe import Recipe

if TYPE_CHECKING:
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.models.loading import LoadedModel

MEASURES = ("rouge1", "rouge2", "rougeL")


def rouge(recipe: Recipe) -> "ValidationRouge":
    """What `train` asks for the ROUGE of a model's summaries, by the text's usual scorer."""
    return ValidationRouge(recipe)


class ValidationRouge:
    """Called, it gives the mean ROUGE over the recipe's roles, and each role's."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def check(self, loaded: "LoadedModel", dialogues: Sequence[Dialogue]) -> None:
        """Before training: say which dialogues cannot be summarized. Raises DataError where none can."""
        chosen = _that_can_be_scored(dialogues, self._engine(loaded), self.recipe)
        if without := len(dialogues) - len(chosen):
            log(f"{without} of {len(dialogues)} validation dialogues cannot be summarized: too long, or roles unplayed")

    def __call__(self, loaded: "LoadedModel", dialogues: Sequence[Dialogue]) -> dict[str, float]:
        engine = self._engine(loaded)
        done = evaluate(
            engine,
            _that_can_be_scored(dialogues, engine, self.recipe),
            roles=self.recipe.roles,
            decoding=Decoding(self.recipe.validation.max_new_tokens),
            label="validation summaries",
        )
        found = {role: _rouge_of(score.means) for role, score in done.scores.items()}
        means = {measure: sum(of[measure] for of in found.values()) / len(found) for measure in MEASURES}
        by_role = {f"{measure}_{role}": of[measure] for role, of in found.items() for measure in MEASURES}
        return means | (by_role if len(found) > 1 else {})

    def _engine(self, loaded: "LoadedModel") -> "TransformersEngine":
        from rolesum.generation.engines.transformers import TransformersEngine

        own = load_instruction_set(self.recipe.instructions) if self.recipe.instructions else None
        layout = loaded.layout(self.recipe.language, own, self.recipe.definitions, self.recipe.section_set)
        return TransformersEngine(loaded, layout)


def _rouge_of(means: Mapping[str, float]) -> dict[str, float]:
    """The figures of MEASURES: a scorer without ROUGE-L on the whole text, such as csds, has it on its lines."""
    whole = means["rougeL"] if "rougeL" in means else means["rougeLsum"]
    return {**means, "rougeL": whole}


def _that_can_be_scored(dialogues: Sequence[Dialogue], engine: "TransformersEngine", recipe: Recipe) -> list[Dialogue]:
    """The dialogues that fit the model with their summaries, each with the summaries of roles that somebody plays."""
    chosen = []
    for dialogue in dialogues:
        played = {
            role: texts
            for role, texts in dialogue.summaries.items()
            if role in recipe.roles and (dialogue.speakers(role) or not engine.layout.needs_speaker(role))
        }
        if not played:
            continue

        def fits(shorter: Dialogue, roles: tuple[str, ...] = tuple(played)) -> bool:
            return bool(engine.fits(engine.layout.prompt(shorter, roles), recipe.validation.max_new_tokens))

        whole = replace(dialogue, summaries=played)
        if fits(whole):
            chosen.append(whole)
        elif recipe.training.long_dialogues == "drop-middle" and (cut := drop_middle(whole, fits)):
            chosen.append(cut[0])
    if not chosen:
        raise DataError("no validation dialogue fits the model with a summary", fix="leave validation.summaries out")
    return chosen
