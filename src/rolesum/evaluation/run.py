"""Run an evaluation: read the data, summarize it or read given outputs, score, check, and write the directory."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from rolesum.atomic_io import atomic_write_text, check_writable
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError
from rolesum.evaluation.evaluate import add_checks, check_references, evaluate
from rolesum.evaluation.evaluated_run import write_evaluation
from rolesum.evaluation.evaluation import Evaluation, score_roles
from rolesum.evaluation.llm_judge.agreement import check_human_ratings, judge_agreement, read_human_ratings
from rolesum.evaluation.llm_judge.judge import verdict_lines
from rolesum.evaluation.model_metrics.compute import ModelMetricOptions, compute_model_metrics
from rolesum.evaluation.predictions import read_predictions, read_system_outputs
from rolesum.evaluation.report import ReportSystem, write_report
from rolesum.evaluation.report.terminal import write_tables
from rolesum.formats import ReadOptions, Source, open_source, read_dialogues
from rolesum.generation import Decoding, Engine
from rolesum.generation.factory import EngineSpec
from rolesum.generation.preflight import check_before_loading
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.generation.support import MARKED
from rolesum.metrics.scorers import MultiReference, get_scorer


@dataclass(frozen=True)
class EvaluationTask:
    """What to evaluate on, how to score, and where to write the results."""

    data: str | Source | None  # a file's name, or what it holds
    roles: Sequence[str] | None = None
    system_name: str | None = None  # shown in tables and reports; default: after the model, baseline or files
    scorer: str | None = None
    multi_reference: MultiReference = "mean"
    read_options: ReadOptions = field(default_factory=ReadOptions)
    checks: bool = True
    model_metrics: ModelMetricOptions | None = None
    judge_labels: str | None = None  # file of people's ratings, with which the judge's are compared
    out: Path | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.scorer:
            get_scorer(self.scorer)
        if self.judge_labels and not (self.model_metrics and self.model_metrics.judge):
            raise UsageError("--judge-labels needs a judge", fix="add --judge and --judge-model")

    def read(self, whole: bool = False) -> tuple[Source, list[Dialogue]]:
        """The data, `whole` or up to the limit. Raises UsageError for no data, ResourceError for a bad `out`."""
        if self.data is None:
            raise UsageError("no data to evaluate on", fix="name it: --data FILE")
        encoding = self.read_options.encoding
        source = self.data if isinstance(self.data, Source) else open_source(self.data, encoding)
        dialogues = read_dialogues(source, replace(self.read_options, limit=None) if whole else self.read_options)
        _check_ids(dialogues)
        self.check_output()
        return source, dialogues

    def check_output(self) -> None:
        if self.out:
            check_writable(self.out / "results.json")


def evaluate_model(task: EvaluationTask, config: SummarizerConfig, summarizer: Summarizer | None = None) -> Evaluation:
    """Evaluate a base, an adapter on it, or an endpoint; with `task.out`, leave predictions, results and a report.

    A `summarizer` of the same configuration is used where one is open already.
    """
    source, dialogues = task.read()
    spec = config.spec
    check_before_loading(spec, dialogues)
    check_references(dialogues, task.roles)
    summarizer = summarizer or Summarizer(config)
    engine = summarizer.engine
    if summarizer.quotes_by_default:  # the text that the model wrote is scored
        config = replace(summarizer.config, verify=MARKED)
        summarizer = Summarizer(config, engine)
    prompt_model = engine.text_model
    if prompt_model:
        prompt_model.check_languages(dialogues)
    done = evaluate(
        engine,
        dialogues,
        roles=task.roles or (prompt_model.metadata.get("roles") if prompt_model else None),
        scorer=task.scorer,
        multi_reference=task.multi_reference,
        decoding=config.decoding,
        summarize_with=lambda chosen, _, roles, __, on_done: summarizer.summarize(chosen, on_done, roles=roles),
        about_system={
            **about_model(spec, engine),
            **_about_config(config, "support" if summarizer.verify == "rerank" else config.choose),
            **_about_verification(summarizer),
            **_about_data(task, source),
        },
        label="evaluate",
    )
    return _finish(task, done, dialogues, spec.adapter.parent / "metrics.jsonl" if spec.adapter else None)


def evaluate_baseline(task: EvaluationTask, engine: str) -> Evaluation:
    """Evaluate a system that needs no model: lead-3, longest-3, lexrank, oracle …"""
    from rolesum.evaluation.baselines import baseline_engine

    chosen = baseline_engine(engine)
    source, dialogues = task.read()
    about = {"system": engine, **_about_data(task, source)}
    done = evaluate(
        chosen,
        dialogues,
        roles=task.roles,
        scorer=task.scorer,
        multi_reference=task.multi_reference,
        decoding=Decoding(),
        about_system=about,
        label="evaluate",
    )
    without_limit = {key: value for key, value in done.metadata.items() if key != "max_new_tokens"}
    return _finish(task, replace(done, metadata=without_limit), dialogues)


def evaluate_outputs(task: EvaluationTask, given: Sequence[str]) -> Evaluation:
    """Evaluate any system's outputs without running a model.

    Without data the outputs must hold their references, as predictions.jsonl does; there is nothing to check then.
    """
    if task.data is None and len(given) == 1 and ("=" not in given[0] or Path(given[0]).is_file()):
        if task.read_options.limit or task.read_options.skip or task.read_options.speakers:
            raise UsageError("--limit, --skip and --speaker apply to the data, and none is named", fix="name --data")
        found = read_predictions(given[0])
        chosen = [one for one in found if not task.roles or one.role in task.roles]
        if not chosen:
            raise UsageError(f"no outputs for {', '.join(task.roles or ())}", given[0], "ask for other --roles")
        task.check_output()
        dialogues: list[Dialogue] = []
        about: dict[str, Any] = {}
    else:
        source, dialogues = task.read(whole=True)
        options = task.read_options
        aliases = {role: list(names) for role, names in options.custom_roles.items()}
        chosen = read_system_outputs(given, dialogues, task.roles, aliases, options.limit)
        ids = {one.id for one in chosen}
        dialogues = [one for one in dialogues if one.id in ids]
        about = _about_data(task, source)
    about_run = {
        "system": readable(", ".join(dict.fromkeys(map(_system_of, given)))),
        "predictions": [readable(one) for one in given],
        **about,
        "rolesum": metadata.version("rolesum"),
    }
    done = Evaluation(tuple(chosen), score_roles(chosen, task.scorer, task.multi_reference), about_run)
    return _finish(task, done, dialogues)


def _system_of(given: str) -> str:
    """What a file of outputs tells of who made them: its name, or its directory's."""
    path = Path(given if Path(given).is_file() else given.partition("=")[2])
    return path.resolve().parent.name if path.stem in ("predictions", "summaries", "outputs") else path.stem


