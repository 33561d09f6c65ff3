"""The support of a summary's statements: of one dialogue and of many, of long ones, and where verifying fails."""

import json
from dataclasses import replace

import pytest
import torch

from helpers.scripted_engine import CHAT, OTHER, NotingVerifier, ScriptedEngine
from helpers.verify_runs import verify_adapter
from rolesum.checks import check_summary
from rolesum.checks.statements import split_statements
from rolesum.dialogue import Dialogue, RoleSummary, Turn
from rolesum.errors import UsageError
from rolesum.generation import Generation
from rolesum.generation.decoding.prefix_shared import PrefixSharedDecoder
from rolesum.generation.engine import Decoding
from rolesum.generation.factory import EngineSpec
from rolesum.generation.long_dialogues.strategies import summarize
from rolesum.generation.support import (
    SupportFinder,
    add_evidence,
    add_statements,
    can_verify,
    choose_mode,
    find_support,
    open_verifier,
    support_reranker,
)
from rolesum.generation.verification import Verifier

TEXT = "The lamp of the customer broke, and Tom sends 45 new ones on Monday. He is sorry."
STATEMENTS = [one.text for one in split_statements(TEXT, "en")]


@pytest.fixture(scope="module")
def engine():
    return ScriptedEngine({})


def summary(text, role="overall", dialogue=CHAT):
    return RoleSummary(dialogue.id, role, text, 9, "stop")


def test_statements_have_the_support_that_the_verifier_gives_them(engine):
    verifier = NotingVerifier(engine)
    asked = [[summary(TEXT), summary("The lamp broke.", "user")], [summary("Ben is ill.", dialogue=OTHER)]]
    found = add_statements(asked, [CHAT, OTHER], SupportFinder(verifier), 0.4)
    assert len(verifier.calls) == 1  # for all dialogues
    assert [one.text for one in found[0][0].statements] == STATEMENTS and len(STATEMENTS) == 3
    for dialogue, of in zip([CHAT, OTHER], found, strict=True):
        for one in of:
            alone = Verifier(engine).verify(dialogue, [each.text for each in one.statements])
            assert [each.support for each in one.statements] == pytest.approx(alone, abs=1e-5)
            assert one.support_threshold == 0.4
            assert [each.support < 0.4 for each in one.statements] == [each in one.doubtful for each in one.statements]


def test_without_a_verifier_statements_have_their_turns_and_flags_and_no_support():
    (found,) = add_evidence(add_statements([[summary(TEXT)]], [CHAT], None, 0.5)[0], CHAT)
    assert [one.support for one in found.statements] == [None] * 3 and not found.doubtful
    assert [one.turns for one in found.statements[:2]] == [(0,), (1,)]


def test_that_a_text_was_cut_off_is_said_once():
    cut = replace(summary("The lamp broke and"), finish_reason="length")
    flags = []
    for one in (cut, replace(cut, finish_reason="stop")):
        (found,) = add_evidence(add_statements([[one]], [CHAT], None, 0.5)[0], CHAT)
        flags.append([each.flags for each in found.statements])
    assert flags == [[()], [("no end of a sentence",)]]


def test_a_flag_belongs_to_the_statements_that_it_overlaps():
    notes = [flag.note for flag in check_summary(CHAT, "overall", TEXT).flags]
    assert notes == ["the dialogue does not say 45"]
    (found,) = add_evidence(add_statements([[summary(TEXT)]], [CHAT], None, 0.5)[0], CHAT)
    assert [one.flags for one in found.statements] == [(), ("the dialogue does not say 45",), ()]


def test_a_statement_of_two_roles_is_verified_once_and_a_text_without_words_has_none(engine):
    verifier = NotingVerifier(engine)
    asked = [[summary("It broke."), summary("It broke.", "user"), summary("")]]
    (found,) = add_statements(asked, [CHAT], SupportFinder(verifier), 0.5)
    assert verifier.calls == [[(CHAT, ["It broke."])]]
    assert found[0].statements == found[1].statements and found[2].statements == ()


def long_chat(turns=40):
    said = [Turn("Ann" if n % 2 else "Ben", f"The train number {n} was late again, they say.") for n in range(turns)]
    return Dialogue("long", tuple(said))


