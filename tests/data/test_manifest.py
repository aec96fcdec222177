"""A manifest reads what is right, and names row, column and value of what is wrong."""

from __future__ import annotations

import gc
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsus.data.images import read_image
from wsus.data.manifest import COLUMNS, Manifest, patients_across_splits, read_manifest, write_manifest
from wsus.data.manifest_rows import collector_paused
from wsus.errors import ImageError, ManifestError
from wsus.types import ImageRecord, Split

HEADER = "image_id,patient_id,path,label"


def write_csv(folder: Path, *lines: str) -> Path:
    csv_path = folder / "manifest.csv"
    csv_path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return csv_path


def make_images(folder: Path, n: int) -> tuple[ImageRecord, ...]:
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    records = []
    for i in range(n):
        path = folder / "images" / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8)).save(path)
        records.append(ImageRecord(image_id=f"i{i}", patient_id=f"p{i // 2}", path=path.resolve(), label=i % 2))
    return tuple(records)


def test_order_column_is_read_into_its_type(tmp_path: Path) -> None:
    csv_path = write_csv(
        tmp_path,
        "image_id,patient_id,path,label,split,mask_path,institution,device,birads,histology,age_years,lesion_size_mm,acquired,calipers",
        "a,p1,x/a.png,Malignant,train,m/a.png; m/a2.png,A,GE,4,idc,61.5,12,2019-03-01,Yes",
        "b,p2,x/b.png,0,,,,,,,,,,unknown",
    )

    first, second = read_manifest(csv_path).records

    root = tmp_path.resolve()
    assert first == ImageRecord(
        image_id="a",
        patient_id="p1",
        path=root / "x/a.png",
        label=1,
        split=Split.TRAIN,
        mask_paths=(root / "m/a.png", root / "m/a2.png"),
        institution="A",
        device="GE",
        birads="4",
        histology="idc",
        age_years=61.5,
        lesion_size_mm=12.0,
        acquired="2019-03-01",
        calipers="yes",
    )
    assert second == ImageRecord(image_id="b", patient_id="p2", path=root / "x/b.png", label=0)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    records = make_images(tmp_path, 4)
    described = replace(
        records[0],
        split=Split.EXTERNAL,
        mask_paths=(records[1].path, records[2].path),
        age_years=40.0,
        histology='a "b", c',
        calipers="no",
    )
    manifest = Manifest(records=(described, *records[1:]), name="manifest")

    write_manifest(manifest, tmp_path / "manifest.csv")

    assert read_manifest(tmp_path / "manifest.csv") == manifest
    assert str(tmp_path) not in (tmp_path / "manifest.csv").read_text()


def test_a_root_lets_the_table_lie_beside_its_images(tmp_path: Path) -> None:
    manifest = Manifest(records=make_images(tmp_path / "data", 2), name="table")

    write_manifest(manifest, tmp_path / "tables" / "table.csv", root=tmp_path / "data")

    assert read_manifest(tmp_path / "tables" / "table.csv", root=tmp_path / "data") == manifest


