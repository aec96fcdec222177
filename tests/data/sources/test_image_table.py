"""Tables as hospitals write them: columns found or mapped, labels read or asked for, files looked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wsus.data.sources.table import TableMapping, check_labels_asked, guess_columns, read_table
from wsus.errors import ConfigError, ManifestError, UnknownNameError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images in scans/."""
    (tmp_path / "scans").mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(1, 255, (40, 50), dtype=np.uint8)).save(tmp_path / "scans" / f"{number}.png")
    return tmp_path


def write(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_columns_labels_and_delimiter_are_found(folder: Path) -> None:
    text = "Patient ID;File;Diagnosis;Age;Scanner;Comment;\n"
    text += "".join(f"p{n // 2};scans\\{n}.png;{'Malignant' if n % 2 else 'benign'};5{n};X;;\n" for n in range(4))
    imported = read_table(write(folder, text))
    first, second, *_ = imported.manifest.records
    assert (first.patient_id, first.label, first.age_years, first.device) == ("p0", 0, 50.0, "X")
    assert (second.label, second.path) == (1, (folder / "scans" / "1.png").resolve())
    assert "label from column 'Diagnosis'" in imported.notes
    assert "not used: Comment" in imported.notes


def test_a_workbook_reads_as_its_csv(folder: Path) -> None:
    rows = {"file": [f"scans/{n}.png" for n in range(4)], "diagnosis": ["B", "M", "B", "M"], "size": ["12", "9 mm", "", "3.5"]}
    pd.DataFrame(rows).to_excel(folder / "table.xlsx", index=False)
    records = read_table(folder / "table.xlsx").manifest.records
    assert [record.label for record in records] == [0, 1, 0, 1]
    assert [record.lesion_size_mm for record in records] == [12.0, None, None, 3.5]  # '9 mm' in a column that was only guessed


def test_grades_are_asked_for_and_read_by_mapping(folder: Path) -> None:
    table = write(folder, "file,BI-RADS,x\n" + "".join(f"scans/{n}.png,{n + 2},1\n" for n in range(4)))
    with pytest.raises(ManifestError, match=r"no column is the label for sure; say which: --column label=NAME\. It has 'file'"):
        read_table(table)
    by_grade = {"label": "bi-rads"}
    with pytest.raises(ManifestError, match=r"found '2' \(1\), '3' \(1\), '4' \(1\).*--label benign=2 --label malignant=5"):
        read_table(table, TableMapping(columns=by_grade))
    imported = read_table(table, TableMapping(columns=by_grade, labels={"benign": ("2", "3"), "malignant": ("5",)}))
    assert [record.label for record in imported.manifest.records] == [0, 0, 1]
    assert [(item.item, item.reason) for item in imported.left_out] == [("row 4", "label '4'")]


def test_unclear_words_beside_plain_ones_suggest_the_plain_ones(folder: Path) -> None:
    table = write(folder, "file,class\nscans/0.png,benign\nscans/1.png,malignant\nscans/2.png,unclear\n")
    with pytest.raises(ManifestError, match="--label benign=benign --label malignant=malignant"):
        read_table(table)


def test_files_that_are_not_there_are_named_with_a_hint(folder: Path) -> None:
    rows = "".join(f"{n}.png,{'benign' if n % 2 else 'malignant'}\n" for n in range(4))
    table = write(folder, "file,class\n" + rows)
    with pytest.raises(ManifestError, match=r"4 of 4 files of the column 'file' .* It lies at scans/0.png: name that folder"):
        read_table(table)
    assert len(read_table(table, TableMapping(images=folder / "scans")).manifest.records) == 4
    table = write(folder, "file,class\nscans/0.PNG,benign\nscans/1.png,malignant\n")
    with pytest.raises(ManifestError, match=r"1 of 2 files .*upper and lower case count"):
        read_table(table)
    table = write(folder, "file,class\nscans/0,benign\nscans/1,malignant\n")
    with pytest.raises(ManifestError, match="the suffix is missing in the table"):
        read_table(table)
    table = write(folder, "file,class\n../outside.png,benign\nscans/1.png,malignant\n")
    with pytest.raises(ManifestError, match=r"1 of 2 files .*Name the folder that the paths are relative to"):
        read_table(table)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("file,class\nscans/0.png,benign\nscans/1.png,benign\n", r"all rows are benign; benign and malignant images are needed"),
        ("file,class\n", "holds no row"),
        ("file,class,outcome\nscans/0.png,benign,1\n", r"'class' and 'outcome' could each be the label; say which: --column"),
        ("a,b\n1,2\n", "no column is the path for sure"),
    ],
)
def test_what_cannot_be_used_is_said(folder: Path, text: str, match: str) -> None:
    with pytest.raises(ManifestError, match=match):
        read_table(write(folder, text))


def test_mistakes_in_the_mapping(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown column of a table of images 'lable'"):
        TableMapping(columns={"lable": "x"})
    with pytest.raises(UnknownNameError, match="unknown class 'malign'"):
        TableMapping(labels={"malign": ("x",)})
    with pytest.raises(ManifestError, match=r"has no column 'Diagnose'\. Did you mean 'Diagnosis'"):
        guess_columns(["File", "Diagnosis"], {"label": "Diagnose"}, "t.csv")
    with pytest.raises(ConfigError, match="cannot mean benign and malignant"):
        check_labels_asked({"benign": ("3",), "malignant": ("3", "4")})
    (folder / "damaged.xlsx").write_bytes(b"no workbook")
    with pytest.raises(ManifestError, match=r"damaged\.xlsx: cannot be read as"):
        read_table(folder / "damaged.xlsx")
    with pytest.raises(ManifestError, match="no such file"):
        read_table(folder / "gone.csv")
    (folder / "latin.csv").write_bytes("file,Größe\n".encode("latin-1"))
    with pytest.raises(ManifestError, match="not UTF-8"):
        read_table(folder / "latin.csv")
