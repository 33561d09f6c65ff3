"""The demo: the whole job on the bundled samples, small enough for two cores and six minutes.

Zero-shot on held-out dialogues, fine-tune, score again, summarise one dialogue for three roles, write the report.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.errors import UsageError
from rolesum.evaluation.evaluate import Evaluation, evaluate, with_checks
from rolesum.evaluation.report import System, write_report
from rolesum.evaluation.results import write_evaluation
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding, summarise
from rolesum.progress import say
from rolesum.recipe import Recipe, load_recipe

RECIPE = "sample"
# Fewer dialogues than the recipe trains on: under six minutes on two cores without bfloat16.
OVERRIDES = ("data.train.limit=36", "data.test.limit=16")
SHOWN = "en-service-17"
MAX_NEW_TOKENS = 64
BEFORE, AFTER = "zero-shot", "fine-tuned"


@dataclass(frozen=True)
class DemoResult:
    """What the demo ends with."""

    before: Evaluation
    after: Evaluation
    dialogue: Dialogue
    summaries: list[RoleSummary]
    report: Path

    def table(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Role -> measure -> (before, after)."""
        return {
            role: {measure: (score.means[measure], self.after.scores[role].means[measure]) for measure in score.means}
            for role, score in self.before.scores.items()
        }


def run_demo(out: Path, device: str = "auto", recipe: Recipe | None = None) -> DemoResult:
    """Run it all, by the recipe `sample` unless another is given. An earlier run in `out` is replaced."""
    from rolesum.generation.transformers_engine import TransformersEngine
    from rolesum.models import load_model
    from rolesum.training import Interrupted, Run, train

    recipe = recipe or load_recipe(RECIPE, OVERRIDES)
    if recipe.data.test is None:
        raise UsageError(f"the recipe {recipe.name} names no test data", fix="add data.test")
    test = read_dialogues(recipe.data.test.path, limit=recipe.data.test.limit)
    shown = next((dialogue for dialogue in test if dialogue.id == SHOWN), test[0])
    _check_room(Run(out).recipe, recipe)
    about: dict[str, Any] = {"data": recipe.data.test.path, "base": recipe.base}

    def scored(adapter: Path | None, label: str) -> tuple[Evaluation, list[RoleSummary]]:
        loaded = load_model(recipe.base, adapter=adapter, device=device)
        engine = TransformersEngine(loaded)
        told = {**about, "system": label, "dtype": str(loaded.model.dtype), "device": str(loaded.device)}
        done = evaluate(
            engine, test, roles=recipe.roles, decoding=Decoding(MAX_NEW_TOKENS), about=told, label=f"score {label}"
        )
        checked = with_checks(done, test)
        return checked, summarise([shown], engine, recipe.roles, Decoding(MAX_NEW_TOKENS))[0] if adapter else []

    say(f"1/3  {recipe.base} as it comes, on {len(test)} held-out dialogues")
    before, _ = scored(None, BEFORE)
    Run(out).remove()
    say("2/3  fine-tuning on the bundled dialogues")
    try:
        run = train(recipe, out, device=device)
    except Interrupted:
        Run(out).remove()
        raise Interrupted("the demo was stopped", fix="run it again: it begins anew") from None
    say("3/3  the tuned model on the same held-out dialogues")
    after, summaries = scored(run.adapter, AFTER)
    for name, evaluation in ((BEFORE, before), (AFTER, after)):
        write_evaluation(evaluation, out / name)
    report = out / "report.html"
    write_report(
        report,
        "rolesum demo: one dialogue in, three summaries out",
        [System(BEFORE, before), System(AFTER, after)],
        test,
        metrics=run.metrics,
        about=_facts(after.about, recipe.training.epochs),
    )
    return DemoResult(before, after, shown, summaries, report)


def _check_room(recipe_file: Path, recipe: Recipe) -> None:
    """Refuse a directory that holds another run: a demo would replace it."""
    if recipe_file.is_file() and load_recipe(recipe_file).name != recipe.name:
        raise UsageError("this directory holds another run", str(recipe_file.parent), "give another --out")


def _facts(about: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    wanted = ("base", "data", "engine", "dtype", "device", "max_new_tokens", "rolesum")
    return {**{key: about[key] for key in wanted}, "epochs": epochs}
