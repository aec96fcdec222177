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
from tune_jobs.study import Cell, StudyConfig, Trial
from tune_jobs.training import TrialContext, seen_images, settled_train_config
from wsus.comparison.predictions import without_lists
from wsus.errors import StudyError
from wsus.evaluation.auc import auc_with_interval
from wsus.inference.engines.torch import TorchEngine
from wsus.inference.guard import dump_guard, fit_guard
from wsus.inference.map_threshold import best_map_threshold
from wsus.inference.predict import Predictor
from wsus.inference.scoring import ScoredImage, as_table, choose_examples, score_records
from wsus.models.bundle import GUARD, ModelCard, extend_bundle, read_bundle, write_bundle
from wsus.models.card import GuardNote
from wsus.models.seen import SEEN, dump_seen
from wsus.nets.cam_net import CamNet
from wsus.nets.ensemble import Ensemble, join_nets
from wsus.storage import Store
from wsus.types import ENSEMBLE, SCORED_SPLITS, ImageRecord, Mode, Split


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
        """What the weights were kept for, and trials are ranked by: a mean over epochs where the study smooths."""
        return float(self.history["best_auc"].iloc[-1])

    @property
    def development_auc(self) -> float:
        """That of the kept weights alone, on the development images."""
        return float(self.history.set_index("epoch")["development_auc"][self.best_epoch])

    @property
    def best_epoch(self) -> int:
        """The epoch of the kept weights, counted from 1."""
        return int(self.history["best_epoch"].iloc[-1])


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

    Of each seed the sample with the best development AUC is scored; the best seed's network becomes the bundle, or with
    `ensemble` all seeds' together, which is scored beside them.

    Raises:
        StudyError: no trial of the cell came to an end, one of them did not, or a checkpoint is not that of its last epoch;
            or an ensemble of different architectures is asked for.
    """
    if not outcomes:
        raise StudyError(f"cell {cell}: no trial came to an end")
    for outcome in outcomes:
        _refuse_unfinished(outcome)
    chosen = {seed: _best([o for o in outcomes if o.trial.seed == seed]) for seed in sorted({o.trial.seed for o in outcomes})}
    best = _best(list(chosen.values()))
    models = [_Model(seed=seed, of=(outcome,)) for seed, outcome in chosen.items()]
    winner = next(model for model in models if model.of == (best,))
    if context.config.ensemble and len(models) > 1:
        winner = _Model(seed=ENSEMBLE, of=tuple(chosen.values()))
        models.append(winner)
    with TemporaryDirectory(prefix="wsus-cell-") as name:
        folder = Path(name) / "cell"
        folder.mkdir()
        tables = []
        for model in models:
            bundle = folder / "bundle" if model is winner else Path(name) / f"seed{model.seed}"
            table, examples, digest = _score(context, model, bundle, store, provenance, device)
            tables.append(table)
            if model is winner:
                write_gallery(folder / "gallery", examples)
                found = {"best_seed": winner.seed, "bundle_digest": digest, "development_auc": _development_auc(table)}
                found["parameters"] = len(winner.of) * _parameters(context, best)
        predictions = pd.concat(tables, ignore_index=True)
        predictions.to_parquet(folder / "predictions.parquet", index=False)
        without_lists(predictions).to_csv(folder / "predictions.csv", index=False)
        _histories(outcomes).to_csv(folder / "history.csv", index=False)
        if winner.seed != ENSEMBLE:
            found["development_auc"] = best.development_auc
        info = _info(context, best, outcomes) | found | {"scoring": meter.lap().to_json()}
        (folder / "cell.json").write_text(json.dumps(info, indent=1, sort_keys=True))
        store.publish(folder, cell_key(context.config.name, cell))


@dataclass(frozen=True, kw_only=True)
class _Model:
    """What is scored: a network of one trial, or an ensemble of one trial per seed.  seed: ENSEMBLE for the latter."""

    seed: int
    of: tuple[TrialOutcome, ...]

    @property
    def cell(self) -> Cell:
        return self.of[0].trial.cell

    def net(self, config: StudyConfig) -> CamNet | Ensemble:
        """With its trained weights. Raises StudyError where an ensemble's members differ in more than their weights."""
        nets = []
        for outcome in self.of:
            net = CamNet(config.net_config(self.cell, outcome.trial.hyper))
            net.load_state_dict(load_best(outcome.checkpoint))
            nets.append(net)
        if self.seed != ENSEMBLE:
            return nets[0]
        try:
            return join_nets(nets)
        except ValueError as error:
            raise StudyError(f"cell {self.cell}: {error}; search settings of training alone, or set ensemble=false") from error

    def notes(self, context: TrialContext) -> dict[str, Any]:
        """What a card says of the training."""
        settled = [asdict(settled_train_config(context, outcome.trial)) for outcome in self.of]
        epochs = [outcome.best_epoch for outcome in self.of]
        if self.seed != ENSEMBLE:
            return {"seed": self.seed, "hyperparameters": settled[0], "best_epoch": epochs[0]}
        seeds = [outcome.trial.seed for outcome in self.of]
        return {"seed": ENSEMBLE, "seeds": seeds, "hyperparameters": settled, "best_epoch": epochs}


