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


_IN_WORDS = {
    "coloured": "have colours, as Doppler, elastography or photographs have",
    "burned_in_text": "may have text burned into the pixels, a patient's name among it",
    "whole_frame": "are used whole, the scanner's interface included, since the file does not say where the B-mode region lies",
    "no_scale": "have no scale, so that sizes in mm are not known",
    "scales_disagree": "give two scales that contradict each other",
    "several_regions": "show several B-mode regions, of which one is used",
    "doppler_region": "show a Doppler region",
    "secondary_capture": "are copies of a screen",
    "window": "have a window or rescale that was left aside",
    "frames_disagree": "hold more frames than their header says",
    "no_header": "have no DICOM file header",
    "depth": "have grey levels that were scaled to 8 bits by the image's maximum",
    "transparent": "have transparent parts, which were laid on black",
    "alpha": "have an opaque alpha channel, which was dropped",
}
_HARMLESS = ("alpha",)


def warning_notes(images_by_kind: Mapping[str, int]) -> tuple[str, ...]:
    """A sentence for each kind of warning that a reader of the data should know, the most frequent first."""
    by_count = sorted(images_by_kind.items(), key=lambda one: (-one[1], one[0]))
    return tuple(f"{count} image(s) {_IN_WORDS[kind]}" for kind, count in by_count if kind in _IN_WORDS and kind not in _HARMLESS)


def by_kind(warnings: Iterable[str]) -> Mapping[str, str]:
    """Sentences by their kind, several of one kind joined; a plain string counts as `other`."""
    sentences: dict[str, list[str]] = {}
    for warning in warnings:
        sentences.setdefault(getattr(warning, "kind", "other"), []).append(str(warning))
    return {kind: "; ".join(several) for kind, several in sentences.items()}
