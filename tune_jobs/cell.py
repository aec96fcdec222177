"""Finish a cell: choose its trial by the development split, write the bundle, score every split once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch

from tune_jobs.checkpoints import load_best, saved_epoch
from tune_jobs.compute import Compute, Meter, together
from tune_jobs.ended import TrialEnd
from tune_jobs.keys import cell_key
from tune_jobs.openings import log_opening
from tune_jobs.pictures import write_gallery
from tune_jobs.rois import read_unet
from tune_jobs.study import Cell, Trial
from tune_jobs.training import TrialContext, seen_images, settled_train_config
from wsus.errors import StudyError
from wsus.inference.engines.torch import TorchEngine
from wsus.inference.guard import dump_guard, fit_guard
from wsus.inference.map_threshold import best_map_threshold
from wsus.inference.predict import Predictor
from wsus.inference.scoring import ScoredImage, as_table, choose_examples, score_records
from wsus.models.bundle import GUARD, ModelCard, extend_bundle, read_bundle, write_bundle
from wsus.models.card import GuardNote
from wsus.models.seen import SEEN, dump_seen
from wsus.nets.cam_net import CamNet
from wsus.storage import Store
from wsus.types import SCORED_SPLITS, ImageRecord, Mode, Split


@dataclass(frozen=True, kw_only=True)
class TrialOutcome:
    """A trial that trained: its best development AUC, the checkpoint that holds its best weights, its epochs.

    history: one row per epoch, the columns of EpochReport.  compute: of the whole trial, epochs that had to be repeated included.
    end: how far it came and what ended it.
    """

    trial: Trial
    checkpoint: Path
    history: pd.DataFrame
    compute: Compute
    end: TrialEnd

    @property
    def best_auc(self) -> float:
        return float(self.history["development_auc"].max())

    @property
    def best_epoch(self) -> int:
        """The first epoch with that AUC, counted from 1."""
        row = int(self.history["development_auc"].to_numpy().argmax())
        return int(self.history["epoch"].to_numpy()[row])


def finish_cell(
    context: TrialContext,
    cell: Cell,
    outcomes: Sequence[TrialOutcome],
    store: Store,
    provenance: dict[str, Any],
    *,
    device: torch.device,
    meter: Meter,
) -> None:
    """Publish `bundle/`, `predictions.parquet`, `history.csv`, `cell.json` and `gallery/` of a cell.

    Of each seed the sample with the best development AUC is scored; the best seed's network becomes the bundle.

    Raises:
        StudyError: no trial of the cell came to an end, one of them did not, or a checkpoint is not that of its last epoch.
    """
    if not outcomes:
        raise StudyError(f"cell {cell}: no trial came to an end")
    for outcome in outcomes:
        _refuse_unfinished(outcome)
    chosen = {seed: _best([o for o in outcomes if o.trial.seed == seed]) for seed in sorted({o.trial.seed for o in outcomes})}
    winner = _best(list(chosen.values()))
    with TemporaryDirectory(prefix="wsus-cell-") as name:
        folder = Path(name) / "cell"
        folder.mkdir()
        tables = []
        for seed, outcome in chosen.items():
            bundle = folder / "bundle" if outcome is winner else Path(name) / f"seed{seed}"
            table, examples, digest = _score(context, outcome, bundle, store, provenance, device)
            tables.append(table)
            if outcome is winner:
                write_gallery(folder / "gallery", examples)
                bundle_digest = digest
        pd.concat(tables, ignore_index=True).to_parquet(folder / "predictions.parquet", index=False)
        _histories(outcomes).to_csv(folder / "history.csv", index=False)
        info = _info(context, winner, outcomes) | {"bundle_digest": bundle_digest, "scoring": meter.lap().to_json()}
        (folder / "cell.json").write_text(json.dumps(info, indent=1, sort_keys=True))
        store.publish(folder, cell_key(context.config.name, cell))


def _score(
    context: TrialContext,
    outcome: TrialOutcome,
    bundle_folder: Path,
    store: Store,
    provenance: dict[str, Any],
    device: torch.device,
) -> tuple[pd.DataFrame, list[ScoredImage], str]:
    """The predictions, the examples of the gallery, and the bundle's digest."""
    _write(context, outcome, bundle_folder, store, provenance, device)
    if context.config.cam_threshold_rule == "development" and outcome.trial.cell.mode is Mode.WEAK:
        _choose_threshold(bundle_folder, context.data.split(Split.DEVELOPMENT), device)
    predictor = Predictor(read_bundle(bundle_folder), device=device, precision="float32")
    cell, images = outcome.trial.cell, {split.value: len(context.data.split(split)) for split in SCORED_SPLITS}
    name, seed = context.config.name, outcome.trial.seed
    log_opening(store, name, cell=str(cell), seed=seed, images=images, bundle_digest=predictor.digest)
    rows: list[dict[str, Any]] = []
    best: list[Any] = []
    gallery_split = Split.EXTERNAL if context.data.split(Split.EXTERNAL) else Split.INTERNAL
    for split in SCORED_SPLITS:
        for row, example in score_records(predictor, context.data.split(split)):
            rows.append(row)
            if split == gallery_split:
                best = [(None, kept) for kept in choose_examples([*best, (row, example)])]
    table = as_table(rows, study=name, backbone=cell.backbone, mode=cell.mode.value, seed=seed)
    return table, [example for _, example in best], predictor.digest


