import math
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from nltk.stem.porter import PorterStemmer
from rouge_score.tokenize import tokenize as rouge_tokens

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, UsageError
from rolesum.evaluation.baselines import BASELINES, baseline_engine
from rolesum.evaluation.baselines.candidates import Candidates
from rolesum.evaluation.baselines.centrality import DAMPING, cosine_similarities, lexrank, pagerank, textrank
from rolesum.evaluation.baselines.extractors import CSDS_BUDGETS
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding, summarize
from rolesum.metrics.scorers import score

COUNTED = [name.removesuffix("-N") for name in BASELINES if name.endswith("-N")]
CHINESE_ONLY = ("csds-longest", "csds-lexpagerank")


def dialogue(*turns, roles=None, summaries=None, language="en"):
    return Dialogue("d1", tuple(Turn(*turn) for turn in turns), roles or {}, summaries or {}, language)


def service(**more):
    return dialogue(
        ("Customer", "My parcel is late."),
        ("Agent", "Hello."),
        ("Agent", "The parcel was lost, and we send a new one tomorrow."),
        ("Customer", "Thanks!"),
        ("Agent", "Bye."),
        roles={"Customer": "user", "Agent": "agent"},
        **more,
    )


def text_of(name, one, role="overall"):
    return summarize([one], baseline_engine(name), [role])[0][0].text


def published(shared, role, system):
    folder = "final" if role == "overall" else role
    path = shared / "data" / "csds-system-outputs" / folder / f"{system}.txt"
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def test_lead_takes_the_first_turns_of_the_role_and_of_all_for_overall():
    assert text_of("lead-2", service()) == "Customer: My parcel is late.\nAgent: Hello."
    assert text_of("lead-2", service(), "user") == "Customer: My parcel is late.\nCustomer: Thanks!"


def test_key_turns_take_what_the_user_wants_and_what_the_agent_answers():
    assert text_of("key-turns-1", service(), "user") == "Customer: My parcel is late."
    assert text_of("key-turns-1", service(), "agent").startswith("Agent: The parcel was lost")
    assert text_of("key-turns-3", service()).startswith("Customer: My parcel is late.\nAgent: The parcel was lost")


def test_longest_takes_the_longest_turns_and_writes_them_in_dialogue_order():
    assert text_of("longest-2", service(), "agent").startswith("Agent: Hello.\nAgent: The parcel was lost")
    assert text_of("longest-1", service(), "user") == "Customer: My parcel is late."


def test_more_turns_than_there_are_give_all_of_them():
    for name in COUNTED:
        assert text_of(f"{name}-99", service(), "user") == "Customer: My parcel is late.\nCustomer: Thanks!"


def test_last_agent_copies_the_last_agent_turn_for_every_role():
    assert [text_of("last-agent", service(), role) for role in ("overall", "user", "agent")] == ["Agent: Bye."] * 3


def test_chinese_turns_are_joined_as_csds_joins_them():
    one = dialogue(
        ("用户", "在吗。"),
        ("客服", "您好，请讲"),
        ("用户", "谢谢"),
        roles={"用户": "user", "客服": "agent"},
        language="zh",
    )
    assert text_of("lead-3", one) == "用户：在吗。客服：您好，请讲。用户：谢谢"


def test_a_custom_role_has_its_own_turns_only():
    one = dialogue(("Ann", "I speak."), ("Bob", "So do I."), ("Cy", "And I too."), roles={"Bob": "witness"})
    for name in COUNTED:
        assert text_of(name, one, "witness") == "Bob: So do I."


def test_a_dialogue_without_roles_is_summarized_overall_and_refused_for_other_roles():
    one = dialogue(("Ann", "Lunch?"), ("Bob", "Yes, at noon."))
    assert text_of("longest-1", one) == "Bob: Yes, at noon."
    with pytest.raises(DataError, match="agent"):
        text_of("last-agent", one)


@pytest.mark.parametrize("name", ["textrank-1", "lexrank-1", "lexrank-continuous-1"])
def test_the_turn_that_shares_words_with_most_others_is_the_most_central(name):
    one = dialogue(
        ("A", "Rain ruined tents"),
        ("B", "Bitter coffee"),
        ("A", "Rain, coffee and football"),
        ("B", "Football tomorrow"),
    )
    assert text_of(name, one) == "A: Rain, coffee and football"


def test_stop_words_and_endings_link_no_english_turns_and_hide_no_links():
    one = dialogue(
        ("A", "You are the one"), ("B", "I am the one and you are it"), ("A", "He parked cars"), ("B", "Park a car")
    )
    assert text_of("textrank-1", one) == "A: He parked cars"


