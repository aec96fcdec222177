"""Which image files a model was trained on and chosen by, as digests in its bundle: `seen.txt`.

One line per file: the first 16 hexadecimal digits of its SHA-256, and its split. Nothing of an image can be read from it, but
who holds the file can ask whether the model knows it: a set to be judged or calibrated on should hold none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wsus.errors import BundleError, DataError
from wsus.models.bundle import Bundle
from wsus.storage.files import digest_of
from wsus.types import ImageRecord, Split

SEEN = "seen.txt"
SEEN_SPLITS = (Split.TRAIN, Split.DEVELOPMENT)
_DIGITS = 16  # of a million files two share them by chance with a probability of 3e-8


def dump_seen(records: Iterable[ImageRecord]) -> bytes:
    """The content of `seen.txt` for the records of SEEN_SPLITS among these."""
    kept = [record for record in records if record.split in SEEN_SPLITS]
    lines = {f"{digest} {record.split}\n" for digest, record in zip(file_digests(kept), kept, strict=True)}
    return "".join(sorted(lines)).encode()


def read_seen(bundle: Bundle) -> Mapping[str, str] | None:
    """Digest -> split of what a model has seen; None where its bundle, of an older version, does not say. Raises BundleError."""
    if SEEN not in bundle.sums:
        return None
    seen = {}
    for line in bundle.read_bytes(SEEN).decode(errors="replace").splitlines():
        digest, _, split = line.partition(" ")
        if len(digest) != _DIGITS or split not in SEEN_SPLITS:
            raise BundleError(f"{bundle.folder / SEEN}: holds the line {line[:40]!r}, which is not 'digest split'")
        seen[digest] = split
    return seen


def file_digests(records: Iterable[ImageRecord]) -> list[str]:
    """The digest of each record's image file. Raises DataError where a file cannot be read."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(_digest, [record.path for record in records]))


def count_seen(bundle: Bundle, digests: Iterable[str]) -> dict[str, int] | None:
    """How many of these files a model has seen, by split; None where its bundle does not say."""
    seen = read_seen(bundle)
    return None if seen is None else dict(Counter(seen[digest] for digest in digests if digest in seen))


def _digest(path: Path) -> str:
    try:
        return digest_of(path)[:_DIGITS]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path in the table of images") from error
