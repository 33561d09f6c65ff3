"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from rolesum.cli.help import Panel, choices
from rolesum.generation.long_dialogues.strategies import LongDialogueStrategy
from rolesum.threads import set_threads

# Choices of modules that take long to import; tests/cli/test_choices.py holds them equal to those of the modules.
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
EngineName = Literal["transformers", "vllm", "llamacpp", "openai"]
GpuName = Literal["rtx-3090", "rtx-4090", "a10", "l4", "l40s", "a100-40", "a100-80", "h100", "h200"]
LanguageName = Literal["en", "zh"]
MultiReference = Literal["mean", "best"]
ScorerName = Literal["csds", "csds-glc", "samsum", "samsum-pyrouge", "hf", "llamafactory"]
VerifyMode = Literal["off", "flag", "quote", "drop", "rerank"]


def _adapter(given: str) -> Path:
    from rolesum.models.adapter_metadata import adapter_directory

    return adapter_directory(given)


def _set_quiet(quiet: bool) -> bool:
    if quiet:
        from rolesum.console import console

        console.quiet = True
    return quiet


# Input
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        rich_help_panel=Panel.INPUT,
        help="File format, such as vtt, whatsapp, csv or plain. Default: detected from the content.",
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        metavar="NAME",
        rich_help_panel=Panel.INPUT,
        help="Text encoding of the file, such as utf-8, gb18030, cp1252 or utf-16. Default: detected.",
    ),
]
UnknownSpeaker = Annotated[
    str | None,
    typer.Option(
        "--unknown-speaker",
        metavar="RULE",
        rich_help_panel=Panel.INPUT,
        help="What to do with turns that name no speaker: refuse, name=LABEL, alternate=A,B or continue (the speaker "
        "of the turn before). Default: refuse.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="MAP",
        rich_help_panel=Panel.INPUT,
        help="Columns of a table, such as id=call_id,speaker=who,text=utterance. Other keys: time, role, dialogue, "
        "summary (overall) and summary.ROLE, such as summary.user=customer_summary.",
    ),
]
JsonPath = Annotated[
    str | None,
    typer.Option(
        "--json-path",
        metavar="MAP",
        rich_help_panel=Panel.INPUT,
        help="Paths in JSON of no known format, such as turns=items,speaker=author.name,text=body. Other keys: time, "
        "role, id, summary, summary.ROLE.",
    ),
]
Skip = Annotated[
    list[str] | None,
    typer.Option(
        "--skip", metavar="ID", rich_help_panel=Panel.INPUT, help="Skip the dialogue with this id. Repeatable."
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, metavar="N", rich_help_panel=Panel.INPUT, help="Read only the first N dialogues."),
]
LongDialogues = Annotated[
    LongDialogueStrategy | None,
    typer.Option(
        "--long-dialogues",
        metavar=choices(LongDialogueStrategy),
        rich_help_panel=Panel.INPUT,
        help="What to do with a dialogue that exceeds the model's context: refuse it, leave out turns in the middle "
        "(drop-middle), summarize parts and then their summaries (map-reduce), or read parts in order with the summary "
        "so far (refine). Default: as --recipe says, else refuse; refine with summarize --watch.",
    ),
]
MovedData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="FILE",
        rich_help_panel=Panel.INPUT,
        help="File of the dialogues, if it has moved since the runs were evaluated.",
    ),
]

# Output
Json = Annotated[bool, typer.Option("--json", rich_help_panel=Panel.OUTPUT, help="Print the result as JSON.")]

