"""A number with the noun that it counts, for messages."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun: "1 dialogue", "1,234 dialogues". Give the plural where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
