"""rolesum serve."""

from pathlib import Path
from typing import Annotated

import typer

from rolesum.cli.generation_options import EngineOptions, with_options
from rolesum.cli.options import EngineOption
from rolesum.errors import UsageError
from rolesum.server.limits import Limits

LIMITS = Limits()


@with_options(EngineOptions)
def serve(
    *,
    options: EngineOptions,
    engine: EngineOption = "transformers",
    also: Annotated[
        list[str] | None,
        typer.Option("--also", help="Another adapter or model to serve beside, to compare or choose. Repeatable."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Others than this machine need a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="A file of NAME:DIGEST lines, one for each API key.")
    ] = None,
    new_key: Annotated[
        str | None, typer.Option("--new-key", metavar="NAME", help="Print a new key and its line, and end.")
    ] = None,
    cors_origin: Annotated[
        list[str] | None, typer.Option("--cors-origin", help="A site whose pages may ask, with a key. Repeatable.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option("--store", help="Where batches are kept. Default: in the user's data directory.")
    ] = None,
    log: Annotated[Path | None, typer.Option("--log", help="Write the log here in place of standard error.")] = None,
    waiting: Annotated[
        int, typer.Option("--waiting", min=1, help="So many requests at once, those that run too.")
    ] = LIMITS.waiting,
    bulk: Annotated[int, typer.Option("--bulk", min=1, help="So many dialogues of batches at once.")] = LIMITS.bulk,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds for a request; what takes longer ends.")
    ] = LIMITS.seconds,
    grace: Annotated[
        float, typer.Option("--grace", min=0, help="Seconds for what runs when the service is told to end.")
    ] = LIMITS.grace,
    max_turns: Annotated[int, typer.Option("--max-turns", min=1, help="Of a dialogue.")] = LIMITS.turns,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="The longest summary that may be asked for.")
    ] = LIMITS.new_tokens,
) -> None:
    """Serve summaries over HTTP, with a web page: one dialogue, a stream, batches, and OpenAI's chat API.

    Example: rolesum serve, then http://127.0.0.1:8000
    """
    if new_key is not None:
        from rolesum.server.auth import new_key as make

        key, line = make(new_key)
        typer.echo(f"key, for {new_key} alone, shown this once:\n  {key}\nline for the file of --keys:\n  {line}")
        return
    try:
        from rolesum.server.run import Serving, beside, name_of, run_service
    except ImportError as error:
        what = f"the web server is not installed: no {error.name}"
        raise UsageError(what, fix="pip install 'rolesum[server]'") from None
    first = options.engine_spec(engine)
    models = [(name_of(first), first, options.role_config), *(beside(first, one) for one in also or ())]
    limits = Limits(
        waiting=waiting, bulk=bulk, seconds=timeout, grace=grace, turns=max_turns, new_tokens=max_new_tokens
    )
    run_service(
        Serving(
            models,
            host,
            port,
            keys,
            tuple(cors_origin or ()),
            limits,
            store,
            str(log) if log else None,
        )
    )
