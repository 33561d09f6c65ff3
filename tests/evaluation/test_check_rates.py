"""The figures of the checks on published references and systems, as docs/checks.md states them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rolesum.checks import CHECKS
from rolesum.checks.sentences import split_sentences
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError
from rolesum.evaluation.check_rates import RoleChecks, check_predictions
from rolesum.evaluation.predictions import Prediction
from rolesum.formats import read_dialogues


@pytest.fixture(scope="module")
def csds(shared: Path) -> list[Dialogue]:
    return read_dialogues(str(shared / "data/csds/test.json"))


@pytest.fixture(scope="module")
def pgn(shared: Path, csds: list[Dialogue]) -> Mapping[str, RoleChecks]:
    """The system's overall summaries; of the other roles the references only, which takes half the time."""
    lines = (shared / "data/csds-system-outputs/final/PGN.txt").read_text(encoding="utf-8").split("\n")
    predictions = [
        Prediction(dialogue.id, role, line if role == "overall" else "", dialogue.summaries[role])
        for dialogue, line in zip(csds, lines[: len(csds)], strict=True)
        for role in ("overall", "user", "agent")
    ]
    return check_predictions(predictions, csds)


@pytest.mark.parametrize(
    ("role", "users", "agents"), [("user", 93.4, 0.1), ("agent", 0.2, 98.0), ("overall", 46.6, 49.1)]
)
def test_sentences_begin_with_the_two_words_as_often_as_published(
    csds: list[Dialogue], role: str, users: float, agents: float
) -> None:
    found = [one.text for dialogue in csds for one in split_sentences(dialogue.summaries[role][0], "zh")]
    shares = [100 * sum(text.startswith(word) for text in found) / len(found) for word in ("用户", "客服")]
    assert shares == pytest.approx([users, agents], abs=0.06)


@pytest.mark.parametrize(
    ("role", "check", "reference", "system"),
    [
        ("overall", "repetition", 5.10, 9.96),
        ("overall", "duplicate", 0.13, 2.16),
        ("user", "role_led", 99.15, None),
        ("user", "role_slip", 0.07, None),
        ("agent", "role_led", 97.98, None),
        ("agent", "role_slip", 0.52, None),
        ("overall", "agent_led", 49.13, 49.50),
        ("overall", "truncated", 0.0, 3.50),
        ("overall", "echo", 0.0, 0.0),
        ("overall", "number", 0.0, 0.0),
    ],
)
def test_rates_on_csds_are_those_of_the_docs(
    pgn: Mapping[str, RoleChecks], role: str, check: str, reference: float, system: float | None
) -> None:
    rate = pgn[role].rates[check]
    assert (rate.reference, rate.value) == (
        pytest.approx(reference, abs=0.006),
        system and pytest.approx(system, abs=0.006),
    )
    assert rate.reference_low is not None and rate.reference_high is not None
    assert rate.reference_low <= reference + 0.006 and reference - 0.006 <= rate.reference_high


def test_flags_are_rare_on_references(pgn: Mapping[str, RoleChecks]) -> None:
    for checks in pgn.values():
        for name in ("number", "amount", "time", "attribution", "echo", "empty", "truncated"):
            assert (checks.rates[name].reference or 0.0) <= 0.5
        assert (checks.rates["placeholder"].reference or 0.0) < 3


def test_names_in_english_references_are_known_to_the_dialogue(shared: Path) -> None:
    dialogues = read_dialogues(str(shared / "data/samsum/test.json"))[:300]
    made = [Prediction(one.id, "overall", "", one.summaries["overall"]) for one in dialogues]
    rates = check_predictions(made, dialogues)["overall"].rates
    assert rates["name"].reference is not None and rates["name"].reference < 1.0
    assert rates["empty"].value == 100.0


SHOP = Dialogue(
    "zh",
    tuple(
        Turn(*turn)
        for turn in (
            ("用户", "我买的三箱纯牛奶到了，有一箱损坏，可以退款吗？"),
            ("客服", "可以的，运费是１２元，[数字]个工作日原路退回"),
            ("用户", "那周六下午3点半能上门取件吗"),
            ("客服", "取件员会提前电话联系您，地址是[地址]对吗"),
            ("用户", "我希望你们能尽快处理，破损的牛奶已经拍照上传"),
        )
    ),
    {"用户": "user", "客服": "agent"},
    language="zh",
)


def test_length_ratio_is_against_the_mean_of_the_references() -> None:
    rates = check_predictions([Prediction("zh", "user", "退款退款", ("退款", "退款退款退款"))], [SHOP])["user"].rates
    assert rates["length_ratio"].value == 1.0
    assert rates["length_ratio"].reference is None
    assert rates["length"].reference == 4.0


def test_a_prediction_without_its_dialogue_is_refused() -> None:
    with pytest.raises(DataError, match="no dialogue for 1 of 1 prediction, first: other"):
        check_predictions([Prediction("other", "user", "用户询问。", ("用户询问。",))], [SHOP])


def test_rates_cover_all_checks_in_their_order_and_are_none_without_cases() -> None:
    made = [Prediction("zh", "user", "用户询问退款。客服表示可以。", ("用户询问退款。",))] * 3
    checks = check_predictions(made, [SHOP])["user"]
    assert list(checks.rates) == list(CHECKS)
    slip = checks.rates["role_slip"]
    assert (slip.value, slip.low, slip.high, slip.reference, slip.hits, slip.cases) == (50.0, None, None, 0.0, 3.0, 6.0)
    assert (checks.rates["number"].value, checks.rates["number"].low) == (None, None)
    assert len(checks.checked) == len(checks.references) == 3
