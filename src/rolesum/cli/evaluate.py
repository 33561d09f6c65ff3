"""rolesum evaluate."""

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rolesum import strict_json
from rolesum.cli.generation_options import GenerationOptions, with_options
from rolesum.cli.options import Json, Limit, MultiReferenceOption, parse_multi_reference
from rolesum.errors import UsageError

if TYPE_CHECKING:
    from rolesum.evaluation.model_metrics.compute import ModelMetricOptions


@dataclass(frozen=True)
class EvaluationOptions(GenerationOptions):
    """Generation options, and the metrics that a model computes."""

    bertscore: Annotated[
        str | None, typer.Option("--bertscore", help="BERTScore by this model: a directory or hub id, MODEL@LAYER.")
    ] = None
    bertscore_baseline: Annotated[
        str | None, typer.Option("--bertscore-baseline", help="Rescale BERTScore by this value or baseline file.")
    ] = None
    moverscore: Annotated[
        str | None, typer.Option("--moverscore", help="MoverScore by this model (extra moverscore).")
    ] = None
    nli: Annotated[
        str | None, typer.Option("--nli", help="Entailment of each sentence by this sequence classifier.")
    ] = None
    judge: Annotated[
        str | None, typer.Option("--judge", help="Rate by a model behind this OpenAI-compatible URL (extra openai).")
    ] = None
    judge_model: Annotated[str | None, typer.Option("--judge-model", help="The judge's name at its endpoint.")] = None
    judge_cache: Annotated[
        Path | None, typer.Option("--judge-cache", help="Keep the judge's answers here, and ask none twice.")
    ] = None
    judge_labels: Annotated[
        str | None,
        typer.Option("--judge-labels", help="People's ratings (JSON lines, CSV): print how the judge agrees."),
    ] = None
    judge_prices: Annotated[
        tuple[float, float] | None,
        typer.Option("--judge-prices", help="Price of a million prompt and completion tokens: adds up the cost."),
    ] = None

    @property
    def model_metrics(self) -> "ModelMetricOptions":
        from rolesum.evaluation.model_metrics.compute import ModelMetricOptions

        return ModelMetricOptions(
            bertscore=self.bertscore,
            bertscore_baseline=self.bertscore_baseline,
            moverscore=self.moverscore,
            nli=self.nli,
            judge=self.judge,
            judge_model=self.judge_model,
            judge_cache=self.judge_cache,
            judge_prices=self.judge_prices,
            device=self.device,
        )


