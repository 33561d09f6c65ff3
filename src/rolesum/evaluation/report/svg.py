"""SVG shapes for the report's plots. All text that comes from data is escaped here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

# As wide as a phone's page, so that a plot is never scaled down and its text stays readable.
WIDTH = 352
COLORS = 6  # of page.css: .c0 to .c5
SHAPES = ("circle", "square", "triangle", "diamond", "plus", "cross")


@dataclass(frozen=True)
class Scale:
    """Data to pixels, in a straight line."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers inside [low, high]."""
    rough = (high - low) / count or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * number, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def padded(values: Sequence[float], share: float = 0.08) -> tuple[float, float]:
    """The range of the values and a little more on both sides."""
    low, high = min(values), max(values)
    pad = share * (high - low) or max(1.0, abs(high) * share)
    return low - pad, high + pad


def figure(height: float, label: str, parts: Sequence[Markup]) -> Markup:
    """A whole plot; `label` says to those who cannot see it what it shows."""
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, round(height), label)
    return head + Markup("").join(parts) + Markup("</svg>")


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> Markup:
    named = Markup(' class="{}"').format(kind) if kind else Markup()
    at_side = Markup(' text-anchor="{}"').format(anchor) if anchor != "start" else Markup()
    return Markup('<text x="{}" y="{}"{}{}>{}</text>').format(round(x, 1), round(y, 1), at_side, named, words)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(
        *(round(one, 1) for one in (x1, y1, x2, y2)), kind
    )


def polygon(points: Sequence[tuple[float, float]], kind: str, closed: bool = True) -> Markup:
    places = " ".join(f"{round(x, 1)},{round(y, 1)}" for x, y in points)
    tag = "polygon" if closed else "polyline"
    return Markup('<{} points="{}" class="{}"/>').format(Markup(tag), places, kind)


def marker(number: int, x: float, y: float, hollow: bool = False) -> Markup:
    """The mark of system `number`: its shape tells it from the others as well as its color."""
    shape = SHAPES[number % len(SHAPES)]
    kind = f"mark c{number % COLORS}{' hollow' if hollow else ''}"
    if shape == "circle":
        return Markup('<circle cx="{}" cy="{}" r="4" class="{}"/>').format(round(x, 1), round(y, 1), kind)
    outlines = {
        "square": ((-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)),
        "triangle": ((0, -4.8), (4.6, 3.6), (-4.6, 3.6)),
        "diamond": ((0, -5.2), (5.2, 0), (0, 5.2), (-5.2, 0)),
        "plus": _plus(0.0),
        "cross": _plus(math.pi / 4),
    }
    return polygon([(x + across, y + down) for across, down in outlines[shape]], kind)


def _plus(turn: float) -> list[tuple[float, float]]:
    arm, half = 5.2, 1.7
    corners = [(half, half), (half, arm), (-half, arm), (-half, half)]
    found = []
    for quarter in range(4):
        angle = turn + quarter * math.pi / 2
        for x, y in corners[:3]:
            found.append((x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)))
    return found


def text_width(words: str) -> float:
    """About how many pixels bold 12-pixel type takes: Chinese characters are square."""
    return sum(12.0 if ord(character) > 0x2E80 else 7.8 for character in words)


def shortened(words: str, width: float) -> str:
    """The words, cut to about `width` pixels of 12-pixel type."""
    if text_width(words) <= width:
        return words
    while words and text_width(words) > width - 10:
        words = words[:-1]
    return f"{words}…"


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places moved apart so that labels at them do not touch, in the same order, inside [low, high] if they fit."""
    order = sorted(range(len(places)), key=lambda number: places[number])
    moved = list(places)
    below = low - gap
    for place in order:
        moved[place] = below = max(moved[place], below + gap)
    above = high + gap
    for place in reversed(order):
        moved[place] = above = min(moved[place], above - gap)
    return moved


def number(value: float) -> str:
    """A tick's label: no zeros behind the point that say nothing."""
    return f"{value:.4f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
