"""Dialogues to summaries, through any engine, in input order."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from rolesum.dialogue import Coverage, Dialogue, RoleSummary
from rolesum.errors import DataError, Problem, UsageError
from rolesum.generation.engine import Decoding, Engine, Generation, OnText
from rolesum.instructions import PromptLayout
from rolesum.roles import default_roles

# Picks one of several texts for a role of a dialogue, by its number.
Reranker = Callable[[Dialogue, str, Sequence[Generation]], int]


def summarize(
    dialogues: Sequence[Dialogue],
    engine: Engine,
    roles: Sequence[str] | Sequence[Sequence[str]] | None = None,
    decoding: Decoding | None = None,
    *,
    samples: int = 1,
    reranker: Reranker | None = None,
    on_done: Callable[[int], None] | None = None,
    on_text: OnText | None = None,
) -> list[list[RoleSummary]]:
    """For each dialogue, one summary per role: `roles`, for all or for each; or overall and those its speakers play.

    With `samples`, as many texts are sampled for each role and `choose` picks one; its seconds are those of the last.
    `on_text` is told the numbers of the dialogue and of the role, and what was added; not with several samples. Raises
    DataError with all the dialogues in which nobody plays an asked role, or that do not fit the model.
    """
    chosen = roles_of_each(dialogues, roles)
    check_roles(dialogues, chosen, engine.layout)
    decoding = decoding or Decoding()
    check_samples(samples, reranker, decoding)
    prompts = [
        engine.layout.prompt(dialogue, [role for role in wanted for _ in range(samples)])
        for dialogue, wanted in zip(dialogues, chosen, strict=True)
    ]
    generations = engine.generate(prompts, decoding, on_done, on_text if samples == 1 else None)
    return [
        [
            role_summary(dialogue, role, _chosen(dialogue, role, texts[n * samples : (n + 1) * samples], reranker))
            for n, role in enumerate(wanted)
        ]
        for dialogue, wanted, texts in zip(dialogues, chosen, generations, strict=True)
    ]


def role_summary(dialogue: Dialogue, role: str, one: Generation, coverage: Coverage | None = None) -> RoleSummary:
    figures = (one.tokens, one.finish_reason, one.mean_logprob, one.lowest_logprob, one.seconds)
    return RoleSummary(dialogue.id, role, one.text, *figures, coverage)


def _chosen(dialogue: Dialogue, role: str, texts: Sequence[Generation], choose: Reranker | None) -> Generation:
    if len(texts) == 1 or choose is None:
        return texts[0]
    return replace(texts[choose(dialogue, role, texts)], seconds=max(one.seconds for one in texts))


def roles_of_each(
    dialogues: Sequence[Dialogue], roles: Sequence[str] | Sequence[Sequence[str]] | None
) -> list[tuple[str, ...]]:
    """The roles to be summarized of each dialogue; see summarize."""
    if not roles:
        return [default_roles(dialogue) for dialogue in dialogues]
    if isinstance(roles[0], str):
        return [tuple(map(str, roles))] * len(dialogues)
    return [tuple(each) for each in roles]


def check_samples(samples: int, reranker: Reranker | None, decoding: Decoding) -> None:
    """Raise UsageError for several samples that would be alike, or of which none is chosen."""
    if samples > 1 and (reranker is None or not decoding.temperature):
        raise UsageError("several samples need a temperature and a choice", fix="add --temperature 0.7 --choose mbr")


def check_roles(dialogues: Sequence[Dialogue], chosen: Sequence[Sequence[str]], layout: PromptLayout) -> None:
    """Raise DataError with all the dialogues in which nobody plays a role that is asked for."""
    problems = []
    for dialogue, wanted in zip(dialogues, chosen, strict=True):
        absent = [role for role in wanted if layout.needs_speaker(role) and not dialogue.speakers(role)]
        if absent:
            speakers = ", ".join(dialogue.speakers())
            fix = f'say who it is, as in --speaker "{dialogue.speakers()[0]}={absent[0]}", or ask for --roles overall'
            problems.append(
                Problem(f"no speaker plays {', '.join(absent)}; speakers: {speakers}", dialogue.location, fix)
            )
    if problems:
        raise DataError(problems)
