"""The support of a model's own statements equals the formula over a plain forward of transformers, in float32."""

import numpy as np
import pytest
import torch

from helpers.scripted_engine import CHAT, OTHER
from helpers.verify_runs import verify_adapter
from rolesum.generation.engine import Decoding
from rolesum.generation.factory import EngineSpec
from rolesum.generation.long_dialogues.strategies import summarize
from rolesum.generation.own_text_support import OwnTextWeights
from rolesum.generation.support import SupportFinder, add_statements
from rolesum.generation.verification import Verifier

WEIGHTS = OwnTextWeights(0.4, 0.6, 0.9, -0.3, threshold=0.5)


@pytest.fixture(scope="module")
def engine():
    return EngineSpec(adapter=verify_adapter(), device="cpu", dtype="float32").open()


def token_logprobs(loaded, prompt, ids):
    """The log-probability of each id behind the prompt, of one forward without cache or shared prefix."""
    whole = torch.tensor([[*prompt, *ids]])
    with torch.inference_mode():
        logits = loaded.model(whole).logits[0].double()
    behind = logits[len(prompt) - 1 : -1].log_softmax(-1)
    return behind.gather(1, torch.tensor(ids)[:, None])[:, 0].numpy()


@pytest.mark.parametrize("decoding", [Decoding(max_new_tokens=40), Decoding(max_new_tokens=40, temperature=1.0)])
def test_support_is_the_logistic_function_of_the_answer_and_the_tokens_logprobs(engine, decoding):
    loaded, verifier = engine.loaded, Verifier(engine)
    verifier.own_text = WEIGHTS
    finder, dialogues = SupportFinder(verifier), [CHAT, OTHER]
    made = summarize(dialogues, engine, None, decoding, follow_up=finder.follow_up)
    found = add_statements(made, dialogues, finder, 0.5)
    compared = 0
    for dialogue, of in zip(dialogues, found, strict=True):
        for one in of:
            prompt = engine.layout.prompt(dialogue, [one.role])
            asked = [id for part in (prompt.prefix, *prompt.branches) for id in loaded.encoder.encode(part)]
            ids = [token for token, _ in one.token_logprobs]
            logprobs = token_logprobs(loaded, asked, ids)
            # Where each token begins, by what the tokens before it decode to: another way than the code's.
            lengths = [
                len(loaded.tokenizer.decode(ids[:end], skip_special_tokens=True).lstrip()) for end in range(len(ids))
            ]
            edges = np.array([*lengths, len(one.text)])
            answers = Verifier(engine).verify(dialogue, [each.text for each in one.statements])
            for said, answer in zip(one.statements, answers, strict=True):
                own = logprobs[(edges[:-1] < said.end) & (edges[1:] > said.start)]
                odds = 0.4 + 0.6 * np.log(answer / (1 - answer)) + 0.9 * own.mean() - 0.3 * np.sum(own < -1)
                assert said.support == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-5)
                assert abs(said.support - answer) > 1e-3  # so that the answer alone would not pass
                compared += 1
    assert compared >= 4
