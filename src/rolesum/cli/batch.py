"""rolesum batch."""

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
    EngineOption,
    Format,
    Gguf,
    Json,
    Language,
    LengthPenalty,
    MaxNewTokens,
    MinNewTokens,
    Model,
    OnLong,
    RecipeRoles,
    Redact,
    RedactNames,
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
    speaker_map,
    vllm_options,
)
from rolesum.errors import UsageError
from rolesum.generation.engine import DEFAULT_MAX_NEW_TOKENS


def batch(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Files, patterns or directories of dialogues; the last is the directory to write.",
            metavar="IN... OUT",
            show_default=False,
        ),
    ],
    model: Model = None,
    adapter: Adapter = None,
    roles: Roles = None,
    sections: Sections = None,
    recipe: RecipeRoles = None,
    format_: Format = None,
    columns: Columns = None,
    unknown_speaker: UnknownSpeaker = "refuse",
    language: Language = None,
    speaker: Speakers = None,
    on_long: OnLong = None,
    redact: Redact = False,
    redact_name: RedactNames = None,
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
    engine: EngineOption = "transformers",
    gguf: Gguf = None,
    url: Url = None,
    served_model: ServedModel = None,
    api_key_env: ApiKeyEnv = None,
    concurrency: Concurrency = None,
    context: Context = None,
    vllm_option: VllmOptions = None,
    skip: Skip = None,
    block: Annotated[
        int,
        typer.Option("--block", min=1, help="Dialogues in a shard: what a run that is killed may have to do again."),
    ] = 256,
    ray: Annotated[
        str | None, typer.Option("--ray", help="Work in a Ray cluster: its address, or local for one of this machine.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="ray: processes with an engine each. Default: what it holds.")
    ] = None,
    gpus: Annotated[
        float | None, typer.Option("--gpus", min=0, help="ray: GPUs of each worker. Default: 1 where there are any.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    json_: Json = False,
) -> None:
    """Summarise any number of dialogues into shards of JSON lines; the same command goes on after any interruption.

    Dialogues that cannot be read or summarised go into OUT/failed-*.jsonl with their reason. Exit code 3 where that is
    all of them.

    Example: rolesum batch "calls/*.jsonl" out --adapter runs/NAME/adapter --roles user,agent
    """
    import json

    from rolesum.batch import Reading, run_batch
    from rolesum.batch.job import RunBlocks, in_this_process
    from rolesum.evaluation.choosing import chooser
    from rolesum.formats.table import columns_of
    from rolesum.generation import Decoding
    from rolesum.generation.engines import EngineSpec
    from rolesum.generation.job import Writing, declared_roles, with_declared

    *given, out = paths
    if not given:
        raise UsageError("batch needs inputs and a directory to write", fix="rolesum batch dialogues.jsonl OUT")
    if ray is None and (workers or gpus is not None):
        raise UsageError("--workers and --gpus are for --ray", fix="add --ray local, or leave them out")
    declared = declared_roles(adapter, recipe, sections)
    spec = EngineSpec(
        engine,
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
    writing = Writing(
        with_declared(spec, declared),
        role_list(roles, declared.aliases),
        Decoding(max_new_tokens, min_new_tokens, temperature, top_k, top_p, beams, length_penalty, seed),
        on_long=on_long or declared.on_long or "refuse",
        samples=samples,
        choose=chooser(choose) if choose else None,
        redact=redact or bool(redact_name),
        hidden_names=tuple(redact_name or ()),
        kept_labels=tuple(alias for role, aliases in declared.aliases.items() for alias in (role, *aliases)),
    )
    reading = Reading(
        format_,
        declared.aliases,
        speaker_map(speaker),
        columns_of(columns) if columns else None,
        unknown_speaker,
        tuple(skip or ()),
    )
    run_blocks: RunBlocks = in_this_process
    if ray:
        from rolesum.batch.ray_data import on_ray

        run_blocks = on_ray(ray, workers, 0 if device == "cpu" else gpus)
    outcome = run_batch(
        given, Path(out), writing, reading=reading, settings={"choose": choose}, block=block, run_blocks=run_blocks
    )
    if json_:
        typer.echo(json.dumps({"out": out, "summarised": outcome.summarised, "failed": outcome.failed}))
    else:
        typer.echo(f"{outcome}", err=True)
    raise typer.Exit(outcome.exit_code)
