"""A role that an adapter was not trained for is reported once."""

from dataclasses import replace

from helpers.tiny import model_dir
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.models import load_model


def summarizer(roles, recipe="calls", trained=("overall", "user")):
    loaded = load_model(model_dir("llama"), device="cpu", dtype="float32")
    loaded = replace(loaded, metadata={"recipe": recipe, "roles": list(trained)})
    return Summarizer(SummarizerConfig(roles=roles, decoding=Decoding(max_new_tokens=2)), TransformersEngine(loaded))


def test_a_role_that_was_not_trained_is_reported_once(capsys):
    for dialogue in read_dialogues("sample:en-test")[:2]:
        summarizer(["user", "brief"]).summarize([dialogue])
    said = capsys.readouterr().err
    assert said.count("calls was trained for overall, user: what it writes for brief is a guess") == 1


def test_of_trained_roles_nothing_is_said(capsys):
    summarizer(["user"]).summarize(read_dialogues("sample:en-test")[:1])
    assert "guess" not in capsys.readouterr().err


def test_an_adapter_that_was_trained_on_statements_alone_is_reported(capsys):
    summarizer(["user"], "statements", ()).summarize(read_dialogues("sample:en-test")[:1])
    said = capsys.readouterr().err
    assert "statements was not trained to summarize: what it writes for user is a guess" in said
