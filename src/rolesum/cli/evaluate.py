"""rolesum evaluate."""

import json
from pathlib import Path
from typing import Annotated

import typer

from rolesum.cli.options import (
    Adapter,
    Device,
    Dtype,
    Format,
    Json,
    Language,
    Limit,
    MaxNewTokens,
    Model,
    RecipeRoles,
    Roles,
    Skip,
    Speakers,
    role_list,
    speaker_map,
)
from rolesum.generation.engine import DEFAULT_MAX_NEW_TOKENS


def evaluate(
    data: Annotated[str, typer.Option("--data", help="Dialogues with reference summaries, or sample:en-test.")],
    model: Model = None,
    adapter: Adapter = None,
    roles: Roles = None,
    recipe: RecipeRoles = None,
    scorer: Annotated[
        str | None, typer.Option("--scorer", help="Default: samsum for English, csds for Chinese.")
    ] = None,
    format_: Format = None,
    language: Language = None,
    speaker: Speakers = None,
    limit: Limit = None,
    skip: Skip = None,
    max_new_tokens: MaxNewTokens = DEFAULT_MAX_NEW_TOKENS,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write predictions.jsonl, results.json and report.html here.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    json_: Json = False,
) -> None:
    """Summarise dialogues that have references, and score. Without an adapter: the zero-shot baseline.

    Example: rolesum evaluate --adapter runs/sample/adapter --data sample:en-test --out runs/sample/test
    """
    from rolesum.evaluation.job import evaluate_model
    from rolesum.evaluation.tables import print_results
    from rolesum.generation.job import declared_roles

    declared = declared_roles(adapter, recipe)
    evaluation = evaluate_model(
        data,
        model=model,
        adapter=adapter,
        roles=role_list(roles, declared.aliases),
        declared=declared,
        scorer=scorer,
        form=format_,
        language=language,
        speakers=speaker_map(speaker),
        limit=limit,
        skip=skip or (),
        max_new_tokens=max_new_tokens,
        out=out,
        device=device,
        dtype=dtype,
    )
    results = evaluation.results()
    if json_:
        typer.echo(json.dumps(results, indent=1, ensure_ascii=False))
        return
    print_results(results["roles"])
    if out:
        typer.echo(f"report: {out / 'report.html'}")
