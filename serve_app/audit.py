"""Who asked for what: one line of JSON for each image that was looked at or refused, and for each look at the alias.

It holds the token's name, the time, the model, the digest of the upload and how it ended: no file name, no value of a DICOM
header, no picture and no probability. What cannot be written is not answered.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from serve_app.problems import ProblemError
from wsus.errors import ConfigError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line.

    who: the token's name; None without tokens.  what: the route.  image: the answer's `image_id`, None where nothing was read.
    frames: of this image that were answered.
    outcome: `answered`, or the problem's reason.  trace_id: of the caller's `traceparent`, None where it sent none.
    """

    who: str | None
    what: str
    image: str | None
    frames: int
    model: str | None
    outcome: str
    trace_id: str | None


class AuditLog:
    """Appends to a file, whole lines at a time, so that several processes of a machine may share it. Writes nothing without one.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: str | None) -> None:
        self._file: int | None = None
        if path is not None:
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            except OSError as error:
                raise ConfigError(f"audit_log {path}: cannot be written ({error.strerror})") from error

    def write(self, entry: Entry) -> None:
        """Raises ProblemError (503) where the line cannot be written: then there must be no answer either."""
        if self._file is None:
            return
        line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **asdict(entry)}) + "\n"
        try:
            os.write(self._file, line.encode())
        except OSError as error:
            _log.error("the audit log cannot be written: %s", error)
            raise ProblemError(503, "no_audit", "the audit log cannot be written, so that nothing is answered") from None
