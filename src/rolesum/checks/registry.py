"""The registry of checks: name, heading, unit and description, in the order of the tables."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One check: how its rate is named and measured. `flags` says whether it also flags spans of the summary."""

    name: str
    heading: str
    unit: str
    description: str
    flags: bool


TOKENS = "characters or words"

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check("number", "numbers", "%", "numbers that the dialogue does not say", True),
        Check("amount", "amounts", "%", "amounts of money and percentages that the dialogue does not say", True),
        Check("time", "times", "%", "clock times, dates and spans of time that the dialogue does not say", True),
        Check("placeholder", "placeholders", "%", "masks such as [数字] beyond those of the dialogue", True),
        Check("name", "names", "%", "names that the dialogue does not know; English only", True),
        Check("role_led", "own role leads", "%", "sentences that begin with the summary's own role", False),
        Check("role_slip", "other role leads", "%", "sentences that begin with another role than the summary's", True),
        Check("user_led", "user leads", "%", "sentences that begin with the user", False),
        Check("agent_led", "agent leads", "%", "sentences that begin with the agent", False),
        Check("attribution", "wrong speaker", "%", "sentences led by one role that another's turns say", True),
        Check("unsupported", "no evidence", "%", "sentences that no turn supports", False),
        Check("repetition", "repeated 4-grams", "%", "4-grams that stand in the summary before", False),
        Check("duplicate", "repeated sentences", "%", "sentences that stand in the summary before", True),
        Check("distinct1", "distinct-1", "%", "different tokens among a summary's tokens", False),
        Check("distinct2", "distinct-2", "%", "different pairs of tokens among a summary's pairs", False),
        Check("coverage", "coverage", "%", "tokens within runs copied from the dialogue", False),
        Check("density", "density", TOKENS, "length of the copied run that a token stands in, on average", False),
        Check("length", "length", TOKENS, "tokens of a summary", False),
        Check("length_ratio", "length ratio", "x", "length against the references' mean", False),
        Check("compression", "compression", "x", "the dialogue's length against the summary's", False),
        Check("empty", "empty", "%", "outputs without a word", True),
        Check("echo", "echo", "%", "outputs that repeat the instruction, or two turns with their labels", True),
        Check("truncated", "cut off", "%", "outputs that do not end as a sentence does", True),
    )
}
