"""The demo: the whole job on the bundled samples, small enough for two cores and six minutes.

Zero-shot on held-out dialogues, fine-tune, score again, summarise one dialogue for three roles, write the report.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.evaluation.evaluate import Evaluation, evaluate, write_evaluation
from rolesum.evaluation.report import System, write_report
from rolesum.formats import read_dialogues
from rolesum.generation import summarise
from rolesum.progress import say
from rolesum.recipe import load_recipe

RECIPE = "sample"
SHOWN = "en-service-17"
MAX_NEW_TOKENS = 80
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


def run_demo(out: Path, device: str = "auto") -> DemoResult:
    """Run it all. An earlier demo in `out` is replaced."""
    from rolesum.generation.transformers_engine import TransformersEngine
    from rolesum.models import load_model
    from rolesum.training import Run, train

    recipe = load_recipe(RECIPE)
    assert recipe.data.test is not None
    test = read_dialogues(recipe.data.test.path)
    if Run(out).recipe.is_file():  # only what an earlier run left is removed
        shutil.rmtree(out)
    about: dict[str, Any] = {"data": recipe.data.test.path, "base": recipe.base}

    def scored(adapter: Path | None, label: str) -> tuple[Evaluation, list[RoleSummary]]:
        loaded = load_model(recipe.base, adapter=adapter, device=device)
        engine = TransformersEngine(loaded)
        told = {**about, "system": label, "dtype": str(loaded.model.dtype), "device": str(loaded.device)}
        done = evaluate(
            engine, test, roles=recipe.roles, max_new_tokens=MAX_NEW_TOKENS, about=told, label=f"score {label}"
        )
        shown = next(dialogue for dialogue in test if dialogue.id == SHOWN)
        return done, summarise([shown], engine, recipe.roles, max_new_tokens=MAX_NEW_TOKENS)[0] if adapter else []

    say(f"1/3  {recipe.base} as it comes, on {len(test)} held-out dialogues")
    before, _ = scored(None, BEFORE)
    say("2/3  fine-tuning on the bundled dialogues")
    run = train(recipe, out, device=device)
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
    dialogue = next(one for one in test if one.id == SHOWN)
    return DemoResult(before, after, dialogue, summaries, report)


def _facts(about: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    wanted = ("base", "data", "engine", "dtype", "device", "max_new_tokens", "rolesum")
    return {**{key: about[key] for key in wanted}, "epochs": epochs}
