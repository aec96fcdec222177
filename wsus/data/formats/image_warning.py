"""A warning about a picture: a sentence for people that also says, in one word, which kind it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

WarningKind = Literal[
    "coloured",
    "burned_in_text",
    "whole_frame",
    "no_scale",
    "scales_disagree",
    "several_regions",
    "doppler_region",
    "secondary_capture",
    "window",
    "frames_disagree",
    "no_header",
    "depth",
    "transparent",
    "alpha",
]
WARNING_KINDS: tuple[str, ...] = get_args(WarningKind)


class ImageWarning(str):
    """The sentence itself, so that it can be shown, joined and written as JSON like any other. It can be pickled.

    kind: what audits and reports count by.
    """

    kind: WarningKind

    def __new__(cls, kind: WarningKind, sentence: str) -> ImageWarning:
        """The sentence with its kind."""
        made = super().__new__(cls, sentence)
        made.kind = kind
        return made

    def __getnewargs__(self) -> tuple[WarningKind, str]:  # type: ignore[override]
        return self.kind, str(self)


def by_kind(warnings: Iterable[str]) -> Mapping[str, str]:
    """Sentences by their kind, several of one kind joined; a plain string counts as `other`."""
    sentences: dict[str, list[str]] = {}
    for warning in warnings:
        sentences.setdefault(getattr(warning, "kind", "other"), []).append(str(warning))
    return {kind: "; ".join(several) for kind, several in sentences.items()}