# Model
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        rich_help_panel=Panel.MODEL,
        help="Base model: catalog alias, hub id (NAME@REVISION), GGUF file or directory. Default: the adapter's base.",
    ),
]
Adapter = Annotated[
    Path | None,
    typer.Option(
        "--adapter",
        parser=_adapter,
        metavar="ADAPTER",
        rich_help_panel=Panel.MODEL,
        help="Adapter: directory of a run or an adapter, such as runs/NAME, or the name of a bundled one. Default "
        "without --model: rolesum-en-zh.",
    ),
]
FromAdapter = Annotated[
    str | None,
    typer.Option(
        "--from-adapter",
        metavar="ADAPTER",
        rich_help_panel=Panel.MODEL,
        help="Start training from this adapter, a directory or the name of a bundled one; sets base_adapter in the "
        "recipe.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        rich_help_panel=Panel.MODEL,
        help="Where the model runs: auto, cpu, cuda, cuda:1 or mps.",
    ),
]
Dtype = Annotated[
    DtypeName,
    typer.Option(
        "--dtype",
        metavar=choices(DtypeName),
        rich_help_panel=Panel.MODEL,
        help="Data type of the model's weights; auto takes the one that is faster on the device.",
    ),
]


def _use_threads(count: int | None) -> int | None:
    if count is not None:
        set_threads(count)
    return count


Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        callback=_use_threads,
        rich_help_panel=Panel.MODEL,
        help="Threads to compute with on a CPU. Default: ROLESUM_THREADS or .rolesum.toml, else the physical cores, or "
        "fewer where the container may use fewer.",
    ),
]

# Training
RecipeArgument = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="Recipe: a YAML file, or the name of a bundled recipe, such as sample."),
]
SetKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        rich_help_panel=Panel.TRAINING,
        help="Override a key of the recipe, such as training.epochs=2. Repeatable.",
    ),
]

# Roles
Roles = Annotated[
    str | None,
    typer.Option(
        "--roles",
        metavar="ROLES",
        rich_help_panel=Panel.ROLES,
        help="Roles to summarize for, separated by commas, such as user,agent,overall.",
    ),
]
Speakers = Annotated[
    list[str] | None,
    typer.Option(
        "--speaker",
        metavar="LABEL=ROLE",
        rich_help_panel=Panel.ROLES,
        help='Role that a speaker plays, such as "Anna=user". Repeatable.',
    ),
]
Sections = Annotated[
    str | None,
    typer.Option(
        "--sections",
        metavar="NAME",
        rich_help_panel=Panel.ROLES,
        help="Custom sections and roles: a preset, such as meeting-recap, or a YAML file.",
    ),
]
Schema = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="NAME",
        rich_help_panel=Panel.OUTPUT,
        help="Fill in fields instead of summaries: the preset call-outcome, or a file with a JSON schema.",
    ),
]
Ask = Annotated[
    list[str] | None,
    typer.Option(
        "--ask",
        metavar="NAME=TEXT",
        rich_help_panel=Panel.ROLES,
        help="An instruction of your own, for a role or a new name; repeatable. Without --roles, these are written.",
    ),
]
RecipeRoles = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="RECIPE",
        rich_help_panel=Panel.ROLES,
        help="Recipe, by name or as a YAML file, whose custom roles and sections may be asked for.",
    ),
]
Language = Annotated[
    LanguageName | None,
    typer.Option(
        "--language",
        metavar=choices(LanguageName),
        rich_help_panel=Panel.ROLES,
        help="Language of the instructions to the model. Default: the dialogue's.",
    ),
]

# Decoding
Samples = Annotated[
    int,
    typer.Option(
        "--samples",
        min=1,
        metavar="N",
        rich_help_panel=Panel.DECODING,
        help="Number of texts to sample for each role; --choose or --verify rerank picks one of them.",
    ),
]
Choose = Annotated[
    str | None,
    typer.Option(
        "--choose",
        metavar="[mbr|mbr:SCORER|checks|likeliest]",
        rich_help_panel=Panel.DECODING,
        help="How to pick one of --samples: the most similar to the others (mbr; mbr:SCORER measures by that scorer), "
        "the one with the fewest problems (checks) or the likeliest.",
    ),
]

