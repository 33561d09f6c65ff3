"""Parses each kind of request in a parser process: from its body to the checked options and the dialogues.

What these functions return is small, or one text: the server's own process unpacks it while other requests wait.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rolesum import strict_json
from rolesum.dialogue import Dialogue
from rolesum.errors import did_you_mean
from rolesum.formats.jsonl import to_json
from rolesum.roles import default_roles
from rolesum.server.limits import Limits
from rolesum.server.problems import HTTPProblem
from rolesum.server.request_parsing import (
    RequestBody,
    parse_dialogues,
    requested_roles,
    requested_sections,
)
from rolesum.server.schemas import (
    BatchRequest,
    DialogueOut,
    DialoguesOut,
    GenerationParameters,
    ReadRequest,
    SectionIn,
    SummaryOptions,
    SummaryRequest,
    TurnOut,
)


@dataclass(frozen=True)
class ParsingContext:
    """What the parsing of a request needs to know of the server.

    `aliases` are the custom roles of each model with their other names; the first model is the default one. `roles` are
    the roles that each model was trained for.
    """

    limits: Limits
    aliases: Mapping[str, Mapping[str, Sequence[str]]]
    roles: Mapping[str, Sequence[str]]

    def model(self, name: str | None) -> str:
        """Return the name of the model that a request means. Raises HTTPProblem 404."""
        return find_model(self.aliases, name)

    def aliases_with(self, model: str, sections: str | Mapping[str, SectionIn] | None) -> Mapping[str, Sequence[str]]:
        """Return the custom roles of a model and of sections. Raises UsageError for an unknown preset."""
        chosen = requested_sections(sections)
        return {**self.aliases[model], **(chosen.aliases if chosen else {})}


@dataclass(frozen=True)
class ParsedSummary:
    """The request for summaries of one dialogue."""

    model: str
    options: SummaryOptions
    stream: bool
    dialogue: Dialogue


@dataclass(frozen=True)
class ParsedBatch:
    """The request for a batch: its dialogues as (id, line of rolesum's format), and the digest of its content."""

    model: str
    options: str  # JSON of SummaryOptions
    parameters: GenerationParameters
    lines: Sequence[tuple[str, str]]
    digest: str


def parse_summary(body: RequestBody, context: ParsingContext) -> ParsedSummary:
    """Parse the body of POST /v1/summaries."""
    request = body.parse(SummaryRequest, context.limits)
    model = context.model(request.model)
    _, (dialogue,) = parse_dialogues(
        request,
        context.limits,
        dialogues=[request.dialogue] if request.dialogue else [],
        upload=body.upload,
        aliases=context.aliases_with(model, request.sections),
        max_dialogues=1,
    )
    options = SummaryOptions.model_construct(**{name: getattr(request, name) for name in SummaryOptions.model_fields})
    return ParsedSummary(model, options, request.stream, dialogue)


def parse_reading(body: RequestBody, context: ParsingContext) -> str:
    """Parse the body of POST /v1/dialogues; returns the JSON of the response."""
    request = body.parse(ReadRequest, context.limits)
    file_format, dialogues = parse_dialogues(
        request,
        context.limits,
        dialogues=[request.dialogue] if request.dialogue else [],
        upload=body.upload,
        aliases=context.aliases_with(context.model(None), request.sections),
        max_dialogues=context.limits.max_batch_dialogues,
    )
    shown = [_dialogue_out(dialogue) for dialogue in dialogues[: request.limit]]
    return DialoguesOut(format=file_format, total=len(dialogues), dialogues=shown).model_dump_json()


def _dialogue_out(dialogue: Dialogue) -> DialogueOut:
    return DialogueOut(
        id=dialogue.id,
        language=dialogue.language,
        turns=[TurnOut(speaker=turn.speaker, text=turn.text) for turn in dialogue.turns],
        roles=dict(dialogue.roles),
        suggested=list(default_roles(dialogue)),
    )


def parse_batch(body: RequestBody, context: ParsingContext) -> ParsedBatch:
    """Parse the body of POST /v1/batches."""
    limits = context.limits.of_batches
    request = body.parse(BatchRequest, limits)
    model = context.model(request.model)
    aliases = context.aliases_with(model, request.sections)
    requested_roles(request, aliases, limits)
    _, dialogues = parse_dialogues(
        request,
        limits,
        dialogues=request.dialogues or (),
        upload=body.upload,
        aliases=aliases,
        max_dialogues=limits.max_batch_dialogues,
    )
    options = request.model_dump_json(include={"roles", "sections", "ask", "language", "options"})
    lines = [(dialogue.id, to_json(dialogue)) for dialogue in dialogues]
    digest = hashlib.sha256(strict_json.dumps([model, options, lines]).encode()).hexdigest()
    return ParsedBatch(model, options, request.options, lines, digest)


def find_model(names: Collection[str], name: str | None) -> str:
    """Return the model with this name, or the first one for None. Raises HTTPProblem 404."""
    if name is None:
        return next(iter(names))
    if name not in names:
        raise HTTPProblem(404, f'no model "{name}"', where="model", fix=did_you_mean(name, names))
    return name