def test_writing_outside_the_root_is_refused_and_leaves_the_old_file(tmp_path: Path) -> None:
    manifest = Manifest(records=make_images(tmp_path / "data", 2), name="table")
    (tmp_path / "tables").mkdir()
    csv_path = tmp_path / "tables" / "table.csv"
    csv_path.write_text("old")

    with pytest.raises(ManifestError, match=r"lies outside .*tables.*name it as root"):
        write_manifest(manifest, csv_path)

    assert csv_path.read_text() == "old"
    assert list(csv_path.parent.iterdir()) == [csv_path]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    manifest = Manifest(records=make_images(tmp_path, 2), name="table")
    with pytest.raises(ManifestError, match=r"0\.png/table\.csv: cannot be written"):
        write_manifest(manifest, tmp_path / "images" / "0.png" / "table.csv", root=tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image_id,patient_id,label", "a,p,0"], r"column\(s\) path missing; found image_id, patient_id, label"),
        (["image_id;patient_id;path;label", "a;p;x;0"], "separated by ';': save with commas"),
        ([""], r"missing; found an empty file"),
        ([HEADER], "holds no image"),
        ([HEADER, "a,p,x.png,cancer"], "row 2, column label: unknown label 'cancer'; expected 0 or benign"),
        ([HEADER, "a,p,x.png,"], "row 2, column label: unknown label ''"),
        ([HEADER, "a,p,x.png,0", "a,q,y.png,1"], "image_id 'a' occurs more than once"),
        ([HEADER, "a,p,../x.png,0"], r"row 2, column path: '\.\./x\.png' leads out of"),
        ([HEADER, "a,p,/etc/passwd,0"], "row 2, column path: '/etc/passwd' leads out of"),
        ([HEADER + ",mask_path", "a,p,x.png,0,m.png;../../m.png"], "column mask_path: '../../m.png' leads out of"),
        ([HEADER, "../a,p,x.png,0"], r"column image_id: '\.\./a' cannot name a file"),
        ([HEADER, "a,,x.png,0"], "row 2, column patient_id: the cell is empty"),
        ([HEADER, "a,p,x.png,0,more"], "row 2: 5 cells, but the header has 4 columns"),
        ([HEADER, 'a,p,"x.png,0'], "not a CSV"),
        ([HEADER + ",split", "a,p,x.png,0,test"], "row 2, column split: unknown split 'test'; expected train, development"),
        (
            [HEADER + ",split", "a,p,x.png,0,train", "b,p,y.png,0,internal"],
            "patient 'p' has images in the splits internal and train",
        ),
        ([HEADER + ",split", "a,p,x.png,0,train", "b,p,y.png,0,development"], "splits development and train"),
        ([HEADER + ",age_years", "a,p,x.png,0,old"], "row 2, column age_years: 'old' is not a number"),
        ([HEADER + ",lesion_size_mm", "a,p,x.png,0,inf"], "column lesion_size_mm: 'inf' is not a number"),
        ([HEADER + ",acquired", "a,p,x.png,0,03/04/2019"], "column acquired: '03/04/2019' is not a date; expected YYYY-MM-DD"),
        ([HEADER + ",calipers", "a,p,x.png,0,4"], "row 2, column calipers: '4' is not an answer; expected yes, no, unknown"),
        ([HEADER + ",mask_paths", "a,p,x.png,0,"], "unknown column 'mask_paths'; rename it to 'mask_path'"),
        ([HEADER + ",label", "a,p,x.png,0,1"], "a column name occurs twice"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(write_csv(tmp_path, *lines))


def test_a_symbolic_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "data" / "a.png").symlink_to(tmp_path / "secret.png")

    with pytest.raises(ManifestError, match=r"'a\.png' leads out of .*data"):
        read_manifest(write_csv(tmp_path / "data", HEADER, "a,p,a.png,0"))


def test_missing_file_and_other_encoding_are_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none\.csv: no such file; expected a CSV with the columns image_id"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\na,p\xe9,x.png,0\n")
    with pytest.raises(ManifestError, match=r"byte 34 is not UTF-8; save the table as 'CSV UTF-8'"):
        read_manifest(tmp_path / "latin.csv")


def test_a_byte_order_mark_and_crlf_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "excel.csv").write_bytes(b"\xef\xbb\xbf" + HEADER.upper().encode() + b"\r\na,p,x.png,1\r\n\r\n")
    assert [record.label for record in read_manifest(tmp_path / "excel.csv").records] == [1]


def test_an_unlike_column_is_ignored_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_manifest(write_csv(tmp_path, HEADER + ",reader", "a,p,x.png,0,K"))
    assert "column 'reader' is not one of a manifest" in caplog.text


def test_the_audit_may_read_a_leaking_table(tmp_path: Path) -> None:
    csv_path = write_csv(
        tmp_path, HEADER + ",split", "a,p,x.png,0,train", "b,p,y.png,0,internal", "c,q,z.png,0,train", "d,q,w.png,0,unused"
    )

    manifest = read_manifest(csv_path, allow_leaks=True)

    assert patients_across_splits(manifest.records) == {"p": (Split.INTERNAL, Split.TRAIN)}


def test_digest_follows_content_and_rows_but_not_place_order_or_name(tmp_path: Path) -> None:
    records = make_images(tmp_path / "one", 4)
    manifest = Manifest(records=records, name="one")
    shutil.copytree(tmp_path / "one", tmp_path / "elsewhere")
    moved = [replace(r, path=tmp_path / "elsewhere" / "images" / r.path.name) for r in reversed(records)]

    digest = manifest.digest()

    assert len(digest) == 64
    assert Manifest(records=tuple(moved), name="two").digest() == digest
    assert manifest.with_splits({"i0": Split.TRAIN}).digest() != digest
    assert manifest.with_records([replace(records[0], label=1), *records[1:]]).digest() != digest
    moved[0].path.write_bytes(moved[1].path.read_bytes())
    assert Manifest(records=tuple(moved), name="one").digest() != digest


def test_digest_of_a_table_without_calipers_is_what_it_was_before_that_column(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"picture")
    record = ImageRecord(image_id="a", patient_id="p", path=tmp_path / "a.png", label=1, device="GE", lesion_size_mm=12.0)

    unknown, yes, no = (
        Manifest(records=(replace(record, calipers=calipers),), name="m").digest() for calipers in (None, "yes", "no")
    )

    assert unknown == "e5447009dd9d172e502a5dc1f5bd5cb25bae0c679931266034f23b2979838c42"
    assert len({unknown, yes, no}) == 3


