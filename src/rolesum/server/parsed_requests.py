"""Parses each kind of request in a parser process: from its body to the checked options and the dialogues.

What these functions return is small, or one text: the server's own process unpacks it while other requests wait.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rolesum import strict_json
from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.errors import UsageError, did_you_mean
from rolesum.formats.jsonl import to_json
from rolesum.formats.shown_times import shown_times
from rolesum.generation.summary_document import check_docx, document_bytes, make_document
from rolesum.roles import default_roles
from rolesum.server.limits import Limits
from rolesum.server.problems import HTTPProblem
from rolesum.server.request_parsing import (
    RequestBody,
    load_requested_fields,
    parse_dialogues,
    requested_roles,
    requested_sections,
)
from rolesum.server.schemas import (
    BatchRequest,
    DialogueIn,
    DialogueOut,
    DialoguesOut,
    DocumentRequest,
    GenerationParameters,
    InputOptions,
    ReadRequest,
    SectionIn,
    SessionRequest,
    SessionSummaryRequest,
    SummaryOptions,
    SummaryRequest,
    TurnOut,
    TurnsRequest,
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
    webhook_url: str | None = None


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
    if request.stream and request.fields is not None:
        raise UsageError("fields are not streamed", "stream", "leave stream or fields out")
    options = SummaryOptions.model_construct(**{name: getattr(request, name) for name in SummaryOptions.model_fields})
    return ParsedSummary(model, options, request.stream, dialogue)


@dataclass(frozen=True)
class ParsedSession:
    """A session's dialogue as it was sent, and as it is read; both are None without a turn."""

    model: str
    sections: str | None
    sent: DialogueIn | None
    dialogue: Dialogue | None


def parse_session(body: RequestBody, context: ParsingContext) -> ParsedSession:
    """Parse the body of POST /v1/sessions."""
    request = body.parse(SessionRequest, context.limits)
    model = context.model(request.model)
    context.aliases_with(model, request.sections)  # an error where there is no such preset
    return _session(model, request.sections, request.dialogue, context)


def parse_turns(
    body: RequestBody, context: ParsingContext, model: str, sections: str | None, sent: DialogueIn | None
) -> ParsedSession:
    """Parse the body of POST /v1/sessions/ID/turns: the dialogue that was `sent`, with the new turns behind it.

    Raises HTTPProblem 409 where the dialogue has another number of turns than the client expects.
    """
    request = body.parse(TurnsRequest, context.limits)
    before = sent.turns if sent else []
    if request.after is not None and request.after != len(before):
        what = f"the session has {counted(len(before), 'turn')}, not {request.after}"
        raise HTTPProblem(409, what, where="after", fix="ask for the session's state (GET), then send what is missing")
    grown = DialogueIn.model_construct(
        id=sent.id if sent else None,
        turns=[*before, *request.turns],
        roles={**(sent.roles if sent else {}), **request.roles},
    )
    return _session(model, sections, grown, context)


def _session(model: str, sections: str | None, sent: DialogueIn | None, context: ParsingContext) -> ParsedSession:
    """Read a session's dialogue as one that is sent at once."""
    if sent is None:
        return ParsedSession(model, sections, None, None)
    aliases = context.aliases_with(model, sections)
    _, (dialogue,) = parse_dialogues(InputOptions(), context.limits, dialogues=[sent], aliases=aliases, max_dialogues=1)
    return ParsedSession(model, sections, sent, dialogue)


def parse_session_summary(body: RequestBody, context: ParsingContext) -> SessionSummaryRequest:
    """Parse the body of POST /v1/sessions/ID/summaries; an empty body asks for the default."""
    if not body.raw.strip() and body.fields is None:
        return SessionSummaryRequest()
    return body.parse(SessionSummaryRequest, context.limits)


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
    shown = shown_times(dialogue) or ("",) * len(dialogue.turns)
    return DialogueOut(
        id=dialogue.id,
        language=dialogue.language,
        turns=[
            TurnOut(speaker=turn.speaker, text=turn.text, time=turn.time, shown_time=time)
            for turn, time in zip(dialogue.turns, shown, strict=True)
        ],
        roles=dict(dialogue.roles),
        suggested=list(default_roles(dialogue)),
    )


def write_document(body: RequestBody, context: ParsingContext) -> tuple[bytes, str]:
    """Write the document that the body of POST /v1/documents asks for; returns it with its format."""
    request = body.parse(DocumentRequest, context.limits)
    options = InputOptions()
    _, (dialogue,) = parse_dialogues(options, context.limits, dialogues=[request.dialogue], aliases={}, max_dialogues=1)
    if request.format == "docx":
        check_docx()
    summaries = [one.to_summary(dialogue.id) for one in request.summaries]
    document = make_document(dialogue, summaries, [one.title for one in request.summaries])
    return document_bytes([document], f".{request.format}"), request.format


def parse_batch(body: RequestBody, context: ParsingContext) -> ParsedBatch:
    """Parse the body of POST /v1/batches."""
    limits = context.limits.of_batches
    request = body.parse(BatchRequest, limits)
    model = context.model(request.model)
    aliases = context.aliases_with(model, request.sections)
    requested_roles(request, aliases, limits)
    if request.fields is not None:
        load_requested_fields(request.fields)
    _, dialogues = parse_dialogues(
        request,
        limits,
        dialogues=request.dialogues or (),
        upload=body.upload,
        aliases=aliases,
        max_dialogues=limits.max_batch_dialogues,
    )
    options = request.model_dump_json(include={"roles", "sections", "ask", "language", "fields", "options"})
    lines = [(dialogue.id, to_json(dialogue)) for dialogue in dialogues]
    content = [model, options, lines, *([request.webhook_url] if request.webhook_url else [])]
    digest = hashlib.sha256(strict_json.dumps(content).encode()).hexdigest()
    return ParsedBatch(model, options, request.options, lines, digest, request.webhook_url)


def find_model(names: Collection[str], name: str | None) -> str:
    """Return the model with this name, or the first one for None. Raises HTTPProblem 404."""
    if name is None:
        return next(iter(names))
    if name not in names:
        raise HTTPProblem(404, f'no model "{name}"', where="model", fix=did_you_mean(name, names))
    return name
