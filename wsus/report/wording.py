"""How names and numbers are written for people, the same in every table, figure and sentence."""

from __future__ import annotations

from wsus.comparison.estimates import Estimate
from wsus.data.described import DESCRIBED
from wsus.nets.backbones import backbone_title

DASH = "–"  # en dash, as journals print a range and an empty cell
MINUS = "−"

_MODES = {"weak": "Weak", "manual_roi": "Manual ROI", "auto_roi": "Automatic ROI"}
_SPLITS = {"train": "Training", "development": "Development", "internal": "Internal", "external": "External", "unused": "Unused"}
_VARIABLES = {column.name: column.title for column in DESCRIBED} | {"mask_fraction": "Lesion size, share of the image"}
SMALL_CLASS = 30  # images of a class below which a normal approximation is called rough

MODE_ORDER = tuple(_MODES)
SPLIT_ORDER = tuple(_SPLITS)


def backbone_name(backbone: str) -> str:
    """'vgg16' -> 'VGG16'; a name that is not known stays as it is."""
    return backbone_title(backbone)


def mode_name(mode: str) -> str:
    """'manual_roi' -> 'Manual ROI'."""
    return _MODES.get(mode, mode)


def split_name(split: str) -> str:
    """'train' -> 'Training'."""
    return _SPLITS.get(split, split)


def variable_name(variable: str) -> str:
    """'birads' -> 'BI-RADS'."""
    return _VARIABLES.get(variable, variable.replace("_", " ").capitalize())


def number(value: float | None, digits: int = 3) -> str:
    """A number with a true minus sign; a dash where it is not estimable. A rounded zero has no sign."""
    if value is None:
        return DASH
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def percent(value: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as a percentage without its sign."""
    return DASH if value is None else number(100 * value, digits)


def p_value(p: float | None) -> str:
    """P as journals print it; three digits where two would hide on which side of 0.05 it stands.

    >>> p_value(0.0001), p_value(0.0041), p_value(0.0496), p_value(0.66)
    ('<0.001', '0.004', '0.050', '0.66')
    """
    if p is None:
        return DASH
    if p < 0.001:
        return "<0.001"
    if p > 0.995:
        return ">0.99" if p < 1 else "1.00"
    return f"{p:.3f}" if p < 0.01 or 0.045 <= p < 0.055 else f"{p:.2f}"


def p_clause(p: float | None) -> str:
    """P inside a sentence: 'P = 0.04', 'P < 0.001', 'P not estimable'."""
    text = p_value(p)
    if p is None:
        return "P not estimable"
    return f"P {text[0]} {text[1:]}" if text[0] in "<>" else f"P = {text}"


def with_interval(estimate: Estimate, *, digits: int = 3) -> str:
    """'0.961 (0.932–0.990)'."""
    if estimate.value is None:
        return DASH
    low, high = number(estimate.low, digits), number(estimate.high, digits)
    separator = " to " if MINUS in low + high else DASH
    return (
        f"{number(estimate.value, digits)} ({low}{separator}{high})"
        if estimate.low is not None
        else number(estimate.value, digits)
    )


def percent_with_interval(estimate: Estimate, *, digits: int = 1) -> str:
    """'87.0 (78.8–92.9)', in per cent."""
    if estimate.value is None:
        return DASH
    if estimate.interval is None:
        return percent(estimate.value, digits)
    return f"{percent(estimate.value, digits)} ({percent(estimate.low, digits)}{DASH}{percent(estimate.high, digits)})"


def ratio(value: float) -> str:
    """A ratio with the digits that it deserves: '0.143', '9.67', '24.1', '310'."""
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return number(value, digits)


def ratio_with_interval(estimate: Estimate) -> str:
    """'9.67 (5.31–19.8)'; an infinite ratio has an interval without an upper end, an undefined one is a dash."""
    if estimate.low is None and estimate.high is None:
        return DASH
    infinite = "∞"
    value, low, high = (infinite if end is None else ratio(end) for end in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low}{DASH}{high})"


def duration(seconds: float | None) -> str:
    """'48 s', '12 min', '3.4 h'."""
    if seconds is None:
        return DASH
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
