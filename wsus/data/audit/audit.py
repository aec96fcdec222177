"""Look at every image and mask of a manifest before anyone trains on them.

An error makes a study worthless (a file that cannot be read, a mask of another size, the same patient or picture on two
sides of a split, the same picture with two labels); a warning is for people to judge.
"""

from __future__ import annotations

import base64
import io
import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from wsus.data.audit.near_duplicates import (
    NEARLY_IDENTICAL,
    Fingerprint,
    NearDuplicate,
    NearDuplicateConfig,
    find_near_duplicates,
    fingerprint,
)
from wsus.data.characteristics import Characteristics, characteristics, table_rows
from wsus.data.formats.image_warning import by_kind, warning_notes
from wsus.data.images import read_doubtful_mask, read_image
from wsus.data.manifest import Manifest, patients_across_splits
from wsus.data.manifest_rows import doubtful_ids
from wsus.data.mask_faults import MaskFaultKind
from wsus.disclaimer import DISCLAIMER
from wsus.errors import ConfigError, ImageError, MaskError, StoreError
from wsus.types import CLASS_NAMES, ImageRecord, Split

Severity = Literal["error", "warning"]
_SHOWN_IN_TEXT = 5
_MASK_FAULTS: dict[MaskFaultKind, str] = {
    "mask_is_picture": "mask(s) are pictures",
    "mask_whole": "mask(s) mark the whole image",
    "mask_inverted": "mask(s) are inverted",
    "mask_smeared": "mask(s) have a smeared edge, as after JPEG",
    "mask_alpha": "mask(s) may have their shape in the alpha channel",
    "mask_palette": "mask(s) have a palette that turns their shape into another",
    "mask_colour": "mask(s) mark by a colour that is black as grey",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditConfig:
    """What the audit looks for.

    least_class_share: a group in which one class has a smaller share of the images is called imbalanced, in [0, 0.5].
    """

    near_duplicates: NearDuplicateConfig = field(default_factory=NearDuplicateConfig)
    least_class_share: float = 0.2

    def __post_init__(self) -> None:
        if not 0.0 <= self.least_class_share <= 0.5:
            raise ConfigError(f"least_class_share must lie in [0, 0.5]; got {self.least_class_share}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One kind of thing that was found. summary: a sentence with the number; items: each of them."""

    kind: str
    severity: Severity
    summary: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class DuplicatePair:
    """Two images that show the same picture. across: which of "class", "split", "patient" differ between them."""

    first: ImageRecord
    second: ImageRecord
    similarity: float
    across: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.first.image_id} = {self.second.image_id} ({self.similarity:.2f})"


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditedImage:
    """One readable image as it was decoded. warnings: what `wsus predict` warns of too, by kind."""

    image_id: str
    format: str
    size_hw: tuple[int, int]
    frame: int
    frames: int
    spacing_mm_yx: tuple[float, float] | None
    warnings: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        height, width = self.size_hw
        return {
            "image_id": self.image_id,
            "format": self.format,
            "width_px": width,
            "height_px": height,
            "frame": self.frame,
            "frames": self.frames,
            "spacing_mm": self.spacing_mm_yx and list(self.spacing_mm_yx),
            "warnings": self.warnings,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditReport:
    """What the audit found.

    thumbnails: PNG bytes, longest side 128 px, of the images in `pairs`, by image_id.
    """

    name: str
    images: int
    patients: int
    seconds: float
    findings: tuple[Finding, ...]
    pairs: tuple[DuplicatePair, ...]
    table: tuple[Characteristics, ...]
    thumbnails: dict[str, bytes]
    decoded: tuple[AuditedImage, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """No finding is an error."""
        return not any(finding.severity == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `json.dumps`; without thumbnails and file paths."""
        return {
            "name": self.name,
            "ok": self.ok,
            "images": self.images,
            "patients": self.patients,
            "seconds": round(self.seconds, 2),
            "notes": list(self.notes),
            "findings": [
                {"kind": f.kind, "severity": f.severity, "count": len(f.items), "summary": f.summary, "items": list(f.items)}
                for f in self.findings
            ],
            "near_duplicates": [
                {
                    "first": pair.first.image_id,
                    "second": pair.second.image_id,
                    "similarity": round(pair.similarity, 4),
                    "across": list(pair.across),
                }
                for pair in self.pairs
            ],
            "characteristics": [column.to_json() for column in self.table],
            "decoded": [image.to_json() for image in self.decoded],
        }

    def lines(self) -> list[str]:
        """The report as lines of text for a terminal."""
        verdict = "no errors" if self.ok else "ERRORS"
        lines = [f"{self.name}: {self.images} images of {self.patients} patients; {verdict}; {self.seconds:.1f} s"]
        lines += [f"note     {note}" for note in self.notes]
        for finding in self.findings:
            lines.append(f"{finding.severity:<8} {finding.summary}")
            lines += [f"           {item}" for item in finding.items[:_SHOWN_IN_TEXT]]
            if len(finding.items) > _SHOWN_IN_TEXT:
                lines.append(f"           and {len(finding.items) - _SHOWN_IN_TEXT} more")
        return [*lines, "", *_table_lines(self.table), "", DISCLAIMER]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Inspection:
    """What one image and its masks gave; problems: kind and message."""

    seen: Fingerprint | None
    decoded: AuditedImage | None
    problems: tuple[tuple[str, str], ...]


def audit(manifest: Manifest, config: AuditConfig = AuditConfig(), *, notes: Sequence[str] = ()) -> AuditReport:
    """Decode every image and mask once and report what is wrong with them. Nothing that it finds raises.

    Args:
        notes: sentences of the import, handed on to the reader.
    """
    start = time.perf_counter()
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        inspections = list(pool.map(_inspect, manifest.records))
    readable = [(r, i.seen) for r, i in zip(manifest.records, inspections, strict=True) if i.seen is not None]
    near = find_near_duplicates([seen for _, seen in readable], config.near_duplicates)
    pairs = tuple(_pair(readable[pair.first][0], readable[pair.second][0], pair) for pair in near)
    thumbnails = {readable[k][0].image_id: _png(readable[k][1]) for pair in near for k in (pair.first, pair.second)}
    findings = [
        *_file_findings(inspections),
        *_warning_findings([one.decoded for one in inspections if one.decoded is not None]),
        *_identifier_findings(manifest),
        *_patient_findings(manifest),
        *_pair_findings(pairs),
        *_balance_findings(manifest, config),
    ]
    return AuditReport(
        name=manifest.name,
        images=len(manifest.records),
        patients=len({record.patient_id for record in manifest.records}),
        findings=tuple(sorted(findings, key=lambda finding: finding.severity)),  # "error" before "warning"
        pairs=pairs,
        table=characteristics(manifest),
        thumbnails=thumbnails,
        decoded=tuple(one.decoded for one in inspections if one.decoded is not None),
        notes=tuple(notes),
        seconds=time.perf_counter() - start,
    )


def write_audit_page(report: AuditReport, path: Path) -> None:
    """Write the report as one HTML file that needs nothing else; a file is replaced as a whole or not at all.

    Raises:
        StoreError: the file cannot be written.
    """
    from jinja2 import Environment, PackageLoader  # costs 0.1 s, and only the page needs it

    template = Environment(loader=PackageLoader("wsus.data"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = template.get_template("audit.html.j2").render(
        report=report,
        rows=table_rows(report.table),
        images={key: base64.b64encode(png).decode() for key, png in report.thumbnails.items()},
        pairs=sorted(report.pairs, key=lambda pair: (-("class" in pair.across), -("split" in pair.across), -pair.similarity)),
        nearly_identical=sum(pair.similarity >= NEARLY_IDENTICAL for pair in report.pairs),
        notice=DISCLAIMER,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".audit-") as beside:
            (Path(beside) / path.name).write_text(html, encoding="utf-8")
            os.replace(Path(beside) / path.name, path)
    except OSError as error:
        raise StoreError(f"{path}: the audit page cannot be written ({error.strerror or error}); choose another place") from error


def _inspect(record: ImageRecord) -> _Inspection:
    problems: list[tuple[str, str]] = []
    try:
        image = read_image(record.path, frame=record.frame)
    except ImageError as error:
        return _Inspection(seen=None, decoded=None, problems=(("unreadable_image", f"{record.image_id}: {error}"),))
    for path in record.mask_paths:
        try:
            mask_HW, fault = read_doubtful_mask(path, image=image)
            if fault is not None:
                problems.append((fault.kind, f"{record.image_id}: {path.name}: {fault.words}"))
            elif not mask_HW.any():
                problems.append(("empty_mask", f"{record.image_id}: {path.name} marks nothing"))
        except MaskError as error:
            problems.append(("mask_misfit", f"{record.image_id}: {error}"))
    decoded = AuditedImage(
        image_id=record.image_id,
        format=image.format,
        size_hw=(image.grey_HW.shape[0], image.grey_HW.shape[1]),
        frame=image.frame,
        frames=image.frame_count,
        spacing_mm_yx=image.spacing_mm_yx,
        warnings=dict(by_kind(image.warnings)),
    )
    return _Inspection(seen=fingerprint(image.grey_HW), decoded=decoded, problems=tuple(problems))


def _pair(first: ImageRecord, second: ImageRecord, pair: NearDuplicate) -> DuplicatePair:
    in_use = Split.UNUSED not in (first.split, second.split) and None not in (first.split, second.split)
    differences = {
        "class": first.label != second.label,
        "split": in_use and first.split is not second.split,
        "patient": first.patient_id != second.patient_id,
    }
    across = tuple(name for name, differs in differences.items() if differs)
    return DuplicatePair(first=first, second=second, similarity=pair.similarity, across=across)


def _file_findings(inspections: Iterable[_Inspection]) -> Iterable[Finding]:
    by_kind: dict[str, list[str]] = defaultdict(list)
    for inspection in inspections:
        for kind, message in inspection.problems:
            by_kind[kind].append(message)
    described: tuple[tuple[str, Severity, str], ...] = (
        ("unreadable_image", "error", "image(s) cannot be used"),
        ("mask_misfit", "error", "mask(s) cannot be read or have another size than their image"),
        *((kind, "error", words) for kind, words in _MASK_FAULTS.items()),
        ("empty_mask", "warning", "mask(s) are empty"),
    )
    for kind, severity, words in described:
        if by_kind[kind]:
            yield Finding(kind=kind, severity=severity, summary=f"{len(by_kind[kind])} {words}", items=tuple(by_kind[kind]))


def _warning_findings(decoded: Sequence[AuditedImage]) -> Iterable[Finding]:
    """What `wsus predict` would say of each image, once for all images of a kind."""
    items: dict[str, list[str]] = defaultdict(list)
    for image in decoded:
        for kind, words in image.warnings.items():
            items[kind].append(f"{image.image_id}: {words}")
    for kind in sorted(items, key=lambda one: -len(items[one])):
        for summary in warning_notes({kind: len(items[kind])}):
            yield Finding(kind=f"image_{kind}", severity="warning", summary=summary, items=tuple(items[kind]))


def _identifier_findings(manifest: Manifest) -> Iterable[Finding]:
    doubts = doubtful_ids(manifest.records)
    if doubts:
        summary = "identifiers look as if a spreadsheet or a typing error had changed them"
        yield Finding(kind="doubtful_identifiers", severity="warning", summary=summary, items=tuple(doubts))


def _patient_findings(manifest: Manifest) -> Iterable[Finding]:
    leaks = patients_across_splits(manifest.records)
    if leaks:
        yield Finding(
            kind="patient_across_splits",
            severity="error",
            summary=f"{len(leaks)} patient(s) have images in more than one split",
            items=tuple(f"{patient}: {', '.join(splits)}" for patient, splits in leaks.items()),
        )
    labels: dict[str, set[int | None]] = defaultdict(set)
    for record in manifest.records:
        labels[record.patient_id].add(record.label)
    both = tuple(sorted(patient for patient, found in labels.items() if len(found) > 1))
    if both:
        summary = f"{len(both)} patient(s) have benign and malignant images; such patients are never scored"
        yield Finding(kind="patient_in_both_classes", severity="warning", summary=summary, items=both)


def _pair_findings(pairs: Sequence[DuplicatePair]) -> Iterable[Finding]:
    described: tuple[tuple[str, Severity, str, str], ...] = (
        ("class", "error", "duplicates_across_classes", "have different labels"),
        ("split", "error", "duplicates_across_splits", "lie in different splits"),
        (
            "patient",
            "warning",
            "duplicates_across_patients",
            "are given to different patients, so they can come into different splits",
        ),
    )
    for across, severity, kind, words in described:
        found = [pair for pair in pairs if across in pair.across]
        if found:
            summary = f"{len(found)} near-duplicate pair(s) {words}"
            yield Finding(kind=kind, severity=severity, summary=summary, items=tuple(map(str, found)))
    within = [pair for pair in pairs if not pair.across]
    if within:
        alike = sum(pair.similarity >= NEARLY_IDENTICAL for pair in within)
        summary = f"{len(within)} near-duplicate pair(s) within a patient and class, {alike} of them nearly identical"
        yield Finding(kind="duplicates_within", severity="warning", summary=summary, items=tuple(map(str, within)))


def _balance_findings(manifest: Manifest, config: AuditConfig) -> Iterable[Finding]:
    groups: dict[str, Counter[int | None]] = defaultdict(Counter)
    for record in manifest.records:
        if record.split is not Split.UNUSED:
            groups[record.split.value if record.split else "all"][record.label] += 1
    items = []
    for group, labels in groups.items():
        total = sum(labels.values())
        items += [
            f"{group}: {labels[label]} of {total} images are {name}"
            for label, name in enumerate(CLASS_NAMES)
            if labels[label] < config.least_class_share * total
        ]
    if items:
        summary = f"a class makes up less than {config.least_class_share:.0%} of the images"
        yield Finding(kind="imbalance", severity="warning", summary=summary, items=tuple(items))


def _png(seen: Fingerprint) -> bytes:
    content = io.BytesIO()
    Image.fromarray(seen.small_HW).save(content, format="PNG")
    return content.getvalue()


def _table_lines(columns: Sequence[Characteristics]) -> list[str]:
    head = [f"{column.group}, {column.class_name}" for column in columns]
    rows = [("Table 1", head), *table_rows(columns)]
    first = max(len(title) for title, _ in rows)
    widths = [max(len(cells[k]) for _, cells in rows) for k in range(len(columns))]
    lines = []
    for title, cells in rows:
        lines.append("  ".join([title.ljust(first), *(c.rjust(w) for c, w in zip(cells, widths, strict=True))]).rstrip())
    return lines
