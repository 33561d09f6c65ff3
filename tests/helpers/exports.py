"""The files under tests/assets/exports: the format of each, and what is said in it."""

PARCEL, LOOK = "My parcel has not come.", "I will look."

# file -> format, the two speakers, the role of each
TWO_TURNS = {
    "assemblyai.json": ("assemblyai", "A", "B"),
    "assemblyai_paragraphs.json": ("assemblyai", "A", "B"),
    "assemblyai_sentences.json": ("assemblyai", "A", "B"),
    "azure.json": ("azure-speech", "Speaker 1", "Speaker 2"),
    "azure_conversation.json": ("azure-conversation", "Customer_1", "Agent_1"),
    "azure_fast.json": ("azure-speech", "Channel 0", "Channel 1"),
    "azure_realtime.json": ("azure-speech", "Guest-1", "Guest-2"),
    "chatgpt.json": ("chatgpt", "user", "assistant"),
    "deepgram.json": ("deepgram", "Speaker 0", "Speaker 1"),
    "deepgram_paragraphs.json": ("deepgram", "Speaker 0", "Speaker 1"),
    "deepgram_words.json": ("deepgram", "Channel 0", "Channel 1"),
    "discord.json": ("discord", "nadia", "tom"),
    "fireflies.json": ("fireflies", "Nadia Brook", "Speaker 1"),
    "genesys.json": ("genesys", "external", "internal"),
    "google.json": ("google-speech", "Speaker 1", "Speaker 2"),
    "google_diarized.json": ("google-speech", "Speaker 1", "Speaker 2"),
    "google_v2.json": ("google-speech", "Channel 1", "Channel 2"),
    "insights.json": ("google-insights", "CUSTOMER", "AGENT"),
    "insights_conversation.json": ("google-insights", "END_USER", "HUMAN_AGENT"),
    "intercom.json": ("intercom", "Nadia", "Tom"),
    "kakao_ios.txt": ("kakaotalk", "Minsu", "Jiyoung"),
    "meet_api.json": ("meet", "Nadia Brook", "+44 ***"),
    "messenger_encrypted.json": ("messenger", "Nadia Brook", "Tom Field"),
    "openai_chat.jsonl": ("openai", "user", "assistant"),
    "openai_list.json": ("openai", "user", "assistant"),
    "rev.json": ("rev", "Speaker 0", "Speaker 1"),
    "rev_named.json": ("rev", "Nadia Brook", "Tom Field"),
    "sharegpt.json": ("sharegpt", "human", "gpt"),
    "teams_chat.json": ("teams", "Nadia Brook", "Tom Field"),
    "telegram_all.json": ("telegram", "Nadia", "Tom"),
    "zendesk_chat.json": ("zendesk", "Nadia Brook", "Tom Field"),
    "zendesk_messages.json": ("zendesk", "Nadia Brook", "Tom Field"),
    "zendesk_ticket.json": ("zendesk", "Nadia Brook", "Tom Field"),
}
OTHERS = {
    "azure_channels.json": (
        "azure-speech",
        [("Channel 0", PARCEL), ("Channel 1", LOOK), ("Channel 0", "Thanks.")],
    ),
    "discord.txt": ("discord", [("nadia#1234", "my parcel has not come"), ("tom", "I will look")]),
    "discordce.txt": ("discord", [("nadia", "my parcel has not come"), ("tom", "I will look")]),
    "kakao.txt": ("kakaotalk", [("민수", "안녕하세요"), ("회원님", "네")]),
    "kakao_mac.csv": ("kakaotalk", [("민수", "택배가 안 왔어요 어제부터요"), ("지영", '확인할게요, "오늘"요')]),
    "kakao_pc.txt": ("kakaotalk", [("민수", "택배가 안 왔어요 어제부터요"), ("지영", "확인할게요")]),
    "line.txt": ("line", [("Nadia", PARCEL), ("Tom", "I will look. Today.")]),
    "line_group.txt": (
        "line",
        [
            ("Nadia Brook", PARCEL),
            ("Tom", "I will look. Today."),
            ("Tom", "It is at the depot."),
            ("Nadia Brook", "Thanks!"),
        ],
    ),
    "line_spaces.txt": ("line", [("Nadia", PARCEL), ("Tom Field", LOOK)]),
    "line_spaces_ja.txt": ("line", [("ナディア", "荷物が届きません。"), ("トム", "調べます。")]),
    "line_ja.txt": ("line", [("ナディア", "荷物が届きません。"), ("トム", "調べます。")]),
    "messenger.json": ("messenger", [("Zoë Brook", "My parcel has not come – why?"), ("Tom Field", LOOK)]),
    "qq.txt": ("qq", [("小王", "包裹没到"), ("客服", "我查一下")]),
    "telegram.json": ("telegram", [("Nadia", PARCEL), ("Tom", "see https://x.example")]),
    "wechat.txt": ("wechat", [("小王", "包裹没到"), ("客服", "我查一下")]),
}
EXPECTED = {
    **{name: (form, [(user, PARCEL), (agent, LOOK)]) for name, (form, user, agent) in TWO_TURNS.items()},
    **OTHERS,
}
# formats whose files give the roles, by the first and the second speaker
WITH_ROLES = {
    "azure-conversation",
    "chatgpt",
    "genesys",
    "google-insights",
    "intercom",
    "openai",
    "sharegpt",
    "zendesk",
}
