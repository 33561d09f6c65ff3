"""rolesum evaluate."""

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rolesum import strict_json
from rolesum.cli.generation_options import GenerationOptions, with_options
from rolesum.cli.help import Panel, choices
from rolesum.cli.options import Json, Limit, MultiReferenceOption, ScorerName
from rolesum.errors import UsageError

if TYPE_CHECKING:
    from rolesum.evaluation.model_metrics.compute import ModelMetricOptions


@dataclass(frozen=True)
class EvaluationOptions(GenerationOptions):
    """Generation options, and the metrics that a model computes."""

    bertscore: Annotated[
        str | None,
        typer.Option(
            "--bertscore",
            metavar="MODEL[@LAYER]",
            rich_help_panel=Panel.METRICS,
            help="Compute BERTScore by this model, a directory or hub id.",
        ),
    ] = None
    bertscore_baseline: Annotated[
        str | None,
        typer.Option(
            "--bertscore-baseline",
            metavar="NUMBER|FILE",
            rich_help_panel=Panel.METRICS,
            help="Rescale BERTScore by this value, or by a baseline file of bert-score.",
        ),
    ] = None
    moverscore: Annotated[
        str | None,
        typer.Option(
            "--moverscore",
            metavar="MODEL[@LAYER]",
            rich_help_panel=Panel.METRICS,
            help="Compute MoverScore by this model. Needs pip install 'rolesum[moverscore]'.",
        ),
    ] = None
    nli: Annotated[
        str | None,
        typer.Option(
            "--nli",
            metavar="MODEL",
            rich_help_panel=Panel.METRICS,
            help="Compute how far the dialogue entails each sentence, by this sequence classifier.",
        ),
    ] = None
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            metavar="URL",
            rich_help_panel=Panel.JUDGE,
            help="Let a model behind this OpenAI-compatible API rate the summaries. Needs pip install "
            "'rolesum[openai]'.",
        ),
    ] = None
    judge_model: Annotated[
        str | None,
        typer.Option(
            "--judge-model",
            metavar="NAME",
            rich_help_panel=Panel.JUDGE,
            help="Name of the judging model at the endpoint of --judge.",
        ),
    ] = None
    judge_cache: Annotated[
        Path | None,
        typer.Option(
            "--judge-cache",
            metavar="FILE",
            rich_help_panel=Panel.JUDGE,
            help="SQLite file that keeps the judge's answers, so that no question is asked twice.",
        ),
    ] = None
    judge_labels: Annotated[
        str | None,
        typer.Option(
            "--judge-labels",
            metavar="FILE",
            rich_help_panel=Panel.JUDGE,
            help="People's ratings, as JSON lines or CSV, to measure how far the judge agrees with them.",
        ),
    ] = None
    judge_prices: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--judge-prices",
            metavar="PROMPT ANSWER",
            rich_help_panel=Panel.JUDGE,
            help="Prices of a million prompt tokens and a million answer tokens, to add up the judge's cost.",
        ),
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
        str | None,
        typer.Option(
            "--data",
            metavar="FILE",
            rich_help_panel=Panel.INPUT,
            help="Dialogues with reference summaries: a file, or a sample such as sample:dialogues-en-test.",
        ),
    ] = None,
    predictions: Annotated[
        list[str] | None,
        typer.Option(
            "--predictions",
            metavar="[ROLE=]FILE",
            rich_help_panel=Panel.INPUT,
            help="Score these outputs of any system and run no model: JSON lines with ids, or ROLE=FILE with one text "
            "a line. Repeatable.",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            rich_help_panel=Panel.INPUT,
            help="Measure how well wrong summaries are found, in a file of people's labels or of dialogues with "
            "statements: by the checks and, where named, a model, --nli and --judge.",
        ),
    ] = None,
    labels_validation: Annotated[
        str | None,
        typer.Option(
            "--labels-validation",
            metavar="FILE",
            rich_help_panel=Panel.INPUT,
            help="Other labels, on which the thresholds for --labels are fitted.",
        ),
    ] = None,
    limit: Limit = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            rich_help_panel=Panel.OUTPUT,
            help="Write predictions, results, tables and report.html to this directory.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            rich_help_panel=Panel.OUTPUT,
            help="What to call the system in results and tables. Default: after the model or the files.",
        ),
    ] = None,
    json_: Json = False,
    scorer: Annotated[
        ScorerName | None,
        typer.Option(
            "--scorer",
            metavar=choices(ScorerName),
            rich_help_panel=Panel.METRICS,
            help="How to compute ROUGE and BLEU. Default: samsum for English, csds for Chinese.",
        ),
    ] = None,
    multi_reference: MultiReferenceOption = "mean",
    checks: Annotated[
        bool,
        typer.Option("--checks/--no-checks", rich_help_panel=Panel.METRICS, help="Check facts, roles and repetition."),
    ] = True,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="ENGINE",
            rich_help_panel=Panel.ENGINE,
            help="What generates the texts: transformers, vllm, llamacpp or openai; or a baseline without a model, "
            "such as lead-3, longest-3, lexrank or oracle. Default: transformers.",
        ),
    ] = None,
    options: EvaluationOptions,
) -> None:
    """Summarize dialogues that have reference summaries, then score and check what was written.

    With --model and without --adapter, the system is the model as it is: the zero-shot baseline. The text
    that the model wrote is scored, without quotes in place of doubtful statements, unless --verify says otherwise.

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
        multi_reference=multi_reference,
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