def test_digest_names_a_missing_file(tmp_path: Path) -> None:
    manifest = Manifest(records=(ImageRecord(image_id="a", patient_id="p", path=tmp_path / "gone.png", label=0),), name="m")
    with pytest.raises(ManifestError, match=r"gone\.png: no such file, though the manifest names it"):
        manifest.digest()


def test_two_thousand_files_are_digested_in_under_five_seconds(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(60_000)
    records = []
    for i in range(2000):
        path = tmp_path / f"{i}.png"
        path.write_bytes(content)
        records.append(ImageRecord(image_id=str(i), patient_id=str(i), path=path, label=0))
    manifest = Manifest(records=tuple(records), name="m")

    start = time.perf_counter()
    manifest.digest()

    assert time.perf_counter() - start < 5.0


def test_frame_has_every_column_and_missing_values(tmp_path: Path) -> None:
    records = make_images(tmp_path, 2)
    frame = Manifest(records=(replace(records[0], split=Split.TRAIN, age_years=50.0), records[1]), name="m").frame()

    assert tuple(frame.columns) == COLUMNS
    assert frame["label"].tolist() == [0, 1]
    assert frame["split"].tolist()[0] == "train"
    assert frame[["split", "mask_path", "age_years", "device"]].iloc[1].isna().all()


def test_merging_refuses_shared_patients(tmp_path: Path) -> None:
    records = make_images(tmp_path, 4)
    one, two = Manifest(records=records[:1], name="one"), Manifest(records=records[1:], name="two")
    with pytest.raises(ManifestError, match=r"one and two share 1 patient_id value.*'p0'"):
        one.merged(two, name="both")
    assert (
        len(Manifest(records=records[:2], name="one").merged(Manifest(records=records[2:], name="two"), name="both").records) == 4
    )


def test_splits_are_set_by_id_and_selected(tmp_path: Path) -> None:
    manifest = Manifest(records=make_images(tmp_path, 3), name="m").with_splits({"i1": Split.TRAIN})
    assert [r.image_id for r in manifest.by_split(Split.TRAIN)] == ["i1"]
    assert [r.image_id for r in manifest.by_split(Split.UNUSED)] == ["i0", "i2"]


def test_links_and_dots_inside_the_folder_are_followed(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "images").mkdir()
    (root / "images" / "a.png").write_bytes(b"x")
    (root / "images" / "link.png").symlink_to(root / "images" / "a.png")
    (root / "more").symlink_to(root / "images")

    lines = ["a,p,images/link.png,0", "b,p,more/../images/b.png,0", "c,p,more/link.png,0", "d,p,./none/../d.png,0"]
    records = read_manifest(write_csv(root, HEADER, *lines)).records

    found = [str(record.path.relative_to(root)) for record in records]
    assert found == ["images/a.png", "images/b.png", "images/a.png", "d.png"]


def test_a_wrong_row_and_byte_far_down_are_named(tmp_path: Path) -> None:
    rows = [f"i{i},p{i},{i}.png,0" for i in range(5000)]
    with pytest.raises(ManifestError, match=r"row 4002, column label: unknown label '7'"):
        read_manifest(write_csv(tmp_path, HEADER, *rows[:4000], "x,x,x.png,7", *rows[4000:]))
    good = "\n".join([HEADER, *rows, ""]).encode()
    (tmp_path / "latin.csv").write_bytes(good + b"x,\xe9,x.png,0\n")
    with pytest.raises(ManifestError, match=rf"byte {len(good) + 2} is not UTF-8"):
        read_manifest(tmp_path / "latin.csv")


def test_other_splits_change_the_splits_alone(tmp_path: Path) -> None:
    first, second, third = (replace(r, birads="4A", age_years=51.0, split=Split.TRAIN) for r in make_images(tmp_path, 3))
    manifest = Manifest(records=(first, second, third), name="m")

    changed = manifest.with_splits({"i0": Split.INTERNAL, "i1": Split.TRAIN})

    assert changed.records == (replace(first, split=Split.INTERNAL), second, replace(third, split=Split.UNUSED))
    assert first.split is Split.TRAIN


def test_what_is_made_while_the_collector_rests_is_old_afterwards() -> None:
    gc.unfreeze()  # the tests run with what is imported frozen
    try:
        with collector_paused():
            assert not gc.isenabled()
            made = [[number] for number in range(2000)]
        assert gc.isenabled()
        old = {id(one) for one in gc.get_objects(generation=2)}
        assert all(id(one) in old for one in made)
    finally:
        gc.freeze()


def test_what_others_froze_stays_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    with collector_paused():
        pass
    assert gc.get_freeze_count() == frozen


def test_columns_without_name_and_content_are_left_out(tmp_path: Path) -> None:
    """A spreadsheet exports them; a cell in one of them is content that nobody named."""
    csv_path = tmp_path / "m.csv"
    csv_path.write_text("image_id,patient_id,path,label,,\na,p,a.png,0,,\nb,q,b.png,1\n,,,,,\n")
    assert [record.image_id for record in read_manifest(csv_path).records] == ["a", "b"]
    csv_path.write_text("image_id,patient_id,path,label,,\na,p,a.png,0,,note\n")
    with pytest.raises(ManifestError, match=r"row 2: the cell 'note' stands in a column without a name; name it"):
        read_manifest(csv_path)
    csv_path.write_text("image_id,patient_id,path,label\na,p,a.png,0,more\n")
    with pytest.raises(ManifestError, match=r"row 2: 5 cells, but the header has 4 columns"):
        read_manifest(csv_path)


def test_backslashes_are_named_with_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "a.png").write_bytes(b"x")
    csv_path = tmp_path / "m.csv"
    csv_path.write_text("image_id,patient_id,path,label\na,p,img\\a.png,0\n")
    with pytest.raises(ManifestError, match=r"row 2, column path: 'img\\\\a.png' is written with backslashes; write 'img/a.png'"):
        read_manifest(csv_path)