# Verification
Verify = Annotated[
    VerifyMode | None,
    typer.Option(
        "--verify",
        metavar=choices(VerifyMode),
        rich_help_panel=Panel.VERIFICATION,
        help="What to do with statements that the dialogue may not say: nothing (off), mark them (flag), quote the "
        "dialogue in place of their sentences (quote), leave them out (drop) or take the best-supported of --samples "
        "(rerank). Default: quote if the adapter was trained to verify (flag in evaluate, with --stream and with "
        "--schema), else off.",
    ),
]
SupportThreshold = Annotated[
    float | None,
    typer.Option(
        "--support-threshold",
        metavar="NUMBER",
        rich_help_panel=Panel.VERIFICATION,
        help="Support, 0 to 1, under which a statement is doubtful. Default: the adapter's, or 0.5.",
    ),
]

# Metrics
MultiReferenceOption = Annotated[
    MultiReference,
    typer.Option(
        "--multi-reference",
        metavar=choices(MultiReference),
        rich_help_panel=Panel.METRICS,
        help="How to score against several references: the mean of each measure over them, or the best.",
    ),
]

# Engine
EngineOption = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        metavar=choices(EngineName),
        rich_help_panel=Panel.ENGINE,
        help="What generates the texts: transformers, vLLM, llama.cpp, or an OpenAI-compatible endpoint.",
    ),
]
Gguf = Annotated[
    Path | None,
    typer.Option(
        "--gguf",
        metavar="FILE",
        rich_help_panel=Panel.ENGINE,
        help="For llamacpp: GGUF file, exported from --model or --adapter.",
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        rich_help_panel=Panel.ENGINE,
        help="For openai: base URL of the API, such as http://localhost:8000/v1.",
    ),
]
ServedModel = Annotated[
    str | None,
    typer.Option(
        "--served-model",
        metavar="NAME",
        rich_help_panel=Panel.ENGINE,
        help="For openai: name of the model at the endpoint.",
    ),
]
ApiKeyEnv = Annotated[
    str | None,
    typer.Option(
        "--api-key-env",
        metavar="NAME",
        rich_help_panel=Panel.ENGINE,
        help="For openai: environment variable that holds the API key. Default: OPENAI_API_KEY.",
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        min=1,
        metavar="N",
        rich_help_panel=Panel.ENGINE,
        help="For openai and llamacpp: maximum number of prompts at a time.",
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--context",
        min=1,
        metavar="N",
        rich_help_panel=Panel.ENGINE,
        help="Lower the model's context length to N tokens, prompt and answer together. For openai without --model: "
        "the context length.",
    ),
]
VllmOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--vllm-option",
        metavar="KEY=VALUE",
        rich_help_panel=Panel.ENGINE,
        help="For vllm: argument of vllm.LLM, such as enforce_eager=true. Repeatable.",
    ),
]

# Privacy
Redact = Annotated[
    bool,
    typer.Option(
        "--redact",
        rich_help_panel=Panel.PRIVACY,
        help="Mask personal data for the model: phone, card, account and other numbers, addresses, passwords, names.",
    ),
]
RedactNames = Annotated[
    list[str] | None,
    typer.Option(
        "--redact-name",
        metavar="NAME",
        rich_help_panel=Panel.PRIVACY,
        help="Mask this name, too; implies --redact. Repeatable.",
    ),
]
RedactPeople = Annotated[
    bool,
    typer.Option(
        "--redact-people",
        rich_help_panel=Panel.PRIVACY,
        help="Mask names of other people, too, after titles and phrases such as 'my friend Li'; implies --redact.",
    ),
]

# Logging
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        callback=_set_quiet,
        rich_help_panel=Panel.LOGGING,
        help="Print only errors on standard error, no notes and no progress.",
    ),
]

# Server
Port = Annotated[
    int,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        metavar="N",
        rich_help_panel=Panel.SERVER,
        help="Port to listen on; 0 takes a free one.",
    ),
]
