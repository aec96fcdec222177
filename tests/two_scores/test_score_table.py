"""A table of scores: what is read, and the line and column that every complaint names."""

from pathlib import Path

import pytest

from wsus.errors import DataError, UnknownNameError
from wsus.two_scores.table import read_score_table

HEADER = "id,label,score_a,score_b\n"
GOOD = HEADER + "c1,1,0.9,0.8\nc2,0,0.2,0.4\n"


def table(folder: Path, text: str | bytes) -> Path:
    path = folder / "scores.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns_are_read_by_name_and_labels_by_number_or_word(tmp_path: Path) -> None:
    text = "score_b,note,patient_id,id,label,score_a\n0.8,x,p1,c1,Malignant,9e-1\n-0.4,,p1,c2,benign,.2\n\n1,,p2,c3,0.0,3\n"
    found = read_score_table(table(tmp_path, text))

    assert found.ids == ("c1", "c2", "c3")
    assert found.labels.tolist() == [1, 0, 0]
    assert found.scores_a.tolist() == [0.9, 0.2, 3.0]
    assert found.scores_b.tolist() == [0.8, -0.4, 1.0]
    assert found.patients is not None
    assert found.patients.tolist() == ["p1", "p1", "p2"]


def test_patients_are_not_needed_and_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    found = read_score_table(table(tmp_path, b"\xef\xbb\xbf" + GOOD.encode()))
    assert found.patients is None
    assert found.ids == ("c1", "c2")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"file is empty; expected a header id,label"),
        ("\n\n", r"file is empty"),
        (HEADER, r"a header and no cases"),
        ("id,label,score_b\nc1,1,0.5\n", r"column\(s\) score_a missing; .* found id,label,score_b"),
        ("id;name;score_a;score_b\nc1;1;0.5;0.5\n", r"column\(s\) label missing; .*--column label=NAME"),
        ("id;label;score_a\nc1;1;0.5;0.5\n", r"line 2: 4 values, but the header names 3 columns; check the semicolons"),
        ("id,label,score_a,score_b,score_a\nc1,1,0.5,0.5,1\n", r"column\(s\) score_a stand twice"),
        (GOOD + "c2,1,0.5,0.5\n", r"line 4, column id: 'c2' stands in line 3 already"),
        (GOOD + " ,1,0.5,0.5\n", r"line 4, column id: empty"),
        (GOOD + "c3,2,0.5,0.5\n", r"line 4, column label: '2'; expected 0 or benign"),
        (GOOD + "c3,,0.5,0.5\n", r"line 4, column label: ''"),
        (GOOD + "c3,1,high,0.5\n", r"line 4, column score_a: 'high'; expected a number"),
        (GOOD + "c3,1,1_0,0.5\n", r"line 4, column score_a: '1_0'; expected a number"),
        (GOOD + "c3,1,0.5,\n", r"line 4, column score_b: empty; expected a number"),
        (GOOD + "c3,1,0.5,NaN\n", r"line 4, column score_b: 'NaN' is not a finite number"),
        (GOOD + "c3,1,-inf,0.5\n", r"line 4, column score_a: '-inf' is not a finite number"),
        (GOOD + "c3,1,0.5\n", r"line 4: 3 values, but the header names 4 columns"),
        (GOOD + "c3,1,0,5,0,5\n", r"line 4: 6 values"),
        (HEADER + "c1,1,0.9,0.8\nc2,1,0.2,0.4\n", r"2 malignant and 0 benign cases; both classes are needed"),
        ("id,label,score_a,score_b,patient_id\nc1,1,0.9,0.8,\n", r"line 2, column patient_id: empty"),
        (b"id,label,score_a,score_b\n\xff\xfe,1,2,3\n", r"not a CSV file in UTF-8"),
        (GOOD + '"c3,1,0.5,0.5\n', r"not a CSV file"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_column(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read_score_table(table(tmp_path, text))


def test_semicolons_with_decimal_commas_and_tabs_are_read_as_commas_are(tmp_path: Path) -> None:
    plain = read_score_table(table(tmp_path, GOOD))
    for text in (GOOD.replace(",", ";").replace("0.", "0,"), GOOD.replace(",", ";"), GOOD.replace(",", "\t")):
        found = read_score_table(table(tmp_path, text))
        assert found.ids == plain.ids
        assert found.scores_b is not None
        assert (found.scores_a.tolist(), found.scores_b.tolist()) == ([0.9, 0.2], [0.8, 0.4])


def test_columns_of_other_names_are_read_where_they_are_named(tmp_path: Path) -> None:
    path = table(tmp_path, "Case No;Diagnosis;POM\nc1;malignant;0,9\nc2;benign;0,2\n")
    found = read_score_table(path, columns={"id": "case no", "label": "Diagnosis", "score": "POM"})

    assert (found.ids, found.labels.tolist(), found.scores_a.tolist()) == (("c1", "c2"), [1, 0], [0.9, 0.2])
    with pytest.raises(DataError, match=r"line 2, column POM: 'high'"):
        read_score_table(
            table(tmp_path, "Case,Diagnosis,POM\nc1,1,high\nc2,0,1\n"),
            columns={"id": "Case", "label": "Diagnosis", "score": "POM"},
        )
    with pytest.raises(DataError, match=r"has no column 'PON'. Did you mean 'POM'\?"):
        read_score_table(path, columns={"score": "PON"})
    with pytest.raises(UnknownNameError, match="unknown column of a table of scores 'pom'"):
        read_score_table(path, columns={"pom": "POM"})
    with pytest.raises(DataError, match="--column is for a CSV"):
        read_score_table(tmp_path / "predictions.parquet", columns={"score": "POM"})


def test_column_that_is_the_patients_by_another_name_is_read_and_said(tmp_path: Path) -> None:
    text = "id,label,score,Patient ID\nc1,1,0.9,p\nc2,0,0.2,p\n"
    guessed = read_score_table(table(tmp_path, text))

    assert guessed.patients is not None
    assert guessed.patients.tolist() == ["p", "p"]
    assert "patients are read from the column 'Patient ID'" in guessed.hints[0]
    assert read_score_table(table(tmp_path, text), columns={"patient_id": "Patient ID"}).hints == ()
    once = table(tmp_path, "id,label,score,pid\nc1,1,0.9,p\nc2,0,0.2,q\n")
    assert read_score_table(once, columns={"id": "pid"}).patients is None


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv: no such file"):
        read_score_table(tmp_path / "nowhere.csv")


def test_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_score_table(tmp_path)