@pytest.mark.parametrize(
    ("written", "there"),
    [("img/img_5.png", "img/IMG_5.PNG"), ("IMG/img_5.PNG", "img/IMG_5.PNG"), ("img/Mu\u0308ller.png", "img/M\u00fcller.png")],
)
def test_another_spelling_of_a_name_is_hinted_at(written: str, there: str, tmp_path: Path) -> None:
    (tmp_path / there).parent.mkdir()
    (tmp_path / there).write_bytes(b"x")
    csv_path = tmp_path / "m.csv"
    csv_path.write_text(f"image_id,patient_id,path,label\na,p,{written},0\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=rf"no such file, though .*; there is .*/{there}: upper and lower case, and accents"):
        read_manifest(csv_path).digest()
    with pytest.raises(ImageError, match=rf"no such file; there is .*/{there}"):
        read_image(tmp_path / written)


@pytest.mark.parametrize(
    ("column", "value", "most"), [("age_years", "4500", 130), ("age_years", "131", 130), ("lesion_size_mm", "1e4", 1000)]
)
def test_absurd_numbers_are_refused(column: str, value: str, most: int, tmp_path: Path) -> None:
    csv_path = tmp_path / "m.csv"
    csv_path.write_text(f"image_id,patient_id,path,label,{column}\na,p,a.png,0,{value}\n")
    with pytest.raises(ManifestError, match=rf"row 2, column {column}: '{value}' is more than {most}; correct it"):
        read_manifest(csv_path)


def test_identifiers_that_a_spreadsheet_changed_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    csv_path = tmp_path / "m.csv"
    csv_path.write_text("image_id,patient_id,path,label\n1.23E+11,P1,a.png,0\nb,p1 ,b.png,1\nc,4.5e+12,c.png,1\nE+1,q,d.png,0\n")
    read_manifest(csv_path)
    said = [message.removeprefix(f"{csv_path}: ") for message in caplog.messages]
    assert said[0].startswith("image_id '1.23E+11' is a number that a spreadsheet rounded (1 value(s))")
    assert said[1].startswith("patient_id '4.5e+12' is a number that a spreadsheet rounded (1 value(s))")
    assert said[2].startswith("patient_id 'P1' and 'p1' differ by upper and lower case alone (1 such group(s))")
    assert len(said) == 3


def test_a_frame_is_named_written_and_part_of_the_digest(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"x")
    csv_path = tmp_path / "m.csv"
    csv_path.write_text("image_id,patient_id,path,label,frame\na,p,a.tif,0,2\nb,q,a.tif,1,\nc,r,a.tif,1,3.0\n")
    manifest = read_manifest(csv_path)
    assert [record.frame for record in manifest.records] == [2, None, 3]
    assert manifest.frame()["frame"].tolist()[::2] == [2, 3]
    write_manifest(manifest, tmp_path / "again.csv")
    assert read_manifest(tmp_path / "again.csv").records == manifest.records
    others = [replace(record, frame=None) for record in manifest.records]
    assert manifest.with_records(others).digest() != manifest.digest()
    for wrong in ("-1", "first", "1.5"):
        csv_path.write_text(f"image_id,patient_id,path,label,frame\na,p,a.tif,0,{wrong}\n")
        with pytest.raises(ManifestError, match=f"row 2, column frame: '{wrong}' is not the index of a frame"):
            read_manifest(csv_path)


def test_a_link_in_a_circle_is_refused_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "a.png")
    csv_path = tmp_path / "m.csv"
    csv_path.write_text("image_id,patient_id,path,label\na,p,a.png,0\n")
    with pytest.raises(ManifestError, match=r"row 2, column path: 'a.png' is a link that leads in a circle"):
        read_manifest(csv_path)
