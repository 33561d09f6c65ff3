"""Extracts fields from dialogues: a JSON schema is filled in, and each value gets its turns and its support.

The engine holds the answer to the schema while it is written. An answer that is none all the same (the limit of tokens
cut it off, or an endpoint does not hold to schemas) is refused: there are no fields, and the result says why.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rolesum import strict_json
from rolesum.checks.evidence import find_turns
from rolesum.checks.index import DialogueIndex
from rolesum.dialogue import Coverage, Dialogue, ExtractedFields
from rolesum.errors import LengthError, Problem, UsageError
from rolesum.generation.engine import Decoding, Engine, Generation, check_constrained_decoding
from rolesum.generation.field_values import field_values
from rolesum.generation.support import SupportFinder
from rolesum.instructions import FieldSchema
from rolesum.instructions.fit import drop_middle
from rolesum.redaction import Redacted

# Of an answer, unless the caller says otherwise; the fields of the preset take 100 to 300.
DEFAULT_MAX_FIELD_TOKENS = 512
LONG_FIELD_STRATEGIES = ("refuse", "drop-middle")


def check_extraction(engine: Engine, decoding: Decoding, long_dialogues: str) -> None:
    """Raise UsageError for an engine that holds to no schema, and for options that fields cannot have."""
    if not engine.features.json_schema:
        raise UsageError(f"the engine {engine.name} does not fill in fields", fix="use --engine transformers")
    check_constrained_decoding(decoding)
    check_field_strategy(long_dialogues)


def check_field_strategy(long_dialogues: str) -> None:
    """Raise UsageError for a strategy for long dialogues that joins texts, which fields are not."""
    if long_dialogues not in LONG_FIELD_STRATEGIES:
        what = f"fields are not read in parts: --long-dialogues {long_dialogues}"
        raise UsageError(what, fix=f"use --long-dialogues {' or '.join(LONG_FIELD_STRATEGIES)}")


def extract_fields(
    dialogues: Sequence[Dialogue],
    engine: Engine,
    schema: FieldSchema,
    decoding: Decoding,
    *,
    long_dialogues: str = "refuse",
    on_done: Callable[[int], None] | None = None,
) -> list[ExtractedFields]:
    """The fields of each dialogue, in order, by one call of the engine; without turns and support.

    Raises, before any work, UsageError as `check_extraction`, and LengthError with all the dialogues that do not fit
    the model.
    """
    check_extraction(engine, decoding, long_dialogues)
    shown, coverages = _fitting(dialogues, engine, schema, decoding.max_new_tokens, long_dialogues)
    prompts = [engine.layout.fields_prompt(one, schema) for one in shown]
    made = engine.generate(prompts, decoding, on_done)
    return [
        replace(_parsed(one, texts[0], schema), coverage=coverage)
        for one, texts, coverage in zip(dialogues, made, coverages, strict=True)
    ]


def _fitting(
    dialogues: Sequence[Dialogue], engine: Engine, schema: FieldSchema, max_new_tokens: int, long_dialogues: str
) -> tuple[list[Dialogue], list[Coverage | None]]:
    """The dialogues as the model is shown them. Raises LengthError with all that do not fit."""
    shown, coverages, problems = list[Dialogue](), list[Coverage | None](), list[Problem]()

    def fits(dialogue: Dialogue) -> bool:
        return engine.fits(engine.layout.fields_prompt(dialogue, schema), max_new_tokens)

    for one in dialogues:
        cut, coverage = one, None
        if not fits(one):
            shorter = drop_middle(one, fits) if long_dialogues == "drop-middle" else None
            if shorter is None:
                what = f"it does not fit the model with the schema and {max_new_tokens} tokens for the fields"
                drop = "" if long_dialogues == "drop-middle" else "use --long-dialogues drop-middle, "
                fix = f"{drop}lower --max-new-tokens, write a shorter schema, or take a model that reads more"
                problems.append(Problem(what, one.location, fix))
                continue
            cut, dropped = shorter
            coverage = Coverage("drop-middle", len(one.turns), len(one.turns) - dropped)
        shown.append(cut)
        coverages.append(coverage)
    if problems:
        raise LengthError(problems)
    return shown, coverages


def _parsed(dialogue: Dialogue, made: Generation, schema: FieldSchema) -> ExtractedFields:
    """An answer as fields; without fields where it does not fit the schema, and with the reason."""
    statistics = (made.tokens, made.finish_reason, made.mean_logprob, made.lowest_logprob, made.seconds)
    fields, problem = _read_answer(made, schema)
    return ExtractedFields(dialogue.id, fields, made.text, *statistics, problem=problem)


def _read_answer(made: Generation, schema: FieldSchema) -> tuple[dict[str, Any] | None, str]:
    try:
        found = json.loads(made.text)
        strict_json.dumps(found)
    except (ValueError, RecursionError):
        if made.finish_reason == "length":
            return None, f"the limit of {made.tokens} tokens cut the answer off: raise --max-new-tokens"
        return None, "the answer is no JSON: the engine did not hold it to the schema"
    if problems := schema.problems(found):
        return None, f"the answer does not fit the schema: {problems[0]}"
    return found, ""


def with_evidence(
    extracted: Sequence[ExtractedFields],
    schema: FieldSchema,
    engine: Engine,
    shown: Sequence[Dialogue],
    dialogues: Sequence[Dialogue],
    masked: Sequence[Redacted],
    finder: SupportFinder | None,
    threshold: float,
) -> list[ExtractedFields]:
    """The fields with their values, the turns of each and, with a SupportFinder, its support.

    Support is found in the dialogues as the model is `shown` them, turns in the dialogues themselves; where those are
    `masked`, the hidden values are put back.
    """
    found = [
        field_values(one.fields or {}, schema, engine.layout.instruction_set_for(dialogue))
        for one, dialogue in zip(extracted, shown, strict=True)
    ]
    if finder:
        support = finder.find(shown, [[value.statement for value, _ in of if value.statement] for of in found])
        found = [
            [(replace(value, support=known.get(value.statement)), words) for value, words in of]
            for of, known in zip(found, support, strict=True)
        ]
        extracted = [replace(one, support_threshold=threshold) for one in extracted]
    results = []
    for number, (one, of, dialogue) in enumerate(zip(extracted, found, dialogues, strict=True)):
        restore = masked[number].put_back if masked else str
        index = DialogueIndex(dialogue)
        values = [
            replace(
                value,
                value=_restored(value.value, restore),
                statement=restore(value.statement),
                turns=find_turns(restore(words), index) if words else (),
            )
            for value, words in of
        ]
        results.append(_with_restored(replace(one, values=tuple(values)), schema, restore))
    return results


def _with_restored(one: ExtractedFields, schema: FieldSchema, restore: Callable[[str], str]) -> ExtractedFields:
    """The fields with the hidden values put back; none where they then do not fit the schema."""
    restored = _restored(one.fields, restore)
    if restored == one.fields:
        return one
    if problems := schema.problems(restored):
        what = f"with the hidden values put back, the fields do not fit the schema: {problems[0]}"
        return replace(one, fields=None, values=(), problem=what)
    return replace(one, fields=restored, text=restore(one.text))


def _restored(value: Any, restore: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _restored(one, restore) for name, one in value.items()}
    if isinstance(value, list):
        return [_restored(one, restore) for one in value]
    return restore(value) if isinstance(value, str) else value
