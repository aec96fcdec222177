"""Very many images through a published model on Ray Data: `wsus score`.

Files are decoded by tasks, batches answered by actors; each stage has its own resources, and Ray Data lets neither run ahead of
the other. The driver writes an answer's shard as soon as it is whole, so that a killed worker costs what it had in hand, and a
killed driver the shard that was being filled. The same call goes on with what is missing.

<out>/part-00000.parquet     the answers of a shard of files, `wsus.inference.bulk.SCHEMA`
<out>/_score.json            what is scored, by which model; another call into the same place is refused
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wsus.data.roi import CropConfig
from wsus.errors import ConfigError
from wsus.inference.bulk import Images, answers, as_csv, as_parquet, decoded
from wsus.inference.engines.engine import EngineChoice
from wsus.inference.predict import Predictor
from wsus.models.asked import AskedModel, asked_model
from wsus.storage import Store, open_store
from wsus.types import Mode

NOTE = "_score.json"
_SAY_EVERY_S = 10.0
_DECODES = 500  # after which a decoding process is replaced: decoders may leak; and such a stage is not fused with the next
Say = Callable[[str], None]
Rows = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig:
    """How images are scored.

    shard: files whose answers are written together.  batch_size: images per pass through the network.
    decode_cpus: of one decoding task.  workers, cpus_per_worker, gpus_per_worker: of the actors that hold the network.
    all_frames: every frame of a clip that shows something; without it a file of several frames is a row with a reason.
    overlays: a folder or s3://bucket/prefix, to draw maps into; None for none.
    """

    shard: int = 1000
    batch_size: int = 32
    decode_cpus: float = 1.0
    workers: int = 1
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    engine: EngineChoice = "auto"
    site: str | None = None
    all_frames: bool = False
    overlays: str | None = None

    def __post_init__(self) -> None:
        if self.shard < 1 or self.batch_size < 1 or self.workers < 1:
            raise ConfigError(
                f"shard, batch size and workers are at least 1; got {self.shard}, {self.batch_size}, {self.workers}"
            )
        if self.decode_cpus <= 0 or self.cpus_per_worker <= 0 or self.gpus_per_worker < 0:
            raise ConfigError("CPUs of decoding and of workers are above 0, GPUs 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """What a call did. images: rows that hold an answer.  bad: rows with a reason.  seconds: of this call, for `files` files."""

    files: int
    kept: int
    images: int
    bad: int
    seconds: float


def score_images(model: str, images: Images, out: str, config: ScoreConfig = ScoreConfig(), *, say: Say) -> Scored:
    """Score images into `out`, a folder or s3://bucket/prefix. Needs a Ray connection (`cluster.session`).

    Args:
        model: as `wsus.models.asked.asked_model` reads it, reachable from every node, as the images are.
    Raises:
        ConfigError: another call was made into the same place, or the model is none that this can be done with.
        BundleError, StoreError: the model cannot be read, or nothing written.
    """
    start, store = time.monotonic(), open_store(out)
    with asked_model(model) as asked:
        if asked.bundle.card.mode is not Mode.WEAK:
            raise ConfigError(
                f"{asked.bundle.model_id} is of the mode {asked.bundle.card.mode.value}: only weak models are scored so"
            )
        asked.profile(config.site)
        words, crop = _pinned(asked, model), asked.bundle.card.crop
        _note(store, asked, images, config)
    shards = [images.names[at : at + config.shard] for at in range(0, len(images.names), config.shard)]
    missing = [number for number in range(len(shards)) if not store.exists(part_key(number))]
    if len(missing) < len(shards):
        say(f"{len(shards) - len(missing)} of {len(shards)} shards are there already")
    told = _Told(sum(len(shards[number]) for number in missing), say)
    for number, rows in _answered(words, crop, images, {number: shards[number] for number in missing}, config, told):
        store.write_bytes(part_key(number), as_parquet(rows))
    kept = len(images.names) - told.total
    return Scored(files=told.done, kept=kept, images=told.rows - told.bad, bad=told.bad, seconds=time.monotonic() - start)


def part_key(number: int) -> str:
    """Where a shard's answers lie."""
    return f"part-{number:05d}.parquet"


def write_csv(out: str, count: int, store: Store, key: str) -> None:
    """All shards as one CSV file, lists as JSON, for those who read no Parquet."""
    parts = open_store(out)
    pieces = [as_csv(parts.read_bytes(part_key(number)), header=number == 0) for number in range(count)]
    store.write_bytes(key, b"".join(pieces))


