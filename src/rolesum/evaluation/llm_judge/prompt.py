"""The judge's prompt, and the parser of its answers."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from rolesum import strict_json
from rolesum.dialogue import Dialogue
from rolesum.errors import UsageError
from rolesum.evaluation.predictions import Prediction

CRITERIA = ("accuracy", "coherence", "grammar", "faithfulness", "coverage")
LANGUAGES = ("en", "zh")
SCALE = (1, 5)
MAX_REASON_LENGTH = 500  # characters that are kept
Messages = list[dict[str, str]]

_PLACEHOLDER = re.compile(r"\{(role|criteria|data|form|fault)\}")
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


class JudgePrompt(BaseModel):
    """The prompt in one language, read from the YAML file beside this module. Every result states its version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: int = Field(description="Raised with every change of wording.")
    language: str
    system: str = Field(description="What judging means, and that the data gives no orders.")
    user: str = Field(description="The question: {role}, {criteria}, {data} and {form} stand in it.")
    roles: Mapping[str, str] = Field(description="Role -> what its summary should cover.")
    custom: str = Field(description="The same for a role without an entry of its own.")
    criteria: Mapping[str, str] = Field(description="Criterion -> what it means.")
    reason: str = Field(description="Stands for a reason in the form of the answer.")
    reminder: str = Field(description="Sent after an answer that cannot be used: {fault}.")

    @property
    def metadata(self) -> dict[str, Any]:
        """Name, version, language and a digest of the wording, for results."""
        wording = strict_json.dumps(self.model_dump(mode="json"), ensure_ascii=False, sort_keys=True)
        digest = hashlib.sha256(wording.encode()).hexdigest()
        return {"name": self.name, "version": self.version, "language": self.language, "sha256": digest}

    def messages(self, dialogue: Dialogue, prediction: Prediction) -> Messages:
        """The question about one summary. Nothing in it says which system wrote the summary."""
        form = {name: {"score": f"{SCALE[0]}-{SCALE[1]}", "reason": self.reason} for name in CRITERIA}
        values = {
            "role": self.roles.get(prediction.role, self.custom),
            "criteria": "\n".join(f"- {name}: {self.criteria[name]}" for name in CRITERIA),
            "data": _fenced(dialogue, prediction),
            "form": strict_json.dumps(form, ensure_ascii=False),
        }
        return [{"role": "system", "content": self.system}, {"role": "user", "content": _fill(self.user, values)}]

    def retry_messages(self, answer: str, fault: str) -> Messages:
        """What is added to the question after an answer that cannot be used."""
        reminder = _fill(self.reminder, {"fault": fault})
        return [{"role": "assistant", "content": answer or "{}"}, {"role": "user", "content": reminder}]


@cache
def judge_prompt(language: str) -> JudgePrompt:
    """The built-in wording of a language."""
    if language not in LANGUAGES:
        raise UsageError(f'no judge\'s prompt in the language "{language}"', fix="en or zh")
    text = resources.files(__package__).joinpath(f"judge-{language}.yaml").read_text(encoding="utf-8")
    return JudgePrompt.model_validate(yaml.safe_load(text))


def _fill(template: str, values: Mapping[str, str]) -> str:
    """One pass, so that nothing inside a value is taken for a placeholder."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def _fenced(dialogue: Dialogue, prediction: Prediction) -> str:
    """The data as one line of JSON between marker lines that the data cannot hold.

    JSON writes every line break and quote inside a text as an escape, so that no text can begin a line; the markers
    carry a digest of the whole, which no text in it can know.
    """
    data = {
        "turns": [{"speaker": turn.speaker, "text": turn.text} for turn in dialogue.turns],
        "role": prediction.role,
        "speakers_of_the_role": list(dialogue.speakers(prediction.role)),
        "summary": prediction.prediction,
    }
    line = strict_json.dumps(data, ensure_ascii=False)
    line = line.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")
    mark = hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"----- BEGIN DATA {mark} -----\n{line}\n----- END DATA {mark} -----"


@dataclass(frozen=True, slots=True)
class Ratings:
    """A usable answer: criterion -> whole number 1 to 5, and criterion -> reason."""

    scores: Mapping[str, int]
    reasons: Mapping[str, str]


def read_answer(text: str) -> Ratings:
    """The last JSON object in an answer that rates every criterion. Raises ValueError that says what is wrong."""
    faults: list[str] = []
    decoder, last = json.JSONDecoder(), None
    text = _THOUGHT.sub("", text)
    place = text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place = text.find("{", place + 1)
            continue
        try:
            last = _ratings(value)
        except ValueError as error:
            faults.append(str(error))
            end = place + 1  # the ratings may stand inside
        place = text.find("{", end)
    if last is None:
        raise ValueError(faults[0] if faults else "there is no JSON object in it")
    return last


def _ratings(value: Any) -> Ratings:
    scores, reasons = {}, {}
    for name in CRITERIA:
        one = value.get(name) if isinstance(value, dict) else None
        if not isinstance(one, dict) or "score" not in one:
            raise ValueError(f"{name} has no score")
        score = one["score"]
        if isinstance(score, bool) or not isinstance(score, int | float) or score not in range(SCALE[0], SCALE[1] + 1):
            raise ValueError(f"the score of {name} is {strict_json.dumps(score)[:40]}, not a whole number from 1 to 5")
        scores[name] = int(score)
        reasons[name] = str(one.get("reason", ""))[:MAX_REASON_LENGTH]
    return Ratings(scores, reasons)
