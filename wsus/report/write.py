"""Write a study's comparison as files, and sum it up for a terminal."""

from __future__ import annotations

import json
import shutil
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsus.comparison.estimates import Estimate
from wsus.comparison.localisation_result import LocalisationResult
from wsus.comparison.result import Comparison
from wsus.disclaimer import DISCLAIMER
from wsus.errors import StoreError
from wsus.report.figures.contents import all_figures
from wsus.report.html import page
from wsus.report.inputs import ReportInputs
from wsus.report.tables.compute_spent import compute_note
from wsus.report.tables.contents import all_tables, main_tables
from wsus.report.verdicts import patient_remarks, remarks, verdicts
from wsus.report.wording import backbone_name, mode_name


def write_report(folder: Path, inputs: ReportInputs, comparison: Comparison) -> None:
    """Write comparison.json, tables/ (CSV, Markdown, LaTeX), figures/ (SVG, PNG) and report.html.

    The folder is built beside its place and then renamed, so that a reader never meets half a report; what stood there
    before is replaced. The same inputs give the same bytes.

    Raises:
        StoreError: the folder cannot be written, or is something else than a folder.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: a report is a folder, and a file of that name exists; remove it or choose another place")
    with replaced_folder(folder) as beside:
        _write_all(beside, inputs, comparison)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place when the block ends well, and is gone when it does not. Raises StoreError."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror or error}); choose a folder that can") from error
    try:
        yield beside
        beside.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        beside.rename(folder)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror or error}); free some space or choose another") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def terminal_summary(comparison: Comparison, inputs: ReportInputs) -> str:
    """Tables 2 to 4, the verdicts, and every failure by its name, as plain text of at most 120 columns."""
    blocks = [_wrapped(remark) for remark in patient_remarks(comparison)]
    blocks += [table.to_text() for table in main_tables(comparison, inputs)]
    found = verdicts(comparison)
    if found:
        blocks.append("\n".join(["Findings", *(_wrapped(f"{_MARKS[sentence.tone]} {sentence.text}") for sentence in found)]))
    failed = [_wrapped(f"{backbone_name(m.backbone)}, {mode_name(m.mode)}: {m.reason}") for m in comparison.missing]
    failed += [_wrapped(f"trial {item['trial']} of {item['cell']}: {item['error']}") for item in inputs.failures]
    if failed:
        blocks.append("\n".join(["Failed, and left out above", *failed]))
    known = [_wrapped(remark) for remark in remarks(comparison)]
    if known:
        blocks.append("\n".join(["Remarks", *known]))
    blocks.append(f"{textwrap.fill(compute_note(inputs), 120)}\n{DISCLAIMER}")
    return "\n\n".join(blocks)


def card_figures(comparison: Comparison, backbone: str, mode: str) -> dict[str, Any]:
    """The figures of one cell for its model card: by split, with intervals; {} where the cell has none."""
    figures: dict[str, Any] = {}
    for split in comparison.splits:
        cell = comparison.cell(backbone, mode, split)
        if cell is None:
            continue
        figures[split] = {
            "n": cell.n,
            "n_malignant": cell.n_malignant,
            "n_patients": cell.n_patients,
            "operating_point": cell.operating_point,
            "auc": _with_ci(cell.auc),
            "auc_images": _with_ci(cell.auc_images),
            "auc_clustered": _with_ci(cell.auc_clustered),
            "sensitivity": _with_ci(cell.sensitivity),
            "specificity": _with_ci(cell.specificity),
            "likelihood_ratio_positive": _with_ci(cell.lr_positive),
            "likelihood_ratio_negative": _with_ci(cell.lr_negative),
            "brier": _with_ci(cell.brier),
            "calibration_slope": _with_ci(cell.calibration_slope),
            "calibration_in_the_large": _with_ci(cell.calibration_in_the_large),
            "unlike_training": _with_ci(cell.unlike_training) if cell.unlike_training else None,
            "auc_by_seed": {str(seed): value for seed, value in cell.auc_by_seed.items()},
        }
        located = comparison.located(backbone, split) if mode == "weak" else None
        if located is not None:
            figures[split]["localisation"] = _localisation_figures(located)
    return figures


def _localisation_figures(located: LocalisationResult) -> dict[str, Any]:
    """By criterion and class, without the criteria that were not computed."""
    by_class = {group.level: group for group in located.groups if group.variable == "class"}
    figures: dict[str, Any] = {}
    for level, group in by_class.items():
        for figure in group.figures:
            if figure.own.value is not None:
                figures.setdefault(figure.criterion, {})[level] = _with_ci(figure.own)
    return figures


_MARKS = {"good": "+", "bad": "-", "open": "?"}


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 118, initial_indent="  ", subsequent_indent="    ")


def _with_ci(estimate: Estimate) -> dict[str, Any]:
    interval = estimate.interval
    return {"value": estimate.value, "ci": list(interval) if interval else None, "method": estimate.method, "note": estimate.note}


def _write_all(folder: Path, inputs: ReportInputs, comparison: Comparison) -> None:
    tables, drawings = all_tables(comparison, inputs), all_figures(comparison, inputs)
    (folder / "tables").mkdir()
    (folder / "figures").mkdir()
    text = json.dumps(comparison.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    (folder / "comparison.json").write_text(text + "\n", encoding="utf-8")
    for table in tables:
        for ending, content in (("csv", table.to_csv()), ("md", table.to_markdown()), ("tex", table.to_latex())):
            (folder / "tables" / f"{table.slug}.{ending}").write_text(content, encoding="utf-8")
    for drawing in drawings:
        (folder / "figures" / f"{drawing.slug}.svg").write_bytes(drawing.svg)
        (folder / "figures" / f"{drawing.slug}.png").write_bytes(drawing.png)
    (folder / "report.html").write_text(page(comparison, inputs, tables, drawings), encoding="utf-8")
