"""What the application counts, by name; Ray exports it to Prometheus, tests read it from memory."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal, Protocol

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_TENTHS = tuple(step / 10 for step in range(1, 11))


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One metric. boundaries: upper edges of a histogram's bins."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    tags: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()


SERIES = {
    "wsus_requests": Series(kind="counter", help="Requests by route and status.", tags=("route", "status")),
    "wsus_rejections": Series(kind="counter", help="Inputs that were not answered, by reason.", tags=("reason",)),
    "wsus_request_seconds": Series(kind="histogram", help="From first byte to answer.", tags=("route",), boundaries=_SECONDS),
    "wsus_decode_seconds": Series(kind="histogram", help="Decoding of one image.", tags=("format",), boundaries=_SECONDS),
    "wsus_inference_seconds": Series(kind="histogram", help="One batch.", tags=("version",), boundaries=_SECONDS),
    "wsus_batch_images": Series(kind="histogram", help="Images in a batch.", boundaries=(1, 2, 4, 8, 16, 32, 64)),
    "wsus_pom": Series(
        kind="histogram", help="Probability of malignancy, to see drift.", tags=("version", "role"), boundaries=_TENTHS
    ),
    "wsus_unlike_training": Series(kind="counter", help="Images unlike the training images.", tags=("version", "role")),
    "wsus_shadow_difference": Series(
        kind="histogram", help="Distance of the shadow's POM from the answer's.", tags=("version",), boundaries=_TENTHS
    ),
    "wsus_shadow_dropped": Series(kind="counter", help="Batches that the shadow was too busy for."),
    "wsus_model_loaded": Series(kind="gauge", help="1 for the versions that are loaded.", tags=("version", "role", "digest")),
    "wsus_model_refused": Series(kind="gauge", help="1 while a version that an alias names is refused.", tags=("version",)),
    "wsus_store_unreachable": Series(kind="gauge", help="1 while the store cannot be asked for the alias."),
}


class Metrics(Protocol):
    """Where measurements go."""

    def count(self, name: str, **tags: str) -> None:
        """Add one to a counter."""

    def observe(self, name: str, value: float, **tags: str) -> None:
        """Put a value into a histogram."""

    def gauge(self, name: str, value: float, **tags: str) -> None:
        """Set a gauge."""


@dataclass
class MemoryMetrics:
    """Metrics of this process alone, kept as lists; keys are (name, sorted tags)."""

    values: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = field(default_factory=lambda: defaultdict(list))

    def count(self, name: str, **tags: str) -> None:
        self._put(name, 1.0, tags)

    def observe(self, name: str, value: float, **tags: str) -> None:
        self._put(name, value, tags)

    def gauge(self, name: str, value: float, **tags: str) -> None:
        self._put(name, value, tags)

    def of(self, name: str, **tags: str) -> list[float]:
        """The values under a name whose tags hold the given ones."""
        return [
            value
            for (found, with_tags), values in self.values.items()
            if found == name and tags.items() <= dict(with_tags).items()
            for value in values
        ]

    def _put(self, name: str, value: float, tags: dict[str, str]) -> None:
        if set(tags) != set(SERIES[name].tags):
            raise ValueError(f"{name} has the tags {SERIES[name].tags}; got {tuple(tags)}")
        self.values[(name, tuple(sorted(tags.items())))].append(value)
