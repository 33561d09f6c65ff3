"""The demo: the whole job on the bundled samples, small enough for two cores and six minutes.

Held-out dialogues are scored zero-shot and by the released adapter; then comes a short fine-tuning with its scores
beside them, one dialogue summarized for three roles, and the report.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rolesum.console import log
from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.errors import UsageError
from rolesum.evaluation.evaluate import add_checks, evaluate
from rolesum.evaluation.evaluated_run import write_evaluation
from rolesum.evaluation.evaluation import Evaluation
from rolesum.evaluation.report import ReportSystem, write_report
from rolesum.generation import Decoding, summarize
from rolesum.recipe import Recipe, load_recipe

RECIPE = "sample"
# Fewer dialogues than the recipe trains on: under six minutes on two cores without bfloat16.
OVERRIDES = ("data.train.limit=36", "data.test.limit=16")
SHOWN = "en-service-17"
MAX_NEW_TOKENS = 64
BEFORE, AFTER, RELEASED = "zero-shot", "fine-tuned", "released"


@dataclass(frozen=True)
class DemoResult:
    """What the demo ends with."""

    systems: Mapping[str, Evaluation]  # zero-shot, fine-tuned, and released where an adapter for the base comes along
    dialogue: Dialogue
    summaries: Mapping[str, list[RoleSummary]]  # by system, of one dialogue; not zero-shot
    report: Path

    def table(self) -> dict[str, dict[str, dict[str, float]]]:
        """Role -> measure -> system -> figure."""
        return {
            role: {
                measure: {name: one.scores[role].means[measure] for name, one in self.systems.items()}
                for measure in score.means
            }
            for role, score in self.systems[BEFORE].scores.items()
        }


def run_demo(out: Path, device: str = "auto", recipe: Recipe | None = None) -> DemoResult:
    """Run it all, by the recipe `sample` unless another is given. An earlier run in `out` is replaced."""
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.models import load_model
    from rolesum.models.bundled_adapters import adapter_for
    from rolesum.training import Interrupted, Run, train

    recipe = recipe or load_recipe(RECIPE, OVERRIDES)
    if recipe.data.test is None:
        raise UsageError(f"the recipe {recipe.name} names no test data", fix="add data.test")
    test = recipe.data.test.read(recipe.aliases)
    shown = next((dialogue for dialogue in test if dialogue.id == SHOWN), test[0])
    _check_room(Run(out).recipe, recipe)
    about: dict[str, Any] = {"data": recipe.data.test.path, "base": recipe.base}

    systems: dict[str, Evaluation] = {}
    summaries: dict[str, list[RoleSummary]] = {}

    def scored(adapter: Path | None, label: str) -> None:
        loaded = load_model(recipe.base, adapter=adapter, device=device)
        engine = TransformersEngine(loaded)
        told = {**about, "system": label, "dtype": str(loaded.model.dtype), "device": str(loaded.device)}
        done = evaluate(
            engine,
            test,
            roles=recipe.roles,
            decoding=Decoding(max_new_tokens=MAX_NEW_TOKENS),
            about_system=told,
            label=f"score {label}",
        )
        systems[label] = add_checks(done, test)
        if adapter:
            summaries[label] = summarize([shown], engine, recipe.roles, Decoding(max_new_tokens=MAX_NEW_TOKENS))[0]

    released = adapter_for(recipe.base)
    beside = ", then with the released adapter" if released else ""
    log(f"1/3  {recipe.base} as it comes{beside}, on {len(test)} held-out dialogues")
    scored(None, BEFORE)
    if released:
        scored(released, RELEASED)
    Run(out).remove()
    log("2/3  fine-tuning on the bundled dialogues")
    try:
        run = train(recipe, out, device=device)
    except Interrupted:
        Run(out).remove()
        raise Interrupted("the demo was stopped", fix="run it again: it begins anew") from None
    log("3/3  the tuned model on the same held-out dialogues")
    scored(run.adapter, AFTER)
    for name, evaluation in systems.items():
        write_evaluation(evaluation, out / name)
    report = out / "report.html"
    write_report(
        report,
        "rolesum demo: one dialogue in, three summaries out",
        [ReportSystem(name, evaluation) for name, evaluation in systems.items()],
        test,
        metrics=run.metrics,
        metadata=_facts(systems[AFTER].metadata, recipe.training.epochs),
    )
    return DemoResult(systems, shown, summaries, report)


def _check_room(recipe_file: Path, recipe: Recipe) -> None:
    """Refuse a directory that holds another run: a demo would replace it."""
    if recipe_file.is_file() and load_recipe(recipe_file).name != recipe.name:
        raise UsageError("this directory holds another run", str(recipe_file.parent), "give another --out")


def _facts(about: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    wanted = ("base", "data", "engine", "dtype", "device", "max_new_tokens", "rolesum")
    return {**{key: about[key] for key in wanted}, "epochs": epochs}
