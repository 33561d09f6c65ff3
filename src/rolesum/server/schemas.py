"""Pydantic models of the requests and responses of the API, from which the OpenAPI document is made."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, create_model

from rolesum.dialogue import Coverage, RoleSummary, SummaryQuote, SummaryStatement
from rolesum.formats.options import REFUSE
from rolesum.generation.engine import DECODING_OPTIONS, DEFAULT_MAX_NEW_TOKENS, Decoding

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]

EXAMPLE_TURNS: list[JsonValue] = [
    {"speaker": "Customer", "text": "My parcel has not come, order 4417."},
    {"speaker": "Agent", "text": "I am sorry. It is at the depot and will be with you on Friday."},
]


class RequestModel(BaseModel):
    """A JSON object without unknown keys."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TurnIn(RequestModel):
    """One utterance and the label of its speaker."""

    speaker: Name
    text: str = Field(min_length=1, max_length=20_000, pattern=r"\S")
    time: str = Field("", max_length=200, description="When it was said, as it is written. The model does not see it.")


class DialogueIn(RequestModel):
    """A dialogue given turn by turn."""

    id: Name | None = Field(None, description="Returned with the summaries. Sampled texts depend on it.")
    turns: list[TurnIn] = Field(min_length=1, fail_fast=True, examples=[EXAMPLE_TURNS])
    roles: dict[Name, Name] = Field({}, description='Speaker -> role, where the label does not tell: {"Anna": "user"}.')


def _decoding_fields() -> dict[str, Any]:
    """Return name -> (type, pydantic field) of each decoding option, as create_model takes them."""
    fields: dict[str, Any] = {}
    for one in DECODING_OPTIONS:
        bounds: dict[str, Any] = {"ge": one.bounds.ge, "gt": one.bounds.gt, "le": one.bounds.le}
        if one.name == "seed":
            bounds = {"ge": 0, "gt": None, "le": 2**31 - 1}  # the range that OpenAI-compatible servers take
        fields[one.name] = (one.type, Field(one.default, description=one.help, **bounds))
    return fields


_DecodingFields = create_model("_DecodingFields", __base__=RequestModel, **_decoding_fields())


class GenerationParameters(_DecodingFields):
    """How summaries are generated; the same as the options of `rolesum summarize` with these names."""

    max_new_tokens: int | None = Field(
        None,
        ge=1,
        description=f"Maximum tokens of a summary. Default: {DEFAULT_MAX_NEW_TOKENS}, or the server's limit if lower.",
    )
    samples: int = Field(1, ge=1, description="Texts to sample for each role, of which `choose` takes one.")
    choose: str | None = Field(None, description="How one of the samples is chosen: mbr, checks or likeliest.")
    long_dialogues: Literal["refuse", "drop-middle", "map-reduce", "refine"] = Field(
        "map-reduce", description="What to do with a dialogue that does not fit the model."
    )
    redact: bool = Field(False, description="Mask numbers, addresses and names before the model reads them.")
    redact_people: bool = Field(
        False,
        description="Mask names of other people, too, after titles and phrases such as 'my friend Li'; implies redact.",
    )
    checks: bool = Field(True, description="Return the supporting turns of each sentence and the flags of the checks.")
    verify: Literal["off", "flag", "quote", "drop", "rerank"] | None = Field(
        None,
        description="What becomes of the statements that the dialogue may not say: flag returns the support of each, "
        "quote quotes the dialogue in place of their sentences, drop leaves them out, rerank takes the best-supported "
        "of the samples, off verifies none. Default: quote, or flag in a stream, where the model verifies statements "
        "(/v1/info), else off.",
    )
    support_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="The support under which a statement is doubtful. Default: the model's, see /v1/info.",
    )

    def decoding(self, max_new_tokens: int) -> Decoding:
        """Return these parameters as the engine takes them. Raises UsageError as Decoding does."""
        values = {option.name: getattr(self, option.name) for option in DECODING_OPTIONS}
        return Decoding(**{**values, "max_new_tokens": max_new_tokens})


Instruction = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class SectionIn(RequestModel):
    """A section that a request defines: what the whole dialogue says about one topic."""

    title: str = Field("", max_length=200, description="What the instruction calls it. Default: its name.")
    definition: str = Field("", max_length=2000, description="What belongs in it; added to the instruction.")


