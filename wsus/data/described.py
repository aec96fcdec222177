"""What may be known of an image beside its label: each column once, with its words and where it is used.

A new one is an entry here and a field of `ImageRecord`; manifests, predictions, subgroups, Table 1 and hard cases follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class DescribedBy:
    """A column that describes images.

    kind: of its values: words; a number from 0 to `most`; a date, YYYY-MM-DD; an answer, yes, no or unknown.
    title: in tables and figures.  in_words: of one value.
    ordered: its values have an order, in which tables list them.
    scored: predictions keep it, so that the comparison has it.  counted: Table 1 counts images by its values.
    subgroup: the comparison looks inside its values.  one_class: each value is a kind of benign or of malignant lesion.
    of_hard_case: its place among what is said of a hard case; None where it is not said.
    """

    name: str
    title: str
    kind: Literal["words", "number", "date", "answer"] = "words"
    most: float = math.inf
    in_words: str = "{}"
    ordered: bool = False
    scored: bool = True
    counted: bool = False
    subgroup: bool = False
    one_class: bool = False
    of_hard_case: int | None = None


DESCRIBED = (  # in the order of a manifest's columns, which its digest depends on
    DescribedBy(name="institution", title="Institution", counted=True),
    DescribedBy(name="device", title="Scanner", counted=True, subgroup=True, of_hard_case=1),
    DescribedBy(name="birads", title="BI-RADS", in_words="BI-RADS {}", ordered=True, counted=True, subgroup=True, of_hard_case=0),
    DescribedBy(name="histology", title="Histology", counted=True, subgroup=True, one_class=True, of_hard_case=2),
    DescribedBy(name="age_years", title="Age", kind="number", most=130),
    DescribedBy(name="lesion_size_mm", title="Lesion size", kind="number", most=1000, in_words="{} mm", of_hard_case=3),
    DescribedBy(name="acquired", title="Acquired", kind="date", scored=False),
    DescribedBy(
        name="calipers",
        title="Calipers in the picture",
        kind="answer",
        in_words="calipers: {}",
        counted=True,
        subgroup=True,
        of_hard_case=4,
    ),
)
