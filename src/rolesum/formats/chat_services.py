"""The JSON of chat apps, help desks and chat models: a row of facts each."""

import html
import re
from collections.abc import Mapping
from typing import Any

from rolesum.formats.json_layouts import Layout, People, layout_format, text_at
from rolesum.formats.turns import one_line

_BREAK = re.compile(r"<(?:br|/p|/div|/li|/h\d|/tr|/blockquote)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z!][^<>]*>")
_CITATION = re.compile(r"\ue200[^\ue201]*\ue201|【\d+[^【】]{0,60}】")
_NAME = r"(?!(?:I|We|He|She|They|It)\b)[^\W\d_a-z][^\s,]*(?: [^\W\d_a-z][^\s,]*){0,3}"
_MESSENGER_NOTICE = re.compile(
    rf"(?:{_NAME} )?[Rr]eacted .{{1,12}} to your message|"
    rf"{_NAME} (?:sent an attachment|liked a message|missed your (?:video )?call|called you|left the group|"
    rf"(?:started|joined) (?:a|the) (?:video )?(?:chat|call))\.?|"
    rf"{_NAME} (?:named the group|set the (?:nickname for|emoji to)|changed the (?:group photo|theme))\b.{{0,80}}|"
    r"The (?:video )?(?:call|chat) ended\.?|You are now connected on Messenger\.?"
)
_DISCORD_SPOKEN = frozenset(
    {"Default", "Reply", "ThreadStarterMessage", "ChatInputCommand", "ContextMenuCommand", 0, 19, 20, 23}
)


def without_html(text: str) -> str:
    """The words of an HTML text as one line."""
    return one_line(html.unescape(_TAG.sub("", _BREAK.sub("\n", text))).replace("\xa0", " "))


def _mended(text: str) -> str:
    """A text whose bytes of UTF-8 stand as a character each, as in Meta's download, decoded; any other as it is."""
    try:
        return one_line(text.encode("latin-1").decode("utf-8"))
    except UnicodeError:
        return one_line(text)


