"""Engines without a model, whose texts are functions of the prompt: for tests of batch runs and of the protocol."""

import os
import time
from pathlib import Path

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, Problem, ResourceError
from rolesum.formats.jsonl import to_json
from rolesum.generation import Engine, Generation
from rolesum.instructions import ChatFormat, PromptLayout
from rolesum.roles import roles_of_speakers


class EchoEngine(Engine):
    """Answers with the role, the dialogue id and the last turn. Rejects dialogues that contain LONG as too long."""

    name = "echo"

    def __init__(self, seconds=0.0):
        self.layout = PromptLayout(ChatFormat())
        self.seconds = seconds
        self.calls = []

    def generate(self, prompts, decoding, on_done=None, on_text=None):
        self.calls.append([prompt.dialogue.id for prompt in prompts])
        bad = [prompt.dialogue for prompt in prompts if not self.fits(prompt, decoding.max_new_tokens)]
        if bad:
            raise DataError([Problem("too many tokens", one.location, "split the dialogue") for one in bad])
        time.sleep(self.seconds)
        if on_done:
            on_done(len(prompts))
        return [[self._text(prompt.dialogue, role) for role in prompt.roles] for prompt in prompts]

    def fits(self, prompt, max_new_tokens):
        return all("LONG" not in turn.text for turn in prompt.dialogue.turns)

    def _text(self, dialogue, role):
        return Generation(f"{role} of {dialogue.id}: {dialogue.turns[-1].text}", 5, "stop", -0.25, -1.5)


class SlowEchoEngine(EchoEngine):
    """Writes its process id into a directory, and sleeps for `seconds` in each call."""

    def __init__(self, pids, seconds):
        super().__init__(seconds)
        (Path(pids) / str(os.getpid())).touch()


class HeldEchoEngine(EchoEngine):
    """Notes the ids that each process is asked for; the first of all processes to be asked waits until it is killed.

    `notes` gets a file for each process, named by its id, and the file "held" with the id of the one that waits.
    """

    def __init__(self, notes):
        super().__init__()
        self.notes = Path(notes)

    def generate(self, prompts, *rest):
        with (self.notes / str(os.getpid())).open("a", encoding="utf-8") as file:
            file.writelines(f"{prompt.dialogue.id}\n" for prompt in prompts)
        try:
            with (self.notes / "held").open("x", encoding="utf-8") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            return super().generate(prompts, *rest)
        while True:
            time.sleep(1)


class UnreachableEngine(EchoEngine):
    def generate(self, *_, **__):
        raise ResourceError("the endpoint does not answer", fix="start it")


def dialogue(identity, *texts, speakers=("Customer", "Agent")):
    turns = tuple(Turn(speakers[n % 2], text) for n, text in enumerate(texts or ("Hello.", f"This is {identity}.")))
    return Dialogue(identity, turns, roles_of_speakers([turn.speaker for turn in turns]))


def lines(*dialogues):
    return "".join(to_json(one) + "\n" for one in dialogues)
