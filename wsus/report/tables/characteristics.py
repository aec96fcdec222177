"""Table 1: what the sets are made of, beside the paper's."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from wsus.data.described import DESCRIBED
from wsus.data.formats.image_warning import warning_notes
from wsus.report.inputs import ReportInputs
from wsus.report.paper_figures import PAPER_SETS, PaperSet
from wsus.report.tables.table import Column, Table
from wsus.report.wording import DASH, SPLIT_ORDER, percent, split_name

_MAX_LEVELS = 8
_LEVELLED = {column.name: column.title for column in DESCRIBED if column.counted}


def characteristics_table(inputs: ReportInputs) -> Table:
    """Table 1: images, patients, classes, age, lesion size, institutions, scanners, BI-RADS of every set."""
    records = inputs.records
    splits = [split for split in SPLIT_ORDER if split != "unused" and (records["split"] == split).any()]
    sets = [records[records["split"] == split] for split in splits]
    columns = (
        Column(title="Group", kind="label"),
        Column(title="Characteristic", kind="label"),
        *(Column(title=split_name(split)) for split in splits),
        Column(title="paper: training / internal / external", kind="paper"),
    )
    rows = [
        _row("Images", "Images", sets, lambda part: f"{len(part):,}", lambda p: f"{p.benign + p.malignant:,}"),
        _row("Images", "Patients", sets, lambda part: f"{part['patient_id'].nunique():,}", None),
        _row("Images", "Benign", sets, lambda part: _count(part["label"] == 0), lambda p: str(p.benign)),
        _row("Images", "Malignant", sets, lambda part: _count(part["label"] == 1), lambda p: str(p.malignant)),
        _row("Mean (range)", "Age, years", sets, lambda part: _mean_range(part, "age_years"), lambda p: _triple(p.age_years)),
        _row(
            "Mean (range)",
            "Lesion size, mm",
            sets,
            lambda part: _mean_range(part, "lesion_size_mm"),
            lambda p: _triple(p.lesion_size_mm),
        ),
    ]
    for column, title in _LEVELLED.items():
        rows += _level_rows(column, title, records, sets)
    return Table(
        slug="table1", title="Table 1. Characteristics of the sets", columns=columns, rows=tuple(rows), notes=_notes(inputs)
    )


def _row(
    group: str,
    name: str,
    sets: list[pd.DataFrame],
    ours: Callable[[pd.DataFrame], str],
    papers: Callable[[PaperSet], str] | None,
) -> tuple[str | None, ...]:
    in_paper = " / ".join(papers(PAPER_SETS[split]) for split in ("train", "internal", "external")) if papers else None
    return (group, name, *(ours(part) for part in sets), in_paper)


def _level_rows(column: str, title: str, records: pd.DataFrame, sets: list[pd.DataFrame]) -> list[tuple[str | None, ...]]:
    if column not in records.columns or records[column].notna().sum() == 0:
        return []
    counts = records.loc[records["split"] != "unused", column].dropna().astype(str).value_counts()
    ordered = sorted(counts.index, key=lambda level: (-int(counts[level]), level))
    shown = sorted(ordered[:_MAX_LEVELS])
    rows: list[tuple[str | None, ...]] = [
        (title, level, *(_count(part[column].astype(str) == level) for part in sets), "") for level in shown
    ]
    rest = ordered[_MAX_LEVELS:]
    if rest:
        others = (_count(part[column].astype(str).isin(rest)) for part in sets)
        rows.append((title, f"{len(rest)} others", *others, ""))
    if any(part[column].isna().any() for part in sets):
        rows.append((title, "not stated", *(_count(part[column].isna()) for part in sets), ""))
    return rows


def _notes(inputs: ReportInputs) -> tuple[str, ...]:
    left_out = sum(int(item.get("count", 1)) for item in inputs.left_out)
    notes = ["No patient stands in two sets. Development: cut from the training patients, chooses models and epochs."]
    if left_out:
        notes.append(f"{left_out:,} images or files were left out on import; the data flow says why.")
    warned = inputs.study.get("image_warnings")  # studies of before do not have it
    if warned and warned["by_kind"]:
        said = "; ".join(warning_notes(warned["by_kind"]))
        notes.append(f"Decoding warned, of {warned['looked_at']:,} images looked at: {said}.")
    return tuple(notes)


def _count(chosen: pd.Series) -> str:
    n = int(chosen.sum())
    return f"{n:,} ({percent(n / len(chosen), 0)}%)" if len(chosen) else DASH


def _mean_range(part: pd.DataFrame, column: str) -> str:
    values = pd.to_numeric(part[column]).dropna() if column in part.columns else pd.Series(dtype=float)
    return _triple((values.mean(), values.min(), values.max())) if len(values) else DASH


def _triple(values: tuple[float, float, float]) -> str:
    mean, low, high = values
    return f"{mean:.0f} ({low:.0f}{DASH}{high:.0f})"
