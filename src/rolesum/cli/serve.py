"""rolesum serve."""

from pathlib import Path
from typing import Annotated

import typer

from rolesum.cli.generation_options import EngineOptions, with_options
from rolesum.cli.help import Panel
from rolesum.cli.options import EngineOption, Port
from rolesum.errors import UsageError
from rolesum.server.limits import Limits

LIMITS = Limits()


@with_options(EngineOptions)
def serve(
    *,
    engine: EngineOption = "transformers",
    options: EngineOptions,
    extra_model: Annotated[
        list[str] | None,
        typer.Option(
            "--extra-model",
            metavar="MODEL",
            rich_help_panel=Panel.MODEL,
            help="Another adapter or base model, which requests may name; for the engine transformers. Repeatable.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            rich_help_panel=Panel.SERVER,
            help="Address to listen on; any but 127.0.0.1 admits other machines, which need an API key.",
        ),
    ] = "127.0.0.1",
    port: Port = 8000,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys",
            metavar="FILE",
            rich_help_panel=Panel.SERVER,
            help="File of API keys, with one NAME:DIGEST on each line; --new-key prints such a line.",
        ),
    ] = None,
    new_key: Annotated[
        str | None,
        typer.Option(
            "--new-key",
            metavar="NAME",
            rich_help_panel=Panel.SERVER,
            help="Print a new API key and its line for the file of --keys, then exit.",
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--cors-origin",
            metavar="URL",
            rich_help_panel=Panel.SERVER,
            help="Site whose pages may send requests, such as https://example.com; needs --keys. Repeatable.",
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            metavar="FILE",
            rich_help_panel=Panel.SERVER,
            help="SQLite file that keeps batches. Default: in the user's data directory.",
        ),
    ] = None,
    keep_days: Annotated[
        float | None,
        typer.Option(
            "--keep-days",
            min=0.01,
            metavar="N",
            rich_help_panel=Panel.SERVER,
            help="Delete a batch and its results N days after its end. Default: keep it until a client deletes it.",
        ),
    ] = None,
    allow_private_webhooks: Annotated[
        bool,
        typer.Option(
            "--allow-private-webhooks",
            rich_help_panel=Panel.SERVER,
            help="Send webhooks also to private addresses and by http; needs ROLESUM_WEBHOOK_SECRET.",
        ),
    ] = False,
    log: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", rich_help_panel=Panel.LOGGING, help="Log file. Default: standard error."),
    ] = None,
    max_concurrent_requests: Annotated[
        int,
        typer.Option(
            "--max-concurrent-requests",
            min=1,
            metavar="N",
            rich_help_panel=Panel.LIMITS,
            help="Maximum number of requests, running and waiting together.",
        ),
    ] = LIMITS.max_concurrent_requests,
    batch_workers: Annotated[
        int,
        typer.Option(
            "--batch-workers",
            min=1,
            metavar="N",
            rich_help_panel=Panel.LIMITS,
            help="Number of dialogues of batches that are summarized at a time.",
        ),
    ] = LIMITS.batch_workers,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            min=1,
            metavar="SECONDS",
            rich_help_panel=Panel.LIMITS,
            help="Maximum time for one request.",
        ),
    ] = LIMITS.timeout,
    shutdown_timeout: Annotated[
        float,
        typer.Option(
            "--shutdown-timeout",
            min=0,
            metavar="SECONDS",
            rich_help_panel=Panel.LIMITS,
            help="Time for running requests to finish when the server is stopped.",
        ),
    ] = LIMITS.shutdown_timeout,
    max_sessions: Annotated[
        int,
        typer.Option(
            "--max-sessions",
            min=1,
            metavar="N",
            rich_help_panel=Panel.LIMITS,
            help="Maximum number of sessions: dialogues that grow while they are summarized.",
        ),
    ] = LIMITS.max_sessions,
    session_timeout: Annotated[
        float,
        typer.Option(
            "--session-timeout",
            min=1,
            metavar="SECONDS",
            rich_help_panel=Panel.LIMITS,
            help="Time after which a session that is not used is deleted.",
        ),
    ] = LIMITS.session_timeout,
    session_memory: Annotated[
        int,
        typer.Option(
            "--session-memory",
            min=0,
            metavar="MB",
            rich_help_panel=Panel.LIMITS,
            help="Memory in megabytes for what the model has computed of sessions; beyond it, and with 0, their "
            "dialogues are computed again.",
        ),
    ] = LIMITS.session_memory,
    max_turns: Annotated[
        int,
        typer.Option(
            "--max-turns",
            min=1,
            metavar="N",
            rich_help_panel=Panel.LIMITS,
            help="Maximum number of turns of a dialogue.",
        ),
    ] = LIMITS.max_turns,
    max_new_tokens: Annotated[
        int,
        typer.Option(
            "--max-new-tokens",
            min=1,
            metavar="N",
            rich_help_panel=Panel.LIMITS,
            help="Maximum length in tokens of a summary that a request may ask for.",
        ),
    ] = LIMITS.max_new_tokens,
) -> None:
    """Serve summaries over HTTP: a JSON API, server-sent events, batches, OpenAI's chat API, and a web page.

    The page is at http://127.0.0.1:8000, unless --host and --port say otherwise.

    Example: rolesum serve --adapter runs/NAME
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
        max_sessions=max_sessions,
        session_timeout=session_timeout,
        session_memory=session_memory,
        max_turns=max_turns,
        max_new_tokens=max_new_tokens,
    )
    run_server(
        ServerConfig(
            models, host, port, keys, tuple(cors_origin or ()), limits, store, log, keep_days, allow_private_webhooks
        )
    )
