"""A served model: its engine, shared by all requests, what it was trained for, and the summaries that it generates."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from rolesum.checks import Flag, check_summary
from rolesum.dialogue import Dialogue, RoleSummary, SummaryQuote
from rolesum.errors import DataError, UsageError
from rolesum.formats.shown_times import shown_times, times_of
from rolesum.generation.async_engine import AsyncEngine, EngineClient
from rolesum.generation.engine import DEFAULT_MAX_NEW_TOKENS, Decoding, OnText
from rolesum.generation.engines.collector import token_texts
from rolesum.generation.extraction import DEFAULT_MAX_FIELD_TOKENS, check_extraction
from rolesum.generation.factory import EngineSpec
from rolesum.generation.field_output import value_record
from rolesum.generation.long_dialogues.runner import OnPart
from rolesum.generation.long_dialogues.strategies import check_roles
from rolesum.generation.role_config import RoleConfig
from rolesum.generation.statement_notes import quote_record, statement_record
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.generation.support import open_verifier
from rolesum.instructions import FieldSchema, Prompt, PromptLayout, SectionSet
from rolesum.roles import DEFAULT_ROLES
from rolesum.server.limits import Limits
from rolesum.server.problems import HTTPProblem
from rolesum.server.request_parsing import (
    load_requested_fields,
    requested_instructions,
    requested_roles,
    requested_sections,
)
from rolesum.server.schemas import (
    FieldsOut,
    FieldValueOut,
    FlagOut,
    GenerationParameters,
    QuoteOut,
    SentenceOut,
    StatementOut,
    SummariesOut,
    SummaryOptions,
    SummaryOut,
)

if TYPE_CHECKING:
    from rolesum.generation.decoding.kept_prefix import KeptPrefix

_LANGUAGES = {"en": "English", "zh": "Chinese"}


@dataclass(frozen=True)
class SummaryJob:
    """One dialogue and how to summarize it, all checked: only its length can still be a problem.

    `kept` are the keys of the dialogue as it was before.
    """

    dialogue: Dialogue
    config: SummarizerConfig
    layout: PromptLayout
    with_checks: bool
    kept: "KeptPrefix | None" = None

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles to summarize for; none where fields are filled in."""
        assert self.config.roles or self.config.fields
        return tuple(self.config.roles or ())


