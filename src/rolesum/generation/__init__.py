"""Generation: the Engine protocol, its engines, and summarising one dialogue or many."""

from rolesum.generation.engine import DEFAULT_MAX_NEW_TOKENS, Decoding, Engine, Generation
from rolesum.generation.summarise import summarise

__all__ = ["DEFAULT_MAX_NEW_TOKENS", "Decoding", "Engine", "Generation", "summarise"]
