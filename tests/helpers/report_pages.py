"""Reports as a browser would read them, and small dialogues for them."""

from html.parser import HTMLParser

from rolesum.dialogue import Dialogue, Turn

NEVER_CLOSED = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, texts, and whether all tags match."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open, self.mismatches = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in NEVER_CLOSED:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.mismatches.append(tag)

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def tags(self):
        return [tag for tag, _ in self.elements]

    def all(self, tag):
        return [text for inside, text in self.texts if inside == tag]


def chat(number, text="My lamp is broken", reference="Her lamp broke.", **more):
    return Dialogue(
        id=f"chat-{number}",
        turns=(Turn("Anna", text), Turn("Tom", "Sorry")),
        roles={"Anna": "user", "Tom": "agent"},
        summaries={"user": (reference,), **more},
    )


def cases(page):
    """(id, tags) of each case in order."""
    tags = [one["data-tags"] for tag, one in page.elements if one.get("class") == "case"]
    return list(zip(page.all("summary"), tags, strict=True))