def test_textrank_weighs_by_shared_terms_over_the_logarithms_of_lengths():
    ranks = textrank([["a", "b", "c"], ["a", "b"], ["c", "x", "y", "z"], ["q"]])
    heavy, light = 2 / math.log(6), 1 / math.log(12)
    center = ranks[0]
    assert ranks[1] == pytest.approx(1 - DAMPING + DAMPING * center * heavy / (heavy + light))
    assert ranks[2] == pytest.approx(1 - DAMPING + DAMPING * center * light / (heavy + light))
    assert ranks[3] == pytest.approx(1 - DAMPING)


def test_pagerank_is_the_fixed_point_of_its_iteration():
    weights = np.random.default_rng(1).random((7, 7))
    weights += weights.T
    shares = weights / weights.sum(axis=1, keepdims=True)
    ranks = np.ones(7)
    for _ in range(300):
        ranks = (1 - DAMPING) + DAMPING * shares.T @ ranks
    assert np.allclose(pagerank(weights), ranks)
    assert pagerank(weights).sum() == pytest.approx(7)


def test_cosines_weigh_a_term_by_the_turns_that_lack_it():
    cosines = cosine_similarities([["a", "b"], ["a"], ["c", "c"], []])
    a, b = math.log(5 / 2), math.log(5)
    assert cosines[0, 1] == pytest.approx(a / math.hypot(a, b))
    assert cosines[0, 2] == 0
    assert cosines[2, 2] == pytest.approx(1)
    assert not cosines[3].any()


def test_lexrank_links_from_the_threshold_on_and_each_turn_to_itself():
    terms = [["a", *"klmnopqrstuvw"], ["a", "x", "y", "z"], ["a", "x"]]
    cosines = cosine_similarities(terms)
    assert 0 < cosines[0, 1] < 0.01 < cosines[0, 2] < 0.1 < cosines[1, 2]
    assert np.allclose(lexrank(terms), pagerank(np.array([[1.0, 0, 0], [0, 1, 1], [0, 1, 1]])))
    assert np.allclose(lexrank(terms, 0.01), pagerank(np.array([[1.0, 0, 1], [0, 1, 1], [1, 1, 1]])))
    assert np.allclose(lexrank(terms, None), pagerank(cosines))


def sum_of_rouge(case, places):
    """ROUGE-1 F plus ROUGE-2 F of the pieces at these places, by the definition; no bigram spans two pieces."""
    total = 0.0
    for size in (1, 2):
        wanted = grams(case.dialogue.summaries[case.role][0], size, case.dialogue.language)
        held = Counter()
        for place in places:
            held += grams(case.pieces[place], size, case.dialogue.language)
        total += 2 * (held & wanted).total() / (held.total() + wanted.total())
    return total


def grams(text, size, language):
    tokens = list(text) if language == "zh" else rouge_tokens(text, PorterStemmer())
    return Counter(tuple(tokens[place : place + size]) for place in range(len(tokens) + 1 - size))


@pytest.mark.parametrize("sample", ["sample:zh-test", "sample:en-test"])
def test_the_oracle_takes_the_turn_that_raises_rouge_1_and_2_most_until_none_does(sample):
    for one in read_dialogues(sample)[:4]:
        for role in one.summaries:
            case = Candidates(one, role)
            chosen = baseline_engine("oracle").extract(case)
            reached = 0.0
            for step in range(len(chosen) + 1):
                others = [place for place in range(len(case.pieces)) if place not in chosen[:step]]
                sums = {other: sum_of_rouge(case, [*chosen[:step], other]) for other in others}
                best = max(sums.values(), default=0.0)
                if step == len(chosen):
                    assert best <= reached + 1e-9
                else:
                    assert best > reached
                    assert sums[chosen[step]] == pytest.approx(best)
                    reached = best


@pytest.mark.parametrize("sample", ["sample:zh-test", "sample:en-test"])
def test_no_baseline_beats_the_oracle(sample):
    dialogues = read_dialogues(sample)
    found = {}
    for name in (*COUNTED, "oracle"):
        written = summarize(dialogues, baseline_engine(name), ["overall"])
        pairs = [(one.text, each.summaries["overall"][:1]) for each, (one,) in zip(dialogues, written, strict=True)]
        means = score("csds" if "zh" in sample else "samsum", pairs).means
        found[name] = means["rouge1"] + means["rouge2"]
    assert max(found, key=found.__getitem__) == "oracle"


def test_the_oracle_refuses_dialogues_without_references_and_names_them():
    with pytest.raises(DataError, match="d1") as caught:
        summarize([service(), service(summaries={"user": ("Late.",)})], baseline_engine("oracle"), ["user", "agent"])
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("name", CHINESE_ONLY)
def test_rows_of_csds_refuse_dialogues_that_are_not_chinese(name):
    with pytest.raises(DataError, match="Chinese"):
        text_of(name, service())