class SummaryOptions(RequestModel):
    """Which summaries to generate, of one dialogue or of many."""

    model: Name | None = Field(None, description="A model of /v1/models. Default: the first.")
    roles: list[Name] | None = Field(
        None,
        min_length=1,
        fail_fast=True,
        description="overall, user, agent, or names of `sections` or `ask`. Default: all roles that have a speaker.",
    )
    sections: Name | dict[Name, SectionIn] | None = Field(
        None, description='A preset of /v1/info, or sections: {"complaints": {"definition": "What went wrong."}}.'
    )
    ask: dict[Name, Instruction] | None = Field(
        None,
        description='Instructions, by the name of a role or a new one: {"complaints": "List the complaints."}. Without '
        "`roles`, these are written.",
    )
    language: Literal["en", "zh"] | None = Field(
        None, description="Language of the instructions. Default: the dialogue's."
    )
    fields: Name | dict[str, JsonValue] | None = Field(
        None,
        description="Fill in fields instead of summaries: a preset, listed by /v1/info, or a JSON schema. A dialogue "
        "that does not fit the model is refused, or shortened with the option long_dialogues drop-middle.",
    )
    options: GenerationParameters = Field(default_factory=GenerationParameters)


class InputOptions(RequestModel):
    """A text in any supported format, and how to read it."""

    text: str | None = Field(None, min_length=1, description="A transcript, chat export, table or JSON.")
    format: Name | None = Field(None, description="Format of the text, listed by /v1/info. Default: detected.")
    encoding: Name | None = Field(
        None, description="Encoding of an uploaded file: gb18030, cp1252 … Default: detected; a text is UTF-8."
    )
    columns: dict[Name, Name] = Field(
        {}, description='Columns of a CSV or TSV: {"speaker": "who", "text": "utterance"}.'
    )
    json_path: dict[Name, Name] = Field(
        {}, description='Paths in JSON of no known format: {"turns": "data.items", "speaker": "who", "text": "body"}.'
    )
    unknown_speaker: str = Field(
        REFUSE, max_length=200, description="Turns without a speaker: refuse, name=LABEL, alternate=A,B or continue."
    )
    speakers: dict[Name, Name] = Field({}, description='Speaker -> role: {"Anna": "user"}.')


class DialogueInput(InputOptions):
    """One dialogue, given turn by turn or as a text."""

    dialogue: DialogueIn | None = None


class SummaryRequest(SummaryOptions, DialogueInput):
    """The body of POST /v1/summaries: one dialogue to summarize."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"dialogue": {"turns": EXAMPLE_TURNS}, "roles": ["user", "agent"]},
                {"text": "Anna: where is it?\nTom: on its way", "speakers": {"Anna": "user", "Tom": "agent"}},
            ]
        }
    )

    stream: bool = Field(False, description="Send server-sent events while the summaries are generated.")


class SessionRequest(RequestModel):
    """The body of POST /v1/sessions: a dialogue that grows, with the turns that are there already."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"dialogue": {"turns": EXAMPLE_TURNS}}, {"model": "mine"}]}
    )

    model: Name | None = Field(None, description="A model of /v1/models. Default: the first.")
    sections: Name | None = Field(None, description="A preset of sections, listed by /v1/info.")
    dialogue: DialogueIn | None = None


class TurnsRequest(RequestModel):
    """The body of POST /v1/sessions/ID/turns: turns to append."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"turns": EXAMPLE_TURNS[:1], "after": 0}]}
    )

    turns: list[TurnIn] = Field(min_length=1, fail_fast=True)
    roles: dict[Name, Name] = Field({}, description='Speaker -> role, where the label does not tell: {"Anna": "user"}.')
    after: int | None = Field(
        None,
        ge=0,
        description="How many turns the dialogue has; with another number it is an error (409), so that a request that "
        "is sent again appends nothing twice.",
    )


class SessionSummaryRequest(RequestModel):
    """The body of POST /v1/sessions/ID/summaries: how to summarize the dialogue as it is now."""

    roles: list[Name] | None = Field(
        None, min_length=1, fail_fast=True, description="As of POST /v1/summaries. Default: all that have a speaker."
    )
    language: Literal["en", "zh"] | None = Field(
        None, description="Language of the instructions. Default: the dialogue's."
    )
    options: GenerationParameters = Field(default_factory=GenerationParameters)
    stream: bool = Field(False, description="Send server-sent events while the summaries are generated.")

    def options_of(self, model: str, sections: str | None) -> SummaryOptions:
        """The same as options of a dialogue that is sent at once."""
        return SummaryOptions(
            model=model, sections=sections, roles=self.roles, language=self.language, options=self.options
        )


class ReadRequest(DialogueInput):
    """The body of POST /v1/dialogues: a text to read without summarizing it."""

    sections: Name | dict[Name, SectionIn] | None = Field(None, description="Sections whose names may be roles.")
    limit: int = Field(100, ge=1, le=1000, description="Dialogues to return.")


class BatchRequest(SummaryOptions, InputOptions):
    """The body of POST /v1/batches: many dialogues to summarize in the background."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dialogues": [{"id": "c-1", "turns": EXAMPLE_TURNS}], "roles": ["user"]}]}
    )

    dialogues: list[DialogueIn] | None = Field(None, min_length=1, fail_fast=True)
    webhook_url: str | None = Field(
        None, max_length=2000, description="Address that is sent the state of the batch when it has ended, signed."
    )


