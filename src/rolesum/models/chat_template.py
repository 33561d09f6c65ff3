"""The chat format of a checkpoint: from its family's row, its chat template, or the tokens around a text."""

from dataclasses import replace

from rolesum.errors import ModelError
from rolesum.instructions import ChatFormat
from rolesum.models.architectures.sentencepiece import without_space_prefix
from rolesum.models.encoder_decoder import frame
from rolesum.models.families import PLAIN, Family
from rolesum.models.protocols import Tokenizer

_USER_TEXT, _ANSWER = "ROLESUM-USER-TEXT", "ROLESUM-ANSWER"


def chat_format(tokenizer: Tokenizer, family: Family, place: str) -> ChatFormat:
    """What is put before and after one user message, and what ends the answer. `place` is named in errors."""
    if family.chat == "frame":
        return frame(tokenizer, place)
    if family.chat != "template":
        return _completed(family.chat, tokenizer, place)
    if getattr(tokenizer, "chat_template", None):
        return _from_template(tokenizer, place)
    return _completed(PLAIN, tokenizer, place)


def _completed(chat: ChatFormat, tokenizer: Tokenizer, place: str) -> ChatFormat:
    """The chat format with the tokenizer's own begin and end of text where it names none."""
    if chat.answer_end:
        return chat
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no end-of-text token", place, "set eos_token in tokenizer_config.json")
    begin = tuple(index for index in tokenizer("").input_ids if index != tokenizer.eos_token_id)
    return replace(chat, head=(*begin, *chat.head), answer_end=(tokenizer.eos_token_id,))


def _from_template(tokenizer: Tokenizer, place: str) -> ChatFormat:
    """Render the template around marks, and split at the marks. The template comes from the checkpoint: trusted."""
    question = {"role": "user", "content": _USER_TEXT}
    answer = {"role": "assistant", "content": _ANSWER}
    options = {"tokenize": False, "enable_thinking": False}
    fix = "mend the chat_template of the tokenizer, or remove it for a plain prompt"
    try:
        prompted = tokenizer.apply_chat_template([question], add_generation_prompt=True, **options)
        answered = tokenizer.apply_chat_template([question, answer], **options)
    except Exception as error:  # a template may raise what it likes
        raise ModelError(f"the chat template cannot be rendered: {error}", place, fix) from None
    head, user_mark, tail = str(prompted).partition(_USER_TEXT)
    before, answer_mark, end = str(answered).partition(_ANSWER)
    # What the template writes between the prompt and an answer is for the model to write: ChatGLM3's line break.
    start = before.removeprefix(str(prompted)).rstrip(" ") if before.startswith(str(prompted)) else ""
    if not user_mark or not answer_mark:
        raise ModelError("the chat template does not show the message that it is given", place, fix)
    end = end.strip() or str(tokenizer.eos_token or "")
    if not end:
        raise ModelError("neither the chat template nor the tokenizer says how an answer ends", place, fix)
    spaced = head.endswith(" ") and without_space_prefix(tokenizer) is not None  # the tokenizer puts that space itself
    head = head.removesuffix(" ") if spaced else head
    return ChatFormat(
        head=(head,) if head else (),
        tail=(tail,) if tail else (),
        answer_end=(end,),
        answer_start=(start,) if start else (),
        no_space_after_head=bool(head) and not spaced,
    )
