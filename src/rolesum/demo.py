"""The demo: zero-shot scores, a short fine-tuning and scores afterwards, on the bundled dialogues.

Held-out dialogues are scored with the base model, with the bundled adapter and with the newly trained one; one of them
is summarized for three roles, with quotes in place of what the adapter doubts, and a report compares the systems.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rolesum.console import log
from rolesum.counts import counted
from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.errors import UsageError
from rolesum.evaluation.evaluate import add_checks, evaluate
from rolesum.evaluation.evaluated_run import write_evaluation
from rolesum.evaluation.evaluation import Evaluation
from rolesum.evaluation.report import ReportSystem, write_report
from rolesum.generation import Decoding
from rolesum.generation.factory import EngineSpec
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.interrupts import Stopped
from rolesum.recipe import Recipe
from rolesum.recipe_loading import load_recipe

RECIPE, SMALL_RECIPE = "sample", "dialogues-smollm2-135m"
# Fewer dialogues than the recipes have, so that it takes minutes.
OVERRIDES = ("data.train.limit=24", "data.test.limit=6", "training.learning_rate=1.0e-3")
SMALL_OVERRIDES = ("data.train.limit=24", "data.test.limit=8", "data.validation=null", "roles=[overall, user, agent]")
EXAMPLE_ID = "en-0113"
MAX_NEW_TOKENS = 96
ZERO_SHOT, FINE_TUNED, BUNDLED = "zero-shot", "fine-tuned", "bundled"


@dataclass(frozen=True)
class DemoResult:
    """Evaluations of all systems, summaries of one dialogue, and the report.

    Attributes:
        systems: System -> evaluation: zero-shot, fine-tuned, and bundled if there is a bundled adapter for the base.
        dialogue: The dialogue that is shown.
        summaries: System -> its summaries of that dialogue; without zero-shot.
        report: The HTML report.
    """

    systems: Mapping[str, Evaluation]
    dialogue: Dialogue
    summaries: Mapping[str, list[RoleSummary]]
    report: Path

    def table(self) -> dict[str, dict[str, dict[str, float]]]:
        """Role -> metric -> system -> mean score."""
        return {
            role: {
                metric: {name: one.scores[role].means[metric] for name, one in self.systems.items()}
                for metric in score.means
            }
            for role, score in self.systems[ZERO_SHOT].scores.items()
        }


def demo_recipe(small: bool = False) -> Recipe:
    """What the demo trains: the default base, or SmolLM2-135M with `small`, on a few of the bundled dialogues."""
    return load_recipe(SMALL_RECIPE, SMALL_OVERRIDES) if small else load_recipe(RECIPE, OVERRIDES)


def run_demo(out: Path, device: str = "auto", recipe: Recipe | None = None) -> DemoResult:
    """Run the demo in the directory `out`, with demo_recipe() unless another recipe is given.

    An earlier demo in `out` is replaced. Raises UsageError if `out` holds another run.
    """
    from rolesum.models.bundled_adapters import adapter_for
    from rolesum.training import Run, train

    recipe = recipe or demo_recipe()
    if recipe.data.test is None:
        raise UsageError(f"the recipe {recipe.name} names no test data", fix="add data.test")
    test = recipe.data.test.read(recipe.aliases)
    example = next((dialogue for dialogue in test if dialogue.id == EXAMPLE_ID), test[0])
    _check_output(Run(out).recipe, recipe)
    metadata: dict[str, Any] = {"data": recipe.data.test.path, "base": recipe.base}

    systems: dict[str, Evaluation] = {}
    summaries: dict[str, list[RoleSummary]] = {}

    def evaluate_system(adapter: Path | None, label: str) -> None:
        engine = EngineSpec(model=recipe.base, adapter=adapter, device=device).open()
        details = {"system": label, **engine.describe()}
        evaluation = evaluate(
            engine,
            test,
            roles=recipe.roles,
            decoding=Decoding(max_new_tokens=MAX_NEW_TOKENS),
            about_system={**metadata, **details},
            label=f"score {label}",
        )
        systems[label] = add_checks(evaluation, test)
        if adapter:
            config = SummarizerConfig(roles=recipe.roles, decoding=Decoding(max_new_tokens=MAX_NEW_TOKENS))
            summaries[label] = Summarizer(config, engine).summarize([example])[0]

    bundled = adapter_for(recipe.base)
    and_bundled = ", then with the bundled adapter" if bundled else ""
    log(f"1/3  scoring {recipe.base} zero-shot{and_bundled}, on {counted(len(test), 'held-out dialogue')}")
    evaluate_system(None, ZERO_SHOT)
    if bundled:
        evaluate_system(bundled, BUNDLED)
    Run(out).remove()
    log("2/3  fine-tuning on the bundled dialogues")
    try:
        run = train(recipe, out, device=device)
    except Stopped as stop:
        Run(out).remove()
        fix = "run it again; it starts from the beginning"
        raise Stopped("the demo was stopped", fix=fix, number=stop.number) from None
    log("3/3  scoring the fine-tuned model on the same held-out dialogues")
    evaluate_system(run.adapter, FINE_TUNED)
    report = _write_results(out, systems, test, run.metrics, recipe.training.epochs)
    return DemoResult(systems, example, summaries, report)


def _write_results(
    out: Path, systems: Mapping[str, Evaluation], test: Sequence[Dialogue], metrics: Path, epochs: int
) -> Path:
    """Write each system's evaluation and the report that compares them; the path of the report."""
    for name, evaluation in systems.items():
        write_evaluation(evaluation, out / name)
    report = out / "report.html"
    write_report(
        report,
        "rolesum demo: one dialogue in, three summaries out",
        [ReportSystem(name, evaluation) for name, evaluation in systems.items()],
        test,
        metrics=metrics,
        metadata=_report_metadata(systems[FINE_TUNED].metadata, epochs),
    )
    return report


def _check_output(recipe_file: Path, recipe: Recipe) -> None:
    """Raise UsageError if the directory holds another run, which the demo would replace."""
    if recipe_file.is_file() and load_recipe(recipe_file).name not in (recipe.name, RECIPE, SMALL_RECIPE):
        raise UsageError("this directory holds another run", str(recipe_file.parent), "give another --out")


def _report_metadata(metadata: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The part of an evaluation's metadata that the report shows."""
    names = ("base", "data", "engine", "dtype", "device", "max_new_tokens", "rolesum")
    return {**{name: metadata[name] for name in names}, "epochs": epochs}