def test_a_dialogue_that_does_not_fit_is_read_in_parts_and_the_support_is_the_highest():
    engine = ScriptedEngine({})
    engine.loaded.max_length = 256
    verifier, dialogue = NotingVerifier(engine), long_chat()
    (found,) = find_support(verifier, [dialogue], [STATEMENTS])
    (asked,) = verifier.calls
    assert len(asked) > 2 and all(of == STATEMENTS for _, of in asked)
    assert [turn for part, _ in asked for turn in part.turns] == list(dialogue.turns)
    parts = [Verifier(engine).verify(part, STATEMENTS) for part, _ in asked]
    assert list(found.values()) == pytest.approx([max(each) for each in zip(*parts, strict=True)], abs=1e-5)


def test_a_statement_too_long_for_the_model_is_named_and_keeps_no_other_from_its_support(capsys):
    engine = ScriptedEngine({})
    engine.loaded.max_length = 256
    long = "The lamp broke " * 60
    found = find_support(Verifier(engine), [CHAT, long_chat()], [[long, "It broke."], [long, "It broke."]])
    assert all(one[long] is None and one["It broke."] > 0 for one in found)
    assert "2 statements of the summaries could not be verified: too long for the model" in capsys.readouterr().err


def out_of_memory_beyond(rows):
    """A decoder on a device that has memory for so many rows, as a GPU says it."""

    class Decoder(PrefixSharedDecoder):
        def prefill(self, prompts, beams):
            if sum(len(prompt.branches) for prompt in prompts) > rows:
                raise torch.OutOfMemoryError("as a GPU says it")
            return super().prefill(prompts, beams)

    return Decoder


@pytest.mark.parametrize("rows", [1, 2])
def test_where_memory_runs_out_smaller_groups_give_the_same_support(rows):
    engine = ScriptedEngine({})
    asked = ([CHAT, OTHER], [STATEMENTS, [*STATEMENTS, "Ben is ill."]])
    before = Verifier(engine).verify_all(*asked)
    engine.new_decoder = lambda: out_of_memory_beyond(rows)(engine.loaded)
    after = Verifier(engine).verify_all(*asked)
    assert [one for of in after for one in of] == pytest.approx([one for of in before for one in of], abs=1e-5)


def test_where_no_memory_is_left_summaries_keep_their_statements_without_support(capsys):
    engine = ScriptedEngine({})
    engine.new_decoder = lambda: out_of_memory_beyond(0)(engine.loaded)
    (found,) = add_statements([[summary(TEXT)]], [CHAT], SupportFinder(Verifier(engine)), 0.5)
    assert [(one.text, one.support) for one in found[0].statements] == [(text, None) for text in STATEMENTS]
    told = capsys.readouterr().err
    assert "3 statements of the summaries could not be verified: a dialogue and one statement do not fit" in told


def test_one_dialogue_that_fails_costs_no_other_its_support():
    engine = ScriptedEngine({})

    class Failing(PrefixSharedDecoder):
        def prefill(self, prompts, beams):
            logits = super().prefill(prompts, beams)
            rows = [prompt.index for prompt in prompts for _ in prompt.branches]
            longest = max(range(len(prompts)), key=lambda place: len(prompts[place].prefix))
            if len(prompts[longest].prefix) > 200:  # of long_chat
                logits[[row == prompts[longest].index for row in rows]] = torch.nan
            return logits

    engine.new_decoder = lambda: Failing(engine.loaded)
    dialogues = [CHAT, long_chat(10), OTHER]
    found = find_support(Verifier(engine), dialogues, [["It broke."]] * 3)
    expected = Verifier(ScriptedEngine({})).verify_all([CHAT, OTHER], [["It broke."]] * 2)
    assert found[1] == {"It broke.": None}
    assert [found[0]["It broke."], found[2]["It broke."]] == pytest.approx([expected[0][0], expected[1][0]], abs=1e-5)


@pytest.fixture(scope="module")
def trained():
    """An engine whose adapter both summarizes and verifies."""
    return EngineSpec(adapter=verify_adapter(), device="cpu", dtype="float32").open()


