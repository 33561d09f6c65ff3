"""The command `rolesum doctor`: what this machine computes with, and why."""

import os
from typing import Annotated, Any

import typer

from rolesum import strict_json
from rolesum.cli.defaults import SETTINGS
from rolesum.cli.help import Panel
from rolesum.cli.options import Adapter, Device, Dtype, Json, Language, Model, Quiet, Roles, Threads


def doctor(
    context: typer.Context,
    json_: Json = False,
    model: Model = None,
    adapter: Adapter = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    threads: Threads = None,
    roles: Roles = None,
    language: Language = None,
    speed: Annotated[
        bool,
        typer.Option("--speed/--no-speed", rich_help_panel=Panel.OUTPUT, help="Measure the speed, for two seconds."),
    ] = True,
    quiet: Quiet = False,
) -> None:
    """Report the device, dtype and threads of this machine and why, what is on disk and installed, and the settings.

    The options are those of other commands: the report says what they would do, and where defaults come from.

    Example: rolesum doctor
    """
    from rolesum.doctor import base_of, examine, format_report

    settings = _settings(context)
    reason = context.obj.reason
    if settings["threads"]["source"] != "default":
        reason = f"set by {settings['threads']['source']}"
    base = base_of(model, adapter)
    report = examine(base=base, device=device, dtype=dtype, threads_reason=reason, seconds=2.0 if speed else 0)
    report["settings"] = settings
    report["notes"] = _notes()
    if json_:
        typer.echo(strict_json.dumps(report, indent=1, ensure_ascii=False))
        return
    typer.echo(format_report(report))
    typer.echo("settings:")
    for key, one in settings.items():
        value = "none" if one["value"] is None else one["value"]
        typer.echo(f"  {key}: {value} ({one['source']})")
    for note in report["notes"]:
        typer.echo(f"! {note}")


def _settings(context: typer.Context) -> dict[str, dict[str, Any]]:
    """Key -> its value in this command, and where it comes from: a flag, a variable, the file, or default."""
    from rolesum.settings import DEFAULT, KEYS

    applied = context.meta.get(SETTINGS, {})
    found = {}
    for key in KEYS:
        source = context.get_parameter_source(key)
        given = source is not None and source.name == "COMMANDLINE"
        where = applied[key].source if key in applied else f"--{key}" if given else DEFAULT
        value = context.params[key]
        found[key] = {"value": value if value is None or isinstance(value, int) else str(value), "source": where}
    return found


def _notes() -> list[str]:
    from rolesum.settings import unknown_variables

    return [f"{one.what}: {one.fix}" for one in unknown_variables(os.environ)]
