"""What is said of a running study: time that is left, a table that fits, and work per event that does not grow with it."""

from __future__ import annotations

import io
import random
import re
from typing import Any

import pytest

from tune_jobs.progress import Progress
from tune_jobs.study import Cell, Trial
from wsus.types import Mode


def trials(count: int) -> list[Trial]:
    cell = Cell(backbone="resnet34", mode=Mode.WEAK)
    return [Trial(cell=cell, seed=seed, sample=0, hyper={}) for seed in range(count)]


def epoch(number: int, seconds: float, epochs: int = 10) -> dict[str, Any]:
    auc = {"development_auc": 0.8, "best_auc": 0.9}
    return {"epoch": number, "epochs": epochs, "epoch_s": seconds, "train_loss": 0.5, **auc}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_time_left_is_that_of_the_epochs_left() -> None:
    one, two, three, new = trials(4)
    progress = Progress([one, two, three], 10, 2, stream=io.StringIO())
    assert progress.seconds_left() is None

    progress.started(one)
    progress.reported(one, epoch(4, 2.0))  # 6 epochs of 2 s, and two trials of 10 epochs of the mean
    assert progress.seconds_left() == pytest.approx((6 * 2 + 20 * 2) / 2)
    progress.reported(two, epoch(5, 4.0))  # the mean is 3 s
    assert progress.seconds_left() == pytest.approx((6 * 2 + 5 * 4 + 10 * 3) / 2)
    progress.finished(one)  # stopped early
    progress.failed(two, "it broke")
    assert progress.seconds_left() == pytest.approx(10 * 3 / 2)
    progress.reported(two, epoch(6, 4.0))  # tried again
    progress.started(new)  # one that a searcher added
    assert progress.seconds_left() == pytest.approx((4 * 4 + 20 * 3) / 2)


def test_sums_stay_those_of_all_rows() -> None:
    choose, many = random.Random(0), trials(20)
    progress = Progress(many, 10, 1, stream=io.StringIO())
    for _ in range(500):
        trial = choose.choice(many)
        event = choose.randrange(4)
        if event == 0:
            progress.finished(trial)
        elif event == 1:
            progress.failed(trial, "it broke")
        else:
            progress.reported(trial, epoch(choose.randrange(1, 11), choose.uniform(0.1, 9)))
    rows = list(progress._rows.values())
    timed = [row.epoch_s for row in rows if row.epoch_s]
    mean = sum(timed) / len(timed)
    left = sum((r.epochs - r.epoch) * (r.epoch_s or mean) for r in rows if r.state in ("waiting", "training"))
    assert progress.seconds_left() == pytest.approx(left)


def test_on_a_terminal_the_table_shows_what_trains_and_fits() -> None:
    many, screen = trials(1000), Terminal()
    progress = Progress(many, 10, 2, stream=screen)
    with progress:
        progress.failed(many[500], "it broke")
        progress.reported(many[999], epoch(3, 1.0))
    shown = screen.getvalue()
    assert "failed: it broke" in shown
    assert " 999 " in shown
    hidden = re.search(r"(\d+) more trials", " ".join(shown.split()))  # how many, the height of the terminal decides
    assert hidden is not None
    assert 960 <= int(hidden[1]) < 1000


def test_without_a_terminal_each_event_is_a_line() -> None:
    (one,), screen = trials(1), io.StringIO()
    progress = Progress([one], 10, 1, stream=screen)
    with progress:
        progress.reported(one, epoch(1, 1.0))
        progress.tried_again(one, "its node is gone")
        progress.failed(one, "it broke")
    assert "tried again: its node is gone" in screen.getvalue()
    assert "resnet34-weak-seed0-sample0  epoch 1/10  loss 0.500  development AUC 0.800 (best 0.900)  about 0:09 left" in (
        screen.getvalue()
    )
    assert "FAILED: it broke" in screen.getvalue()


def test_the_rows_that_train_fit_into_a_small_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "12")
    monkeypatch.setenv("TERM", "xterm")
    many, stream = trials(30), Terminal()
    with Progress(many, 10, 1, stream=stream) as progress:
        progress.started(many[-1])
        progress.tried_again(many[0], "its node is gone")
        shown = [str(row.trial) for row in progress._shown()]
        assert progress._rows[str(many[0])].note == "tried again: its node is gone"
    assert len(shown) == 8
    assert shown[0] == str(many[-1])


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream, (one,) = Terminal(), trials(1)
    with Progress([one], 10, 1, stream=stream) as progress:
        progress.reported(one, epoch(1, 2.0))
    assert "epoch 1/10" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_an_interruption_says_how_far_the_trials_are() -> None:
    one, two, three = trials(3)
    progress = Progress([one, two, three], 10, 1, stream=io.StringIO())
    progress.kept_from_before(one, epoch(10, 2.0), ended=True)
    progress.kept_from_before(two, epoch(4, 2.0), ended=False)
    progress.scored("resnet34-weak")
    assert progress.kept(2) == "1 of 2 cells and 1 of 3 trials trained to their end, others up to epoch 4"
    progress.scored("resnet34-manual_roi")
    assert progress.kept(2) == "all 2 cells"
