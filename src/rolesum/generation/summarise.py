"""Dialogues to summaries, through any engine, in input order."""

from collections.abc import Callable, Sequence

from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.errors import DataError, Problem
from rolesum.generation.engine import DEFAULT_MAX_NEW_TOKENS, Engine
from rolesum.roles import OVERALL, default_roles


def summarise(
    dialogues: Sequence[Dialogue],
    engine: Engine,
    roles: Sequence[str] | Sequence[Sequence[str]] | None = None,
    *,
    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS,
    on_done: Callable[[int], None] | None = None,
) -> list[list[RoleSummary]]:
    """For each dialogue, one summary per role: `roles`, for all or for each; or overall and those its speakers play.

    Raises DataError with all the dialogues in which nobody plays an asked role, or that do not fit the model.
    """
    chosen = _chosen(dialogues, roles)
    _check_roles(dialogues, chosen)
    prompts = [engine.layout.prompt(dialogue, wanted) for dialogue, wanted in zip(dialogues, chosen, strict=True)]
    generations = engine.generate(prompts, max_new_tokens, on_done)
    return [
        [
            RoleSummary(dialogue.id, role, one.text, one.tokens, one.finish_reason)
            for role, one in zip(wanted, texts, strict=True)
        ]
        for dialogue, wanted, texts in zip(dialogues, chosen, generations, strict=True)
    ]


def _chosen(
    dialogues: Sequence[Dialogue], roles: Sequence[str] | Sequence[Sequence[str]] | None
) -> list[tuple[str, ...]]:
    if not roles:
        return [default_roles(dialogue) for dialogue in dialogues]
    if isinstance(roles[0], str):
        return [tuple(map(str, roles))] * len(dialogues)
    return [tuple(each) for each in roles]


def _check_roles(dialogues: Sequence[Dialogue], chosen: Sequence[Sequence[str]]) -> None:
    problems = []
    for dialogue, wanted in zip(dialogues, chosen, strict=True):
        absent = [role for role in wanted if role != OVERALL and not dialogue.speakers(role)]
        if absent:
            speakers = ", ".join(dialogue.speakers())
            fix = f'say who it is, as in --speaker "{dialogue.speakers()[0]}={absent[0]}", or ask for --roles overall'
            problems.append(Problem(f"no speaker plays {', '.join(absent)}; speakers: {speakers}", dialogue.place, fix))
    if problems:
        raise DataError(problems)