def _telegram_turns(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Telegram: the messages; a deleted account, which has an id and no name, is called so."""
    return [
        one if one.get("from") or not one.get("from_id") else {**one, "from": f"Deleted Account ({one['from_id']})"}
        for one in value["messages"]
    ]


def _chatgpt_turns(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """ChatGPT: the messages from the root of the tree to the current one; without one, along the last answers.

    What a tool or the program said, what the assistant said to a tool, and hidden messages have the role "system".
    """
    nodes = value["mapping"]
    at = value.get("current_node")
    if at not in nodes:
        at = next((key for key, node in nodes.items() if node.get("parent") not in nodes), None)
        while at is not None and (children := [child for child in nodes[at].get("children") or () if child in nodes]):
            at = children[-1]
    path: list[Mapping[str, Any]] = []
    while at in nodes and len(path) < len(nodes):
        path.append(nodes[at].get("message") or {})
        at = nodes[at].get("parent")
    return [_chatgpt_turn(message) for message in reversed(path) if message]


def _chatgpt_turn(message: Mapping[str, Any]) -> dict[str, Any]:
    content, hidden = message.get("content") or {}, (message.get("metadata") or {})
    is_said = (
        content.get("content_type", "text") in ("text", "multimodal_text")
        and message.get("recipient", "all") == "all"
        and not hidden.get("is_visually_hidden_from_conversation")
    )
    parts = [part if isinstance(part, str) else text_at(part, ["text"]) for part in content.get("parts") or ()]
    return {
        "role": message["author"]["role"] if is_said else "system",
        "text": "\n".join(parts) or text_at(content, ["text"]),
        "time": message.get("create_time"),
    }


def _without_citations(text: str) -> str:
    """A message without ChatGPT's marks of its sources, as one line."""
    return one_line(_CITATION.sub("", text))


_LAYOUTS = (
    Layout(
        name="telegram",
        description="Telegram's JSON export, of a chat or of all: {messages: [{type, date, from, text}]}",
        marks=(
            "messages.*.from_id",
            "messages.*.actor_id",
            "messages.*.date_unixtime",
            "type messages.0.date messages.0.text",
        ),
        within=("chats.list.*",),
        turns=_telegram_turns,
        text=("text",),
        speaker=("from",),
        time=(("date", "text"),),
        only={"type": frozenset({"message"})},
        identity=("id",),
    ),
    Layout(
        name="messenger",
        description="Messenger's and Instagram's download: {messages: [{sender_name, timestamp_ms, content}]}",
        marks=("messages.0.sender_name messages.0.timestamp_ms", "messages.0.senderName messages.0.timestamp"),
        turns=("messages.*",),
        text=("content", "text"),
        speaker=("sender_name", "senderName"),
        time=(("timestamp_ms", "epoch_ms"), ("timestamp", "epoch_ms")),
        only={
            "is_unsent": frozenset({False, None}),
            "isUnsent": frozenset({False, None}),
            "call_duration": frozenset({None}),
        },
        identity=("thread_path", "threadName"),
        notice=_MESSENGER_NOTICE,
        clean=_mended,
    ),
    Layout(
        name="zendesk",
        description="Zendesk's JSON: a ticket's comments, a chat's history, or a conversation's messages",
        marks=(
            "comments.0.author_id",
            "history visitor",
            "history.0.type history.0.nick",
            "messages.0.author.type messages.0.content.type",
        ),
        within=("chats.*", "tickets.*"),
        turns=("comments.*", "history.*", "messages.*"),
        text=("plain_body", "body", "html_body", "msg", "content.text"),
        speaker=("author_id", "name", "author.displayName", "author.type"),
        role=("sender_type", "author.type"),
        people=(People("users.*", "id", "name", "role"),),
        time=(("created_at", "text"), ("timestamp", "text"), ("received", "text")),
        only={
            "public": frozenset({True, None}),
            "type": frozenset({"Comment", "VoiceComment", "chat.msg", "text", None}),
        },
        identity=("ticket.id", "id", "conversation.id"),
        clean=without_html,
    ),
    Layout(
        name="intercom",
        description="Intercom's conversations: {source, conversation_parts: {conversation_parts: [{body, author}]}}",
        marks=("source.author conversation_parts",),
        within=("conversations.*",),
        turns=("source", "conversation_parts.conversation_parts.*"),
        text=("body",),
        speaker=("author.name", "author.email", "author.id"),
        role=("author.type",),
        time=(("created_at", "epoch"),),
        # assignments and closings are turns where they have a body; internal notes are none
        only={
            "part_type": frozenset(
                {"comment", "assignment", "close", "open", "conversation", "quick_reply", "away_mode_assignment", None}
            )
        },
        identity=("id",),
        clean=without_html,
    ),
    Layout(
        name="openai",
        description="Messages of chat models: {messages: [{role, content}]}, a list of messages, or a request",
        marks=(
            "messages.0.role messages.0.content",
            "conversations.0.role conversations.0.content",
            "conversation.0.role conversation.0.content",
        ),
        bare=frozenset({"role", "content"}),
        within=("body", "request.body"),  # of a file for batches
        turns=("messages.*", "conversations.*", "conversation.*"),
        text=("content",),
        speaker=("name", "role"),
        role=("role",),
        time=(("timestamp", "auto"), ("created_at", "auto"), ("time", "auto")),  # of programs that keep messages
        only={"role": frozenset({"user", "assistant", "human", "model"})},
        identity=("id", "custom_id", "conversation_id"),
        is_ordered=True,
    ),
    Layout(
        name="chatgpt",
        description="ChatGPT's export, conversations.json: [{mapping: {id: {message, parent, children}}}]",
        marks=("mapping current_node", "mapping conversation_id", "mapping create_time"),
        turns=_chatgpt_turns,
        text=("text",),
        speaker=("role",),
        role=("role",),
        time=(("time", "epoch"),),
        only={"role": frozenset({"user", "assistant"})},
        identity=("conversation_id", "id"),
        is_ordered=True,
        clean=_without_citations,
    ),
    Layout(
        name="sharegpt",
        description="ShareGPT: {id, conversations: [{from: human | gpt, value}]}",
        marks=("conversations.0.from conversations.0.value", "conversation.0.from conversation.0.value"),
        bare=frozenset({"from", "value"}),
        turns=("conversations.*", "conversation.*"),
        text=("value",),
        speaker=("from",),
        role=("from",),
        only={"from": frozenset({"human", "gpt", "user", "assistant", "chatgpt", "bing", "bard", "model"})},
        identity=("id",),
    ),
)

DISCORD = Layout(
    name="discord",
    description="DiscordChatExporter's JSON {channel, messages: [{timestamp, content, author}]}, or text",
    marks=("channel messages.*.author.isBot", "channel messages.*.author.discriminator"),
    turns=("messages.*",),
    text=("content",),
    speaker=("author.nickname", "author.name", "author.id"),
    time=(("timestamp", "text"),),
    only={"type": _DISCORD_SPOKEN},
    identity=("channel.id",),
)

TEAMS = Layout(
    name="teams",
    description="Teams: a meeting's transcript (.docx or text), or a chat of Microsoft Graph: {value: [{body}]}",
    marks=("value.0.messageType value.0.body",),
    turns=("value.*",),
    text=("body.content",),
    speaker=("from.user.displayName", "from.application.displayName"),
    time=(("createdDateTime", "text"),),
    only={"messageType": frozenset({"message"}), "deletedDateTime": frozenset({None})},
    clean=without_html,
)

FORMATS = tuple(map(layout_format, _LAYOUTS))