def _development_auc(table: pd.DataFrame) -> float:
    rows = table[table["split"] == Split.DEVELOPMENT.value]
    return float(auc_with_interval(rows["label"], rows["pom"]).auc)


def _score(
    context: TrialContext,
    model: _Model,
    bundle_folder: Path,
    store: Store,
    provenance: dict[str, Any],
    device: torch.device,
) -> tuple[pd.DataFrame, list[ScoredImage], str]:
    """The predictions, the examples of the gallery, and the bundle's digest."""
    _write(context, model, bundle_folder, store, provenance, device)
    if context.config.cam_threshold_rule == "development" and model.cell.mode is Mode.WEAK:
        _choose_threshold(bundle_folder, context.data.split(Split.DEVELOPMENT), device)
    predictor = Predictor(read_bundle(bundle_folder), device=device, precision="float32")
    cell, images = model.cell, {split.value: len(context.data.split(split)) for split in SCORED_SPLITS}
    log_opening(store, context.config.name, cell=str(cell), seed=model.seed, images=images, bundle_digest=predictor.digest)
    rows: list[dict[str, Any]] = []
    best: list[Any] = []
    gallery_split = Split.EXTERNAL if context.data.split(Split.EXTERNAL) else Split.INTERNAL
    for split in SCORED_SPLITS:
        for row, example in score_records(predictor, context.data.split(split)):
            rows.append(row)
            if split == gallery_split:
                best = [(None, kept) for kept in choose_examples([*best, (row, example)])]
    table = as_table(rows, study=context.config.name, backbone=cell.backbone, mode=cell.mode.value, seed=model.seed)
    return table, [example for _, example in best], predictor.digest


def _write(
    context: TrialContext,
    model: _Model,
    folder: Path,
    store: Store,
    provenance: dict[str, Any],
    device: torch.device,
) -> None:
    config, cell, net = context.config, model.cell, model.net(context.config)
    guard, note = _guard(context, cell.mode, TorchEngine(net, device=device, precision="float32"))
    card = ModelCard(
        name=str(cell).replace("_", "-"),
        net=net.config,
        mode=cell.mode,
        crop=config.crop,
        map=config.map,
        cam_threshold=config.cam_threshold,
        operating_point=config.operating_point,
        segmenter=config.segmenter if cell.mode is Mode.AUTO_ROI else None,
        training={
            **provenance,
            **model.notes(context),
            "initial_weights": config.weights_of(cell.backbone),
            "images": {str(split): len(context.data.split(split)) for split in (Split.TRAIN, *SCORED_SPLITS)},
        },
        figures={} if model.seed == ENSEMBLE else {"development_auc": model.of[0].development_auc},
        guard=note,
    )
    more = {**guard, SEEN: dump_seen(context.data.manifest.records)}
    write_bundle(folder, card, net, read_unet(store, config) if cell.mode is Mode.AUTO_ROI else None, more=more)


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


def _info(context: TrialContext, best: TrialOutcome, outcomes: Sequence[TrialOutcome]) -> dict[str, Any]:
    config, trial = context.config, best.trial
    train_s = float(sum(o.history["train_s"].sum() for o in outcomes))
    waited_s = float(sum(o.history["data_wait_s"].sum() for o in outcomes))
    return {
        "backbone": trial.cell.backbone,
        "mode": trial.cell.mode.value,
        "best_sample": trial.sample,
        "best_epoch": best.best_epoch,
        "epochs": len(best.history),
        "hyperparameters": asdict(settled_train_config(context, trial)),
        "net": asdict(config.net_config(trial.cell, trial.hyper)),
        "trials": [str(o.trial) for o in outcomes],
        "hyper": {str(o.trial): dict(o.trial.hyper) for o in outcomes},
        "ended": {str(o.trial): o.end.to_json() for o in outcomes},
        "train_s": train_s,
        "data_wait_share": waited_s / train_s if train_s else 0.0,
        "training": together(o.compute for o in outcomes).to_json(),
    }


def _parameters(context: TrialContext, outcome: TrialOutcome) -> int:
    net = CamNet(context.config.net_config(outcome.trial.cell, outcome.trial.hyper))
    return sum(parameter.numel() for parameter in net.parameters())
