"""The command `rolesum batch`: summarize many dialogues into shards."""

from pathlib import Path
from typing import Annotated

import typer

from rolesum import strict_json
from rolesum.cli.generation_options import SummarizeOptions, with_options
from rolesum.cli.help import Panel
from rolesum.cli.options import EngineOption, Json
from rolesum.errors import UsageError


@with_options(SummarizeOptions)
def batch(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="IN... OUT",
            help="Files, glob patterns or directories of dialogues, and at the end the output directory.",
            show_default=False,
        ),
    ],
    *,
    json_: Json = False,
    shard_size: Annotated[
        int,
        typer.Option(
            "--shard-size",
            min=1,
            metavar="N",
            rich_help_panel=Panel.OUTPUT,
            help="Dialogues per shard; an interrupted run repeats at most the shard in progress.",
        ),
    ] = 256,
    engine: EngineOption = "transformers",
    options: SummarizeOptions,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            rich_help_panel=Panel.RAY,
            help="Run on the Ray cluster at this address; local starts one on this machine.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            metavar="N",
            rich_help_panel=Panel.RAY,
            help="With --ray: number of worker processes, one engine each. Default: as many as fit the cluster.",
        ),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            "--gpus",
            min=0,
            metavar="NUMBER",
            rich_help_panel=Panel.RAY,
            help="With --ray: GPUs per worker. Default: 1 if the cluster has GPUs, else 0.",
        ),
    ] = None,
) -> None:
    """Summarize any number of dialogues into shards of JSON lines; run the same command again to resume.

    Dialogues that cannot be read or summarized are listed in OUT/failed-*.jsonl with the reason. The exit code is 3 if
    no dialogue could be summarized.

    Example: rolesum batch "calls/*.jsonl" out --adapter runs/NAME/adapter --roles user,agent
    """

    from rolesum.batch import run_batch
    from rolesum.batch.run import ShardRunner, run_in_process

    *given, out = paths
    if not given:
        raise UsageError("batch needs inputs and an output directory", fix="rolesum batch dialogues.jsonl OUT")
    if ray is None and (workers or gpus is not None):
        raise UsageError("--workers and --gpus need --ray", fix="add --ray local, or leave them out")
    config = options.summarizer_config(engine)
    run_shards: ShardRunner = run_in_process
    if ray:
        from rolesum.batch.ray import ray_runner

        run_shards = ray_runner(ray, workers, 0 if options.device == "cpu" else gpus)
    outcome = run_batch(
        given,
        Path(out),
        config,
        read_options=options.read_options,
        shard_size=shard_size,
        run_shards=run_shards,
    )
    if json_:
        typer.echo(strict_json.dumps({"out": out, "summarized": outcome.summarized, "failed": outcome.failed}))
    else:
        typer.echo(f"{outcome}", err=True)
    raise typer.Exit(outcome.exit_code)