def readable(text: str) -> str:
    """A file's name, with marks instead of bytes that are not valid UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _check_ids(dialogues: Sequence[Dialogue]) -> None:
    """Raise DataError where two dialogues have one id: outputs and scores could not be matched."""
    seen: dict[str, str] = {}
    problems = []
    for one in dialogues:
        if one.id in seen:
            fix = "give each dialogue an id of its own"
            problems.append(Problem(f"id {one.id} stands in {seen[one.id]} too", one.source, fix))
        seen.setdefault(one.id, one.source)
    if problems:
        raise DataError(problems)


def about_model(spec: EngineSpec, engine: Engine) -> dict[str, Any]:
    """What was evaluated, with the versions behind it."""
    prompt_model = engine.text_model
    name = prompt_model.name if prompt_model else spec.served_model or spec.url
    tuned = f"{name} + {prompt_model.metadata.get('recipe', spec.adapter)}" if prompt_model and spec.adapter else ""
    return {"system": tuned or f"{name}, zero-shot", **engine.describe()}


def _about_config(config: SummarizerConfig, choice: str | None) -> dict[str, Any]:
    """How texts were decoded, where it was not plainly greedy."""
    plain, chosen = Decoding(), config.decoding
    omitted = {"max_new_tokens"} if chosen.temperature else {"max_new_tokens", "seed"}
    about: dict[str, Any] = {
        key: value
        for key, value in asdict(chosen).items()
        if key not in omitted and (value != getattr(plain, key) or key == "seed")
    }
    if config.long_dialogues != "refuse":
        about["long_dialogues"] = config.long_dialogues
    if config.samples > 1:
        about |= {"samples": config.samples, "choose": choice}
    return {"decoding": about} if about else {}


def _about_verification(summarizer: Summarizer) -> dict[str, Any]:
    """Which model verified the statements, and how; nothing where none did."""
    about = summarizer.describe_verification()
    return {"verify": about} if about else {}


def _about_data(task: EvaluationTask, source: Source) -> dict[str, Any]:
    """What was evaluated on, so that `rolesum compare` can read it again in the same way."""
    options = task.read_options
    about: dict[str, Any] = {
        "data": readable(source.name),
        "data_sha256": hashlib.sha256(source.text.encode()).hexdigest(),
        "limit": options.limit,
    }
    if options.format:
        about["format"] = options.format
    if options.encoding:
        about["encoding"] = options.encoding
    if options.columns:
        about["columns"] = dict(options.columns)
    if options.json_path:
        about["json_path"] = dict(options.json_path)
    if options.unknown_speaker != "refuse":
        about["unknown_speaker"] = options.unknown_speaker
    if options.speakers:
        about["speakers"] = dict(options.speakers)
    if options.custom_roles:
        about["custom_roles"] = {role: list(aliases) for role, aliases in options.custom_roles.items()}
    return about


def _finish(
    task: EvaluationTask, done: Evaluation, dialogues: Sequence[Dialogue], metrics: Path | None = None
) -> Evaluation:
    """Checks, measures of models, and the files: predictions, scores, checks, results, tables and a report."""
    if task.system_name:
        done = replace(done, metadata={**done.metadata, "system": task.system_name})
    if task.command:
        done = replace(done, metadata={**done.metadata, "command": readable(task.command)})
    if task.checks and dialogues:
        done = add_checks(done, dialogues)
    if task.model_metrics and task.model_metrics.any_requested:
        if task.out:
            write_evaluation(done, task.out)  # before a model's measures, which may take long and fail
        done = _measured(task, done, dialogues)
    if not task.out:
        return done
    write_evaluation(done, task.out)
    system = str(done.metadata["system"])
    title = f"{system} on {Path(str(done.metadata['data'])).name}" if done.metadata.get("data") else system
    write_tables(task.out, {system: done})
    write_report(
        task.out / "report.html",
        title,
        [ReportSystem(system, done)],
        dialogues,
        metrics=metrics,
        metadata=done.metadata,
    )
    return done


def _measured(task: EvaluationTask, done: Evaluation, dialogues: Sequence[Dialogue]) -> Evaluation:
    """With the measures of models; sentences that nothing entails are flagged, and the judge's reasons are written."""
    assert task.model_metrics
    ratings = read_human_ratings(task.judge_labels) if task.judge_labels else []
    if ratings:
        check_human_ratings([str(done.metadata["system"])], ratings)  # before the judge is paid
    found = compute_model_metrics(task.model_metrics, done.predictions, dialogues)
    checks = {}
    for role, of_role in done.checks.items():
        places = [place for place, one in enumerate(done.predictions) if one.role == role]
        flags = found.flags()
        checked = [
            replace(one, flags=(*one.flags, *flags[place])) if flags else one
            for place, one in zip(places, of_role.checked, strict=True)
        ]
        checks[role] = replace(of_role, checked=tuple(checked))
    about = dict(done.metadata)
    if found.verdicts and task.out:
        atomic_write_text(task.out / "verdicts.jsonl", verdict_lines(found.verdicts))
    if found.verdicts and ratings:
        compared = judge_agreement({str(about["system"]): found.verdicts.verdicts}, ratings)
        about["judge_agreement"] = [one.as_json() for one in compared]
    return replace(done, checks=checks, model_scores=found.scores, metadata=about)
