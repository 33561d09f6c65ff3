"""Instruction sets per language, custom roles and sections, and the one prompt layout.

Instructions live in YAML (en.yaml, zh.yaml, or a file of the user's), never in code. The layout puts the dialogue
first and the instruction last, so that the roles of one dialogue share a prefix.
"""

from rolesum.instructions.fields import FieldSchema, load_fields
from rolesum.instructions.prompt import ChatFormat, Prompt, PromptLayout, Segment
from rolesum.instructions.sections import SectionSet, load_sections
from rolesum.instructions.sets import InstructionSet, instruction_set, load_instruction_set

__all__ = [
    "ChatFormat",
    "FieldSchema",
    "InstructionSet",
    "Prompt",
    "PromptLayout",
    "SectionSet",
    "Segment",
    "instruction_set",
    "load_fields",
    "load_instruction_set",
    "load_sections",
]
