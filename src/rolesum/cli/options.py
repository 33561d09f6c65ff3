"""Options that several commands share, and functions that parse their values."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rolesum import strict_json
from rolesum.errors import UsageError

if TYPE_CHECKING:
    from rolesum.formats import ReadOptions

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def _adapter(given: str) -> Path:
    from rolesum.models.adapter_metadata import adapter_directory

    return adapter_directory(given)


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Base model: alias, hub id (NAME@REVISION), GGUF file or directory. Default: the adapter's base.",
    ),
]
Adapter = Annotated[
    Path | None,
    typer.Option(
        "--adapter",
        parser=_adapter,
        metavar="<path>",
        help="Trained run or adapter, such as runs/NAME. Default without --model: rolesum-en-zh.",
    ),
]
FromAdapter = Annotated[
    str | None,
    typer.Option(
        "--from-adapter",
        help="Go on from this adapter, a directory or the name of a bundled one: the recipe's base_adapter.",
    ),
]
Roles = Annotated[
    str | None,
    typer.Option(
        "--roles",
        help="Roles to summarize for, separated by commas: user,agent,overall.",
    ),
]
Format = Annotated[str | None, typer.Option("--format", help="File format. Default: detected from the content.")]


def _set_quiet(quiet: bool) -> bool:
    if quiet:
        from rolesum.console import console

        console.quiet = True
    return quiet


Quiet = Annotated[
    bool,
    typer.Option("--quiet", callback=_set_quiet, help="Print no notes and no progress on standard error, only errors."),
]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", help="Encoding of the file: utf-8, gb18030, cp1252, utf-16 … Default: detected."),
]
Language = Annotated[
    str | None,
    typer.Option(
        "--language",
        help="Instruction language (zh or en). Default: the dialogue's.",
    ),
]
Speakers = Annotated[list[str] | None, typer.Option("--speaker", help='Role of a speaker: "Anna=user". Repeatable.')]
RecipeRoles = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Recipe whose custom roles are available in --roles.",
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Read only the first N dialogues.")]
Skip = Annotated[list[str] | None, typer.Option("--skip", help="Skip the dialogue with this id. Repeatable.")]
Device = Annotated[str, typer.Option("--device", help="Device: auto, cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[str, typer.Option("--dtype", help="Weight data type: auto, float32 or bfloat16.")]
MultiReferenceOption = Annotated[
    str,
    typer.Option(
        "--multi-reference",
        help="With several references: mean of each measure over them, or best of each.",
        metavar="[mean|best]",
    ),
]

Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        help="Columns of a CSV or TSV file: id=call_id,speaker=who,text=utterance (also role, dialogue, summary).",
    ),
]
JsonPath = Annotated[
    str | None,
    typer.Option(
        "--json-path",
        help="Paths in JSON of no known format: turns=data.items,speaker=author.name,text=body (also time, role, id, "
        "summary).",
    ),
]
UnknownSpeaker = Annotated[
    str,
    typer.Option(
        "--unknown-speaker",
        help="Speaker of turns without a label: refuse, name=LABEL, alternate=A,B or continue (the previous speaker).",
    ),
]
Sections = Annotated[
    str | None, typer.Option("--sections", help="Custom sections and roles: a preset name or a YAML file.")
]

EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Inference engine: transformers, vllm, llamacpp or openai.",
    ),
]
Gguf = Annotated[Path | None, typer.Option("--gguf", help="llamacpp: GGUF file exported from --model or --adapter.")]
Url = Annotated[str | None, typer.Option("--url", help="openai: base URL of an OpenAI-compatible API, http://…/v1.")]
ServedModel = Annotated[str | None, typer.Option("--served-model", help="openai: name of the model at the endpoint.")]
ApiKeyEnv = Annotated[
    str | None, typer.Option("--api-key-env", help="openai: environment variable that holds the API key.")
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        min=1,
        help="openai, llamacpp: maximum concurrent prompts.",
    ),
]
Context = Annotated[
    int | None,
    typer.Option("--context", min=1, help="openai, llamacpp, vllm: context length in tokens (prompt plus answer)."),
]
VllmOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--vllm-option",
        help="vllm: argument of vllm.LLM as KEY=VALUE, such as enforce_eager=true. Repeatable.",
    ),
]

Samples = Annotated[
    int,
    typer.Option(
        "--samples",
        min=1,
        help="Number of texts to sample per role; --choose picks one of them.",
    ),
]
Choose = Annotated[
    str | None,
    typer.Option(
        "--choose",
        help="How to pick one of --samples: mbr (most similar to the others), checks (fewest problems) or likeliest.",
    ),
]
Verify = Annotated[
    str | None,
    typer.Option(
        "--verify",
        help="Statements that the dialogue may not say: flag (mark them), rerank (take the best-supported of "
        "--samples), drop (leave them out) or off. Default: flag if the adapter was trained to verify, else off.",
    ),
]
SupportThreshold = Annotated[
    float | None,
    typer.Option(
        "--support-threshold",
        help="Support, 0 to 1, under which a statement is doubtful. Default: the adapter's, or 0.5.",
    ),
]
LongDialogues = Annotated[
    str | None,
    typer.Option(
        "--long-dialogues",
        help="Strategy for dialogues that exceed the context: refuse, drop-middle, map-reduce or refine.",
    ),
]
Redact = Annotated[
    bool,
    typer.Option(
        "--redact",
        help="Mask phone, card, account and other numbers, addresses, passwords and names for the model.",
    ),
]
RedactNames = Annotated[
    list[str] | None, typer.Option("--redact-name", help="Also mask this name; implies --redact. Repeatable.")
]


def parse_multi_reference(text: str) -> Literal["mean", "best"]:
    """The value of --multi-reference. Raises UsageError for any other."""
    if text == "mean":
        return "mean"
    if text == "best":
        return "best"
    raise UsageError(f'--multi-reference "{text}" is neither mean nor best', fix="write --multi-reference mean")


def read_options(
    file_format: str | None = None,
    columns: str | None = None,
    unknown_speaker: str = "refuse",
    speakers: list[str] | None = None,
    skip: list[str] | None = None,
    custom_roles: Mapping[str, Collection[str]] | None = None,
    *,
    json_path: str | None = None,
    encoding: str | None = None,
) -> "ReadOptions":
    """The ReadOptions of --format, --encoding, --columns, --json-path, --unknown-speaker, --speaker and --skip."""
    from rolesum.formats import ReadOptions
    from rolesum.formats.encodings import encoding_name
    from rolesum.formats.json_mapping import parse_json_paths
    from rolesum.formats.table import parse_columns

    return ReadOptions(
        format=file_format,
        encoding=encoding_name(encoding) if encoding else None,
        custom_roles=custom_roles or {},
        speakers=speaker_map(speakers),
        columns=parse_columns(columns) if columns else {},
        json_path=parse_json_paths(json_path) if json_path else {},
        unknown_speaker=unknown_speaker,
        skip=tuple(skip or ()),
    )


def recipe_overrides(set_: list[str] | None, from_adapter: str | None) -> list[str]:
    """The recipe's overrides by --set and --from-adapter; the latter takes precedence, as it is applied last."""
    return [*(set_ or ()), *([f"base_adapter={strict_json.dumps(from_adapter)}"] if from_adapter else ())]


def vllm_options(given: list[str] | None) -> dict[str, Any] | None:
    """Argument of vllm.LLM -> its value, parsed as YAML, of the --vllm-option values."""
    import yaml

    found = {}
    for text in given or ():
        key, sign, value = text.partition("=")
        if not sign or not key.isidentifier():
            raise UsageError(f'--vllm-option "{text}" is not KEY=VALUE', fix="write --vllm-option enforce_eager=true")
        found[key] = yaml.safe_load(value)
    return found or None


def speaker_map(given: list[str] | None) -> dict[str, str]:
    """Speaker's label -> role, of the --speaker values."""
    pairs: dict[str, str] = {}
    for text in given or ():
        label, sign, role = text.rpartition("=")
        if not sign or not label.strip() or not role.strip():
            raise UsageError(f'--speaker "{text}" is not LABEL=ROLE', fix='write --speaker "Anna=user"')
        if pairs.setdefault(label.strip(), role.strip()) != role.strip():
            raise UsageError(f"--speaker gives {label.strip()} two roles", fix="a label plays one role")
    return pairs
