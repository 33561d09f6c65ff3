"""The JSON of services that transcribe speech: a row of facts each, and code where a shape is not regular."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rolesum.dialogue import Turn
from rolesum.formats.json_layouts import Layout, People, layout_format, read_time, text_at, values_at
from rolesum.formats.transcripts import cut_by_speaker, speaker_label, turns_of_words
from rolesum.formats.turns import join_speech

_Word = tuple[str, str, str]  # the word, its speaker and its time


def _cut(text: str, words: Sequence[_Word]) -> list[Turn]:
    """The turns of a text by the speakers of its words; of the words alone, where the text has others."""
    turns = cut_by_speaker(text, words) if text.strip() else list(turns_of_words(words))
    if len(turns) == 1 and not turns[0].speaker and any(who for _, who, _ in words):
        return list(turns_of_words(words))
    return turns


def _flat(turns: Sequence[Turn], channel: Any = None) -> list[dict[str, Any]]:
    """The turns as objects at whose keys a layout finds speaker, text, time and channel."""
    placed = {} if channel is None else {"channel": channel}
    return [{"speaker": turn.speaker, "text": turn.text, "time": turn.time, **placed} for turn in turns]


def _deepgram_turns(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Deepgram: the utterances, or else each channel's paragraphs or words."""
    results = value["results"]
    if results.get("utterances"):
        return [
            {**one, "text": one["transcript"], "time": read_time(one.get("start"), "s")[1]}
            for one in results["utterances"]
        ]
    best = [(number, channel["alternatives"][:1]) for number, channel in enumerate(results["channels"])]
    return [entry for number, listed in best for one in listed for entry in _flat(_deepgram_channel(one), number)]


def _deepgram_channel(alternative: Mapping[str, Any]) -> list[Turn]:
    """The turns of a channel: its paragraphs where they name speakers, or else its words."""
    paragraphs = [
        Turn(
            speaker_label(one.get("speaker")),
            join_speech(sentence["text"].strip() for sentence in one["sentences"]),
            read_time(one.get("start"), "s")[1],
        )
        for one in (alternative.get("paragraphs") or {}).get("paragraphs") or ()
    ]
    words = [
        (
            word.get("punctuated_word") or word["word"],
            speaker_label(word.get("speaker")),
            read_time(word.get("start"), "s")[1],
        )
        for word in alternative.get("words") or ()
    ]
    if paragraphs and (paragraphs[0].speaker or not words):
        return paragraphs
    return _cut(alternative.get("transcript") or "", words)