def test_texts_are_verified_while_they_are_generated_with_the_support_that_they_have_alone(trained):
    finder, dialogues = SupportFinder(NotingVerifier(trained)), [CHAT, OTHER]
    decoding = Decoding(max_new_tokens=24)
    made = summarize(dialogues, trained, None, decoding, follow_up=finder.follow_up)
    found = add_statements(made, dialogues, finder, 0.5)
    assert not finder.verifier.calls and any(one.statements for of in found for one in of)
    for dialogue, of in zip(dialogues, found, strict=True):
        for one in of:
            alone = Verifier(trained).verify(dialogue, [each.text for each in one.statements])
            assert [each.support for each in one.statements] == pytest.approx(alone, abs=1e-5)


def test_samples_are_chosen_by_what_was_verified_while_they_were_generated(trained):
    verifier = NotingVerifier(trained)
    finder = SupportFinder(verifier)
    decoding = Decoding(max_new_tokens=12, temperature=1.5, seed=3)
    options = {"samples": 4, "reranker": support_reranker(finder)}
    ((chosen,),) = summarize([CHAT], trained, ["overall"], decoding, follow_up=finder.follow_up, **options)
    assert not verifier.calls
    by_separate = support_reranker(SupportFinder(Verifier(trained)))
    ((expected,),) = summarize([CHAT], trained, ["overall"], decoding, samples=4, reranker=by_separate)
    assert chosen.text == expected.text


def samples(*texts):
    return [Generation(text, 5, "stop", -1.0, -1.0) for text in texts]


def test_the_reranker_takes_the_text_whose_lowest_support_is_highest(engine):
    verifier = NotingVerifier(engine)
    texts = [TEXT, "The lamp broke.", "Tom sends a new one. It broke.", "The lamp broke.", "Ann is ill.", ""]
    chosen = support_reranker(SupportFinder(verifier))(CHAT, "overall", samples(*texts))
    ((asked,),) = verifier.calls  # all different statements of the dialogue in one call
    assert asked[0] == CHAT and len(asked[1]) == len(set(asked[1]))
    lowest = [
        min(Verifier(engine).verify(CHAT, [one.text for one in split_statements(text, "en")])) for text in texts[:-1]
    ]
    assert chosen == max(range(len(lowest)), key=lambda place: round(lowest[place], 5))
    assert len({round(one, 5) for one in lowest}) == 4


def test_of_texts_with_the_same_lowest_support_the_one_with_the_highest_mean_is_taken(engine):
    statements = ["The lamp broke.", "Tom is sorry.", "Ann calls.", "Ben is ill.", "It rained on Monday."]
    support = dict(zip(statements, Verifier(engine).verify(CHAT, statements), strict=True))
    low, *_, high = sorted(statements, key=support.get)
    texts = samples(low, f"{low} {high}", low)
    assert support_reranker(SupportFinder(Verifier(engine)))(CHAT, "overall", texts) == 1


def test_the_mode_is_quote_where_statements_can_be_verified_and_off_where_they_cannot():
    assert (choose_mode(None, None, True), choose_mode(None, None, False)) == ("quote", "off")
    assert [choose_mode(mode, None, True) for mode in ("off", "drop")] == ["off", "drop"]
    assert choose_mode("off", None, False) == "off"
    for mode, threshold in (("flag", None), ("drop", 0.3), (None, 0.3)):
        with pytest.raises(UsageError, match="needs the engine transformers with an adapter that was trained to"):
            choose_mode(mode, threshold, False)


def adapter_folder(folder, **metadata):
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    (folder / "rolesum.json").write_text(json.dumps(metadata), encoding="utf-8")
    return folder


def test_what_can_verify_is_known_from_the_files_before_anything_is_loaded(tmp_path):
    able = adapter_folder(tmp_path / "able", base="none/such", verify={"weight": 1})
    plain = adapter_folder(tmp_path / "plain", base="none/such", verify=None)
    assert can_verify(EngineSpec(adapter=able)) is True
    assert can_verify(EngineSpec(adapter=plain)) is False
    assert can_verify(EngineSpec("vllm", adapter=able)) is False
    assert can_verify(EngineSpec(model=str(able))) is True  # as of a model whose own weights were trained
    assert can_verify(EngineSpec(model="qwen2.5-coder-0.5b")) is False
    assert can_verify(EngineSpec()) is True  # the bundled adapter
    assert can_verify(EngineSpec(model="some/model")) is None


def test_only_a_model_that_was_trained_to_verify_is_asked(engine):
    assert open_verifier(engine).engine is engine
    assert open_verifier(ScriptedEngine({}, metadata={})) is None
