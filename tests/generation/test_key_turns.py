"""The turns that stand for a dialogue: the user's first, and the late ones that say much."""

import math

from rolesum.checks.index import DialogueIndex
from rolesum.dialogue import Dialogue, Turn
from rolesum.generation.key_turns import WEIGHTS, TurnReading, rank_turns, turn_features, user_matter

CHAT = Dialogue(
    "c",
    (
        Turn("Ann", "Hello, my parcel 4410 from Leeds has not come and I want the 40 dollars back."),
        Turn("Tom", "Let me look."),
        Turn("Ann", "Please do."),
        Turn("Tom", "It went to Leeds again, so I refund the 40 dollars today and cancel the order."),
        Turn("Ann", "Thank you."),
    ),
    roles={"Ann": "user", "Tom": "agent"},
    language="en",
)


def test_the_users_wish_and_the_agents_answer_come_before_greetings_and_thanks():
    index = DialogueIndex(CHAT)
    assert set(rank_turns(index, range(5), ["Ann asked for a refund."])[:2]) == {0, 3}
    assert rank_turns(index, [1, 3], [])[0] == 3 and rank_turns(index, [0, 2, 4], [])[0] == 0
    assert rank_turns(index, [], []) == []


def test_the_place_of_a_turn_weighs_more_than_the_words_that_it_shares():
    said = ("The lamp comes on Monday at nine.", "The chair comes on Monday at nine.", "Nine.")
    index = DialogueIndex(Dialogue("c", tuple(Turn("Tom", text) for text in (*said[:2], *said[:2], said[2]))))
    lamp, chair = (rank_turns(index, [1, 2], [f"The {thing} was promised."])[0] for thing in ("lamp", "chair"))
    shares = [one.share for one in turn_features(index, [1, 2], ["The chair was promised."])]
    assert shares[0] > shares[1] == 0 and lamp == 2
    assert chair == 2


def test_the_matter_is_in_the_first_turn_that_is_no_greeting():
    turns = (
        "Hello!",
        "My parcel from Leeds has not come, and I want the 40 dollars back.",
        "Thanks, that was all I wanted.",
    )
    index = DialogueIndex(Dialogue("c", tuple(Turn("Ann", text) for text in turns), language="en"))
    assert user_matter(index, [0, 1, 2]) == 1 and user_matter(index, [2]) == 2


def test_a_score_is_the_log_odds_of_a_logistic_regression():
    (first, *_) = turn_features(DialogueIndex(CHAT), [0, 2, 4], ["My parcel has not come."])
    assert (first.position, first.is_user, first.is_first, first.length) == (0.0, True, True, 1.0)
    by_hand = -5.08 + 1.55 * first.share + 2.87 + 1.61 + 2.34
    assert math.isclose(sum(w * x for w, x in zip(WEIGHTS, first.values(), strict=True)), by_hand)


def test_readings_rank_what_is_wanted_or_last_before_what_was_taken_back():
    readings = [
        TurnReading(matter, end, superseded)
        for matter, end, superseded in ((0.9, 0, 0.3), (0, 0.1, 0), (0.95, 0.2, 0.9), (0.1, 0.9, 0), (0.5, 0, 0.1))
    ]
    index = DialogueIndex(CHAT)
    assert rank_turns(index, range(5), ["The 40 dollars."], readings) == [3, 4, 1]
    assert user_matter(index, [0, 2, 4], readings) == 0 and user_matter(index, [2, 4], readings) == 4
    assert rank_turns(index, [2], [], readings) == [2] and user_matter(index, [2], readings) == 2
    assert readings[0].value == 0.9 * 0.7 and math.isclose(readings[3].value, 1 - 0.9 * 0.1)