def test_csds_lexpagerank_stays_below_its_budget_and_writes_something_where_every_turn_is_longer():
    for one in read_dialogues("sample:zh-test"):
        for role in one.summaries:
            case = Candidates(one, role)
            chosen = baseline_engine("csds-lexpagerank").extract(case)
            length = sum(len(case.pieces[place]) for place in chosen)
            assert chosen
            assert length < CSDS_BUDGETS[role] or len(chosen) == 1
    long = dialogue(("用户", "长" * 90), language="zh")
    assert text_of("csds-lexpagerank", long) == "用户：" + "长" * 90


def test_csds_longest_goes_on_until_its_budget_is_reached():
    one = dialogue(*[("用户", "字" * length) for length in (9, 12, 11, 10, 13)], roles={"用户": "user"}, language="zh")
    assert text_of("csds-longest", one, "user") == "。".join("用户：" + "字" * length for length in (12, 11, 13))


def test_every_baseline_writes_every_role_of_every_sample_and_tells_what_it_has_done():
    for sample in ("sample:zh-test", "sample:en-test"):
        dialogues = read_dialogues(sample)[:5]
        for name in BASELINES:
            if name in CHINESE_ONLY and "en" in sample:
                continue
            done = []
            engine = baseline_engine(name.removesuffix("-N"))
            written = summarize(dialogues, engine, on_done=done.append, decoding=Decoding(max_new_tokens=1))
            assert sum(done) == len(dialogues)
            for each, summaries in zip(dialogues, written, strict=True):
                turns = {turn.text for turn in each.turns}
                for one in summaries:
                    assert one.text
                    assert one.finish_reason == "stop"
                    assert one.tokens == (len(one.text) if each.language == "zh" else len(one.text.split()))
                    if each.language == "en":
                        assert all(line.split(": ", 1)[1] in turns for line in one.text.split("\n"))


def test_a_name_without_a_number_stands_for_three_turns():
    assert baseline_engine("textrank").name == "textrank-3"
    assert text_of("lead", service()) == text_of("lead-3", service())


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("leed-3", 'did you mean "lead-3"'),
        ("orcale", 'did you mean "oracle"'),
        ("lead-0", "lead-1"),
        ("oracle-3", "oracle"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, hint):
    with pytest.raises(UsageError, match=hint):
        baseline_engine(name)


def test_baselines_load_no_torch():
    code = "import sys, rolesum.evaluation.baselines; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("role", "same", "figures"),
    [
        ("overall", 650, (30.02, 15.52, 28.00)),
        ("user", 750, (35.42, 20.26, 33.49)),
        ("agent", 700, (25.94, 13.84, 24.01)),
    ],
)
def test_csds_longest_gives_the_published_row(shared, role, same, figures):
    dialogues = read_dialogues(shared / "data" / "csds" / "test.json")
    texts = [one.text for (one,) in summarize(dialogues, baseline_engine("csds-longest"), [role])]
    theirs = published(shared, role, "Longest")
    assert sum(ours == line for ours, line in zip(texts, theirs, strict=True)) >= same
    means = score("csds", [(text, each.summaries[role]) for text, each in zip(texts, dialogues, strict=True)]).means
    assert [means[measure] for measure in ("rouge1", "rouge2", "rougeLsum")] == pytest.approx(figures, abs=0.2)


def test_csds_lexpagerank_comes_near_the_published_row_whose_lines_all_stay_below_the_budgets(shared):
    dialogues = read_dialogues(shared / "data" / "csds" / "test.json")
    written = summarize(dialogues, baseline_engine("csds-lexpagerank"), ["agent"])
    pairs = [(one.text, each.summaries["agent"]) for (one,), each in zip(written, dialogues, strict=True)]
    means = score("csds", pairs).means
    near = pytest.approx([30.81, 16.56, 29.37], abs=1.8)
    assert [means[measure] for measure in ("rouge1", "rouge2", "rougeLsum")] == near
    for role, budget in CSDS_BUDGETS.items():
        for line in published(shared, role, "LexPageRank"):
            assert sum(len(piece.rstrip("。")) for piece in re.split("。(?=[^。：]+：)", line)) < budget


def test_longest_3_gives_the_published_row_of_samsum(shared):
    dialogues = read_dialogues(shared / "data" / "samsum" / "test.json")
    written = summarize(dialogues, baseline_engine("longest-3"), ["overall"])
    pairs = [(one.text, each.summaries["overall"]) for (one,), each in zip(written, dialogues, strict=True)]
    means = score("samsum-pyrouge", pairs).means
    assert [means["rouge1"], means["rouge2"]] == pytest.approx([32.5, 10.3], abs=0.2)
