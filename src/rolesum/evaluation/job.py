"""Evaluation as a user asks for it: read, load, summarise, score, and write the directory."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from rolesum.errors import UsageError
from rolesum.evaluation.evaluate import Evaluation, evaluate, write_evaluation
from rolesum.evaluation.report import System, write_report
from rolesum.evaluation.scorers import get_scorer
from rolesum.files import check_writable
from rolesum.formats import open_source, read_dialogues
from rolesum.generation.job import DeclaredRoles, declared_roles
from rolesum.instructions.sets import LANGUAGES


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
    if language is not None and language not in LANGUAGES:
        raise UsageError(f'unknown language "{language}"', fix="use --language zh or --language en")
    declared = declared or declared_roles(adapter, None)
    source = open_source(data)
    dialogues = read_dialogues(source, form, skip=skip, limit=limit, custom_roles=declared.aliases, speakers=speakers)

    if out:
        check_writable(out / "results.json")

    from rolesum.generation.transformers_engine import TransformersEngine
    from rolesum.models import load_model

    loaded = load_model(model, adapter=adapter, device=device, dtype=dtype)
    loaded.check_languages(dialogues)
    about = {
        "system": f"{loaded.name} + {loaded.adapter_note.get('recipe', adapter)}"
        if adapter
        else f"{loaded.name}, zero-shot",
        "data": source.name,
        "data_sha256": hashlib.sha256(source.text.encode()).hexdigest(),
        "limit": limit,
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "device": str(loaded.device),
        "torch": metadata.version("torch"),
        "transformers": metadata.version("transformers"),
    }
    engine = TransformersEngine(loaded, loaded.layout(language, definitions=declared.definitions))
    wanted = roles or loaded.adapter_note.get("roles")
    done = evaluate(
        engine, dialogues, roles=wanted, scorer=scorer, max_new_tokens=max_new_tokens, about=about, label="evaluate"
    )
    if out:
        write_evaluation(done, out)
        metrics = adapter.parent / "metrics.jsonl" if adapter else None
        title = f"{about['system']} on {Path(source.name).name}"
        write_report(
            out / "report.html",
            title,
            [System(str(about["system"]), done)],
            dialogues,
            metrics=metrics,
            about=done.about,
        )
    return done
