"""The baselines by name, and the engine that runs one."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError, did_you_mean
from rolesum.evaluation.baselines import extractors
from rolesum.evaluation.baselines.candidates import Candidates
from rolesum.generation.engine import Decoding, Engine, Generation, OnText
from rolesum.generation.engines.collector import ResultCollector
from rolesum.instructions import ChatFormat, Prompt, PromptLayout
from rolesum.roles import AGENT

DEFAULT_TURNS = 3

_BY_COUNT: dict[str, tuple[str, Callable[[Candidates, int], list[int]]]] = {
    "lead": ("the first N turns", extractors.lead),
    "longest": ("the N longest turns", extractors.longest),
    "textrank": ("the N turns that TextRank ranks highest", extractors.by_textrank),
    "lexrank": ("the N turns that LexRank ranks highest, links from a cosine of 0.1", extractors.by_lexrank),
    "lexrank-continuous": ("the same, links weighed by the cosine", extractors.by_continuous_lexrank),
    "key-turns": ("the N turns that stand for the dialogue, as --verify quote chooses them", extractors.by_key_turns),
}
_WHOLE: dict[str, tuple[str, extractors.Extractor]] = {
    "oracle": (
        "the turns that best match the reference, taken greedily: the ceiling for copying turns",
        extractors.oracle,
    ),
    "last-agent": ("the agent's last turn, for every role", extractors.last),
    "csds-longest": (
        "in Chinese, CSDS's row Longest: the longest turns until they reach a budget",
        extractors.csds_longest,
    ),
    "csds-lexpagerank": (
        "in Chinese, CSDS's row LexPageRank: the highest ranked within a budget",
        extractors.csds_lexpagerank,
    ),
}

# Used instead of CSDS's rows in other languages.
_PLAIN = {"csds-longest": "longest-3", "csds-lexpagerank": "lexrank-3"}

# Name -> what it takes of a role's turns. N is a number of turns, 3 where it is left out ("lead" is "lead-3").
BASELINES: dict[str, str] = {
    **{f"{name}-N": description for name, (description, _) in _BY_COUNT.items()},
    **{name: description for name, (description, _) in _WHOLE.items()},
}


def baseline_engine(name: str) -> Engine:
    """The baseline of that name, such as "lead-3", "textrank" or "oracle". Raises UsageError for an unknown one."""
    if name in _WHOLE:
        return BaselineEngine(name, _WHOLE[name][1], fixed_role=AGENT if name == "last-agent" else None)
    found = re.fullmatch(r"(?P<rule>[a-z-]+?)(?:-(?P<turns>[0-9]{1,9}))?", name)
    if not found or found["rule"] not in _BY_COUNT:
        known = [pattern.replace("-N", f"-{DEFAULT_TURNS}") for pattern in BASELINES]
        raise UsageError(f'unknown baseline "{name}"', fix=did_you_mean(name, known))
    turns = int(found["turns"] or DEFAULT_TURNS)
    if turns < 1:
        raise UsageError(f'baseline "{name}" takes no turn', fix=f"write {found['rule']}-1 or more")
    pick = _BY_COUNT[found["rule"]][1]
    return BaselineEngine(f"{found['rule']}-{turns}", lambda case: pick(case, turns))


@dataclass
class BaselineEngine(Engine):
    """An engine without a model, whose texts are turns of the dialogue, in its order.

    A role's turns are its candidates, and all turns are for overall; `whose` names one role whose turns are for all.
    """

    name: str
    extract: extractors.Extractor
    fixed_role: str | None = None
    layout: PromptLayout = field(default=PromptLayout(ChatFormat()), repr=False)

    def generate(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
    ) -> list[list[Generation]]:
        """For each prompt one text per role.

        `decoding` changes nothing, for a baseline sets its own length, and every finish_reason is "stop".
        Generation.tokens counts characters of Chinese, words between spaces of other text. Raises DataError, before
        any work is done, for roles that no speaker plays, references that the oracle lacks, and dialogues that are not
        Chinese where CSDS's rows are asked for.
        """
        problems = [self._problem(prompt.dialogue, role) for prompt in prompts for role in prompt.roles]
        if any(problems):
            raise DataError([problem for problem in dict.fromkeys(problems) if problem])
        collector = ResultCollector(prompts, on_done)
        for number, prompt in enumerate(prompts):
            for branch, role in enumerate(prompt.roles):
                collector.add(number, branch, self._generation(self._case(prompt.dialogue, role)))
        return collector.results()

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        """Always: a baseline reads dialogues of any length."""
        return True

    def _case(self, dialogue: Dialogue, role: str) -> Candidates:
        return Candidates(dialogue, self.fixed_role or role)

    def _generation(self, case: Candidates) -> Generation:
        text = case.text(self.extract(case))
        return Generation(text, len(text) if case.dialogue.language == "zh" else len(text.split()), "stop")

    def _problem(self, dialogue: Dialogue, role: str) -> Problem | None:
        case = self._case(dialogue, role)
        if not case.turns:
            fix = f'say who it is, as in --speaker "LABEL={case.role}", or take another baseline or other roles'
            return Problem(f"no speaker plays {case.role}", dialogue.location, fix)
        if self.name == "oracle" and not dialogue.summaries.get(role):
            return Problem(f"no reference for {role}", dialogue.location, "the oracle needs one: take another baseline")
        if self.name.startswith("csds-") and dialogue.language != "zh":
            return Problem(
                f"{self.name} is for Chinese, and its budgets too", dialogue.location, f"take {_PLAIN[self.name]}"
            )
        return None