class FlagOut(BaseModel):
    """A span of the summary that a check flags. `start` and `end` count characters, `turns` count from 0."""

    check: str
    start: int
    end: int
    note: str
    turns: list[int]


class SentenceOut(BaseModel):
    """A sentence and the turns that hold most of its words, found without a model.

    `support` is the share of its n-grams that these turns contain: not how likely it is that the dialogue says it,
    which is the `support` of a statement. `times` are those of its turns, empty where they are unknown.
    """

    start: int
    end: int
    text: str
    turns: list[int]
    times: list[str] = []
    support: float


class StatementOut(BaseModel):
    """A statement of a summary, and whether the dialogue says it.

    `text` is what was verified; `start` and `end` are its place in the summary, in characters, or both where it stood
    if it was left out. `support` is the probability that the dialogue says it, null if it could not be verified.
    `turns` (from 0) hold most of its words, best first; `times` are theirs, empty where they are unknown. `flags` are
    what the checks find in it.
    """

    text: str
    start: int
    end: int
    support: float | None = Field(ge=0, le=1)
    turns: list[int]
    times: list[str] = []
    flags: list[str]


class QuoteOut(BaseModel):
    """A quote of the dialogue that stands in a summary in place of doubtful statements.

    `start` and `end` are its place in the summary, in characters, with the speaker's label; `turn` (from 0) is where it
    was said, and `time` when, empty where that is unknown.
    """

    start: int
    end: int
    turn: int
    time: str = ""


class SummaryOut(BaseModel):
    """One role's summary.

    `statements` are those of its text, `dropped` those that were left out of it and `quotes` what stands in their
    place; a statement whose support is under `support_threshold` is doubtful. The threshold is null where nothing was
    verified. `sentences` and `flags` are found without a model. `confidence` is the geometric mean of the tokens'
    probabilities, and no measure of truth.
    """

    role: str
    title: str
    text: str
    finish_reason: Literal["stop", "length"]
    tokens: int
    confidence: float | None
    sentences: list[SentenceOut]
    flags: list[FlagOut]
    statements: list[StatementOut] = []
    dropped: list[StatementOut] = []
    quotes: list[QuoteOut] = []
    support_threshold: float | None = None
    coverage: Coverage | None = None

    def to_summary(self, dialogue_id: str) -> RoleSummary:
        """Return the summary as the library has it."""
        statements, dropped = (
            tuple(SummaryStatement(**one.model_dump()) for one in of) for of in (self.statements, self.dropped)
        )
        return RoleSummary(
            dialogue_id,
            self.role,
            self.text,
            self.tokens,
            self.finish_reason,
            statements=statements,
            dropped=dropped,
            quotes=tuple(SummaryQuote(**one.model_dump()) for one in self.quotes),
            support_threshold=self.support_threshold,
            coverage=self.coverage,
        )


class FieldValueOut(BaseModel):
    """One value of the fields: its place in them (a JSON pointer) and the turns, from 0, that share most of its words.

    `statement` is what was verified, and `support` the probability that the dialogue says it; null where it was not.
    """

    path: str
    value: str | int | float | bool
    turns: list[int]
    statement: str = ""
    support: float | None = Field(None, ge=0, le=1)


