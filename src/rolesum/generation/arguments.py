"""The arguments that Python callers give: their names and types, how they are checked, and what they change.

A wrong name or type is a UsageError that names the argument, before anything is loaded.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from inspect import formatannotation
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from rolesum.errors import Problem, UsageError, did_you_mean


class SummaryArguments(TypedDict, total=False):
    """What may differ from one call of a Summarizer to the next; all are optional.

    Attributes:
        roles: The roles to summarize for, by any of their names: ["user", "agent"], or "user,agent". By default each
            dialogue's own roles among those that the adapter was trained for.
        sections: A preset of sections, or a YAML file of sections and roles of your own.
        ask: Instructions of your own, by name: {"complaints": "List what the customer complains about."}. A role's name
            replaces its instruction, any other is a section. Without `roles`, these are what is written.
        language: The language of the instructions, "en" or "zh"; by default the dialogue's.
        max_new_tokens: The maximum length of a summary in tokens; 128 by default.
        min_new_tokens: The minimum length in tokens.
        temperature: The sampling temperature; 0, the default, always takes the likeliest token.
        top_k: Sample among so many of the likeliest tokens; 0, the default, among all.
        top_p: Sample among the likeliest tokens that together have this probability; 1 by default.
        beams: The number of beams of a beam search; 1, the default, is none.
        length_penalty: Over 1, beam search favors long texts.
        seed: The seed of sampled texts.
        samples: The number of texts that are sampled for each summary, of which `choose` takes one.
        choose: "mbr" (most like the others), "checks" (fewest problems) or "likeliest".
        long_dialogues: What becomes of a dialogue that exceeds the context: "refuse" (the default), "drop-middle",
            "map-reduce" or "refine".
        redact: Whether the model sees placeholders for names, phone numbers and other personal data.
        redact_names: Further names to mask; implies `redact`.
        redact_people: Whether names of other people are masked too, behind titles and words that introduce a name;
            implies `redact`.
        verify: What becomes of doubtful statements: "quote", "flag", "drop", "rerank" or "off". By default "quote"
            where the adapter was trained to verify, else "off".
        support_threshold: The support, 0 to 1, under which a statement is doubtful; by default the adapter's.
    """

    roles: str | Sequence[str] | None
    sections: str | Path | None
    ask: Mapping[str, str] | None
    language: str | None
    max_new_tokens: int
    min_new_tokens: int
    temperature: float
    top_k: int
    top_p: float
    beams: int
    length_penalty: float
    seed: int
    samples: int
    choose: str | None
    long_dialogues: str | None
    redact: bool
    redact_names: Sequence[str]
    redact_people: bool
    verify: str | None
    support_threshold: float | None


class ModelArguments(SummaryArguments, total=False):
    """What decides the model of a Summarizer, beside the arguments of its calls; all are optional.

    Attributes:
        model: The base: an alias of the catalog, a hub id (NAME@REVISION), a GGUF file or a directory. By default the
            adapter's base. Without an adapter, it is the base alone.
        engine: "transformers", "vllm", "llamacpp" or "openai". By default "openai" with `url`, "llamacpp" with `gguf`,
            else "transformers".
        url: openai: the base URL of an OpenAI-compatible API, http://localhost:8000/v1.
        served_model: openai: the model's name at the endpoint.
        api_key_env: openai: the environment variable that holds the API key.
        gguf: llamacpp: the GGUF file.
        concurrency: openai, llamacpp: the maximum number of concurrent prompts.
        context: Lowers the model's context length in tokens, prompt and answer together; for openai without `model`,
            it is the context length.
        vllm_options: vllm: arguments of vllm.LLM.
        device: transformers, llamacpp: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: transformers, vllm: "auto", "float32" or "bfloat16".
        recipe: A recipe whose custom roles and sections may be asked for.
    """

    model: str | Path | None
    engine: str | None
    url: str | None
    served_model: str | None
    api_key_env: str | None
    gguf: str | Path | None
    concurrency: int | None
    context: int | None
    vllm_options: Mapping[str, Any] | None
    device: str
    dtype: str
    recipe: str | Path | None


SUMMARY_ARGUMENTS: tuple[str, ...] = tuple(get_type_hints(SummaryArguments))


def check_arguments(given: Mapping[str, Any], kind: type) -> None:
    """Raise UsageError with all arguments that the TypedDict `kind` does not have, or that have a wrong type."""
    known = get_type_hints(kind)
    problems = []
    for name, value in given.items():
        if name not in known:
            problems.append(Problem(f'unknown argument "{name}"', fix=did_you_mean(name, known)))
        elif not _has_type(value, known[name]):
            wanted = formatannotation(known[name]).replace("pathlib.", "").replace("collections.abc.", "")
            problems.append(Problem(f"{name} is {value!r:.60}, not {wanted}", fix="see docs/python.md"))
    if problems:
        raise UsageError(problems)


def _has_type(value: Any, annotation: Any) -> bool:
    try:
        _adapter(annotation).validate_python(value)
    except ValidationError:
        return False
    return True


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation, config=ConfigDict(strict=True))