@with_options(EvaluationOptions)
def evaluate(
    data: Annotated[
        str | None, typer.Option("--data", help="Dialogues with reference summaries, or sample:en-test.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help="vllm, llamacpp, openai; or a baseline: lead-3, longest-3, lexrank, oracle …"),
    ] = None,
    predictions: Annotated[
        list[str] | None,
        typer.Option(
            "--predictions",
            help="Score these outputs, run no model: JSON lines with ids, or ROLE=FILE of texts by line. Repeatable.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What to call the system. Default: after the model or the files.")
    ] = None,
    *,
    options: EvaluationOptions,
    scorer: Annotated[
        str | None,
        typer.Option("--scorer", help="Name of the scorer. Default: samsum for English, csds for Chinese."),
    ] = None,
    multi_reference: MultiReferenceOption = "mean",
    checks: Annotated[bool, typer.Option("--checks/--no-checks", help="Check facts, roles and repetition.")] = True,
    limit: Limit = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write predictions, results, tables and report.html here.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="Measure how well wrong summaries are found, in a file of people's labels or of dialogues with "
            "statements: by the checks and, where named, a model, --nli and --judge.",
        ),
    ] = None,
    labels_validation: Annotated[
        str | None,
        typer.Option("--labels-validation", help="Other labels, on which the thresholds for --labels are fitted."),
    ] = None,
    json_: Json = False,
) -> None:
    """Summarize dialogues that have references, score and check. A --model without an adapter: the zero-shot baseline.

    Example: rolesum evaluate --adapter runs/sample/adapter --data sample:dialogues-en-test --out runs/sample/test

    Any system's outputs: rolesum evaluate --predictions user=PGN-user.txt --data csds/test.json

    What finds false statements: rolesum evaluate --labels labels.jsonl --adapter runs/verify/adapter
    """
    from rolesum.evaluation import run
    from rolesum.evaluation.evaluated_run import evaluation_results
    from rolesum.evaluation.report.terminal import print_agreement, print_results, print_support
    from rolesum.generation.factory import ENGINES

    if labels is not None or labels_validation is not None:
        for_summaries = {
            "--data": data,
            "--engine": engine,
            "--predictions": predictions or None,
            "--name": name,
            "--scorer": scorer,
            "--no-checks": None if checks else "",
            "--bertscore": options.bertscore,
            "--moverscore": options.moverscore,
            "--judge-labels": options.judge_labels,
            "--verify": options.verify,
            "--support-threshold": options.support_threshold,
        }
        if named := [flag for flag, value in for_summaries.items() if value is not None]:
            raise UsageError(f"{named[0]} and --labels do not go together", fix=f"leave out {named[0]}")
        if labels is None:
            raise UsageError("--labels-validation without --labels", fix="add --labels FILE")
        _evaluate_labels(labels, labels_validation, options, limit, out, json_)
        return
    baseline = engine if engine not in (None, *ENGINES) else None
    given = {"--model": options.model or options.adapter, "--engine": baseline, "--predictions": predictions}
    if len(named := [flag for flag, value in given.items() if value is not None and value != []]) > 1:
        flag = "--adapter" if "--model" in named and not options.model else named[0]
        raise UsageError(f"{flag} and {named[1]} do not go together", fix="say one of them: each is a system")
    if (predictions or baseline) and (options.verify not in (None, "off") or options.support_threshold is not None):
        what = "statements are verified as an adapter writes them, not in a baseline's texts or in --predictions"
        raise UsageError(what, fix="leave out --verify and --support-threshold")
    config = options.summarizer_config(engine if engine and not baseline else "transformers")
    task = run.EvaluationTask(
        data,
        system_name=name,
        roles=options.role_names,
        scorer=scorer,
        multi_reference=parse_multi_reference(multi_reference),
        read_options=replace(options.read_options, limit=limit),
        checks=checks,
        model_metrics=options.model_metrics,
        judge_labels=options.judge_labels,
        out=out,
        command=shlex.join(["rolesum", *sys.argv[1:]]),
    )
    if predictions:
        evaluation = run.evaluate_outputs(task, predictions)
    elif baseline is not None:
        evaluation = run.evaluate_baseline(task, baseline)
    else:
        evaluation = run.evaluate_model(task, config)
    results = evaluation_results(evaluation)
    if json_:
        typer.echo(strict_json.dumps(results, indent=1, ensure_ascii=False))
        return
    print_support(results)
    print_results(results["roles"])
    if "judge_agreement" in results:
        print_agreement(results["judge_agreement"])
    if out:
        typer.echo(f"report: {out / 'report.html'}")


def _evaluate_labels(
    labels: str, validation: str | None, options: EvaluationOptions, limit: int | None, out: Path | None, json_: bool
) -> None:
    from rolesum.evaluation.detection.run import RECORD, DetectionTask, evaluate_labels
    from rolesum.evaluation.report.terminal import print_detection

    spec = options.engine_spec("transformers")
    task = DetectionTask(
        labels,
        validation,
        spec=spec if options.model or options.adapter else None,
        models=options.model_metrics,
        roles=options.role_names,
        read_options=replace(options.read_options, limit=limit),
        out=out,
        command=shlex.join(["rolesum", *sys.argv[1:]]),
    )
    record = evaluate_labels(task).as_json()
    if json_:
        typer.echo(strict_json.dumps(record, indent=1, ensure_ascii=False))
        return
    print_detection(record)
    if out:
        typer.echo(f"record: {out / RECORD}")
