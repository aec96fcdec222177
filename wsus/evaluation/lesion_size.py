"""Which lesions are small: in millimetres where that is known, else by the share of the image that the mask covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

SIZE_COLUMNS = ("lesion_size_mm", "mask_fraction")
_EDGES_MM = (10.0, 20.0)
_NAMES_MM = ("< 10 mm", "10 to < 20 mm", "≥ 20 mm")
_KNOWN_ENOUGH = 0.5  # share of the images whose size in millimetres must be known, or the mask's area counts


@dataclass(frozen=True, kw_only=True, slots=True)
class LesionSizes:
    """A split's images by the size of their lesion.

    measure: lesion_size_mm, in fixed bins, or mask_fraction (the mask's share of the image), in thirds of the split.
    levels: from small to large.  level_of: image_id -> level; an image whose size is unknown is not in it.
    """

    measure: Literal["lesion_size_mm", "mask_fraction"]
    levels: tuple[str, ...]
    level_of: Mapping[str, str]

    def of(self, image_ids: pd.Series) -> pd.Series:
        """The level of every image; null where it is unknown."""
        return image_ids.map(self.level_of).astype(object)


def lesion_sizes(rows: pd.DataFrame) -> LesionSizes | None:
    """Divide the images of one split by lesion size.

    Args:
        rows: predictions of one or more cells on the split, with `lesion_size_mm`, `mask_fraction`, both or neither.
    Returns:
        None where the sizes of the images are not known.
    """
    images = rows.drop_duplicates("image_id")
    size_mm, fraction = (_known(images, column) for column in SIZE_COLUMNS)
    if len(size_mm) and len(size_mm) >= _KNOWN_ENOUGH * len(images):
        return _divided("lesion_size_mm", size_mm, _EDGES_MM, _NAMES_MM)
    if fraction.empty:
        return None
    low, high = (float(edge) for edge in np.quantile(fraction, (1 / 3, 2 / 3)))
    names = (
        f"smallest third (< {100 * low:.1f}%)",
        "middle third",
        f"largest third (≥ {100 * high:.1f}%)",
    )
    return _divided("mask_fraction", fraction, (low, high), names)


def _known(images: pd.DataFrame, column: str) -> pd.Series:
    """Image_id -> size, of the images that have one above 0."""
    if column not in images.columns:
        return pd.Series(dtype=float)
    sizes = pd.to_numeric(images[column], errors="coerce").astype(float).set_axis(images["image_id"].astype(str))
    return sizes[sizes > 0]


def _divided(
    measure: Literal["lesion_size_mm", "mask_fraction"], sizes: pd.Series, edges: tuple[float, float], names: tuple[str, ...]
) -> LesionSizes:
    places = np.searchsorted(edges, sizes.to_numpy(), side="right")
    level_of = {image_id: names[place] for image_id, place in zip(sizes.index, places, strict=True)}
    found = set(level_of.values())
    return LesionSizes(measure=measure, levels=tuple(name for name in names if name in found), level_of=level_of)
