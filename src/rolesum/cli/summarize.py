"""The command `rolesum summarize`: summarize the dialogues of a file."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from rolesum.cli.generation_options import SummarizeOptions, with_options
from rolesum.cli.help import Panel
from rolesum.cli.options import EngineOption, Json
from rolesum.errors import UsageError


@with_options(SummarizeOptions)
def summarize(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="File of dialogues, sample:NAME, or - for standard input, which is the default.",
            show_default=False,
        ),
    ] = "-",
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            rich_help_panel=Panel.OUTPUT,
            help="Output file: .jsonl has a line of JSON per dialogue, .csv or .tsv a row; .md and .docx are documents "
            "with evidence and transcript. Default: standard output.",
        ),
    ] = None,
    json_: Json = False,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            rich_help_panel=Panel.OUTPUT,
            help="Print tokens as they are generated. Default: on a terminal, if --verify leaves the text as it is.",
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            rich_help_panel=Panel.OUTPUT,
            help="Keep running and summarize again whenever the file changes; stop with Ctrl-C.",
        ),
    ] = False,
    engine: EngineOption = "transformers",
    options: SummarizeOptions,
) -> None:
    """Summarize dialogues for each of their roles.

    A text or a table gives one block per role; a JSON file gives one JSON line per dialogue, in input order. Default
    roles: overall, and the roles that the speakers' labels name.

    With --out FILE.jsonl or FILE.csv, each dialogue is a line or a row, with its id and the summaries of its roles.

    With --out FILE.md or FILE.docx, a document has each summary with its doubtful statements marked, the turns that
    support it, and the transcript.

    Example: rolesum summarize chat.txt --roles user,agent --speaker "Anna=user" --speaker "Tom=agent"
    """
    from rolesum.atomic_io import atomic_write_text, check_not_input, check_writable
    from rolesum.formats import open_source, read_dialogues
    from rolesum.generation import streaming
    from rolesum.generation.preflight import check_before_loading
    from rolesum.generation.quoting import REWRITES
    from rolesum.generation.summarizer import Summarizer, summarize_dialogues
    from rolesum.generation.summary_document import check_document_path, write_document
    from rolesum.generation.summary_output import (
        JSON_SUFFIXES,
        TABLE_DELIMITERS,
        format_blocks,
        format_json_lines,
        format_table,
    )
    from rolesum.generation.support import MARKED, QUOTED

    if out:
        check_not_input(out, file)
        check_writable(out)
    is_document = out is not None and check_document_path(out)
    if is_document and json_:
        raise UsageError(f"--json cannot be written to a document, {out}", fix="leave out --json, or name a .json file")
    suffix = out.suffix.lower() if out else ""
    delimiter = TABLE_DELIMITERS.get(suffix)
    if delimiter and (json_ or options.schema):
        flag = "--json" if json_ else "--schema"
        raise UsageError(f"{flag} writes JSON, and {out} is a table", fix="name a .jsonl file")
    if stream and (out or json_):
        raise UsageError("--stream cannot be combined with --out or --json", fix="leave out --stream")
    if watch and (file == "-" or out or json_):
        raise UsageError(
            "--watch needs a file and prints to the terminal", fix="name the file; leave out --out and --json"
        )
    if options.schema and (stream or watch):
        raise UsageError("--schema cannot be combined with --stream or --watch", fix="leave them out")
    if options.schema and is_document:
        raise UsageError(f"--schema writes JSON, and {out} is a document", fix="name a .json file")
    if file == "-" and sys.stdin and sys.stdin.isatty():
        typer.echo(
            'Type or paste a dialogue, "Speaker: text" on each line; end with Ctrl-D on an empty line.', err=True
        )
    config = options.summarizer_config(engine, long_dialogues="refine" if watch else "refuse")
    if stream and config.verify is None and config.resolved().verify == QUOTED:
        config = replace(config, verify=MARKED)  # the text is wanted as it grows

    def write(text: str) -> None:
        typer.echo(text, nl=False)
        sys.stdout.flush()

    if watch:
        summarizer = Summarizer(config)
        streaming.watch_file(Path(file), summarizer, write, options.read_options)
        return
    source = open_source(file, options.encoding)
    dialogues = read_dialogues(source, options.read_options)
    check_before_loading(config.spec, dialogues, config.roles)
    as_json = json_ or source.is_json
    if config.fields:
        from rolesum.generation.field_output import write_fields
        from rolesum.generation.summarizer import extract_from_dialogues

        raise typer.Exit(write_fields(extract_from_dialogues(dialogues, config), as_json=as_json, out=out, write=write))
    alone = len(dialogues) == 1 and not as_json and not out
    if stream is None:  # a text that changes at its end cannot be shown as it grows
        stream = sys.stdout.isatty() and config.resolved().verify not in REWRITES
    if alone and stream:
        streaming.stream(dialogues[0], Summarizer(config), write)
        return
    summaries = summarize_dialogues(dialogues, config)
    if out and is_document:
        write_document(out, dialogues, summaries)
        return
    if delimiter:
        text = format_table(summaries, delimiter)
    elif as_json or suffix in JSON_SUFFIXES:
        text = format_json_lines(summaries)
    else:
        text = format_blocks(summaries, styled=not out and sys.stdout.isatty())
    if out:
        atomic_write_text(out, text)
    else:
        write(text)