class ServedModel:
    """A loaded model under its name in the API.

    Attributes:
        support_threshold: The support under which a statement of a summary is doubtful; None if none is verified.
    """

    def __init__(self, name: str, spec: EngineSpec, role_config: RoleConfig) -> None:
        """Load the model. Raises as EngineSpec.open does, and ModelError for a stored threshold outside of 0 to 1."""
        self.name, self.spec, self.role_config = name, spec, role_config
        engine = spec.open()
        engine.connect()  # an endpoint that cannot be reached is an error at the start
        self.engine = AsyncEngine(engine)
        self.layout = self.engine.engine.layout
        verifier = open_verifier(self.engine.client())
        self.support_threshold = verifier.summary_threshold if verifier else None

    @property
    def trained_roles(self) -> tuple[str, ...]:
        """The roles that the adapter was trained for; the built-in ones without an adapter."""
        text_model = self.engine.engine.text_model
        roles = text_model.metadata.get("roles") if text_model else None
        return tuple(roles) if roles is not None else DEFAULT_ROLES

    @property
    def context(self) -> int | None:
        """The tokens that the model takes, prompt and answer together; None for an endpoint that does not say."""
        text_model, endpoint = self.engine.engine.text_model, getattr(self.engine.engine, "context", None)
        lengths = (self.spec.context, endpoint, text_model.max_length if text_model else None)
        return min((one for one in lengths if one is not None), default=None)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the model reads."""
        text_model = self.engine.engine.text_model
        return tuple(text_model.catalog_entry.languages) if text_model and text_model.catalog_entry else ("en", "zh")

    def aliases(self, sections: SectionSet | None) -> Mapping[str, Sequence[str]]:
        """Return the custom roles, each with its other names: those of the adapter and of a preset."""
        return {**self.role_config.aliases, **(sections.aliases if sections else {})}

    def create_job(self, dialogue: Dialogue, options: SummaryOptions, limits: Limits) -> SummaryJob:
        """Check a request. Raises UsageError, DataError or HTTPProblem for what this model cannot do."""
        if options.fields is not None:
            return self._create_field_job(dialogue, options, load_requested_fields(options.fields), limits)
        sections = requested_sections(options.sections)
        aliases = self.aliases(sections)
        layout = replace(
            self.layout,
            language=options.language or self.layout.language,
            sections=sections or self.layout.sections,
            asked=requested_instructions(options, aliases, limits) or None,
        )
        config = replace(
            self.create_config(options.options, limits),
            roles=requested_roles(options, aliases, limits),
            aliases=aliases,
        )
        self._check_language(dialogue.language, dialogue.location)
        if options.language:
            self._check_language(options.language, "language")
        client = self.engine.client()
        client.layout = layout
        roles = Summarizer(config, client).roles_for(dialogue)
        check_roles([dialogue], [roles], layout)
        return SummaryJob(dialogue, replace(config, roles=roles), layout, options.options.checks)

    def _create_field_job(
        self, dialogue: Dialogue, options: SummaryOptions, fields: FieldSchema, limits: Limits
    ) -> SummaryJob:
        parameters = options.options
        limit = parameters.max_new_tokens or min(DEFAULT_MAX_FIELD_TOKENS, limits.max_new_tokens)
        strategy = parameters.long_dialogues if parameters.long_dialogues != "map-reduce" else None  # the default
        given = {"max_new_tokens": limit, "roles": options.roles, "sections": options.sections, "ask": options.ask}
        config = self.create_config(parameters, limits).with_fields(fields, {**given, "long_dialogues": strategy})
        layout = replace(self.layout, language=options.language or self.layout.language)
        for language, where in ((dialogue.language, dialogue.location), (options.language, "language")):
            if language:
                self._check_language(language, where)
        check_extraction(self.engine.engine, config.decoding, config.long_dialogues)
        return SummaryJob(dialogue, config, layout, with_checks=False)

    def create_config(self, parameters: GenerationParameters, limits: Limits) -> SummarizerConfig:
        """Check how summaries are to be generated. Raises as `to_decoding`, and UsageError."""
        self._check_verify(parameters)
        return SummarizerConfig(self.spec, decoding=to_decoding(parameters, limits)).with_arguments(
            long_dialogues=parameters.long_dialogues,
            samples=parameters.samples,
            choose=parameters.choose,
            redact=parameters.redact,
            redact_people=parameters.redact_people,
            verify=parameters.verify,
            support_threshold=parameters.support_threshold,
        )

    def _check_verify(self, parameters: GenerationParameters) -> None:
        if self.support_threshold is not None:
            return
        asked = {"verify": parameters.verify not in (None, "off")}
        asked["support_threshold"] = parameters.support_threshold is not None
        if keys := [f"options.{name}" for name, is_asked in asked.items() if is_asked]:
            what = f"the model {self.name} does not verify statements"
            fix = f"leave {' and '.join(keys)} out, or use a model that has a support_threshold in /v1/info"
            raise UsageError(what, keys[0], fix)

    def _check_language(self, language: str, where: str) -> None:
        if language not in self.languages:
            known = " and ".join(_LANGUAGES.get(one, one) for one in self.languages)
            what = f"the model {self.name} supports {known}, not {_LANGUAGES.get(language, language)}"
            raise DataError(what, where, "use another model of /v1/models, or serve one that rolesum models lists")

    def summarize(
        self, job: SummaryJob, client: EngineClient, on_text: OnText | None = None, on_part: OnPart | None = None
    ) -> SummariesOut:
        """Generate the summaries of a job. `on_text` receives them while they grow, `on_part` how far it is read.

        Raises DataError for a dialogue that does not fit, RequestCanceled once the client is canceled.
        """
        started = time.monotonic()
        if job.config.fields:
            client.layout, client.kept = job.layout, job.kept
            return self._extract(job, client, started)
        summaries = self.generate(job, client, on_text, on_part)
        return SummariesOut(
            id=job.dialogue.id,
            model=self.name,
            language=job.dialogue.language,
            turns=len(job.dialogue.turns),
            summaries=[self._summary_out(job, summary) for summary in summaries],
            seconds=round(time.monotonic() - started, 3),
        )

    def _extract(self, job: SummaryJob, client: EngineClient, started: float) -> SummariesOut:
        (found,) = Summarizer(job.config, client).extract_fields([job.dialogue])
        if found.fields is None:
            raise DataError(
                found.problem, job.dialogue.location, "raise options.max_new_tokens, or ask for fewer fields"
            )
        fields = FieldsOut(
            content=found.fields,
            values=[FieldValueOut(**value_record(one, found.support_threshold)) for one in found.values],
            support_threshold=found.support_threshold,
            tokens=found.tokens,
            coverage=found.coverage,
        )
        return SummariesOut(
            id=job.dialogue.id,
            model=self.name,
            language=job.dialogue.language,
            turns=len(job.dialogue.turns),
            summaries=[],
            fields=fields,
            seconds=round(time.monotonic() - started, 3),
        )

    def generate(
        self, job: SummaryJob, client: EngineClient, on_text: OnText | None = None, on_part: OnPart | None = None
    ) -> list[RoleSummary]:
        """Generate the summaries of a job as `summarize`, without what the checks find."""
        client.layout, client.kept = job.layout, job.kept
        return Summarizer(job.config, client).summarize([job.dialogue], on_text=on_text, on_part=on_part)[0]

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """Return what each token adds to the text of all; of a character in several tokens, the last one adds it."""
        text_model = self.engine.engine.text_model
        assert text_model is not None  # an engine that gives tokens has a tokenizer
        with self.engine.tokenizer_lock:
            return token_texts(text_model.tokenizer, ids)

    def count_text_tokens(self, text: str) -> int:
        """Count the tokens of a generated text; 0 for an endpoint, whose tokenizer is not known."""
        text_model = self.engine.engine.text_model
        if text_model is None:
            return 0
        with self.engine.tokenizer_lock:
            return len(text_model.tokenizer.encode(text, add_special_tokens=False))

    def count_tokens(self, prompt: Prompt) -> int:
        """Count the tokens of a prompt, its dialogue once; 0 for an endpoint, whose tokenizer is not known."""
        text_model = self.engine.engine.text_model
        if text_model is None:
            return 0
        with self.engine.tokenizer_lock:
            return sum(len(text_model.encoder.encode(part)) for part in (prompt.prefix, *prompt.branches))

    def role_title(self, job: SummaryJob, role: str) -> str:
        """Return the title of a role or section in the language of the job."""
        sections = job.layout.sections
        if sections and role in sections.names:
            return sections.title(role, job.layout.instruction_set_for(job.dialogue).language)
        return role

    def _summary_out(self, job: SummaryJob, summary: RoleSummary) -> SummaryOut:
        sentences, flags = [], []
        if job.with_checks and summary.text:
            times = shown_times(job.dialogue)
            checked = check_summary(job.dialogue, summary.role, summary.text)
            own = (flag for flag in checked.flags if not _is_quoted(flag, summary.quotes))
            flags = [FlagOut(**asdict(flag) | {"turns": list(flag.turns)}) for flag in own]
            sentences = [
                SentenceOut(
                    start=sentence.start,
                    end=sentence.end,
                    text=summary.text[sentence.start : sentence.end],
                    turns=list(sentence.turns),
                    times=list(times_of(sentence.turns, times)),
                    support=round(sentence.support, 4),
                )
                for sentence in checked.evidence
            ]
        return SummaryOut(
            role=summary.role,
            title=self.role_title(job, summary.role),
            text=summary.text,
            finish_reason="length" if summary.finish_reason == "length" else "stop",
            tokens=summary.tokens,
            confidence=None if summary.mean_logprob is None else round(math.exp(summary.mean_logprob), 4),
            sentences=sentences,
            flags=flags,
            statements=[StatementOut(**statement_record(one, summary.support_threshold)) for one in summary.statements],
            dropped=[StatementOut(**statement_record(one, summary.support_threshold)) for one in summary.dropped],
            quotes=[QuoteOut(**quote_record(one)) for one in summary.quotes],
            support_threshold=summary.support_threshold,
            coverage=summary.coverage,
        )


def _is_quoted(flag: Flag, quotes: Sequence[SummaryQuote]) -> bool:
    """Whether a check flags words of the dialogue, which were not written by the model."""
    return any(one.start < flag.end and flag.start < one.end for one in quotes)


def to_decoding(parameters: GenerationParameters, limits: Limits) -> Decoding:
    """Return the decoding parameters of a request.

    Raises HTTPProblem 413 for values over the limits, UsageError for values that do not go together.
    """
    max_new_tokens = parameters.max_new_tokens or min(DEFAULT_MAX_NEW_TOKENS, limits.max_new_tokens)
    if max_new_tokens > limits.max_new_tokens:
        what = f"max_new_tokens is {max_new_tokens}; at most {limits.max_new_tokens} are allowed"
        raise HTTPProblem(413, what, where="options.max_new_tokens", fix="ask for shorter summaries")
    for name in ("samples", "beams"):
        if (value := getattr(parameters, name)) > limits.max_samples:
            what = f"{name} is {value}; at most {limits.max_samples} are allowed"
            raise HTTPProblem(413, what, where=f"options.{name}", fix="ask for fewer")
    return parameters.decoding(max_new_tokens)
