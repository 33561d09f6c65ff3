"""Generating summaries: the Engine protocol, the engines, and strategies for dialogues of any length.

verification.py computes the probability that a dialogue says a statement. evidence.py scores how much each turn says
it, by methods that a benchmark compares; no command uses them.
"""

from rolesum.generation.engine import DEFAULT_MAX_NEW_TOKENS, Decoding, Engine, Generation
from rolesum.generation.long_dialogues.strategies import summarize

__all__ = ["DEFAULT_MAX_NEW_TOKENS", "Decoding", "Engine", "Generation", "summarize"]
