"""The chat form of a checkpoint, from its family's row or from its tokenizer's own chat template."""

from transformers import PreTrainedTokenizerBase

from rolesum.errors import ModelError
from rolesum.instructions import ChatForm
from rolesum.models.families import PLAIN, Family

_USER_TEXT, _ANSWER = "ROLESUM-USER-TEXT", "ROLESUM-ANSWER"


def chat_form(tokenizer: PreTrainedTokenizerBase, family: Family) -> ChatForm:
    """What stands before and after one user message, and what ends the answer, for this tokenizer."""
    if family.chat != "template":
        return _completed(family.chat, tokenizer)
    if getattr(tokenizer, "chat_template", None):
        return _from_template(tokenizer)
    return _completed(PLAIN, tokenizer)


def _completed(chat: ChatForm, tokenizer: PreTrainedTokenizerBase) -> ChatForm:
    """A form with the tokenizer's own begin and end of text where the form names none."""
    if chat.end:
        return chat
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no end-of-text token", fix="set eos_token in tokenizer_config.json")
    begin = tuple(index for index in tokenizer("").input_ids if index != tokenizer.eos_token_id)
    return ChatForm((*begin, *chat.head), chat.tail, (tokenizer.eos_token_id,))


def _from_template(tokenizer: PreTrainedTokenizerBase) -> ChatForm:
    """Render the template once around marks, and cut at the marks. The texts come from the checkpoint: trusted."""
    question = {"role": "user", "content": _USER_TEXT}
    answer = {"role": "assistant", "content": _ANSWER}
    options = {"tokenize": False, "enable_thinking": False}
    asked = tokenizer.apply_chat_template([question], add_generation_prompt=True, **options)
    answered = tokenizer.apply_chat_template([question, answer], **options)
    head, user_mark, tail = str(asked).partition(_USER_TEXT)
    _, answer_mark, end = str(answered).partition(_ANSWER)
    if not user_mark or not answer_mark:
        raise ModelError("the tokenizer's chat template does not show the message that it is given")
    end = end.strip() or str(tokenizer.eos_token or "")
    if not end:
        raise ModelError("neither the chat template nor the tokenizer says how an answer ends")
    return ChatForm((head,) if head else (), (tail,) if tail else (), (end,))
