"""rolesum summarize."""

import sys
from pathlib import Path
from typing import Annotated, Any

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


def summarize(
    file: Annotated[
        str, typer.Argument(help="A file of dialogues, or - for standard input.", show_default=False)
    ] = "-",
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
    stream: Annotated[
        bool | None, typer.Option("--stream/--no-stream", help="Show tokens as they come. Default: on a terminal.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and summarise anew when the file has grown; end with Ctrl-C.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write here in place of standard output.")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    json_: Json = False,
) -> None:
    """Summarise dialogues for each of their roles.

    Text in gives one block per role; JSON in gives JSON lines out, by id, in order. Without --roles: overall, and the
    roles that the speakers' labels name.

    Example: rolesum summarize chat.txt --roles user,agent --speaker "Anna=user" --speaker "Tom=agent"
    """
    from rolesum.evaluation.choosing import chooser
    from rolesum.files import check_writable, write_whole
    from rolesum.formats import open_source, read_dialogues
    from rolesum.formats.table import columns_of
    from rolesum.generation import Decoding, live
    from rolesum.generation.engines import EngineSpec
    from rolesum.generation.job import (
        Writer,
        Writing,
        as_blocks,
        as_json_lines,
        declared_roles,
        summarise_dialogues,
        with_declared,
    )

    if out:
        check_writable(out)
    if watch and (file == "-" or out or json_):
        raise UsageError("--watch shows the summaries of a file", fix="name the file; leave out --out and --json")
    if file == "-" and sys.stdin and sys.stdin.isatty():
        typer.echo(
            'Type or paste a dialogue, "Speaker: text" on each line; end with Ctrl-D on an empty line.', err=True
        )
    declared = declared_roles(adapter, recipe, sections)
    reading: dict[str, Any] = {
        "custom_roles": declared.aliases,
        "speakers": speaker_map(speaker),
        "columns": columns_of(columns) if columns else None,
        "unknown_speaker": unknown_speaker,
    }
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
        on_long=on_long or declared.on_long or ("refine" if watch else "refuse"),
        samples=samples,
        choose=chooser(choose) if choose else None,
        redact=redact or bool(redact_name),
        hidden_names=tuple(redact_name or ()),
        kept_labels=tuple(alias for role, aliases in declared.aliases.items() for alias in (role, *aliases)),
    )

    def write(text: str) -> None:
        typer.echo(text, nl=False)
        sys.stdout.flush()

    if watch:
        writer = Writer(writing)
        live.watch_file(Path(file), writer, write, form=format_, **reading)
        return
    source = open_source(file)
    dialogues = read_dialogues(source, format_, skip=skip or (), **reading)
    as_json = json_ or source.is_json
    alone = len(dialogues) == 1 and not as_json and not out
    if alone and (sys.stdout.isatty() if stream is None else stream):
        live.stream(dialogues[0], Writer(writing), write)
        return
    summaries = summarise_dialogues(dialogues, writing)
    text = as_json_lines(summaries) if as_json else as_blocks(summaries)
    if out:
        write_whole(out, text)
    else:
        write(text)
