"""Compute, provenance and methods say what the record says, and nothing that it does not."""

from __future__ import annotations

import dataclasses

from made_study import made_compute

from wsus.comparison.result import Comparison
from wsus.report.inputs import ReportInputs
from wsus.report.methods import methods_paragraphs
from wsus.report.provenance import provenance
from wsus.report.tables.compute_spent import compute_note, compute_table


def test_note_names_hours_by_part_memory_and_every_run(study: ReportInputs) -> None:
    note = compute_note(study)

    assert "0.750 core hours were reserved (trials 0.720, U-Nets 0.022, scoring 0.007)" in note
    assert "A process held at most 1830 MiB on Some Processor @ 2.00GHz." in note
    assert "4 min from start to end in 2 runs, of which 1 were interrupted" in note
    assert "GPU" not in note


def test_gpu_has_columns_and_words_of_its_own(study: ReportInputs) -> None:
    gpu = {**made_compute(3600.0), "gpu_hours": 0.25, "peak_gpu_memory_mb": 5120.0}
    cells = tuple(dataclasses.replace(cell, info={**cell.info, "training": gpu}) for cell in study.cells)
    on_gpu = dataclasses.replace(study, cells=cells, study={**study.study, "compute": gpu, "by_part": {"trials": gpu}})

    table = compute_table(on_gpu)

    assert [column.title for column in table.columns[-4:]] == ["Core hours", "GPU hours", "GPU memory, MiB", "Memory, MiB"]
    assert table.rows[0][-4:] == ("1.0", "0.250", "5120", "1830")
    assert "0.250 GPU hours were reserved (trials 0.250)" in compute_note(on_gpu)
    assert "1830 MiB, 5120 MiB on the GPU" in compute_note(on_gpu)


def test_cell_of_an_older_version_has_dashes(study: ReportInputs) -> None:
    old = {key: value for key, value in study.cells[0].info.items() if key not in ("training", "scoring", "bundle_digest")}
    cells = tuple(dataclasses.replace(cell, info=old) for cell in study.cells)
    older = dataclasses.replace(study, cells=cells, study={"name": "old", "wall_s": 100.0})

    assert compute_table(older).rows[0][-2:] == ("–", "–")
    assert compute_note(older).endswith("The study took 2 min from start to end.")


def test_provenance_names_digests_and_what_changed_between_runs(comparison: Comparison, study: ReportInputs) -> None:
    found = dict(provenance(comparison, study))

    assert found["Data digest"].startswith("sha256:9f2c")
    assert "vgg16-weak abababababababab" in found["Models"]
    assert "torch 2.14.1" in found["Versions"]
    assert "interrupted after 95 s or soon after" in found["Run 1"]
    assert found["Run 2"].endswith("with other versions: torch 2.14.2")
    assert "bootstrap 100" in found["Comparison"]


def test_methods_say_how_networks_were_trained_where_that_is_known(comparison: Comparison, study: ReportInputs) -> None:
    assert not any(paragraph.startswith("Training") for paragraph in methods_paragraphs(comparison, study))

    train = {
        "epochs": 12, "batch_size": 16, "optimizer": "adamw", "lr": 0.004, "weight_decay": 0.01, "schedule": "one_cycle",
        "label_smoothing": 0.05, "class_weights": True, "ema_decay": 0.9, "augment": {"flip": 0.5, "zoom": 0.0, "speckle": 0.1},
    }  # fmt: skip
    config = {**study.study["config"], "train": train, "weights": "imagenet", "samples": 3, "search": "optuna"}
    known = dataclasses.replace(study, study={**study.study, "config": {**config, "per_backbone": {"vgg16": {"lr": 0.0001}}}})

    (paragraph,) = [text for text in methods_paragraphs(comparison, known) if text.startswith("Training")]

    assert paragraph == (
        "Training from weights pretrained on ImageNet: AdamW with a peak learning rate of 0.004 (one-cycle schedule) and weight"
        " decay of 0.01; 12 epochs in batches of 16; label smoothing of 0.05; classes weighed by the inverse of their frequency;"
        " an exponential moving average of the weights (0.9); for VGG16 lr = 0.0001. Training images were changed at random"
        " (left-right flip, speckle). Hyperparameters: 3 samples per network, mode and seed by a tree-structured Parzen"
        " estimator."
    )


def test_methods_of_localisation_stand_where_there_is_some(comparison: Comparison, study: ReportInputs) -> None:
    without = dataclasses.replace(comparison, localisation=())

    assert any("MaxBoxAccV2 (Choe et al. 2020)" in paragraph for paragraph in methods_paragraphs(comparison, study))
    assert not any("MaxBoxAccV2" in paragraph for paragraph in methods_paragraphs(without, study))
