"""How much one client may ask for at once."""

from dataclasses import dataclass

from rolesum.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """What is refused, what waits, how long. `waiting` requests are in the house at once, those that run among them."""

    body_bytes: int = 4 * 2**20
    batch_bytes: int = 64 * 2**20
    unpacked_bytes: int = 128 * 2**20  # of an upload that is a zip
    held_bytes: int = 512 * 2**20  # of all bodies at once
    turns: int = 5000
    characters: int = 500_000
    roles: int = 16
    new_tokens: int = 1024
    lanes: int = 16  # samples or beams of a role
    dialogues: int = 10_000  # of a batch
    waiting: int = 64
    seconds: float = 300.0
    grace: float = 20.0  # for what runs when the service is told to end
    bulk: int = 8  # dialogues of batches that run at once

    def __post_init__(self) -> None:
        """Raises UsageError for a limit that lets nothing through."""
        for name, value in vars(self).items():
            least = 0 if name == "grace" else 1
            if value < least:
                raise UsageError(f"--{name.replace('_', '-')} {value}", fix=f"at least {least}")
