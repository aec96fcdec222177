"""What a person sees while a study runs: a live table of the cells, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tune_jobs.study import Trial

_SHOWN = 40  # rows of the table
_AROUND = 4  # lines of a terminal that are no rows: the head, the caption and the prompt


@dataclass(kw_only=True)
class _Row:
    trial: Trial
    state: str = "waiting"
    epoch: int = 0
    epochs: int = 0
    auc: float | None = None
    best: float | None = None
    epoch_s: float = 0.0
    note: str = ""


class Progress:
    """Collects what trials report; draws it on a terminal, or writes one line per event to a stream.

    beat: is called at every event.  cells: the names of those that are scored and published.
    """

    def __init__(self, trials: Sequence[Trial], epochs: int, slots: int, stream: TextIO | None = None) -> None:
        self._rows = {str(trial): _Row(trial=trial, epochs=epochs) for trial in trials}
        self._epochs, self._slots = epochs, max(1, slots)
        self._timed, self._timed_s = 0, 0.0  # trials whose epochs have been timed, and the sum of their last epochs' times
        self._left_s, self._left_epochs = 0.0, sum(row.epochs for row in self._rows.values())  # of timed trials, of the others
        self._stream = stream if stream is not None else sys.stdout
        self._start = time.monotonic()
        self._live: Live | None = None
        self.beat: Callable[[], None] = lambda: None
        self.cells: set[str] = set()

    def __enter__(self) -> Progress:
        console = Console(file=self._stream)
        if self._stream.isatty() and not console.is_dumb_terminal:
            self._live = Live(get_renderable=self._table, console=console, refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()  # draws it once more
            self._live = None

    def say(self, text: str) -> None:
        """One line, above the table where there is one."""
        self.beat()
        if self._live is not None:
            self._live.console.print(text, highlight=False)
        else:
            self._write(text)

    def started(self, trial: Trial) -> None:
        """A trial runs (again)."""
        self._set(trial, state="training", note="")
        self._changed("")

    def reported(self, trial: Trial, result: Mapping[str, Any]) -> None:
        """A trial ended an epoch."""
        seen = {"auc": result["development_auc"], "best": result["best_auc"]}
        seen |= {name: result[name] for name in ("epoch", "epochs", "epoch_s")}
        row = self._set(trial, state="training", **seen)
        left = "" if (seconds := self.seconds_left()) is None else f"  about {_duration(seconds)} left"
        self._changed(
            f"{trial}  epoch {row.epoch}/{row.epochs}  loss {result['train_loss']:.3f}  "
            f"development AUC {row.auc:.3f} (best {row.best:.3f}){left}"
        )

    def kept_from_before(self, trial: Trial, result: Mapping[str, Any], *, ended: bool) -> None:
        """An earlier run of the study has brought a trial so far."""
        seen = {"auc": result["development_auc"], "best": result["best_auc"]}
        seen |= {name: result[name] for name in ("epoch", "epochs", "epoch_s")}
        self._set(trial, state="trained" if ended else "waiting", **seen)

    def scored(self, cell: str) -> None:
        """A cell was scored and published."""
        self.cells.add(cell)
        self.say(f"cell {cell}: scored and published")

    def kept(self, planned: int) -> str:
        """How far cells and trials are, in words: what an interruption leaves of a study of so many cells."""
        if len(self.cells) >= planned:
            return f"all {planned} cells"
        rows = list(self._rows.values())  # this may be asked for from another thread
        trained = sum(row.state == "trained" for row in rows)
        begun = [str(row.epoch) for row in rows if row.state != "trained" and row.epoch]
        under_way = f", others up to epoch {', '.join(begun[:4])}{' ...' if begun[4:] else ''}" if begun else ""
        return f"{len(self.cells)} of {planned} cells and {trained} of {len(rows)} trials trained to their end{under_way}"

    def finished(self, trial: Trial) -> None:
        """A trial came to its end."""
        row = self._set(trial, state="trained")
        best = f", best development AUC {row.best:.3f}" if row.best is not None else ""
        self._changed(f"{trial}  trained ({row.epoch} epochs{best})")

    def failed(self, trial: Trial, error: str) -> None:
        """A trial raised."""
        self._set(trial, state="failed", note=error)
        self._changed(f"{trial}  FAILED: {error}")

    def tried_again(self, trial: Trial, error: str) -> None:
        """A trial raised, or its process or node is gone, and it goes on from its last checkpoint."""
        self._set(trial, state="waiting", note=f"tried again: {error}")
        self._changed(f"{trial}  tried again: {error}")

    def seconds_left(self) -> float | None:
        """Estimated from the epochs that are left and what epochs took so far; None before the first."""
        if not self._timed:
            return None
        return (self._left_s + self._left_epochs * self._timed_s / self._timed) / self._slots

    def _set(self, trial: Trial, **values: Any) -> _Row:
        """Change a trial's row and the sums over all rows, which are not counted anew at each of many events."""
        key = str(trial)
        if key not in self._rows:
            self._rows[key] = _Row(trial=trial, epochs=self._epochs)
            self._count(self._rows[key], 1)
        row = self._rows[key]
        self._count(row, -1)
        for name, value in values.items():
            setattr(row, name, value)
        self._count(row, 1)
        return row

    def _count(self, row: _Row, sign: int) -> None:
        left = row.epochs - row.epoch if row.state in ("waiting", "training") else 0
        if row.epoch_s:
            self._timed += sign
            self._timed_s += sign * row.epoch_s
            self._left_s += sign * left * row.epoch_s
        else:
            self._left_epochs += sign * left

    def _changed(self, line: str) -> None:
        self.beat()
        if self._live is None and line:
            self._write(line)

    def _write(self, line: str) -> None:
        self._stream.write(f"[{_duration(time.monotonic() - self._start)}] {line}\n")
        self._stream.flush()

    def _shown(self) -> list[_Row]:
        """All rows where there is room for them, else those that train or failed first; a terminal cuts off what is below it."""
        rows, room = list(self._rows.values()), _SHOWN
        if self._live is not None:
            room = max(1, min(room, self._live.console.size.height - _AROUND))
        if len(rows) <= room:
            return rows
        busy = [row for row in rows if row.state in ("training", "failed")]
        others = [row for row in rows if row.state not in ("training", "failed")]
        return [*busy[-room:], *others][:room]

    def _table(self) -> Table:
        table = Table(title=None, box=None, pad_edge=False, header_style="bold")
        for name in ("backbone", "mode", "seed", "sample", "state", "epoch", "AUC", "best"):
            table.add_column(name, justify="right" if name in ("seed", "sample", "epoch", "AUC", "best") else "left")
        for row in self._shown():
            cell = row.trial.cell
            state = f"{row.state}: {row.note[:60]}" if row.note else row.state
            epoch = f"{row.epoch}/{row.epochs}" if row.epoch else "-"
            seed, sample = str(row.trial.seed), str(row.trial.sample)
            table.add_row(cell.backbone, cell.mode.value, seed, sample, state, epoch, _auc(row.auc), _auc(row.best))
        left = self.seconds_left()
        elapsed = _duration(time.monotonic() - self._start)
        hidden = len(self._rows) - len(self._shown())
        table.caption = f"{elapsed} so far" + (f", about {_duration(left)} left" if left else "")
        table.caption += f"; {hidden} more trials" if hidden else ""
        table.caption_justify = "left"
        return table


def _auc(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
