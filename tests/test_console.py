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


def test_byte_progress_shows_bytes_rate_and_time_left(monkeypatch, capsys):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(console, "LOG_INTERVAL", 0)
    with console.byte_progress("model.gguf", 491_400_064) as bar:
        bar.started = bar.last_logged = next(clock)
        bar.start_at(391_400_064)  # of an earlier attempt: no part of the rate
        bar.advance(50_000_000)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("model.gguf:")]
    assert said == ["model.gguf: 441.4 MB of 491.4 MB, 5.0 MB/s, 0:00:10 left"]


def test_a_note_on_the_running_step_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(console, "LOG_INTERVAL", 0)
    with console.progress_bar("summarize", 2) as bar:
        bar.show("part 3 of 8")
    assert "summarize: 0 of 2, part 3 of 8" in capsys.readouterr().err.splitlines()


def test_bytes_are_written_in_decimal_units():
    written = [console.format_bytes(number) for number in (0, 999, 1000, 999_960, 491_400_064, 1_117_320_768)]
    assert written == ["0 B", "999 B", "1.0 kB", "1.0 MB", "491.4 MB", "1.1 GB"]


def test_what_need_be_read_once_is_shown_once(tmp_path, capsys, monkeypatch):
    for _ in range(2):
        console.log_once("the terms", tmp_path)
    console.log_once("other terms", tmp_path)
    assert capsys.readouterr().err == "the terms\nother terms\n"
    monkeypatch.setattr(console.console, "quiet", True)
    console.log_once("third terms", tmp_path)
    monkeypatch.setattr(console.console, "quiet", False)
    console.log_once("third terms", tmp_path)
    assert capsys.readouterr().err == "third terms\n"
