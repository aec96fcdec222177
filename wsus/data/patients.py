"""Who is whose image: patients from DICOM PatientID or a pattern of the file's name, where no table names them.

A PatientID never leaves the file: what stands in a manifest is its HMAC-SHA256 with a key of the site, which stays on the machine
that imports (WSUS_SITE_KEY, or `site.key` in the user's configuration folder, made at first use).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wsus.data.formats.sniff import is_dicom
from wsus.errors import ConfigError, ManifestError
from wsus.storage.files import os_errors
from wsus.types import ImageRecord

_LEAST_KEY = 16  # characters


def site_key() -> bytes:
    """The key that pseudonyms are made with. Raises ConfigError where it is too short, StoreError where it cannot be kept."""
    named = os.environ.get("WSUS_SITE_KEY")
    if named is not None:
        if len(named) < _LEAST_KEY:
            raise ConfigError(f"WSUS_SITE_KEY must have {_LEAST_KEY} characters or more, or a PatientID could be guessed from it")
        return named.encode()
    path = Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser() / "wsus" / "site.key"
    with os_errors(str(path), "read or made"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return path.read_bytes()
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
        return path.read_bytes()


def pseudonym(patient_id: str, key: bytes) -> str:
    """What stands for a PatientID: the same for the same id and key, and nothing of it without the key."""
    return f"P{hmac.new(key, patient_id.strip().encode(), hashlib.sha256).hexdigest()[:16]}"


def dicom_patient(path: Path, key: bytes) -> str | None:
    """The pseudonym of a DICOM file's PatientID; None where it is another file, or names none."""
    if not is_dicom(path):
        return None
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    from wsus.data.formats.dicom_file import pydicom_kept_quiet

    try:
        with pydicom_kept_quiet():
            found = dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"])
        named = str(found.get("PatientID") or "").strip()
    except (InvalidDicomError, ValueError, OSError, AttributeError, NotImplementedError):
        return None  # the decoder says what is wrong with the file
    return pseudonym(named, key) if named else None


def patients_by_name(records: Sequence[ImageRecord], pattern: str, root: Path) -> list[str]:
    """The first group of a pattern (or all that it matches) in each file's path below the root.

    Raises:
        ConfigError: not a regular expression.
        ManifestError: it matches some of the files only; names five.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--patients name:{pattern}: not a regular expression ({error}); as name:^([0-9]+)_") from error
    names = [_below(record.path, root) for record in records]
    found = [compiled.search(name) or compiled.search(Path(name).name) for name in names]
    without = [name for name, match in zip(names, found, strict=True) if match is None or not match.group(0)]
    if without:
        raise ManifestError(
            f"{root}: {len(without)} of {len(records)} file names hold no patient by the pattern {pattern!r}, such as "
            f"{', '.join(without[:5])}; change the pattern, or leave it out: near-duplicates then are one patient"
        )
    return [match.group(1) if match.groups() and match.group(1) else match.group(0) for match in found if match]


def with_patients(records: Sequence[ImageRecord], named: Mapping[str, str]) -> tuple[ImageRecord, ...]:
    """The records with the patients that are known; near-duplicates stay one patient with what they duplicate.

    Args:
        records: with `patient_id` as the group of near-duplicates.  named: image_id -> patient, where one is known.
    """
    leader: dict[str, str] = {}

    def find(node: str) -> str:
        while leader.setdefault(node, node) != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for record in records:
        group = find(f"group {record.patient_id}")
        if record.image_id in named:
            leader[group] = find(f"named {named[record.image_id]}")
    word: dict[str, str] = {}
    for record in records:  # the first name of a group stands for it, or its own where none is known
        root = find(f"group {record.patient_id}")
        if record.image_id in named:
            word.setdefault(root, named[record.image_id])
    return tuple(
        replace(record, patient_id=word.get(find(f"group {record.patient_id}"), record.patient_id)) for record in records
    )


def _below(path: Path, root: Path) -> str:
    resolved = root.resolve()
    return path.relative_to(resolved).as_posix() if path.is_relative_to(resolved) else path.name
