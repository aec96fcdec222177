"""Table 1 of a study: who and what is in each set, by class. Source of the layout: Kim et al. 2021, Table 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wsus.data.described import DESCRIBED
from wsus.data.manifest import Manifest
from wsus.types import CLASS_NAMES, ImageRecord, Split

_COUNTED = tuple(column for column in DESCRIBED if column.counted and column.name != "institution")  # that may be the group
_MOST_VALUES = 10  # rows per characteristic; the rest is added up


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Mean and range of a quantity, and of how many it is known."""

    known: int
    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} ({self.low:g} to {self.high:g})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Characteristics:
    """One column of Table 1: one class of one group.

    group: a split where images have splits, else an institution.
    age_years: over patients.  lesion_size_mm: over images.  None where nobody wrote it down.
    counts: of every counted column of `wsus.data.described`, images by value; "unknown" where empty.
    """

    group: str
    class_name: str
    images: int
    patients: int
    masks: int
    age_years: Spread | None
    lesion_size_mm: Spread | None
    counts: dict[str, dict[str, int]]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `json.dumps`; each counted column under its name."""
        value = asdict(self)
        return value | value.pop("counts")


def characteristics(manifest: Manifest) -> tuple[Characteristics, ...]:
    """Table 1 of a manifest: splits in their order (or institutions), benign before malignant; empty cells left out."""
    if any(record.split for record in manifest.records):
        order = {split.value: position for position, split in enumerate(Split)}
        groups = sorted({_split(record) for record in manifest.records}, key=lambda group: order.get(group, len(order)))
        by: Callable[[ImageRecord], str] = _split
    else:
        groups = sorted({_institution(record) for record in manifest.records})
        by = _institution
    columns = []
    for group in groups:
        for label, class_name in enumerate(CLASS_NAMES):
            records = [record for record in manifest.records if by(record) == group and record.label == label]
            if records:
                columns.append(_column(group, class_name, records))
    return tuple(columns)


def table_rows(columns: Sequence[Characteristics]) -> list[tuple[str, list[str]]]:
    """Table 1 as (row title, one text per column). What nobody wrote down has no row; a value begins with two spaces."""
    rows = [
        ("Images", [str(column.images) for column in columns]),
        ("Patients", [str(column.patients) for column in columns]),
        ("With mask", [str(column.masks) for column in columns]),
    ]
    for title, spreads in (
        ("Age in years, mean (range)", [column.age_years for column in columns]),
        ("Lesion size in mm, mean (range)", [column.lesion_size_mm for column in columns]),
    ):
        if any(spreads):
            rows.append((title, ["–" if spread is None else str(spread) for spread in spreads]))
    for described in _COUNTED:
        counts = [column.counts[described.name] for column in columns]
        values = _values(counts, in_order=described.ordered)
        if values:
            rows.append((described.title, ["" for _ in columns]))
            rows += [_count_row(f"  {value}", [value], counts) for value in values[:_MOST_VALUES]]
            rest = values[_MOST_VALUES:]
            if rest:
                rows.append(_count_row(f"  {len(rest)} others", rest, counts))
            if any("unknown" in count for count in counts):
                rows.append(_count_row("  unknown", ["unknown"], counts))
    return rows


def _split(record: ImageRecord) -> str:
    return record.split.value if record.split else "no split"


def _institution(record: ImageRecord) -> str:
    return record.institution or "all"


def _column(group: str, class_name: str, records: Sequence[ImageRecord]) -> Characteristics:
    ages = {record.patient_id: record.age_years for record in records if record.age_years is not None}
    return Characteristics(
        group=group,
        class_name=class_name,
        images=len(records),
        patients=len({record.patient_id for record in records}),
        masks=sum(bool(record.mask_paths) for record in records),
        age_years=_spread(ages.values()),
        lesion_size_mm=_spread(record.lesion_size_mm for record in records),
        counts={described.name: _count(records, described.name) for described in _COUNTED},
    )


def _count(records: Sequence[ImageRecord], name: str) -> dict[str, int]:
    return dict(Counter(str(getattr(record, name) or "unknown") for record in records).most_common())


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(known=len(known), mean=sum(known) / len(known), low=min(known), high=max(known))


def _count_row(title: str, values: Sequence[str], counts: Sequence[dict[str, int]]) -> tuple[str, list[str]]:
    return title, [str(sum(count.get(value, 0) for value in values)) for count in counts]


def _values(counts: Iterable[dict[str, int]], *, in_order: bool) -> list[str]:
    """What was written down, without "unknown"."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    del total["unknown"]
    return sorted(total) if in_order else [value for value, _ in total.most_common()]
