"""What a model in training does on validation dialogues: ROUGE of its summaries, and how it verifies statements."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rolesum.console import DIALOGUES_BEFORE_ETA, log, progress_bar
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, ModelError, ResourceError
from rolesum.generation import Decoding, summarize
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.support_calibration import calibrate_support, fitting_dialogues, too_few
from rolesum.generation.verification import Verifier
from rolesum.instructions import load_instruction_set
from rolesum.instructions.fit import drop_middle
from rolesum.metrics.scorers import check_language, default_scorer, get_scorer, score
from rolesum.models.prompt_model import LoadedModel
from rolesum.recipe import Recipe

MEASURES = ("rouge1", "rouge2", "rougeL")


class ValidationRouge:
    """Scores greedy summaries of the first validation.summaries `dialogues` by the scorer of their language.

    `loaded.model` is the model in training: each call of `compute` summarizes with its weights of that moment.
    """

    def __init__(self, recipe: Recipe, loaded: LoadedModel, dialogues: Sequence[Dialogue]) -> None:
        self.recipe, self.loaded = recipe, loaded
        self.dialogues = dialogues[: recipe.validation.summaries]

    def check(self) -> None:
        """Log how many dialogues cannot be summarized. Raises DataError where none can, or none can be scored."""
        chosen = _scorable(self.dialogues, self._engine(), self.recipe)
        pairs = [("", references) for dialogue in chosen for references in dialogue.summaries.values()]
        check_language(get_scorer(default_scorer(pairs)), pairs)
        if skipped := len(self.dialogues) - len(chosen):
            of = len(self.dialogues)
            file = self.recipe.data.validation
            where = f"{file.path}: " if file and file.path else ""
            log(
                f"{where}{skipped} of {of} validation dialogues cannot be summarized: "
                "too long, or no speaker has the role"
            )

    def compute(self) -> dict[str, float]:
        """The mean of each of MEASURES over the recipe's roles and, with several roles, each role's (in percent)."""
        self.loaded.model.eval()
        engine = self._engine()
        chosen = _scorable(self.dialogues, engine, self.recipe)
        roles = [[role for role in self.recipe.roles if role in dialogue.summaries] for dialogue in chosen]
        decoding = Decoding(max_new_tokens=self.recipe.validation.max_new_tokens)
        with progress_bar("validation summaries", len(chosen), steps_before_eta=DIALOGUES_BEFORE_ETA) as bar:
            written = summarize(chosen, engine, roles, decoding, on_done=bar.advance)
        pairs: dict[str, list[tuple[str, Sequence[str]]]] = {}  # by role
        for dialogue, summaries in zip(chosen, written, strict=True):
            for summary in summaries:
                pairs.setdefault(summary.role, []).append((summary.text, dialogue.summaries[summary.role]))
        scorer = default_scorer([pair for of_role in pairs.values() for pair in of_role])
        by_role = {role: _rouge_means(scorer, of_role) for role, of_role in pairs.items()}
        means = {measure: sum(of[measure] for of in by_role.values()) / len(by_role) for measure in MEASURES}
        if len(by_role) == 1:
            return means
        return means | {f"{measure}_{role}": of[measure] for role, of in by_role.items() for measure in MEASURES}

    def _engine(self) -> TransformersEngine:
        return recipe_engine(self.recipe, self.loaded)


def recipe_engine(recipe: Recipe, loaded: LoadedModel) -> TransformersEngine:
    """An engine of the model in training, with the instructions that it is trained with."""
    own = load_instruction_set(recipe.instructions) if recipe.instructions else None
    layout = loaded.layout(recipe.language, own, recipe.definitions, recipe.section_set)
    return TransformersEngine(loaded, layout)


def _rouge_means(scorer: str, pairs: Sequence[tuple[str, Sequence[str]]]) -> dict[str, float]:
    """The means of MEASURES; a scorer without ROUGE-L on the whole text, such as csds, gives it over lines."""
    means = score(scorer, pairs).means
    return {**means, "rougeL": means["rougeL"] if "rougeL" in means else means["rougeLsum"]}


def _scorable(dialogues: Sequence[Dialogue], engine: TransformersEngine, recipe: Recipe) -> list[Dialogue]:
    """The dialogues that fit the model together with their summaries, reduced to the roles that a speaker plays.

    Raises DataError where there is none.
    """
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
            return engine.fits(engine.layout.prompt(shorter, roles), recipe.validation.max_new_tokens)

        whole = replace(dialogue, summaries=played)
        if fits(whole):
            chosen.append(whole)
        elif recipe.training.long_dialogues == "drop-middle" and (shortened := drop_middle(whole, fits)):
            chosen.append(shortened[0])
    if not chosen:
        raise DataError("no validation dialogue fits the model with a summary", fix="leave validation.summaries out")
    return chosen


def calibration_note(recipe: Recipe, dialogues: Sequence[Dialogue], sharded: bool) -> str:
    """Why a run that trains on statements will fit no temperature and no threshold; empty where it does."""
    few = too_few(dialogues)
    if recipe.verify is None or not (few or sharded):
        return ""
    what = f"the validation data have {few}" if dialogues else "there is no validation data"
    what = "a sharded model cannot be asked" if sharded else what
    return f"verify: {what}: the temperature of support stays 1, and its threshold 0.5"


def calibrated_metadata(
    recipe: Recipe, loaded: LoadedModel, dialogues: Sequence[Dialogue], metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """The metadata with the temperature and the threshold that fit the dialogues' statements, by the present weights.

    What cannot be fitted is left out and logged, so that the weights are stored in any case. Dialogues that do not fit
    the model are left out too.
    """
    known = dict(metadata)
    if recipe.verify is None or too_few(dialogues):
        return known
    loaded.model.eval()
    engine = recipe_engine(recipe, loaded)
    try:
        found = calibrate_support(Verifier(engine, temperature=1.0), fitting_dialogues(dialogues, engine))
    except (DataError, ModelError, ResourceError) as error:
        log(f"verify: no temperature and no threshold are fitted: {error.problems[0].what}")
        return known
    log(
        f"verify: temperature {found.temperature:g}, threshold {found.threshold:g}, fitted to {found.statements} "
        f"statements: AUROC {found.auroc:.3f}, balanced accuracy {found.balanced_accuracy:.3f}"
    )
    return {**known, "verify": {**(known.get("verify") or {}), **found.as_json()}}
