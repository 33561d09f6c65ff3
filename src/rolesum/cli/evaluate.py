"""rolesum evaluate."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from rolesum.cli.options import (
    Adapter,
    ApiKeyEnv,
    Beams,
    Choose,
    Columns,
    Concurrency,
    Context,
    Device,
    Dtype,
    Format,
    Gguf,
    Json,
    Language,
    LengthPenalty,
    Limit,
    MaxNewTokens,
    MinNewTokens,
    Model,
    OnLong,
    RecipeRoles,
    References,
    Roles,
    Samples,
    Sections,
    Seed,
    ServedModel,
    Skip,
    Speakers,
    Temperature,
    TopK,
    TopP,
    UnknownSpeaker,
    Url,
    VllmOptions,
    role_list,
    several_references,
    speaker_map,
    vllm_options,
)
from rolesum.errors import UsageError
from rolesum.generation.engine import DEFAULT_MAX_NEW_TOKENS


def evaluate(
    data: Annotated[
        str | None, typer.Option("--data", help="Dialogues with reference summaries, or sample:en-test.")
    ] = None,
    model: Model = None,
    adapter: Adapter = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help="vllm, llamacpp, endpoint; or a baseline: lead-3, longest-3, lexrank, oracle …"),
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
    roles: Roles = None,
    recipe: RecipeRoles = None,
    scorer: Annotated[
        str | None, typer.Option("--scorer", help="Default: samsum for English, csds for Chinese.")
    ] = None,
    several: References = "mean",
    checks: Annotated[bool, typer.Option("--checks/--no-checks", help="Check facts, roles and repetition.")] = True,
    bertscore: Annotated[
        str | None, typer.Option("--bertscore", help="BERTScore by this model: a directory or hub id, MODEL@LAYER.")
    ] = None,
    bertscore_baseline: Annotated[
        str | None, typer.Option("--bertscore-baseline", help="Rescale BERTScore by this value or baseline file.")
    ] = None,
    moverscore: Annotated[
        str | None, typer.Option("--moverscore", help="MoverScore by this model (extra moverscore).")
    ] = None,
    nli: Annotated[
        str | None, typer.Option("--nli", help="Entailment of each sentence by this sequence classifier.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option("--judge", help="Rate by a model behind this OpenAI-compatible URL (extra openai).")
    ] = None,
    judge_model: Annotated[str | None, typer.Option("--judge-model", help="The judge's name at its endpoint.")] = None,
    judge_cache: Annotated[
        Path | None, typer.Option("--judge-cache", help="Keep the judge's answers here, and ask none twice.")
    ] = None,
    judge_labels: Annotated[
        str | None,
        typer.Option("--judge-labels", help="People's ratings (JSON lines, CSV): print how the judge agrees."),
    ] = None,
    judge_prices: Annotated[
        tuple[float, float] | None,
        typer.Option("--judge-prices", help="Price of a million prompt and completion tokens: adds up the cost."),
    ] = None,
    format_: Format = None,
    language: Language = None,
    speaker: Speakers = None,
    limit: Limit = None,
    skip: Skip = None,
    columns: Columns = None,
    unknown_speaker: UnknownSpeaker = "refuse",
    sections: Sections = None,
    on_long: OnLong = None,
    max_new_tokens: MaxNewTokens = DEFAULT_MAX_NEW_TOKENS,
    min_new_tokens: MinNewTokens = 0,
    temperature: Temperature = 0.0,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    beams: Beams = 1,
    length_penalty: LengthPenalty = 1.0,
    samples: Samples = 1,
    choose: Choose = None,
    seed: Seed = 1,
    gguf: Gguf = None,
    url: Url = None,
    served_model: ServedModel = None,
    api_key_env: ApiKeyEnv = None,
    concurrency: Concurrency = None,
    context: Context = None,
    vllm_option: VllmOptions = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write predictions, results, tables and report.html here.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    json_: Json = False,
) -> None:
    """Summarise dialogues that have references, score and check. Without an adapter: the zero-shot baseline.

    Example: rolesum evaluate --adapter runs/sample/adapter --data sample:en-test --out runs/sample/test

    Any system's outputs: rolesum evaluate --predictions user=PGN-user.txt --data csds/test.json
    """
    from rolesum.evaluation import job
    from rolesum.evaluation.choosing import chooser
    from rolesum.evaluation.neural.options import ModelMeasures
    from rolesum.evaluation.results import evaluation_results
    from rolesum.evaluation.tables import print_agreement, print_results
    from rolesum.formats.table import columns_of
    from rolesum.generation import Decoding
    from rolesum.generation.engines import ENGINES, EngineSpec
    from rolesum.generation.job import Writing, declared_roles, with_declared

    baseline = engine if engine not in (None, *ENGINES) else None
    given = {"--model": model or adapter, "--engine": baseline, "--predictions": predictions}
    if len(named := [flag for flag, value in given.items() if value is not None and value != []]) > 1:
        flag = "--adapter" if "--model" in named and not model else named[0]
        raise UsageError(f"{flag} and {named[1]} do not go together", fix="say one of them: each is a system")
    spec = EngineSpec(
        engine if engine and not baseline else "transformers",
        model,
        adapter,
        gguf=gguf,
        url=url,
        served_model=served_model,
        api_key_env=api_key_env,
        concurrency=concurrency,
        context=context,
        vllm_options=vllm_options(vllm_option),
        language=language,
        device=device,
        dtype=dtype,
    )
    declared = declared_roles(adapter, recipe, sections)
    task = job.Task(
        data,
        name=name,
        roles=role_list(roles, declared.aliases),
        declared=declared,
        scorer=scorer,
        references=several_references(several),
        choice=choose,
        form=format_,
        columns=columns_of(columns) if columns else None,
        unknown_speaker=unknown_speaker,
        speakers=speaker_map(speaker),
        limit=limit,
        skip=skip or (),
        checks=checks,
        measures=ModelMeasures(
            bertscore=bertscore,
            bertscore_baseline=bertscore_baseline,
            moverscore=moverscore,
            nli=nli,
            judge=judge,
            judge_model=judge_model,
            judge_cache=judge_cache,
            judge_prices=judge_prices,
            device=device,
        ),
        judge_labels=judge_labels,
        out=out,
        command=shlex.join(["rolesum", *sys.argv[1:]]),
    )
    if predictions:
        evaluation = job.evaluate_outputs(task, predictions)
    elif baseline is not None:
        evaluation = job.evaluate_baseline(task, baseline)
    else:
        writing = Writing(
            with_declared(spec, declared),
            decoding=Decoding(max_new_tokens, min_new_tokens, temperature, top_k, top_p, beams, length_penalty, seed),
            on_long=on_long or declared.on_long or "refuse",
            samples=samples,
            choose=chooser(choose) if choose else None,
        )
        evaluation = job.evaluate_model(task, writing)
    results = evaluation_results(evaluation)
    if json_:
        typer.echo(json.dumps(results, indent=1, ensure_ascii=False))
        return
    print_results(results["roles"])
    if "judge_agreement" in results:
        print_agreement(results["judge_agreement"])
    if out:
        typer.echo(f"report: {out / 'report.html'}")
