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
    extra_model: Annotated[
        list[str] | None,
        typer.Option("--extra-model", help="Another adapter or base model to serve. Repeatable."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Non-loopback clients need an API key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    keys: Annotated[Path | None, typer.Option("--keys", help="File of API keys: lines of NAME:DIGEST.")] = None,
    new_key: Annotated[
        str | None,
        typer.Option("--new-key", metavar="NAME", help="Print a new API key and its line for --keys, then exit."),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option("--cors-origin", help="Site whose pages may send requests; needs --keys. Repeatable."),
    ] = None,
    store: Annotated[
        Path | None, typer.Option("--store", help="File for batches. Default: in the user's data directory.")
    ] = None,
    log: Annotated[Path | None, typer.Option("--log", help="Log file. Default: standard error.")] = None,
    max_concurrent_requests: Annotated[
        int, typer.Option("--max-concurrent-requests", min=1, help="Maximum requests, running plus queued.")
    ] = LIMITS.max_concurrent_requests,
    batch_workers: Annotated[
        int, typer.Option("--batch-workers", min=1, help="Dialogues of batches summarized at one time.")
    ] = LIMITS.batch_workers,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Maximum seconds for one request.")
    ] = LIMITS.timeout,
    shutdown_timeout: Annotated[
        float, typer.Option("--shutdown-timeout", min=0, help="Seconds for running requests to finish at shutdown.")
    ] = LIMITS.shutdown_timeout,
    max_turns: Annotated[
        int, typer.Option("--max-turns", min=1, help="Maximum turns per dialogue.")
    ] = LIMITS.max_turns,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Maximum tokens per summary that a request may ask for.")
    ] = LIMITS.max_new_tokens,
) -> None:
    """Serve summaries over HTTP: a JSON API, server-sent events, batches, OpenAI's chat API, and a web page.

    Example: rolesum serve, then open http://127.0.0.1:8000
    """
    if new_key is not None:
        from rolesum.server.auth import new_key as create_key

        key, line = create_key(new_key)
        typer.echo(f"key for {new_key}, not shown again:\n  {key}\nline for the file of --keys:\n  {line}")
        return
    try:
        from rolesum.server.run import ServerConfig, extra_models, run_server, served_name
    except ImportError as error:
        what = f"the web server is not installed: no {error.name}"
        raise UsageError(what, fix="pip install 'rolesum[server]'") from None
    first = options.engine_spec(engine)
    models = [(served_name(first), first, options.role_config), *extra_models(first, extra_model or ())]
    limits = Limits(
        max_concurrent_requests=max_concurrent_requests,
        batch_workers=batch_workers,
        timeout=timeout,
        shutdown_timeout=shutdown_timeout,
        max_turns=max_turns,
        max_new_tokens=max_new_tokens,
    )
    run_server(ServerConfig(models, host, port, keys, tuple(cors_origin or ()), limits, store, log))
