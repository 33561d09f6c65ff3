"""What is asked of the service and what it answers, as JSON; the OpenAPI page is made of these."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, create_model

from rolesum.formats.options import REFUSE
from rolesum.generation.engine import DECODING_OPTIONS, DEFAULT_MAX_NEW_TOKENS, Decoding

# Half of a surrogate pair comes through JSON, and cannot be written anywhere.
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]

EXAMPLE_TURNS: list[JsonValue] = [
    {"speaker": "Customer", "text": "My parcel has not come, order 4417."},
    {"speaker": "Agent", "text": "I am sorry. It is at the depot and will be with you on Friday."},
]


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TurnIn(Asked):
    """One utterance and the label of who spoke it."""

    speaker: Name
    text: str = Field(min_length=1, max_length=20_000, pattern=r"\S")


class DialogueIn(Asked):
    """A dialogue that is known turn by turn."""

    id: Name | None = Field(None, description="Comes back with the summaries; decides sampled texts.")
    turns: list[TurnIn] = Field(min_length=1, fail_fast=True, examples=[EXAMPLE_TURNS])
    roles: dict[Name, Name] = Field({}, description="Who plays which role, where the speaker's label does not say it.")


def _decoding_fields() -> dict[str, Any]:
    """Name -> type and pydantic field of each decoding option, as create_model takes them."""
    fields: dict[str, Any] = {}
    for one in DECODING_OPTIONS:
        bounds: dict[str, Any] = {"ge": one.bounds.ge, "gt": one.bounds.gt, "le": one.bounds.le}
        if one.name == "seed":
            bounds = {"ge": 0, "gt": None, "le": 2**31 - 1}  # the range that OpenAI-compatible servers take
        fields[one.name] = (one.type, Field(one.default, description=one.help, **bounds))
    return fields


_DecodingOptions = create_model("_DecodingOptions", __base__=Asked, **_decoding_fields())


class Options(_DecodingOptions):
    """How texts are chosen, as the options of `rolesum summarize` of the same names."""

    max_new_tokens: int | None = Field(
        None,
        ge=1,
        description=f"Maximum length of a summary in tokens. Default: {DEFAULT_MAX_NEW_TOKENS}, or the server's limit.",
    )
    samples: int = Field(1, ge=1, description="Sample so many texts for each role, and choose one.")
    choose: str | None = Field(None, description="Which of them: mbr, checks or likeliest.")
    long_dialogues: Literal["refuse", "drop-middle", "map-reduce", "refine"] = Field(
        "map-reduce", description="What happens to a dialogue that does not fit the model."
    )
    redact: bool = Field(False, description="Mask numbers, addresses and names before the model sees them.")
    checks: bool = Field(True, description="Tell each sentence's evidence, and what the checks object to.")

    def decoding(self, max_new_tokens: int) -> Decoding:
        """These options as the engine takes them. Raises UsageError as Decoding does."""
        values = {one.name: getattr(self, one.name) for one in DECODING_OPTIONS}
        return Decoding(**{**values, "max_new_tokens": max_new_tokens})


class Wishes(Asked):
    """What is wanted of one dialogue or of many."""

    model: Name | None = Field(None, description="One of /v1/models; the first, if left out.")
    roles: list[Name] | None = Field(
        None,
        min_length=1,
        fail_fast=True,
        description="overall, user, agent, or names of `sections`; else all that are played.",
    )
    sections: Name | None = Field(None, description="A preset of sections, one of /v1/setup.")
    language: Literal["en", "zh"] | None = Field(None, description="Of the instructions; the dialogue's, if left out.")
    options: Options = Field(default_factory=Options)


class Reading(Asked):
    """A text in any format that rolesum reads, and how it is read."""

    text: str | None = Field(None, min_length=1, description="A transcript, chat export, table or JSON.")
    format: Name | None = Field(None, description="The text's format, one of /v1/setup; told from it, if left out.")
    columns: dict[Name, Name] = Field({}, description='Of a CSV or TSV: {"speaker": "who", "text": "utterance"}.')
    unknown_speaker: str = Field(
        REFUSE, max_length=200, description="Turns without one: refuse, name=LABEL, alternate=A,B or continue."
    )
    speakers: dict[Name, Name] = Field({}, description='Who plays which role: {"Anna": "user"}.')


class Transcript(Reading):
    """A dialogue: turn by turn, or as a text."""

    dialogue: DialogueIn | None = None


class SummaryRequest(Wishes, Transcript):
    """One dialogue to be summarized."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"dialogue": {"turns": EXAMPLE_TURNS}, "roles": ["user", "agent"]},
                {"text": "Anna: where is it?\nTom: on its way", "speakers": {"Anna": "user", "Tom": "agent"}},
            ]
        }
    )

    stream: bool = Field(False, description="Send server-sent events while the texts are written.")


class ReadRequest(Transcript):
    """A text to be read, and no more; `limit` dialogues of it are shown."""

    sections: Name | None = Field(None, description="A preset whose roles' names count.")
    limit: int = Field(100, ge=1, le=1000)


class BatchRequest(Wishes, Reading):
    """Many dialogues to be summarized in the background."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dialogues": [{"id": "c-1", "turns": EXAMPLE_TURNS}], "roles": ["user"]}]}
    )

    dialogues: list[DialogueIn] | None = Field(None, min_length=1, fail_fast=True)


class FlagOut(BaseModel):
    """A span of the summary that a check objects to; places count characters, turns count from 0."""

    check: str
    start: int
    end: int
    note: str
    turns: list[int]


class SentenceOut(BaseModel):
    """A sentence and the turns that support it best; `support` is the share of its n-grams that stand in them."""

    start: int
    end: int
    text: str
    turns: list[int]
    support: float


class SummaryOut(BaseModel):
    """One role's summary. `confidence` is the geometric mean of its tokens' probabilities."""

    role: str
    title: str
    text: str
    finish_reason: Literal["stop", "length"]
    tokens: int
    confidence: float | None
    sentences: list[SentenceOut]
    flags: list[FlagOut]
    coverage: dict[str, Any] | None = None


class SummariesOut(BaseModel):
    """One dialogue's summaries, one per role, in the order in which they were asked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "c-1",
                    "model": "rolesum-smollm2-135m",
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
    seconds: float


class TurnOut(BaseModel):
    speaker: str
    text: str


class DialogueOut(BaseModel):
    """A dialogue as it was read: who plays which role, and the roles that can be summarized."""

    id: str
    language: str
    turns: list[TurnOut]
    roles: dict[str, str]
    suggested: list[str]


class DialoguesOut(BaseModel):
    """What a text holds."""

    format: str
    total: int
    dialogues: list[DialogueOut]


class BatchOut(BaseModel):
    """How far a batch is; `created` and `ended` are seconds since 1970."""

    id: str
    status: Literal["waiting", "running", "done", "canceled"]
    model: str
    created: float
    ended: float | None
    total: int
    done: int
    failed: int


class BatchesOut(BaseModel):
    batches: list[BatchOut]


class ResultOut(BaseModel):
    """One dialogue of a batch: its summaries, or why there are none."""

    number: int
    id: str
    status: Literal["waiting", "done", "failed", "canceled"]
    result: SummariesOut | None = None
    problem: dict[str, Any] | None = None


class ResultsOut(BaseModel):
    """A page of results, in input order; `next` is the offset of the page behind it."""

    results: list[ResultOut]
    next: int | None


class ProblemOut(BaseModel):
    """What went wrong (RFC 9457): `title` and `detail` say what, `where` the place, `fix` what to do."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = ""
    where: str = ""
    fix: str = ""
    problems: list[dict[str, str]] = []
