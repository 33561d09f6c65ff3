"""benchmarks/own_text_support.py: the features of labeled statements, the fit, and the support that it gives a run."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.verify_runs import many_statements, verify_adapter
from rolesum.checks.statements import split_statements
from rolesum.evaluation.predictions import read_predictions
from rolesum.formats import read_dialogues
from rolesum.generation.factory import EngineSpec
from rolesum.generation.own_text_support import own_text_weights
from rolesum.generation.verification import Verifier
from rolesum.models.adapter_metadata import read_adapter_metadata

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import own_text_support as script


def test_the_fit_is_the_maximum_of_the_likelihood():
    drawn = np.random.default_rng(3)
    values = drawn.normal(size=(4000, 3)) * [3.0, 1.0, 2.0]
    odds = 0.8 + values @ [0.5, 1.5, -0.3]
    labels = drawn.random(4000) < 1 / (1 + np.exp(-odds))
    found = script.fit_logistic(values, labels)
    assert found == pytest.approx([0.8, 0.5, 1.5, -0.3], abs=0.15)
    # The same by another way: gradient steps on torch's own loss.
    weights = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    design = torch.from_numpy(np.column_stack([np.ones(4000), values]))
    search = torch.optim.LBFGS([weights], max_iter=200, tolerance_grad=1e-10)

    def loss():
        search.zero_grad()
        found = torch.nn.functional.binary_cross_entropy_with_logits(design @ weights, torch.from_numpy(labels * 1.0))
        found.backward()
        return found

    search.step(loss)
    assert found == pytest.approx(weights.detach().numpy(), abs=1e-4)


TEXTS = {"overall": "The agent refused a refund. One said it rained.", "user": "It rained three days."}


@pytest.fixture
def run(tmp_path):
    """A directory with an adapter that verifies, summaries with their statements, and labels of these."""
    shutil.copytree(verify_adapter(), tmp_path / "adapter")
    rows, labels = [], []
    for number, dialogue in enumerate(read_dialogues(many_statements())):
        for role, text in TEXTS.items():
            spans = split_statements(text, "en")
            said = [{"text": one.text, "start": one.start, "end": one.end, "support": 0.5} for one in spans]
            about = {"id": dialogue.id, "role": role, "prediction": text, "references": ["It was."]}
            rows.append(about | {"statements": said, "support_threshold": 0.5})
            for place, one in enumerate(spans):
                label = "true" if (number + place) % 2 == 0 else "untrue"
                labels += [{"reader": r, "dialogue": dialogue.id, "text": one.text, "label": label} for r in "ab"]
    labels[-1]["label"] = {"true": "untrue", "untrue": "true"}[labels[-1]["label"]]  # the readers do not agree
    for name, lines in (("predictions", rows), ("labels", labels)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return tmp_path


def logprobs_of(engine, dialogue, role, span):
    """The log-probabilities of a statement's tokens, of one forward of transformers over the whole text."""
    prompt, encoder = engine.layout.prompt(dialogue, [role]), engine.loaded.encoder
    asked = [id for part in (prompt.prefix, *prompt.branches) for id in encoder.encode(part)]
    found = engine.loaded.tokenizer(TEXTS[role], add_special_tokens=False, return_offsets_mapping=True)
    with torch.inference_mode():
        logits = engine.loaded.model(torch.tensor([[*asked, *found.input_ids]])).logits[0].double()
    behind = logits[len(asked) - 1 : -1].log_softmax(-1)
    own = behind.gather(1, torch.tensor(found.input_ids)[:, None])[:, 0].tolist()
    return [
        one
        for one, (start, end) in zip(own, found.offset_mapping, strict=True)
        if start < span.end and end > span.start
    ]


def test_a_run_is_labeled_fitted_and_given_its_support(run, capsys):
    adapter, out, labels = run / "adapter", run / "features.jsonl", str(run / "labels.jsonl")
    named = [str(run), "--data", str(many_statements()), "--adapter", str(adapter)]
    assert script.main(["support", *named, "--out", str(run / "none.jsonl")]) == 1
    assert "no weights of own texts" in capsys.readouterr().err
    assert script.main(["features", *named, "--labels", labels, "--out", str(out)]) == 0
    written = out.read_bytes()
    rows = [json.loads(line) for line in written.splitlines()]
    known = script.agreed_labels(script.read_lines([Path(labels)]))
    assert {(one["dialogue"], one["text"]): one["true"] for one in rows} == known and len(known) == 4 * 3 - 1
    assert script.main(["features", *named, "--labels", labels, "--out", str(out)]) == 0
    assert out.read_bytes() == written  # each dialogue has its lines
    assert script.main(["fit", str(out), "--write", str(adapter)]) == 0
    weights = own_text_weights(read_adapter_metadata(adapter))
    assert str(weights) in capsys.readouterr().out
    assert script.main(["measure", str(out), "--adapter", str(adapter)]) == 0
    printed = capsys.readouterr().out
    assert f"11 statements, {sum(known.values())} true" in printed and printed.count("AUROC") == 2
    again = run / "again.jsonl"
    assert script.main(["support", *named, "--out", str(again)]) == 0
    engine = EngineSpec(adapter=adapter).open()
    dialogues = {one.id: one for one in read_dialogues(many_statements())}
    after = read_predictions(again)
    assert len(after) == 8
    for one in after[:3]:
        answers = Verifier(engine).verify(dialogues[one.id], [said.text for said in one.statements])
        for said, answer in zip(one.statements, answers, strict=True):
            expected = weights.support(answer, logprobs_of(engine, dialogues[one.id], one.role, said))
            assert said.support == pytest.approx(expected, abs=0.01)
        assert one.support_threshold == weights.threshold
