"""The annotation page's requests and answers, without HTTP. No answer says which system wrote an output."""

from collections.abc import Sequence
from typing import Any

from rolesum.errors import UsageError
from rolesum.evaluation.human.store import PREFERENCE, AnnotationStore, Judgment
from rolesum.evaluation.human.study import AnnotationTask, Study
from rolesum.roles import WHOLE_DIALOGUE

TIE = "="


class AnnotationSession:
    """Serves the tasks of one study to annotators and saves their answers.

    The methods return plain data for JSON. A place is the number of a task in the annotator's own order, from 0.
    """

    def __init__(self, study: Study, store: AnnotationStore) -> None:
        self._study, self._store = study, store

    def start(self, name: str) -> dict[str, Any]:
        """Register an annotator: the name as saved, the settings, and which tasks are done. Raises UsageError."""
        name = self._store.register_annotator(name)
        settings = self._study.settings
        answers = self._answers(name)
        return {
            "name": name,
            "mode": settings.mode,
            "scale": settings.scale,
            "criteria": [one.model_dump() for one in settings.criteria] if settings.mode == "rate" else [],
            "done": [self._is_done(task, answers) for task in self._study.tasks(name)],
        }

    def task(self, name: str, place: int) -> dict[str, Any]:
        """A task: the dialogue, the role, the outputs under their labels, and the answers so far."""
        name, task = self._find(name, place)
        dialogue = self._study.dialogues[task.item.dialogue]
        role = task.item.role
        return {
            "place": place,
            "language": dialogue.language,
            "turns": [
                {"speaker": turn.speaker, "role": dialogue.roles.get(turn.speaker, ""), "text": turn.text}
                for turn in dialogue.turns
            ],
            "role": role,
            "speakers": [] if role in WHOLE_DIALOGUE else list(dialogue.speakers(role)),
            "outputs": [{"label": task.label(one), "text": task.item.texts[one]} for one in task.systems],
            **self._state(task, self._answers(name, task)),
        }

    def rate(self, name: str, place: int, label: str, criterion: str, value: int) -> dict[str, Any]:
        """Save a rating: the task's answers and whether it is done. Raises UsageError for an invalid rating."""
        name, task = self._find(name, place)
        system, settings = task.system(label), self._study.settings
        names = [one.name for one in settings.criteria]
        if settings.mode != "rate" or system is None or criterion not in names or not 1 <= value <= settings.scale:
            raise UsageError("this is not an answer to the task", fix="reload the page")
        self._store.add(Judgment(name, task.item.dialogue, task.item.role, system, "", criterion, value, label))
        return self._state(task, self._answers(name, task))

    def prefer(self, name: str, place: int, choice: str) -> dict[str, Any]:
        """Save a preference: A, B, or = for a tie. Otherwise as `rate`."""
        name, task = self._find(name, place)
        if self._study.settings.mode != "prefer" or choice not in ("A", "B", TIE):
            raise UsageError("this is not an answer to the task", fix="reload the page")
        system, other = self._pair(task)
        value = 0 if choice == TIE else 1 if task.system(choice) == system else -1
        item = task.item
        self._store.add(Judgment(name, item.dialogue, item.role, system, other, PREFERENCE, value, task.label(system)))
        return self._state(task, self._answers(name, task))

    def undo(self, name: str) -> dict[str, Any]:
        """Delete the annotator's last answer: the place of its task, or None if there is no answer."""
        name = self._store.annotator_name(name)
        deleted = self._store.undo(name)
        if deleted is None:
            return {"place": None}
        tasks = self._study.tasks(name)
        place = next(place for place, task in enumerate(tasks) if self._is_about(task, deleted))
        return {"place": place, **self._state(tasks[place], self._answers(name, tasks[place]))}

    def _find(self, name: str, place: int) -> tuple[str, AnnotationTask]:
        name = self._store.annotator_name(name)
        tasks = self._study.tasks(name)
        if not 0 <= place < len(tasks):
            raise UsageError(f"there is no task {place + 1}", fix="reload the page")
        return name, tasks[place]

    def _answers(self, name: str, task: AnnotationTask | None = None) -> dict[Sequence[str], int]:
        """The annotator's answers by what they judge; with `task`, those to its dialogue."""
        rows = self._store.judgments(name, task.item.dialogue if task else None)
        return {one.unit: one.value for one in rows}

    def _pair(self, task: AnnotationTask) -> tuple[str, str]:
        """The two systems in the study's order, whatever order they are shown in."""
        first, second = (one for one in self._study.systems if one in task.systems)
        return first, second

    def _is_about(self, task: AnnotationTask, one: Judgment) -> bool:
        same = (task.item.dialogue, task.item.role) == (one.dialogue, one.role)
        return same and one.system in task.systems and (not one.other or one.other in task.systems)

    def _state(self, task: AnnotationTask, answers: dict[Sequence[str], int]) -> dict[str, Any]:
        where = (task.item.dialogue, task.item.role)
        if self._study.settings.mode == "prefer":
            system, other = self._pair(task)
            value = answers.get((*where, system, other, PREFERENCE))
            choice = None if value is None else TIE if value == 0 else task.label(system if value > 0 else other)
            return {"answers": choice, "done": choice is not None}
        ratings = {
            task.label(system): {
                one.name: answers[key]
                for one in self._study.settings.criteria
                if (key := (*where, system, "", one.name)) in answers
            }
            for system in task.systems
        }
        return {"answers": ratings, "done": all(map(self._all_criteria, ratings.values()))}

    def _all_criteria(self, ratings: dict[str, int]) -> bool:
        return len(ratings) == len(self._study.settings.criteria)

    def _is_done(self, task: AnnotationTask, answers: dict[Sequence[str], int]) -> bool:
        return bool(self._state(task, answers)["done"])
