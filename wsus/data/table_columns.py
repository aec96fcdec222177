"""Which column of somebody's table is which: the delimiter, and the columns that were named by hand. It needs no pandas."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping, Sequence

from wsus.errors import ManifestError

PATIENT_WORDS = ("patient", "patientid", "subject", "subjectid", "pid", "mrn")  # plain names of a patient's column


def delimiter(text: str) -> str:
    """What separates the cells, told by the header: a comma, semicolon, tab or bar; a comma where it cannot be told."""
    header = text.partition("\n")[0]
    try:
        return csv.Sniffer().sniff(header, delimiters=",;\t|").delimiter
    except csv.Error:
        return ","


def plain(name: str) -> str:
    """A column's name without case, blanks and punctuation.

    >>> plain("Patient-ID")
    'patientid'
    """
    return "".join(character for character in name.lower() if character.isalnum())


def asked_columns(found: Sequence[str], asked: Mapping[str, str], where: str) -> dict[str, str]:
    """The table's own spelling of the columns that were named by hand.

    Raises:
        ManifestError: the table has no such column.
    """
    by_plain = {plain(column): column for column in found}
    for column in asked.values():
        if plain(column) not in by_plain:
            nearest = difflib.get_close_matches(column, list(found), n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise ManifestError(f"{where}: has no column {column!r}.{hint} It has {', '.join(map(repr, found))}")
    return {name: by_plain[plain(column)] for name, column in asked.items()}
