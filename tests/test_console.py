"""Progress as a log file shows it."""

from rolesum import console


def progress_lines(monkeypatch, capsys, steps_before_eta):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(console, "LOG_INTERVAL", 0)
    with console.progress_bar("work", 4, steps_before_eta=steps_before_eta) as bar:
        bar.started = bar.last_logged = next(clock)
        for _ in range(3):
            bar.advance(1)
    return [line for line in capsys.readouterr().err.splitlines() if "left" in line or "work:" in line]


def test_progress_bar_shows_time_left_after_enough_steps(monkeypatch, capsys):
    said = progress_lines(monkeypatch, capsys, steps_before_eta=2)
    assert "left" not in said[0] and said[0].startswith("work: 1 of 4, ")
    assert said[1].startswith("work: 2 of 4, ") and said[1].endswith(" left")
