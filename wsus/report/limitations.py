"""What the figures of a study cannot say: limitations that follow from how it was made, and how often its sets were opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from wsus.comparison.result import Comparison
from wsus.report.inputs import ReportInputs
from wsus.report.wording import SMALL_CLASS, split_name
from wsus.types import ENSEMBLE

SCORED = ("internal", "external")


def limitations(comparison: Comparison, inputs: ReportInputs) -> tuple[str, ...]:
    """One sentence each."""
    return tuple(_limitations(comparison, inputs))


def opened(inputs: ReportInputs) -> str:
    """How often the scored sets were opened, counted from the store's log; never asserted where nothing was noted."""
    if not inputs.openings:
        return "How often the validation sets were scored was not recorded: this study is of a version that noted no opening."
    times = Counter((note["cell"], note["seed"]) for note in inputs.openings)
    again = sorted(f"{_network(cell, seed)} ({count} times)" for (cell, seed), count in times.items() if count > 1)
    said = f"The validation sets were opened {len(inputs.openings)} times, once for each of {len(times)} trained networks"
    if not again:
        return f"{said}, as the log in the store counts."
    shown = ", ".join(again[:5]) + (f" and {len(again) - 5} more" if len(again) > 5 else "")
    return (
        f"The validation sets were opened {len(inputs.openings)} times for {len(times)} trained networks, as the log in the store"
        f" counts; more than once: {shown}."
    )


def _network(cell: str, seed: int) -> str:
    return f"{cell} ensemble" if seed == ENSEMBLE else f"{cell} seed {seed}"


def _limitations(comparison: Comparison, inputs: ReportInputs) -> Iterator[str]:
    cells = [cell for cell in comparison.cells if cell.split in SCORED]
    for split in SCORED:
        cell = next((cell for cell in cells if cell.split == split), None)
        if cell is None:
            yield f"There is no {split} validation set" + (
                ": nothing is known of images of another institution." if split == "external" else "."
            )
            continue
        share = cell.n_malignant / cell.n
        yield (
            f"{split_name(split)} set: {100 * share:.0f}% of the images are malignant. Predictive values, calibration in the"
            " large and net benefit hold at that share, not at that of a clinic."
        )
        if min(cell.n_malignant, cell.n_benign) < SMALL_CLASS:
            yield f"{split_name(split)} set: fewer than {SMALL_CLASS} images of a class; intervals are rough."
        if cell.n_patients < cell.n:
            yield f"{split_name(split)} set: {cell.n} images of {cell.n_patients} patients: they say less than {cell.n} patients."
    if any(len(cell.auc_by_seed) == 1 for cell in cells):
        yield "Cells were trained with one seed: how much another training would differ is not known."
    if comparison.missing:
        yield f"{len(comparison.missing)} of the planned cells are missing from every table."
    if "phantom" in str(inputs.study.get("data", "")).lower():
        yield "The images are drawn phantoms: the figures say that the machinery works, nothing of patients."
    yield "Images show a mass, and somebody chose to store them; nothing is known of images without one, nor of that choice."
    yield "Networks were compared with each other, not with readers; no network was used in care."
