"""A table of images as hospitals write them: CSV, TSV or xlsx, with columns of their own names.

Columns are guessed by their names, or mapped; labels are read by their words, or mapped. What was decided is said, in notes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from wsus.data.manifest import Manifest
from wsus.data.manifest_rows import COLUMNS, DESCRIPTIVE_COLUMNS, described_value
from wsus.data.sources.imported import Imported, LeftOut
from wsus.data.table_columns import PATIENT_WORDS, asked_columns, delimiter, plain
from wsus.errors import ConfigError, ManifestError, UnknownNameError
from wsus.types import CLASS_NAMES, ImageRecord

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx")
_KNOWN_AS: dict[str, tuple[str, ...]] = {
    "path": ("file", "filename", "filepath", "image", "imagefile", "imagepath", "picture", "png", "dicom"),
    "label": ("class", "diagnosis", "pathology", "malignant", "malignancy", "outcome", "groundtruth", "target", "result"),
    "patient_id": (*PATIENT_WORDS, "case", "caseid"),
    "image_id": ("imageid", "id"),
    "mask_path": ("mask", "maskfile", "maskpath", "segmentation", "roi"),
    "device": ("scanner", "machine", "manufacturer", "model"),
    "institution": ("hospital", "site", "centre", "center", "clinic"),
    "birads": ("birads", "biradscategory"),
    "histology": ("histologicaltype", "tumourtype", "tumortype"),
    "age_years": ("age", "patientage"),
    "lesion_size_mm": ("size", "sizemm", "lesionsize", "diameter", "diametermm"),
    "acquired": ("date", "studydate", "examdate", "acquisitiondate"),
}
_WORDS = {
    "malignant": ("malignant", "malign", "m", "1", "1.0", "cancer", "carcinoma", "positive", "yes", "true"),
    "benign": ("benign", "b", "0", "0.0", "non-malignant", "nonmalignant", "negative", "no", "false"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TableMapping:
    """How a table is read.

    columns: a manifest's column -> the table's.  labels: "benign" and "malignant" -> the table's words for it.
    images: the folder that paths are relative to; that of the table where None.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    images: Path | None = None

    def __post_init__(self) -> None:
        for name in self.columns:
            if name not in COLUMNS:
                raise UnknownNameError("column of a table of images", name, COLUMNS)
        for name in self.labels:
            if name not in CLASS_NAMES:
                raise UnknownNameError("class", name, CLASS_NAMES)


def read_table(path: Path, mapping: TableMapping = TableMapping()) -> Imported:
    """Read a table of images.

    Where it names no patients, each image is its own; `wsus.data.sources.own` then looks for more.

    Raises:
        ManifestError: the file cannot be read as a table, a column or files are missing, or the labels are not two classes.
    """
    table = _read(path)
    columns = guess_columns([str(name) for name in table.columns], mapping.columns, str(path))
    labels, unlabelled = _labels(table[columns["label"]], mapping.labels, f"{path}, column {columns['label']!r}")
    root = mapping.images or path.parent
    files = _find_files(table[columns["path"]], root, path)
    masks = _find_files(table[columns["mask_path"]], root, path, optional=True) if "mask_path" in columns else {}
    left_out = [LeftOut(item=f"row {row + 2}", reason=reason) for row, reason in unlabelled.items()]
    records, used = [], set[str]()
    for row, values in enumerate(table.to_dict("records")):
        cells = {str(name): str(value) for name, value in values.items()}
        if row in files and row in labels:
            named = cells.get(columns["image_id"], "") if "image_id" in columns else ""
            image_id = _unused(_slug(named or files[row].stem), used)
            records.append(
                ImageRecord(
                    image_id=image_id,
                    patient_id=(cells[columns["patient_id"]] if "patient_id" in columns else "") or image_id,
                    path=files[row],
                    label=labels[row],
                    mask_paths=(masks[row],) if row in masks else (),
                    **_described(cells, columns, mapping.columns, f"{path}, row {row + 2}"),
                )
            )
    if not records:
        raise ManifestError(f"{path}: no row has a label and a file")
    notes = [f"{name} from column {column!r}" for name, column in columns.items()]
    unread = [name for name in table.columns if name not in columns.values()]
    if unread:
        notes.append(f"not used: {', '.join(unread[:12])}{' ...' if len(unread) > 12 else ''}")
    manifest = Manifest(records=tuple(records), name=path.stem)
    return Imported(manifest=manifest, taken=len(records), left_out=tuple(left_out), notes=tuple(notes))


