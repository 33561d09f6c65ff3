"""Batches: many dialogues of one request, kept in SQLite and summarized in the background."""
