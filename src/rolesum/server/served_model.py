"""A model that is served: its shared engine, what it was trained for, and a summary as the service answers it."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from rolesum.checks import check_summary
from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.errors import DataError
from rolesum.generation.async_engine import AsyncEngine, EngineClient
from rolesum.generation.engine import DEFAULT_MAX_NEW_TOKENS, Decoding, OnText
from rolesum.generation.factory import EngineSpec
from rolesum.generation.long_dialogues.strategies import check_roles
from rolesum.generation.rerank import get_reranker
from rolesum.generation.summarizer import RoleConfig, Summarizer, SummarizerConfig
from rolesum.instructions import Prompt, PromptLayout, SectionSet
from rolesum.roles import BUILT_IN
from rolesum.server.limits import Limits
from rolesum.server.problems import Refusal
from rolesum.server.reading import roles_named, sections_named
from rolesum.server.schemas import FlagOut, Options, SentenceOut, SummariesOut, SummaryOut, Wishes

_LANGUAGES = {"en": "English", "zh": "Chinese"}


@dataclass(frozen=True)
class Task:
    """One dialogue with how its summaries are wanted, checked: nothing about it can be refused but its length."""

    dialogue: Dialogue
    writing: SummarizerConfig
    layout: PromptLayout
    checks: bool

    @property
    def roles(self) -> tuple[str, ...]:
        assert self.writing.roles
        return tuple(self.writing.roles)


class Served:
    """One of the service's models."""

    def __init__(self, name: str, spec: EngineSpec, declared: RoleConfig) -> None:
        """Loads it. Raises as EngineSpec.open does."""
        self.name, self.spec, self.declared = name, spec, declared
        engine = spec.open()
        engine.connect()  # an endpoint that cannot be reached is an error at the start
        self.shared = AsyncEngine(engine)
        self.layout = self.shared.engine.layout

    @property
    def trained_roles(self) -> tuple[str, ...]:
        """The roles that it was trained to write; the built-in ones for a base as it comes."""
        side = self.shared.engine.text_model
        return tuple(side.metadata.get("roles", BUILT_IN)) if side else BUILT_IN

    @property
    def languages(self) -> tuple[str, ...]:
        side = self.shared.engine.text_model
        return tuple(side.catalog_entry.languages) if side and side.catalog_entry else ("en", "zh")

    def aliases(self, sections: SectionSet | None) -> Mapping[str, Sequence[str]]:
        return {**self.declared.aliases, **(sections.aliases if sections else {})}

    def task(self, dialogue: Dialogue, wishes: Wishes, limits: Limits) -> Task:
        """Raises UsageError, DataError or Refusal for what cannot be asked of this model."""
        sections = sections_named(wishes.sections)
        layout = replace(
            self.layout, language=wishes.language or self.layout.language, sections=sections or self.layout.sections
        )
        options = wishes.options
        writing = SummarizerConfig(
            self.spec,
            roles_named(wishes, self.aliases(sections), limits),
            decoding_of(options, limits),
            long_dialogues=options.long_dialogues,
            samples=options.samples,
            reranker=get_reranker(options.choose) if options.choose else None,
            redact=options.redact,
            kept_labels=tuple(name for role, others in self.aliases(sections).items() for name in (role, *others)),
        )
        self._check_language(dialogue.language, dialogue.location)
        if wishes.language:
            self._check_language(wishes.language, "language")
        seat = self.shared.client()
        seat.layout = layout
        roles = Summarizer(writing, seat).roles_for(dialogue)
        check_roles([dialogue], [roles], layout)
        return Task(dialogue, replace(writing, roles=roles), layout, options.checks)

    def _check_language(self, language: str, where: str) -> None:
        if language not in self.languages:
            reads = " and ".join(_LANGUAGES.get(one, one) for one in self.languages)
            what = f"{self.name} reads {reads}, and this is {_LANGUAGES.get(language, language)}"
            raise DataError(what, where, "ask another of /v1/models, or serve one that reads it: rolesum models list")

    def write(self, task: Task, seat: EngineClient, on_text: OnText | None = None) -> SummariesOut:
        """The summaries, once they are all there. Raises DataError for what does not fit, RequestCanceled."""
        begun = time.monotonic()
        seat.layout = task.layout
        found = Summarizer(task.writing, seat).summarize([task.dialogue], on_text=on_text)[0]
        return SummariesOut(
            id=task.dialogue.id,
            model=self.name,
            language=task.dialogue.language,
            turns=len(task.dialogue.turns),
            summaries=[self._summary(task, one) for one in found],
            seconds=round(time.monotonic() - begun, 3),
        )

    def tokens(self, prompt: Prompt) -> int:
        """Tokens of a prompt, its dialogue counted once; 0 for an endpoint, whose tokens are not known here."""
        side = self.shared.engine.text_model
        if side is None:
            return 0
        with self.shared.tokenizer_lock:
            return sum(len(side.encoder.encode(part)) for part in (prompt.prefix, *prompt.branches))

    def title(self, task: Task, role: str) -> str:
        """What a role or section is called in the dialogue's language."""
        sections = task.layout.sections
        if sections and role in sections.names:
            return sections.title(role, task.layout.instruction_set_for(task.dialogue).language)
        return role

    def _summary(self, task: Task, one: RoleSummary) -> SummaryOut:
        sentences, flags = [], []
        if task.checks and one.text:
            checked = check_summary(task.dialogue, one.role, one.text)
            flags = [FlagOut(**asdict(flag) | {"turns": list(flag.turns)}) for flag in checked.flags]
            sentences = [
                SentenceOut(
                    start=each.start,
                    end=each.end,
                    text=one.text[each.start : each.end],
                    turns=list(each.turns),
                    support=round(each.support, 4),
                )
                for each in checked.evidence
            ]
        return SummaryOut(
            role=one.role,
            title=self.title(task, one.role),
            text=one.text,
            finish_reason="length" if one.finish_reason == "length" else "stop",
            tokens=one.tokens,
            confidence=None if one.mean_logprob is None else round(math.exp(one.mean_logprob), 4),
            sentences=sentences,
            flags=flags,
            coverage=asdict(one.coverage) if one.coverage else None,
        )


def decoding_of(options: Options, limits: Limits) -> Decoding:
    """Raises Refusal for more than the limits allow, UsageError for what does not go together."""
    longest = options.max_new_tokens or min(DEFAULT_MAX_NEW_TOKENS, limits.new_tokens)
    if longest > limits.new_tokens:
        what = f"max_new_tokens {longest}; at most {limits.new_tokens}"
        raise Refusal(413, what, where="options.max_new_tokens", fix="ask for shorter summaries")
    for name in ("samples", "beams"):
        if (asked := getattr(options, name)) > limits.lanes:
            raise Refusal(413, f"{name} {asked}; at most {limits.lanes}", where=f"options.{name}", fix="ask for fewer")
    return options.decoding(longest)