class FieldsOut(BaseModel):
    """The fields of one dialogue: `content` fits the requested schema.

    A value whose support is under `support_threshold` is doubtful; the threshold is null where nothing was verified.
    """

    content: dict[str, JsonValue]
    values: list[FieldValueOut]
    support_threshold: float | None
    tokens: int
    coverage: Coverage | None = None


class SummariesOut(BaseModel):
    """The summaries of one dialogue, one per role, in the requested order; or its fields, if they were asked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "c-1",
                    "model": "rolesum-en-zh",
                    "language": "en",
                    "turns": 2,
                    "summaries": [
                        {
                            "role": "user",
                            "title": "user",
                            "text": "Customer says that order 4417 has not come.",
                            "finish_reason": "stop",
                            "tokens": 12,
                            "confidence": 0.78,
                            "sentences": [
                                {
                                    "start": 0,
                                    "end": 43,
                                    "text": "Customer says that order 4417 has not come.",
                                    "turns": [0],
                                    "support": 0.67,
                                }
                            ],
                            "flags": [],
                            "statements": [
                                {
                                    "text": "Customer says that order 4417 has not come.",
                                    "start": 0,
                                    "end": 43,
                                    "support": 0.97,
                                    "turns": [0],
                                    "flags": [],
                                }
                            ],
                            "dropped": [],
                            "quotes": [],
                            "support_threshold": 0.5,
                            "coverage": None,
                        }
                    ],
                    "seconds": 0.9,
                }
            ]
        }
    )

    id: str
    model: str
    language: str
    turns: int
    summaries: list[SummaryOut]
    fields: FieldsOut | None = None
    seconds: float


class SessionSummariesOut(SummariesOut):
    """The summaries of a session's dialogue as it is now.

    Of the dialogue's tokens, `reused_tokens` had been computed for an earlier summary; `computed_tokens` is null for an
    engine that keeps nothing between requests.
    """

    session: str
    computed_tokens: int | None
    reused_tokens: int


class SessionOut(BaseModel):
    """The state of a session.

    `roles` maps speakers to roles; `suggested` are the roles that can be summarized. It is deleted when it is not used
    for `expires_in` seconds. `cached_bytes` is the memory of what the model has computed of its dialogue.
    """

    id: str
    model: str
    turns: int
    language: str | None
    roles: dict[str, str]
    suggested: list[str]
    expires_in: float
    cached_bytes: int


class TurnOut(BaseModel):
    """One turn of a dialogue. `time` is as the source writes it, `shown_time` shorter; both empty if it is unknown."""

    speaker: str
    text: str
    time: str = ""
    shown_time: str = ""


class DialogueOut(BaseModel):
    """A dialogue as it was read. `roles` maps speakers to roles; `suggested` are the roles that can be summarized."""

    id: str
    language: str
    turns: list[TurnOut]
    roles: dict[str, str]
    suggested: list[str]


class DialoguesOut(BaseModel):
    """The dialogues of a text; `total` counts those that are not returned too."""

    format: str
    total: int
    dialogues: list[DialogueOut]


class DocumentRequest(RequestModel):
    """The body of POST /v1/documents: a dialogue with its summaries, as /v1/summaries returned them, to be written."""

    dialogue: DialogueIn
    summaries: list[SummaryOut] = Field(min_length=1, max_length=64, fail_fast=True)
    format: Literal["md", "docx"] = Field("md", description="Markdown, or a Word document.")


class BatchOut(BaseModel):
    """The state of a batch. `created` and `ended` are Unix times."""

    id: str
    status: Literal["waiting", "running", "done", "canceled"]
    model: str
    created: float
    ended: float | None
    total: int
    done: int
    failed: int


class BatchesOut(BaseModel):
    """A list of batches."""

    batches: list[BatchOut]


class ResultOut(BaseModel):
    """One dialogue of a batch: its summaries in `result`, or the reason why there are none in `problem`."""

    number: int
    id: str
    status: Literal["waiting", "done", "failed", "canceled"]
    result: SummariesOut | None = None
    problem: dict[str, Any] | None = None


class ResultsOut(BaseModel):
    """A page of results in input order; `next` is the offset of the next page."""

    results: list[ResultOut]
    next: int | None


class ProblemOut(BaseModel):
    """An error (RFC 9457): `detail` says what happened, `where` the place, `fix` how to fix it."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = ""
    where: str = ""
    fix: str = ""
    problems: list[dict[str, str]] = []
