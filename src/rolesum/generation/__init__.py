"""Generation: the Engine protocol, its engines, and summarizing one dialogue or many."""

from rolesum.generation.engine import DEFAULT_MAX_NEW_TOKENS, Decoding, Engine, Generation
from rolesum.generation.summarize import summarize

__all__ = ["DEFAULT_MAX_NEW_TOKENS", "Decoding", "Engine", "Generation", "summarize"]
