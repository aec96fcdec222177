"""What a study took: time, processors, memory, runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsus.report.inputs import ReportInputs
from wsus.report.tables.table import Column, Table
from wsus.report.wording import DASH, backbone_name, duration, mode_name, number, percent
from wsus.types import ENSEMBLE


def compute_table(inputs: ReportInputs) -> Table:
    """What the training of each cell took."""
    with_gpu = any((cell.info.get("training") or {}).get("gpu_hours") for cell in inputs.cells)
    columns = (
        Column(title="Network", kind="label"),
        Column(title="Supervision", kind="label"),
        Column(title="Parameters, M"),
        Column(title="Best seed"),
        Column(title="Best epoch"),
        Column(title="Development AUC"),
        Column(title="Training"),
        Column(title="Waiting for data, %"),
        Column(title="Core hours"),
        *((Column(title="GPU hours"), Column(title="GPU memory, MiB")) if with_gpu else ()),
        Column(title="Memory, MiB"),
    )
    rows = tuple(
        (
            backbone_name(cell.backbone),
            mode_name(cell.mode),
            number(_scaled(cell.info.get("parameters"), 1e-6), 2),
            "all" if cell.info.get("best_seed") == ENSEMBLE else _word(cell.info.get("best_seed")),
            _epoch(cell.info.get("best_epoch"), cell.info.get("epochs")),
            number(cell.info.get("development_auc")),
            duration(cell.info.get("train_s")),
            percent(cell.info.get("data_wait_share")),
            *_taken(cell.info, with_gpu=with_gpu),
        )
        for cell in inputs.cells
    )
    notes = (
        "Training: time in the epochs. Core and GPU hours: what was reserved for all trials of the cell × time, from the making"
        " of the network to its last epoch. Memory: the most that one process held.",
        compute_note(inputs),
    )
    return Table(slug="compute", title="Training and compute", columns=columns, rows=rows, notes=notes)


def compute_note(inputs: ReportInputs) -> str:
    """What the whole study took, in a sentence or three."""
    parts = [_hours(inputs.study.get("compute"), inputs.study.get("by_part") or {}), _runs(inputs.study)]
    trained = sum(float(cell.info.get("train_s") or 0) for cell in inputs.cells)
    spent = f"Training time of all cells together: {duration(trained)}." if trained else "The training time was not recorded."
    return " ".join([spent, *(part for part in parts if part)])


def _hours(total: Mapping[str, Any] | None, by_part: Mapping[str, Mapping[str, Any]]) -> str:
    if not total or not total["cpu_hours"]:
        return ""
    kinds = [("cpu_hours", "core")] + ([("gpu_hours", "GPU")] if total["gpu_hours"] else [])
    sentences = []
    for key, word in kinds:
        shares = ", ".join(f"{name} {_hour(part[key])}" for name, part in by_part.items() if part[key])
        sentences.append(f"{_hour(total[key])} {word} hours were reserved ({shares}).")
    on = f" on {' and '.join(total['devices'])}" if total["devices"] else ""
    gpu = f", {number(total['peak_gpu_memory_mb'], 0)} MiB on the GPU" if total["gpu_hours"] else ""
    sentences.append(f"A process held at most {number(total['peak_memory_mb'], 0)} MiB{gpu}{on}.")
    return " ".join(sentences)


def _runs(study: Mapping[str, Any]) -> str:
    wall = study.get("wall_s")
    if not wall:
        return ""
    runs = study.get("runs") or []
    broken = sum(not run["ended"] for run in runs)
    how = f" in {len(runs)} runs" + (f", of which {broken} were interrupted" if broken else "") if len(runs) > 1 else ""
    return f"The study took {duration(float(wall))} from start to end{how}."


def _taken(info: Mapping[str, Any], *, with_gpu: bool) -> tuple[str, ...]:
    training = info.get("training")
    if not training:
        return (DASH,) * (4 if with_gpu else 2)
    gpu = (_hour(training["gpu_hours"]), number(training["peak_gpu_memory_mb"], 0)) if with_gpu else ()
    return (_hour(training["cpu_hours"]), *gpu, number(training["peak_memory_mb"], 0))


def _hour(hours: float) -> str:
    """Three decimals below one hour, one below a hundred."""
    return f"{hours:.3f}" if hours < 1 else f"{hours:.1f}" if hours < 100 else f"{hours:.0f}"


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _epoch(best: object, epochs: object) -> str:
    return DASH if best is None else f"{best} of {_word(epochs)}"


def _word(value: object) -> str:
    return DASH if value is None else str(value)
