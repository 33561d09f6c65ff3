"""Find the turns that support a sentence of a summary, and sentences that another role's turns support far better."""

import re
from collections.abc import Sequence

from rolesum.checks.index import DialogueIndex
from rolesum.checks.sentences import Sentence
from rolesum.checks.types import Evidence
from rolesum.checks.words import content_ngrams

MAX_EVIDENCE_TURNS = 3
MIN_FIRST_SHARE = 0.15  # of the sentence's weight: what the first turn must hold to count as support
MIN_NEXT_SHARE = 0.12  # what each further turn must add
# Of find_turns: how much the score of a turn's neighbors counts, and the share of the best score that a turn must have.
NEIGHBOR_WEIGHT, MIN_SHARE_OF_BEST = 0.3, 0.6

# A sentence is the other side's where that side's turns hold at least this share of it, and its own at most so little.
MIN_OTHER_ROLE_SHARE, MAX_OWN_ROLE_SHARE, MIN_NGRAMS = 0.75, 0.15, 3
# An answer takes its words from the question (客服表示可以取消: the user asked it). So the other side's turn
# must state something, or the sentence must itself ask.
_QUESTION = {
    "zh": re.compile(
        r"[?？]|吗|吧|么|嘛|是否|怎么|如何|什么|多久|多少|哪|几[天个时]"
        r"|麻烦|请您?|帮|[能会可]不[能会可]|是不是|有没有|不$|呢$"
    ),
    "en": re.compile(
        r"\?|\b(?:can|could|do|does|did|is|are|will|would|what|when|where|how|why|who)\s+"
        r"(?:you|i|we|it|they|the|your|this)\b"
    ),
}
_ASKS = {
    "zh": re.compile(r"询问|想知道|咨询|是否|怎么|如何|什么|多久|吗|会不会|能不能|哪"),
    "en": re.compile(r"\b(?:asks?|asked|asking|enquir\w+|inquir\w+|wonder\w*|whether)\b"),
}


def find_evidence(sentence: Sentence, index: DialogueIndex) -> Evidence:
    """Up to three turns, each the one that adds most n-grams (weighted by rarity in the dialogue) to those before it.

    Of turns that add equally much, those of the role that is the sentence's subject come first.
    """
    grams = sentence_ngrams(sentence, index)
    weights = {gram: index.weight(gram) for gram in grams}
    whole, covered = sum(weights.values()), set[str]()
    chosen: list[int] = []
    subject = index.subjects.role_of(sentence.text)
    while len(chosen) < MAX_EVIDENCE_TURNS and whole:
        gains: dict[int, float] = {}
        for gram, weight in weights.items():
            if gram not in covered:
                for place in index.turns_by_ngram.get(gram, ()):
                    gains[place] = gains.get(place, 0.0) + weight
        if not gains:
            break
        turns = index.dialogue.turns
        best = max(
            gains, key=lambda place: (gains[place], index.dialogue.roles.get(turns[place].speaker) == subject, -place)
        )
        if gains[best] < (MIN_NEXT_SHARE if chosen else MIN_FIRST_SHARE) * whole:
            break
        chosen.append(best)
        covered |= index.turn_ngrams[best] & weights.keys()
    held = sum(weight for gram, weight in weights.items() if gram in covered)
    return Evidence(sentence.start, sentence.end, tuple(chosen), round(held / whole, 4) if whole and chosen else 0.0)


def ngram_scores(statements: Sequence[str], index: DialogueIndex) -> list[list[float]]:
    """For each statement the weighted share, 0 to 1, of its n-grams that stand in each turn."""
    places = range(len(index.dialogue.turns))
    grams = [sentence_ngrams(Sentence(0, len(text), text), index) for text in statements]
    return [[index.covered_share(of, {place}) for place in places] for of in grams]


def find_turns(statement: str, index: DialogueIndex) -> tuple[int, ...]:
    """The places of up to three turns that say a statement, best first: by n-grams of the turns and their neighbors.

    The numbers were chosen on the validation split of rolesum-dialogues: see benchmarks/evidence_turns.py.
    """
    (scores,) = add_neighbors(ngram_scores([statement], index), NEIGHBOR_WEIGHT)
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:MAX_EVIDENCE_TURNS]
    least = max(MIN_FIRST_SHARE, MIN_SHARE_OF_BEST * max(scores, default=0.0))
    return tuple(place for place in order if scores[place] >= least)


def add_neighbors(scores: Sequence[Sequence[float]], weight: float) -> list[list[float]]:
    """Each turn's score and `weight` times those of the turns before and after it: an answer needs its question."""
    rows = [[0.0, *of, 0.0] for of in scores]
    return [[row[at] + weight * (row[at - 1] + row[at + 1]) for at in range(1, len(row) - 1)] for row in rows]


def sentence_ngrams(sentence: Sentence, index: DialogueIndex) -> set[str]:
    """The sentence's n-grams without the name that it begins with."""
    return set(content_ngrams(sentence.text[index.subjects.name_end(sentence.text) :], index.language))


def check_attribution(sentence: Sentence, subject: str, index: DialogueIndex) -> tuple[bool, tuple[int, ...]]:
    """Whether the turns of the sentence's subject may say it; if not, the turns of other roles that do."""
    grams = sentence_ngrams(sentence, index)
    others = set[int]().union(*(places for role, places in index.turns_by_role.items() if role != subject))
    if (
        len(grams) < MIN_NGRAMS
        or index.covered_share(grams, index.turns_by_role.get(subject, set())) > MAX_OWN_ROLE_SHARE
    ):
        return True, ()
    if index.covered_share(grams, others) < MIN_OTHER_ROLE_SHARE:
        return True, ()
    turns = tuple(place for place in find_evidence(sentence, index).turns if place in others)
    text = index.dialogue.turns[turns[0]].text.strip().lower() if turns else ""
    asks = _ASKS[index.language].search(sentence.text.lower())
    if not turns or (_QUESTION[index.language].search(text) and not asks):
        return True, ()
    return False, turns
