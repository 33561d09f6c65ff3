"""A real tiny model that verifies statements, behind engines whose texts are given."""

from dataclasses import replace

from helpers.tiny import model_dir
from helpers.verify_runs import answer_set
from rolesum.dialogue import Dialogue, Turn
from rolesum.generation import Generation
from rolesum.generation.decoding.prefix_shared import PrefixSharedDecoder
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.verification import Verifier
from rolesum.instructions import load_instruction_set
from rolesum.models.loading import load_model

CHAT = Dialogue(
    "c",
    (Turn("Customer", "My lamp broke, call 020 7946 0958."), Turn("Agent", "Sorry! Tom sends a new one on Monday.")),
    {"Customer": "user", "Agent": "agent"},
)
OTHER = Dialogue("o", (Turn("Ann", "Are you coming at 5?"), Turn("Ben", "No, I am ill.")))


class ScriptedEngine(TransformersEngine):
    """Answers each role with its `texts` in turn: a text, or one for each sample. It notes what it was asked."""

    features = replace(TransformersEngine.features, follow_ups=False)  # its texts are on no prefix

    def __init__(self, texts, metadata=None, token_budget=None):
        loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
        loaded = replace(loaded, metadata={"verify": {"weight": 1.0}} if metadata is None else metadata)
        super().__init__(loaded, loaded.layout(instructions=load_instruction_set(answer_set())), token_budget)
        self.texts, self.questions = texts, []

    def encode(self, index, prompt):
        if not prompt.roles:  # it asks about statements
            self.questions.append(prompt)
        return super().encode(index, prompt)

    def generate(self, prompts, decoding, on_done=None, on_text=None):
        made = []
        for number, prompt in enumerate(prompts):
            made.append([])
            for branch, role in enumerate(prompt.roles):
                given = self.texts[role]
                sample = prompt.roles[:branch].count(role)
                text = given if isinstance(given, str) else given[sample % len(given)]
                if on_text:
                    on_text(number, branch, text)
                made[-1].append(Generation(text, 5, "stop", -0.5, -1.0))
        if on_done:
            on_done(len(prompts))
        return made


class NotingVerifier(Verifier):
    """A Verifier that notes each call: the dialogues and their statements."""

    def __init__(self, engine, **options):
        super().__init__(engine, **options)
        self.calls = []

    def verify_all(self, dialogues, statements):
        self.calls.append([(one, list(of)) for one, of in zip(dialogues, statements, strict=True)])
        return super().verify_all(dialogues, statements)


class WritingEngine(TransformersEngine):
    """Writes its `texts` token by token through the scheduler, so that they are streamed and verified as real ones.

    Each role has a text, or one for each sample. The model computes all the rest: the prefixes and the answers.
    `asked_anew` are the prompts about statements whose prefix no text had.
    """

    def __init__(self, texts, metadata=None):
        loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
        loaded = replace(loaded, metadata={"verify": {"weight": 1.0}} if metadata is None else metadata)
        super().__init__(loaded, loaded.layout(instructions=load_instruction_set(answer_set())))
        self.texts, self.scripts, self.asked_anew = texts, {}, []
        self.new_decoder = lambda: _WritingDecoder(self.loaded, self.scripts)

    def make_request(self, index, prompt, *more, **options):
        if not prompt.roles:
            self.asked_anew.append(prompt)
        else:
            counts = [prompt.roles[:place].count(role) for place, role in enumerate(prompt.roles)]
            self.scripts[index] = [self._ids(role, count) for role, count in zip(prompt.roles, counts, strict=True)]
        return super().make_request(index, prompt, *more, **options)

    def _ids(self, role, sample):
        given = self.texts[role]
        text = given if isinstance(given, str) else given[sample % len(given)]
        return [*self.loaded.tokenizer.encode(text, add_special_tokens=False), self.loaded.stop_ids[0]]


class _WritingDecoder(PrefixSharedDecoder):
    """Leaves each row of a prompt with a script no choice of the next token."""

    def __init__(self, loaded, scripts):
        super().__init__(loaded)
        self.scripts, self.left = scripts, []  # of each row, the ids that are still to be written

    def prefill(self, prompts, beams):
        logits = super().prefill(prompts, beams)
        new = [list(ids) for one in prompts for ids in self.scripts.get(one.index, [[]] * len(one.branches))]
        self.left += new
        return _only(logits, new)

    def step(self, tokens):
        return _only(super().step(tokens), self.left)

    def reorder(self, rows):
        super().reorder(rows)
        self.left = [self.left[row] for row in rows]


def _only(logits, left):
    for row, ids in zip(logits, left, strict=True):
        if ids:
            row[:] = -1e4
            row[ids.pop(0)] = 0.0
    return logits
