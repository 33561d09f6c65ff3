"""The scores of the detectors, each against what it is made of."""

import json
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest

from helpers.judge_server import data_of, server
from helpers.tiny import model_dir
from helpers.tiny_encoders import classifier_dir
from helpers.tiny_seq2seq import seq2seq_dir
from helpers.verify_runs import answer_set
from rolesum.checks import check_summary
from rolesum.checks.statements import split_statements
from rolesum.dialogue import Bundle, Dialogue, Example, Turn
from rolesum.evaluation.detection.detectors import (
    check_detectors,
    entailment_detectors,
    judge_detectors,
    log_probability_detectors,
    make_verifier,
    verify_detectors,
)
from rolesum.evaluation.detection.labels import LabeledSummary, make_labels, read_labels
from rolesum.evaluation.llm_judge.prompt import CRITERIA
from rolesum.evaluation.model_metrics.compute import ModelMetricOptions
from rolesum.evaluation.model_metrics.log_probability import summary_logprobs
from rolesum.evaluation.model_metrics.nli import nli_support
from rolesum.evaluation.predictions import Prediction
from rolesum.formats import ReadOptions
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.verification import Verifier
from rolesum.instructions import load_instruction_set
from rolesum.models.loading import load_model

CHAT = Dialogue("chat", (Turn("Ann", "Where is parcel 12?"), Turn("Ben", "It comes on Monday.")), {"Ann": "user"})
WORK = Dialogue("chat", (Turn("Cem", "I sent the file and called Eve."), Turn("Eve", "Thanks.")))
LABELS = make_labels(  # the summaries of both dialogues lie mixed, and the dialogues have one id
    LabeledSummary(f"{place}", dialogue, role, text, place % 2 == 1)
    for place, (dialogue, role, text) in enumerate(
        (
            (CHAT, "user", "Ann asks about parcel 12."),
            (WORK, "overall", "Cem sent 3 files and called Eve. Eve thanked Cem."),
            (CHAT, "overall", "Ann asks about parcel 14 and 15. It comes on Monday."),
            (WORK, "overall", "Dan wrote it."),
        )
    )
)


def engine(kind="llama"):
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    return TransformersEngine(loaded, loaded.layout(instructions=load_instruction_set(answer_set())))


def scores(detectors):
    return {one.name: one.scores.tolist() for one in detectors}


def test_the_checks_count_their_flags_and_sentences_without_a_turn():
    checked = [check_summary(one.dialogue, one.role, one.text) for one in LABELS.summaries]
    flags = [len(one.flags) for one in checked]
    unsupported = [float(any(not evidence.turns for evidence in one.evidence)) for one in checked]
    assert len(set(flags)) > 2 and set(unsupported) == {0.0, 1.0}
    found = check_detectors(LABELS)
    assert scores(found) == {
        "checks, any flag": [float(bool(one)) for one in flags],
        "checks, number of flags": flags,
        "checks, no evidence": unsupported,
    }
    assert [one.threshold for one in found] == [1.0, None, 1.0]


def test_verify_scores_the_lowest_and_the_mean_support_of_the_statements():
    asked = engine()
    lowest, mean = [], []
    for one in LABELS.summaries:
        statements = [each.text for each in split_statements(one.text, "en")]
        support = Verifier(asked).verify(one.dialogue, statements)
        lowest.append(1 - min(support))
        mean.append(1 - fmean(support))
    assert len(split_statements(LABELS.summaries[1].text, "en")) == 3
    found = scores(verify_detectors(LABELS, make_verifier(LABELS, asked)))
    assert found["verify, lowest support"] == pytest.approx(lowest, abs=1e-6)
    assert found["verify, mean support"] == pytest.approx(mean, abs=1e-6)


def test_a_summary_without_a_statement_is_verified_as_a_whole():
    marks = make_labels([replace(LABELS.summaries[0], text="!!!"), *LABELS.summaries[1:]])
    asked = engine()
    assert split_statements("!!!", "en") == []
    found = verify_detectors(marks, make_verifier(marks, asked))[0].scores[0]
    assert found == pytest.approx(1 - verify_one(asked, "!!!"), abs=1e-6)


def verify_one(asked, text):
    return Verifier(asked).verify(CHAT, [text])[0]


@pytest.mark.parametrize(
    ("loaded", "reason"),
    [(lambda: model_dir("llama"), "are not one token each"), (lambda: seq2seq_dir("bart"), "is an encoder-decoder")],
)
def test_a_model_that_cannot_be_asked_says_why(loaded, reason):
    asked = TransformersEngine(load_model(loaded(), dtype="float32", device="cpu"))
    assert reason in make_verifier(LABELS, asked)


def test_log_probabilities_are_negated_and_stand_at_their_summaries():
    asked = engine()
    found = scores(log_probability_detectors(LABELS, asked))
    for place, one in enumerate(LABELS.summaries):
        alone = Bundle(one.dialogue, (Example(one.dialogue, one.role, one.text),))
        (((logprobs),),) = summary_logprobs(asked.loaded, asked.layout, [alone])
        assert found["log-probability, mean"][place] == pytest.approx(-fmean(logprobs), abs=1e-5)
        assert found["log-probability, lowest"][place] == pytest.approx(-min(logprobs), abs=1e-5)


def test_entailment_scores_the_lowest_and_the_mean_sentence():
    detectors, facts = entailment_detectors(LABELS, str(classifier_dir()), "cpu")
    found = scores(detectors)
    for place, one in enumerate(LABELS.summaries):
        of_one = nli_support([one.dialogue], [Prediction("chat", one.role, one.text, ())], str(classifier_dir()))
        (sentences,) = of_one.per_prediction
        assert found["entailment, lowest"][place] == pytest.approx(1 - min(each.score for each in sentences), abs=1e-5)
        assert found["entailment, mean"][place] == pytest.approx(1 - fmean(each.score for each in sentences), abs=1e-5)
    assert facts["labels"] == {"entailment": "entailment"} and facts["libraries"]["torch"]


def test_the_judge_rates_and_a_verdict_that_failed_has_no_score(monkeypatch):
    pytest.importorskip("openai", reason="the extra openai is not installed")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    rates = {one.text: place + 1 for place, one in enumerate(LABELS.summaries[:3])}

    def rule(request, _):
        rate = rates.get(data_of(request)["summary"])
        given = {name: rate if name == "faithfulness" else 5 for name in CRITERIA}
        return "no idea" if rate is None else json.dumps({name: {"score": one} for name, one in given.items()})

    with server(rule) as (url, seen):
        detectors, facts = judge_detectors(LABELS, ModelMetricOptions(judge=url, judge_model="tiny"))
    found = scores(detectors)
    assert found["judge, faithfulness"][:3] == [-1, -2, -3] and found["judge, accuracy"][:3] == [-5, -5, -5]
    assert np.isnan([of[3] for of in found.values()]).all()
    assert facts["model"] == "tiny" and facts["usage"]["requests"] == len(seen) == 6  # the last is asked three times


def test_statements_of_the_open_set_are_scored_in_both_languages():
    for language in ("en", "zh"):
        labels = read_labels(f"sample:dialogues-{language}-test", ReadOptions(limit=4))
        found = scores([*check_detectors(labels), *verify_detectors(labels, make_verifier(labels, engine()))])
        assert {len(of) for of in found.values()} == {len(labels.summaries)}
        assert min(found["verify, lowest support"]) > 0 and max(found["verify, lowest support"]) < 1
