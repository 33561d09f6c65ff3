"""The limits of the server: sizes of requests, concurrency, timeouts."""

from dataclasses import dataclass, replace

from rolesum.errors import UsageError
from rolesum.formats.options import SourceLimits


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds. Some are options of `rolesum serve` with the same name."""

    max_body_bytes: int = 4 * 2**20
    max_batch_bytes: int = 64 * 2**20
    """Bytes of the body of POST /v1/batches."""
    max_unpacked_bytes: int = 128 * 2**20
    """Bytes of an uploaded zip file after unpacking."""
    max_files: int = 20_000
    """Files in an uploaded zip file."""
    max_values: int = 500_000
    """JSON values, table cells or lines of a body, and of a text or file in it."""
    max_batch_values: int = 4_000_000
    """The same for POST /v1/batches."""
    max_parser_bytes: int = 1536 * 2**20
    """Bytes of memory of a process that parses requests."""
    parse_timeout: float = 60.0
    """Seconds that the parsing of one request may take."""
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
    max_sessions: int = 256
    session_timeout: float = 1800.0
    """Seconds after which a session that is not used is deleted."""
    session_memory: int = 1024
    """Megabytes that the keys of all sessions may take; 0 keeps none."""
    batch_workers: int = 8
    """Dialogues of batches that are summarized at one time."""

    @property
    def of_batches(self) -> "Limits":
        """The limits with those of POST /v1/batches in place of those of the other requests."""
        return replace(self, max_body_bytes=self.max_batch_bytes, max_values=self.max_batch_values)

    @property
    def source(self) -> SourceLimits:
        """The limits of a text or an uploaded file."""
        return SourceLimits(max_bytes=self.max_unpacked_bytes, max_files=self.max_files, max_values=self.max_values)

    def __post_init__(self) -> None:
        """Raise UsageError for a limit that lets nothing through."""
        for name, value in vars(self).items():
            minimum = 0 if name in ("shutdown_timeout", "session_memory") else 1
            if value < minimum:
                raise UsageError(f"--{name.replace('_', '-')} {value}", fix=f"at least {minimum}")
