"""What a log file says of a run's progress."""

from rolesum import console


def lines_of(monkeypatch, capsys, steady):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(console, "LOG_SECONDS", 0)
    with console.meter("work", 4, steady=steady) as bar:
        bar.begin = bar.told = next(clock)
        for _ in range(3):
            bar.advance(1)
    return [line for line in capsys.readouterr().err.splitlines() if "left" in line or "work:" in line]


def test_the_time_left_is_told_once_the_rate_says_something(monkeypatch, capsys):
    said = lines_of(monkeypatch, capsys, steady=2)
    assert "left" not in said[0] and said[0].startswith("work: 1 of 4, ")
    assert said[1].startswith("work: 2 of 4, ") and said[1].endswith(" left")