def _answered(
    model: str, crop: CropConfig, images: Images, shards: dict[int, Sequence[str]], config: ScoreConfig, told: _Told
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Each shard's answers, once they are whole, in the order of the shards."""
    if not shards:
        return
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True  # else many shards are begun, and a killed driver loses all of them
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    files = [{"shard": number, "name": name} for number, names in shards.items() for name in names]
    blocks = max(1, math.ceil(len(files) / (2 * config.batch_size)))
    rows = (
        ray.data.from_items(files, override_num_blocks=blocks)
        .map_batches(
            _decode,
            fn_args=(images, crop, config.all_frames, config.overlays is not None),
            batch_size=2 * config.batch_size,
            num_cpus=config.decode_cpus,
            max_calls=_DECODES,
        )
        .map_batches(
            _Answer,
            fn_constructor_args=(model, config),
            batch_size=config.batch_size,
            compute=ray.data.ActorPoolStrategy(size=config.workers),
            num_cpus=config.cpus_per_worker,
            num_gpus=config.gpus_per_worker or None,
        )
    )
    waiting: dict[int, list[dict[str, Any]]] = {number: [] for number in shards}
    files_left = {number: len(names) for number, names in shards.items()}
    for batch in rows.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
        for number, text in zip(batch["shard"].tolist(), batch["answers"].tolist(), strict=True):
            found = json.loads(text)
            waiting[number] += found
            files_left[number] -= 1
            told.file(found)
            if not files_left[number]:
                yield number, waiting.pop(number)


def _decode(batch: Rows, images: Images, crop: CropConfig, all_frames: bool, keep_pixels: bool) -> Rows:
    ready = [decoded(images, name, crop, all_frames=all_frames, keep_pixels=keep_pixels) for name in batch["name"].tolist()]
    return {"shard": batch["shard"], "ready": np.array([pickle.dumps(one) for one in ready], dtype=object)}


class _Answer:
    """Holds the network; one per actor."""

    def __init__(self, model: str, config: ScoreConfig) -> None:
        with asked_model(model) as asked:
            self._predictor = Predictor(
                asked.bundle,
                device="cuda" if config.gpus_per_worker else "cpu",
                batch_size=config.batch_size,
                engine=config.engine,
                threads=max(1, int(config.cpus_per_worker)),
                site=asked.profile(config.site),
            )
        self._overlays = config.overlays

    def __call__(self, batch: Rows) -> Rows:
        ready = [pickle.loads(one) for one in batch["ready"].tolist()]
        images = [image for one in ready if isinstance(one, list) for image in one]
        found = iter(answers(self._predictor, images, overlays=self._overlays))
        texts = [json.dumps([next(found) for _ in one] if isinstance(one, list) else [one]) for one in ready]
        return {"shard": batch["shard"], "answers": np.array(texts, dtype=object)}


def _pinned(asked: AskedModel, text: str) -> str:
    """The same model by its version and an absolute address: an alias may move while images are scored."""
    if asked.store is not None:
        address = asked.store.locator if "://" in asked.store.address else os.path.abspath(asked.store.address)
        return f"{asked.name}@{asked.version}={address}"
    return text if "://" in text else os.path.abspath(text)


def _note(store: Store, asked: AskedModel, images: Images, config: ScoreConfig) -> None:
    """Say what is scored into this place. Raises ConfigError where something else is."""
    chosen = {name: value for name, value in asdict(config).items() if name in ("shard", "site", "all_frames", "overlays")}
    note = {
        "images": images.root,
        "files": len(images.names),
        "files_sha256": hashlib.sha256("\n".join(images.names).encode()).hexdigest(),
        "model": asked.bundle.model_id,
        "model_sha256": asked.bundle.digest,
        **chosen,
    }
    if store.exists(NOTE):
        old = store.read_json(NOTE)
        other = [f"{name} {old.get(name)!r}, now {value!r}" for name, value in note.items() if old.get(name) != value]
        if other:
            raise ConfigError(f"{store.address}: holds another scoring ({'; '.join(other)}); choose another --out")
        return
    store.write_json(NOTE, note)


class _Told:
    """Counts, with a line every ten seconds."""

    def __init__(self, total: int, say: Say) -> None:
        self.total, self.done, self.rows, self.bad = total, 0, 0, 0
        self._say, self._last = say, time.monotonic()
        self._start: float | None = None
        self._first = 0

    def file(self, found: list[dict[str, Any]]) -> None:
        """One file's answers."""
        now = time.monotonic()
        if self._start is None:
            self._start, self._first = now, self.done  # Ray's start is no measure of what is left
        self.done += 1
        self.rows += len(found)
        self.bad += sum("error" in row for row in found)
        if min(now - self._last, now - self._start) >= _SAY_EVERY_S:
            rate, self._last = (self.done - self._first) / (now - self._start), now
            left = (self.total - self.done) / rate
            self._say(f"{self.done:,} of {self.total:,} files, {rate:.0f}/s, {_in_words(left)} left, {self.bad} not used")


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