def _write(
    context: TrialContext,
    outcome: TrialOutcome,
    folder: Path,
    store: Store,
    provenance: dict[str, Any],
    device: torch.device,
) -> None:
    config, trial = context.config, outcome.trial
    net = CamNet(config.net_config(trial.cell, trial.hyper))
    net.load_state_dict(load_best(outcome.checkpoint))
    guard, note = _guard(context, trial.cell.mode, TorchEngine(net, device=device, precision="float32"))
    card = ModelCard(
        name=str(trial.cell).replace("_", "-"),
        net=net.config,
        mode=trial.cell.mode,
        crop=config.crop,
        map=config.map,
        cam_threshold=config.cam_threshold,
        operating_point=config.operating_point,
        segmenter=config.segmenter if trial.cell.mode is Mode.AUTO_ROI else None,
        training={
            **provenance,
            "seed": trial.seed,
            "hyperparameters": asdict(settled_train_config(context, trial)),
            "initial_weights": config.weights_of(trial.cell.backbone),
            "best_epoch": outcome.best_epoch,
            "images": {str(split): len(context.data.split(split)) for split in (Split.TRAIN, *SCORED_SPLITS)},
        },
        figures={"development_auc": outcome.best_auc},
        guard=note,
    )
    more = {**guard, SEEN: dump_seen(context.data.manifest.records)}
    write_bundle(folder, card, net, read_unet(store, config) if trial.cell.mode is Mode.AUTO_ROI else None, more=more)


def _choose_threshold(bundle_folder: Path, development: Sequence[ImageRecord], device: torch.device) -> None:
    """Put the threshold that the development split's masks choose onto a bundle's card; without masks it stays."""
    draft = bundle_folder.with_name(f"{bundle_folder.name}-draft")
    bundle_folder.rename(draft)
    bundle = read_bundle(draft)
    chosen = best_map_threshold(Predictor(bundle, device=device, precision="float32"), development)
    card = bundle.card
    if chosen is not None:
        words = f"the boxes of {chosen.images} development images with masks (IoU >= 0.5 in {chosen.share:.0%})"
        card = replace(card, cam_threshold=chosen.threshold, cam_threshold_from=words)
    extend_bundle(bundle, bundle_folder, card)
    shutil.rmtree(draft)


def _guard(context: TrialContext, mode: Mode, engine: TorchEngine) -> tuple[dict[str, bytes], GuardNote | None]:
    """A guard fitted to what the network was trained on and chosen by, as a bundle's file; none where those are too few."""
    fitted = fit_guard(engine, *seen_images(context, mode))
    return ({}, None) if fitted is None else ({GUARD: dump_guard(fitted[0])}, fitted[1])


def _refuse_unfinished(outcome: TrialOutcome) -> None:
    end = outcome.end
    if end.why is None:
        raise StudyError(
            f"{outcome.trial}: trained for {end.epochs} of {end.planned} epochs, and nothing says why it ended there"
        )
    kept = saved_epoch(outcome.checkpoint)
    if kept != end.epochs:
        raise StudyError(f"{outcome.trial}: ended after epoch {end.epochs}, but its last checkpoint is of epoch {kept}")


def _best(outcomes: list[TrialOutcome]) -> TrialOutcome:
    return max(outcomes, key=lambda o: (o.best_auc, -o.trial.sample, -o.trial.seed))


def _histories(outcomes: Sequence[TrialOutcome]) -> pd.DataFrame:
    tables = [o.history.assign(seed=o.trial.seed, sample=o.trial.sample) for o in outcomes]
    first = ["seed", "sample", "epoch"]
    table = pd.concat(tables, ignore_index=True).sort_values(first)
    return table[[*first, *(column for column in table.columns if column not in first)]]


def _info(context: TrialContext, winner: TrialOutcome, outcomes: Sequence[TrialOutcome]) -> dict[str, Any]:
    config, trial = context.config, winner.trial
    train_s = float(sum(o.history["train_s"].sum() for o in outcomes))
    waited_s = float(sum(o.history["data_wait_s"].sum() for o in outcomes))
    return {
        "backbone": trial.cell.backbone,
        "mode": trial.cell.mode.value,
        "best_seed": trial.seed,
        "best_sample": trial.sample,
        "best_epoch": winner.best_epoch,
        "epochs": len(winner.history),
        "development_auc": winner.best_auc,
        "hyperparameters": asdict(settled_train_config(context, trial)),
        "net": asdict(config.net_config(trial.cell, trial.hyper)),
        "trials": [str(o.trial) for o in outcomes],
        "ended": {str(o.trial): o.end.to_json() for o in outcomes},
        "train_s": train_s,
        "data_wait_share": waited_s / train_s if train_s else 0.0,
        "training": together(o.compute for o in outcomes).to_json(),
        "parameters": sum(p.numel() for p in CamNet(config.net_config(trial.cell, trial.hyper)).parameters()),
    }
