"""The limits of the server: sizes of requests, concurrency, timeouts."""

from dataclasses import dataclass

from rolesum.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds. Some are options of `rolesum serve` with the same name."""

    max_body_bytes: int = 4 * 2**20
    max_batch_bytes: int = 64 * 2**20
    """Bytes of the body of POST /v1/batches."""
    max_unpacked_bytes: int = 128 * 2**20
    """Bytes of an uploaded zip file after unpacking."""
    max_total_body_bytes: int = 512 * 2**20
    """Bytes of all bodies that are being received or answered at one time."""
    max_turns: int = 5000
    max_characters: int = 500_000
    max_roles: int = 16
    max_new_tokens: int = 1024
    max_samples: int = 16
    """Samples or beams of one role."""
    max_batch_dialogues: int = 10_000
    max_concurrent_requests: int = 64
    """Requests that have been accepted and not yet answered: those that the engine runs and those that wait for it."""
    timeout: float = 300.0
    """Seconds that one request may take."""
    shutdown_timeout: float = 20.0
    """Seconds that running requests have to finish at shutdown."""
    batch_workers: int = 8
    """Dialogues of batches that are summarized at one time."""

    def __post_init__(self) -> None:
        """Raise UsageError for a limit that lets nothing through."""
        for name, value in vars(self).items():
            minimum = 0 if name == "shutdown_timeout" else 1
            if value < minimum:
                raise UsageError(f"--{name.replace('_', '-')} {value}", fix=f"at least {minimum}")
