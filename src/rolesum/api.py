"""The front door for Python: what `import rolesum` gives beside the data types.

The functions do what the commands of the same names do, with the same defaults, and raise the errors of
rolesum.errors. docs/python.md has examples.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rolesum import strict_json
from rolesum.dialogue import Dialogue
from rolesum.errors import UsageError
from rolesum.formats import ReadOptions, Source, read_dialogues
from rolesum.formats.jsonl import to_json
from rolesum.metrics.scorers import Score, default_scorer
from rolesum.metrics.scorers import score as score_pairs
from rolesum.recipe_loading import load_recipe

if TYPE_CHECKING:  # they import torch, or what takes long
    from rolesum.evaluation.evaluation import Evaluation
    from rolesum.generation.summarizer import Summarizer
    from rolesum.training import Run


def load_dialogues(
    path: str | Path,
    *,
    format: str | None = None,
    encoding: str | None = None,
    columns: Mapping[str, str] | None = None,
    json_path: Mapping[str, str] | None = None,
    speakers: Mapping[str, str] | None = None,
    custom_roles: Mapping[str, Sequence[str]] | None = None,
    unknown_speaker: str = "refuse",
    skip: Sequence[str] = (),
    limit: int | None = None,
) -> list[Dialogue]:
    """Read the dialogues of a file, of any format that rolesum knows: `load_dialogues("chats.csv", limit=10)`.

    Args:
        path: A file, the directory or zip of a Slack export, "-" for standard input, or "sample:NAME" for a bundled
            sample such as "sample:dialogues-en-test".
        format: The file's format, see docs/formats.md; by default it is detected.
        encoding: The text's encoding; by default it is detected.
        columns: Field -> its column in a table: {"id": "call_id", "text": "said", "summary.user": "customer_gist"}.
        json_path: Field -> its path in JSON of no known format: {"turns": "data.items", "text": "body"}.
        speakers: Speaker's label -> role, for labels that name no role: {"Anna": "user"}.
        custom_roles: Custom role -> its other names.
        unknown_speaker: Who speaks a turn without a speaker: "refuse", "name=LABEL", "alternate=A,B" or "continue".
        skip: Ids of dialogues to leave out.
        limit: The largest number of dialogues to read.

    Raises DataError with all problems of the file and their lines, UsageError for options that do not fit it.
    """
    _check_path("path", path)
    options = ReadOptions(
        format=format,
        encoding=encoding,
        columns=columns or {},
        json_path=json_path or {},
        speakers=speakers or {},
        custom_roles=custom_roles or {},
        unknown_speaker=unknown_speaker,
        skip=tuple(skip),
        limit=limit,
    )
    return read_dialogues(path, options)


def train(
    recipe: str | Path,
    out: str | Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    resume: bool = False,
    device: str = "auto",
    max_minutes: float | None = None,
) -> "Run":
    """Fine-tune an adapter as a recipe says: `train("mine", "runs/mine", overrides={"data.train.path": "my.jsonl"})`.

    Args:
        recipe: A YAML file, or the name of a recipe that comes with rolesum, such as "mine".
        out: The run's directory; by default runs/NAME.
        overrides: Key of the recipe -> its value, such as {"training.epochs": 2}; docs/recipes.md has the keys.
        resume: Whether to go on from the run's last checkpoint.
        device: "auto", "cpu", "cuda" or "mps".
        max_minutes: Write a checkpoint and raise Interrupted after so many minutes.

    Returns:
        The Run: its `path`, its `adapter` for Summarizer.from_pretrained, its `held_out` dialogues.

    Raises UsageError with all problems of the recipe, DataError with those of the data, ModelError, ResourceError.
    """
    _check_path("recipe", recipe)
    if overrides is not None and not isinstance(overrides, Mapping):
        raise UsageError(f"overrides is {overrides!r:.60}, no mapping", fix='write {"training.epochs": 2}')
    changes = [f"{key}={strict_json.dumps(value, default=_path_text)}" for key, value in (overrides or {}).items()]
    loaded = load_recipe(recipe, changes)
    from rolesum.training import train as train_recipe

    return train_recipe(loaded, out, resume=resume, device=device, max_minutes=max_minutes)


def evaluate(
    system: "Summarizer | str",
    data: str | Path | Iterable[Dialogue],
    *,
    roles: str | Sequence[str] | None = None,
    scorer: str | None = None,
    multi_reference: Literal["mean", "best"] = "mean",
    checks: bool = True,
    limit: int | None = None,
    name: str | None = None,
    out: str | Path | None = None,
) -> "Evaluation":
    """Summarize dialogues that have reference summaries, score and check: `evaluate(summarizer, "test.jsonl")`.

    Args:
        system: A Summarizer, or the name of a baseline that needs no model, such as "lead-3" (docs/baselines.md).
        data: A file as load_dialogues reads it, or Dialogues.
        roles: The roles to evaluate; by default those of the references that the adapter was trained for.
        scorer: The scorer's name, see docs/evaluation.md; by default "samsum" for English, "csds" for Chinese.
        multi_reference: Of several references of a summary, the "mean" of each measure or the "best".
        checks: Whether the summaries are checked against their dialogues.
        limit: The largest number of dialogues to read.
        name: What the system is called in the report; by default after its model.
        out: A directory for predictions, results, tables and report.html.

    Returns:
        The Evaluation: `scores` by role, each with its `means` in percent, `predictions`, `checks` and `metadata`.

    Raises DataError where the data is broken or has no references, UsageError, ModelError, ResourceError.
    """
    from rolesum.evaluation.run import EvaluationTask, evaluate_baseline, evaluate_model
    from rolesum.generation.summarizer import Summarizer
    from rolesum.roles import role_names

    if not isinstance(system, Summarizer | str):
        fix = 'give a Summarizer, or a baseline such as "lead-3"'
        raise UsageError(f"{system!r:.60} cannot be evaluated", fix=fix)
    aliases = system.config.aliases if isinstance(system, Summarizer) else {}
    task = EvaluationTask(
        _source(data),
        roles=role_names(roles, aliases) if roles is not None else None,
        system_name=name,
        scorer=scorer,
        multi_reference=multi_reference,
        read_options=ReadOptions(custom_roles=aliases, limit=limit),
        checks=checks,
        out=Path(out) if out else None,
    )
    if isinstance(system, str):
        return evaluate_baseline(task, system)
    return evaluate_model(task, system.config, system)


def score(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    scorer: str | None = None,
    multi_reference: Literal["mean", "best"] = "mean",
) -> Score:
    """Score texts against references by a named scorer: `score(written, wanted, scorer="samsum").means["rouge1"]`.

    Args:
        predictions: One text for each reference.
        references: One text for each prediction, or several: a list of them.
        scorer: The scorer's name, see docs/evaluation.md; by default "samsum" for English, "csds" for Chinese.
        multi_reference: Of several references, the "mean" of each measure over them or the "best".

    Returns:
        The Score: `means` in percent, each pair's values in `per_pair`, and the scorer's `version`.

    Raises UsageError for an unknown scorer and for lists that are none or not equally long, DataError for texts that
    the scorer would misjudge.
    """
    for kind, texts in (("predictions", predictions), ("references", references)):
        if isinstance(texts, str) or not isinstance(texts, Sequence):
            raise UsageError(f"{kind} is {texts!r:.60}, no list of texts", fix="give a text for each summary")
    pairs = [_pair(*one, place) for place, one in enumerate(zip(predictions, references, strict=False))]
    if len(predictions) != len(references) or not pairs:
        what = f"{len(predictions)} predictions and {len(references)} references"
        raise UsageError(what, fix="give one reference, or one list of references, for each prediction")
    return score_pairs(scorer or default_scorer(pairs), pairs, multi_reference)


def _pair(prediction: Any, reference: Any, place: int) -> tuple[str, list[str]]:
    references = [reference] if isinstance(reference, str) else reference
    texts = [prediction, *references] if isinstance(references, list | tuple) and references else [None]
    if not all(isinstance(one, str) for one in texts):
        what = f"pair {place} is {prediction!r:.60} and {reference!r:.60}"
        raise UsageError(what, fix="give a text as the prediction, and a text or a list of texts as its references")
    return prediction, list(references)


def _check_path(name: str, value: Any) -> None:
    if not isinstance(value, str | Path):
        raise UsageError(f"{name} is {value!r:.60}, no path", fix="give a str or a Path")


def _path_text(value: Any) -> str:
    """A path in a recipe's overrides, as JSON."""
    if isinstance(value, Path):
        return str(value)
    raise UsageError(f"{value!r:.60} is no value of a recipe", fix="give texts, numbers, lists or dicts of them")


def _source(data: Any) -> str | Source:
    if isinstance(data, str | Path):
        return str(data)
    dialogues = list(data) if isinstance(data, Iterable) else []
    if not dialogues or not all(isinstance(one, Dialogue) for one in dialogues):
        raise UsageError(f"data is {data!r:.60}, no file and no Dialogues", fix="see rolesum.load_dialogues")
    return Source("dialogues", "\n".join(map(to_json, dialogues)))