def _assemblyai_turns(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """AssemblyAI: the utterances, sentences or paragraphs, or else the text; each by the speakers of its words."""
    pieces = next((value[key] for key in ("utterances", "sentences", "paragraphs") if value.get(key)), [value])
    found = [(piece.get("channel"), _assemblyai_piece(piece)) for piece in pieces]
    is_named = any(turn.speaker for _, turns in found for turn in turns)
    return [entry for channel, turns in found for entry in _flat(turns, None if is_named else channel)]


def _assemblyai_piece(piece: Mapping[str, Any]) -> list[Turn]:
    """The turns of a piece of text, which may name its speaker itself."""
    start = read_time(piece.get("start"), "ms")[1]
    if label := speaker_label(piece.get("speaker")):
        return [Turn(label, piece["text"], start)]
    words = [
        (word["text"], speaker_label(word.get("speaker")), read_time(word.get("start"), "ms")[1])
        for word in piece.get("words") or ()
    ]
    turns = _cut(piece.get("text") or "", words)
    return [replace(turns[0], time=start or turns[0].time), *turns[1:]] if turns else []


def _google_turns(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Google's Speech-to-Text: each result's transcript, cut by the speakers of its words.

    Where the last result alone has speakers, and as many words as all before it together, it is the whole transcript.
    """
    best = [(result, result["alternatives"][0]) for result in value["results"] if result.get("alternatives")]
    words = [[_google_word(word) for word in one.get("words") or ()] for _, one in best]
    counts = [sum(bool(who) for _, who, _ in listed) for listed in words]
    if len(best) > 1 and counts[-1] and not any(counts[:-1]) and counts[-1] >= sum(map(len, words[:-1])):
        return _flat(list(turns_of_words(words[-1])))
    return [
        turn
        for (result, one), listed in zip(best, words, strict=True)
        for turn in _flat(
            _cut(one.get("transcript") or "", listed), result.get("channelTag", result.get("channel_tag"))
        )
    ]


def _google_word(word: Mapping[str, Any]) -> _Word:
    label = text_at(word, ("speakerLabel", "speaker_label", "speakerTag", "speaker_tag"))
    start = next(
        (one for key in ("startTime", "startOffset", "start_time", "start_offset") for one in values_at(word, key)),
        "0s",
    )
    return word["word"], "" if label == "0" else speaker_label(label), read_time(start, "duration")[1]


_LAYOUTS = (
    Layout(
        name="deepgram",
        description="Deepgram's JSON: {results: {utterances, channels: [{alternatives: [{words, paragraphs}]}]}}",
        marks=("results.channels.0.alternatives", "results.utterances.0.transcript"),
        within=("result",),  # of its libraries
        turns=_deepgram_turns,
        text=("text",),
        speaker=("speaker",),
        channel="channel",
        time=(("time", "s"),),
        identity=("metadata.request_id",),
        is_speech=True,
    ),
    Layout(
        name="assemblyai",
        description="AssemblyAI's JSON: {audio_url, utterances: [{speaker, text, start}], words}, or its sentences",
        marks=(
            "audio_url words",
            "utterances.0.speaker utterances.0.text utterances.0.start",
            "audio_duration sentences.0.text sentences.0.start",
            "audio_duration paragraphs.0.text paragraphs.0.start",
            "sentences.0.text sentences.0.start sentences.0.words",
            "paragraphs.0.text paragraphs.0.start paragraphs.0.words",
        ),
        turns=_assemblyai_turns,
        text=("text",),
        speaker=("speaker",),
        channel="channel",
        time=(("time", "s"),),
        identity=("id",),
        is_speech=True,
    ),
    Layout(
        name="google-speech",
        description="Google Speech-to-Text JSON, v1 and v2: {results: [{alternatives: [{transcript, words}]}]}",
        marks=("results.*.alternatives",),
        within=("response",),
        turns=_google_turns,
        text=("text",),
        speaker=("speaker",),
        channel="channel",
        time=(("time", "s"),),
        is_speech=True,
    ),
    Layout(
        name="google-insights",
        description="Google's Insights: {entries: [{text, role}]}, or {transcript: {transcriptSegments}}",
        marks=("entries.0.text entries.0.role", "transcript.transcriptSegments.0.text"),
        turns=("entries.*", "transcript.transcriptSegments.*"),
        text=("text",),
        speaker=("role", "segmentParticipant.role", "segmentParticipant.userId"),
        role=("role", "segmentParticipant.role"),
        time=(("start_timestamp_usec", "epoch_us"), ("messageTime", "text"), ("words.0.startOffset", "duration")),
        identity=("name",),
        is_speech=True,
    ),
    Layout(
        name="azure-speech",
        description="Azure Speech JSON: {recognizedPhrases | phrases: [{speaker, …}]}, or real-time results: "
        "[{RecognitionStatus, Offset, DisplayText, SpeakerId}]",
        marks=("recognizedPhrases.0", "combinedPhrases phrases.0"),
        bare=frozenset({"RecognitionStatus", "Offset", "Duration"}),  # results in real time
        turns=("recognizedPhrases.*", "phrases.*"),
        text=(
            *("nBest.0.display", "nBest.0.lexical", "text"),
            *("DisplayText", "NBest.0.Display", "Text", "NBest.0.Lexical"),
        ),
        speaker=("speaker", "SpeakerId", "Speaker"),
        channel="channel",
        time=(("offsetInTicks", "ticks"), ("offsetMilliseconds", "ms"), ("offset", "iso"), ("Offset", "ticks")),
        # by name, or by number in the SDK for JavaScript
        only={"recognitionStatus": frozenset({"Success"}), "RecognitionStatus": frozenset({"Success", 0})},
        is_speech=True,
    ),
    Layout(
        name="azure-conversation",
        description="Azure AI Language: {conversations: [{conversationItems: [{participantId, role, text}]}]}",
        marks=("conversationItems.0.participantId",),
        within=("analysisInput.conversations.*", "conversations.*"),
        turns=("conversationItems.*",),
        text=("text", "itn", "lexical"),
        speaker=("participantId",),
        role=("role",),
        time=(("conversationItemLevelTiming.offset", "ticks"), ("audioTimings.0.offset", "ticks")),
        identity=("id",),
    ),
    Layout(
        name="rev",
        description="Rev's JSON: {monologues: [{speaker, elements: [{type, value, ts}]}]}",
        marks=("monologues.0.elements",),
        turns=("monologues.*",),
        text=("elements",),
        speaker=("speaker_info.display_name", "speaker_name", "speaker"),
        people=(People("speakers.*", "id", "name"),),
        time=(("elements.0.ts", "s"), ("elements.0.timestamp", "s")),
        is_speech=True,
    ),
    Layout(
        name="fireflies",
        description="Fireflies' JSON: {sentences: [{speaker_name, speaker_id, text, start_time}]}",
        marks=("sentences.0.speaker_name", "sentences.0.speaker_id sentences.0.text"),
        bare=frozenset({"sentence", "speaker_name"}),
        within=("data.transcript", "data.transcripts.*", "transcripts.*"),
        turns=("sentences.*",),
        text=("text", "raw_text", "sentence"),
        speaker=("speaker_name", "speaker_id"),
        time=(("start_time", "s"), ("startTime", "s")),
        identity=("id",),
        is_speech=True,
    ),
    Layout(
        name="meet",
        description="Google Meet's transcript entries: {transcriptEntries: [{participant, text, startTime}]}",
        marks=("transcriptEntries.0.participant transcriptEntries.0.text",),
        turns=("transcriptEntries.*",),
        text=("text",),
        speaker=("participant",),
        people=(
            People("participants.*", "name", "signedinUser.displayName"),
            People("participants.*", "name", "anonymousUser.displayName"),
            People("participants.*", "name", "phoneUser.displayName"),
        ),
        time=(("startTime", "text"),),
        is_speech=True,
    ),
    Layout(
        name="genesys",
        description="Genesys Cloud: {transcripts: [{phrases: [{participantPurpose, text, startTimeMs}]}]}",
        marks=("transcripts.0.phrases",),
        turns=("transcripts.*.phrases.*",),
        text=("decoratedText", "text"),
        speaker=("participantPurpose",),
        role=("participantPurpose",),
        time=(("startTimeMs", "epoch_ms"),),
        identity=("conversationId",),
        is_speech=True,
    ),
)

FORMATS = tuple(map(layout_format, _LAYOUTS))