def guess_columns(found: Sequence[str], asked: Mapping[str, str], where: str) -> dict[str, str]:
    """A manifest's column -> the table's, those that were asked for first.

    Raises:
        ManifestError: a column that was asked for is not there, none gives path or label, or several could.
    """
    by_plain = {plain(column): column for column in found}
    chosen = asked_columns(found, asked, where)
    for name in (*_KNOWN_AS, "calipers"):  # in this order, so that a column is not taken for less than it may be
        if name in chosen:
            continue
        free = {words: column for words, column in by_plain.items() if column not in chosen.values()}
        same = [free[plain(name)]] if plain(name) in free else [free[w] for w in _KNOWN_AS.get(name, ()) if w in free]
        if len(same) > 1 and name in ("path", "label"):
            raise ManifestError(
                f"{where}: {' and '.join(map(repr, same))} could each be the {name}; say which: --column {name}={same[0]}"
            )
        if same:
            chosen[name] = same[0]
    for name in ("path", "label"):
        if name not in chosen:
            raise ManifestError(
                f"{where}: no column is the {name} for sure; say which: --column {name}=NAME. "
                f"It has {', '.join(map(repr, found)) or 'none'}"
            )
    return chosen


def _read(path: Path) -> pd.DataFrame:
    """All cells as stripped text, empty where there is nothing; wholly empty columns and rows are left out."""
    try:
        if path.suffix.lower() == ".xlsx":
            table = pd.read_excel(path, dtype=str, keep_default_na=False)
        else:
            text = path.read_text(encoding="utf-8-sig")
            table = pd.read_csv(io.StringIO(text), sep=delimiter(text), dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise ManifestError(
            f"{path}: no such file; expected a table of images, or a folder with benign/ and malignant/"
        ) from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 (byte {error.start}); save the table as 'CSV UTF-8' or as .xlsx") from error
    except (OSError, ValueError, KeyError) as error:
        raise ManifestError(f"{path}: cannot be read as a table ({str(error)[:200]}); save it as CSV UTF-8 or .xlsx") from error
    except Exception as error:  # a damaged archive: zipfile's and openpyxl's own errors have no common kind
        if path.suffix.lower() != ".xlsx":
            raise
        raise ManifestError(f"{path}: cannot be read as a workbook ({type(error).__name__}); save it again, or as CSV") from error
    table.columns = [str(column).strip() for column in table.columns]
    table = table.fillna("").apply(lambda column: column.astype(str).str.strip())
    kept = [name for name in table.columns if name and not (name.startswith("Unnamed:") and (table[name] == "").all())]
    table = table[kept]
    table = table[(table != "").any(axis=1)].reset_index(drop=True)
    if table.empty:
        raise ManifestError(f"{path}: holds no row; expected a header and a row for each image")
    return table


def _labels(cells: pd.Series, asked: Mapping[str, tuple[str, ...]], where: str) -> tuple[dict[int, int], dict[int, str]]:
    """Row -> class; and row -> why it has none. Raises ManifestError where words are left over or a class has none."""
    known = {word: label for label, name in enumerate(CLASS_NAMES) for word in (_WORDS[name] if not asked else ())}
    for name, words in asked.items():
        known |= {word.strip().lower(): CLASS_NAMES.index(name) for word in words}
    words_of = cells.str.lower()
    strange = sorted({cell for cell in cells if cell and cell.lower() not in known})
    counts = cells[cells != ""].value_counts()
    if strange and not asked:
        shown = ", ".join(f"{word!r} ({counts[word]})" for word in strange[:8]) + (" ..." if len(strange) > 8 else "")
        mapped = " ".join(f"--label {name}={word}" for name, word in _suggested(counts.index, known, strange))
        raise ManifestError(
            f"{where}: labels are {' and '.join(CLASS_NAMES)}; found {shown}. "
            f"Say which words mean which class, commas between, and other rows are left out: {mapped}"
        )
    labels = {row: known[word] for row, word in enumerate(words_of) if word in known}
    found = {CLASS_NAMES[label] for label in labels.values()}
    if len(found) < len(CLASS_NAMES):
        only = found.pop() if found else "no class"
        raise ManifestError(
            f"{where}: all rows are {only}; benign and malignant images are needed. The column holds "
            f"{', '.join(f'{word!r} ({count})' for word, count in counts.head(8).items())}; name others with --label CLASS=WORD"
        )
    without = {
        row: f"label {cells.iloc[row]!r}" if word else "no label" for row, word in enumerate(words_of) if row not in labels
    }
    return labels, without


def _suggested(words: Iterable[str], known: Mapping[str, int], strange: Sequence[str]) -> list[tuple[str, str]]:
    """For each class the words that are plain, else the first or last of the others, as grades go upwards."""
    plain = {name: ",".join(word for word in words if known.get(word.lower()) == k) for k, name in enumerate(CLASS_NAMES)}
    return [(name, plain[name] or strange[-k]) for k, name in enumerate(CLASS_NAMES)]


def _find_files(cells: pd.Series, root: Path, table: Path, *, optional: bool = False) -> dict[int, Path]:
    """Row -> file below the root, `\\` read as `/`.

    Raises:
        ManifestError: a file is not there, or lies outside; names five, and what may be the reason.
    """
    resolved = root.resolve()
    found: dict[int, Path] = {}
    missing: list[str] = []
    for row, text in enumerate(cells):
        if not text and optional:
            continue
        path = (resolved / text.replace("\\", "/")).resolve()
        if text and path.is_relative_to(resolved) and path.is_file():
            found[row] = path
        else:
            missing.append(text)
    if missing:
        raise ManifestError(
            f"{table}: {len(missing)} of {len(cells)} files of the column {cells.name!r} are not below {root}: "
            f"{', '.join(repr(text) for text in missing[:5])}{' ...' if len(missing) > 5 else ''}. {_hint(missing, resolved)}"
        )
    return found


def _hint(missing: Sequence[str], root: Path) -> str:
    """What may be the reason that files are not found: another folder, another case, no suffix."""
    wanted = Path(missing[0].replace("\\", "/")).name
    below = [path for path in root.rglob("*") if path.is_file()]
    for same, words in (
        ([p for p in below if p.name == wanted], "it lies at {}: name that folder with --images"),
        ([p for p in below if p.name.lower() == wanted.lower()], "a file is called {}: upper and lower case count"),
        ([p for p in below if p.stem.lower() == wanted.lower()], "a file is called {}: the suffix is missing in the table"),
    ):
        if same:
            return words.format(same[0].relative_to(root)).capitalize() + "."
    return "Name the folder that the paths are relative to with --images."


def _described(cells: Mapping[str, str], columns: Mapping[str, str], asked: Mapping[str, str], where: str) -> dict[str, Any]:
    """The descriptive columns as a record holds them; a value that cannot be is empty where its column was only guessed.

    Raises:
        ManifestError: a value of a column that was asked for is no number or date.
    """
    found: dict[str, Any] = {}
    for name in (*DESCRIPTIVE_COLUMNS, "split"):
        if name in columns and (text := cells[columns[name]]):
            try:
                found[name] = described_value(name, text, f"{where}, column {columns[name]!r}")
            except ManifestError:
                if name in asked:
                    raise
    return found


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() or c in "_.-" else "-" for c in text).strip("-.") or "image"


def _unused(image_id: str, used: set[str]) -> str:
    candidate, number = image_id, 2
    while candidate in used:
        candidate, number = f"{image_id}-{number}", number + 1
    used.add(candidate)
    return candidate


def check_labels_asked(labels: Mapping[str, tuple[str, ...]]) -> None:
    """Raise ConfigError where a word means both classes."""
    both = {w.lower() for w in labels.get("benign", ())} & {w.lower() for w in labels.get("malignant", ())}
    if both:
        raise ConfigError(f"--label: {', '.join(sorted(both))} cannot mean benign and malignant; name each word once")
