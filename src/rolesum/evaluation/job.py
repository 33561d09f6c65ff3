"""Evaluation as a user asks for it: read, load, summarise, score, and write the directory."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rolesum.dialogue import Dialogue
from rolesum.evaluation.evaluate import Evaluation, evaluate, write_evaluation
from rolesum.evaluation.report import System, write_report
from rolesum.evaluation.scorers import get_scorer
from rolesum.files import check_writable
from rolesum.formats import Source, open_source, read_dialogues
from rolesum.generation.job import DeclaredRoles, declared_roles
from rolesum.instructions.sets import check_language_name

if TYPE_CHECKING:
    from rolesum.models.loading import LoadedModel


def evaluate_model(
    data: str,
    *,
    model: str | None,
    adapter: Path | None,
    roles: Sequence[str] | None,
    declared: DeclaredRoles | None = None,
    scorer: str | None,
    form: str | None,
    language: str | None,
    speakers: Mapping[str, str],
    limit: int | None,
    skip: Collection[str],
    max_new_tokens: int,
    out: Path | None,
    device: str = "auto",
    dtype: str = "auto",
) -> Evaluation:
    """Evaluate a base, or an adapter on it, on a data file; with `out`, leave predictions, results and a report."""
    if scorer:
        get_scorer(scorer)
    check_language_name(language)
    declared = declared or declared_roles(adapter, None)
    source = open_source(data)
    dialogues = read_dialogues(source, form, skip=skip, limit=limit, custom_roles=declared.aliases, speakers=speakers)

    if out:
        check_writable(out / "results.json")

    from rolesum.generation.transformers_engine import TransformersEngine
    from rolesum.models import load_model

    loaded = load_model(model, adapter=adapter, device=device, dtype=dtype)
    loaded.check_languages(dialogues)
    about = _about(loaded, adapter, source, limit)
    engine = TransformersEngine(loaded, loaded.layout(language, definitions=declared.definitions))
    wanted = roles or loaded.note.get("roles")
    done = evaluate(
        engine, dialogues, roles=wanted, scorer=scorer, max_new_tokens=max_new_tokens, about=about, label="evaluate"
    )
    if out:
        _write(done, dialogues, adapter, out)
    return done


def _about(loaded: "LoadedModel", adapter: Path | None, source: Source, limit: int | None) -> dict[str, Any]:
    """What was evaluated on what, with the versions behind it."""
    tuned = f"{loaded.name} + {loaded.note.get('recipe', adapter)}"
    return {
        "system": tuned if adapter else f"{loaded.name}, zero-shot",
        "data": source.name,
        "data_sha256": hashlib.sha256(source.text.encode()).hexdigest(),
        "limit": limit,
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "device": str(loaded.device),
        "torch": metadata.version("torch"),
        "transformers": metadata.version("transformers"),
    }


def _write(done: Evaluation, dialogues: Sequence[Dialogue], adapter: Path | None, out: Path) -> None:
    """predictions.jsonl, results.json and report.html."""
    write_evaluation(done, out)
    system = str(done.about["system"])
    title = f"{system} on {Path(str(done.about['data'])).name}"
    metrics = adapter.parent / "metrics.jsonl" if adapter else None
    write_report(out / "report.html", title, [System(system, done)], dialogues, metrics=metrics, about=done.about)
