"""What may be known of an image beside its label: each column once, with its words and where it is used.

A new one is an entry here and a field of `ImageRecord`; manifests, predictions, subgroups, Table 1 and hard cases follow.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DescribedBy:
    """A column that describes images.

    title: in tables and figures.  in_words: of one value.
    scored: predictions keep it, so that the comparison has it.  counted: Table 1 counts images by its values.
    subgroup: the comparison looks inside its values.  one_class: each value is a kind of benign or of malignant lesion.
    of_hard_case: its place among what is said of a hard case; None where it is not said.
    """

    name: str
    title: str
    in_words: str = "{}"
    scored: bool = True
    counted: bool = False
    subgroup: bool = False
    one_class: bool = False
    of_hard_case: int | None = None


DESCRIBED = (  # in the order of a manifest's columns, which its digest depends on
    DescribedBy(name="institution", title="Institution", counted=True),
    DescribedBy(name="device", title="Scanner", counted=True, subgroup=True, of_hard_case=1),
    DescribedBy(name="birads", title="BI-RADS", in_words="BI-RADS {}", counted=True, subgroup=True, of_hard_case=0),
    DescribedBy(name="histology", title="Histology", counted=True, subgroup=True, one_class=True, of_hard_case=2),
    DescribedBy(name="age_years", title="Age"),
    DescribedBy(name="lesion_size_mm", title="Lesion size", in_words="{} mm", of_hard_case=3),
    DescribedBy(name="acquired", title="Acquired", scored=False),
    DescribedBy(
        name="calipers",
        title="Calipers in the picture",
        in_words="calipers: {}",
        counted=True,
        subgroup=True,
        of_hard_case=4,
    ),
)
