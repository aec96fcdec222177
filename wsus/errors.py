"""Every error that this project raises on purpose, in one tree.

    WsusError                      exit status 2: the message alone is for the user
    ├── DataError                  what was read is not what it should be
    │   ├── ImageError             one image: missing, truncated, of one colour, too large ...
    │   ├── MaskError              one mask: of another size than its image, empty ...
    │   ├── ManifestError          the table of images
    │   └── SplitError             too few patients, a patient on two sides
    ├── ConfigError                a setting that cannot be
    │   └── UnknownNameError       a name outside a registry; suggests the nearest
    ├── StoreError                 a folder or bucket that cannot be read or written
    │   └── ChangedError           a conditional write came too late: another writer was first
    ├── BundleError                a model bundle with a wrong digest or an unknown schema
    ├── TrainingDivergedError      a loss that is no longer a number
    └── StudyError                 a study that cannot go on
        ├── StudyConflictError     the same name with another configuration
        ├── StudyBusyError         another driver runs it
        └── StudyIncompleteError   exit status 3: it ended, and some of its trials failed
    StudyInterruptedError          a KeyboardInterrupt (Ctrl-C, SIGTERM ...) that says what of a study is kept

A message names the thing, what was expected, what was found and what to do. An error inside a third-party
library that a user's input caused is wrapped into one of these; any other exception is a defect of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import StrEnum


class WsusError(Exception):
    """An error whose message is written for the user; `exit_status` is that of the command line."""

    exit_status = 2


class DataError(WsusError):
    """What was read is not what it should be."""


class ImageReason(StrEnum):
    """Why one image cannot be used, in one word for machines: what a counter counts and an HTTP status hangs on."""

    NOT_FOUND = "not_found"  # no such file
    UNREADABLE = "unreadable"  # a file that the system does not give
    EMPTY = "empty"  # 0 bytes
    UNSUPPORTED_FORMAT = "unsupported_format"  # neither PNG, JPEG, BMP, TIFF nor DICOM
    UNSUPPORTED_PIXELS = "unsupported_pixels"  # a colour space or depth that needs a choice to become grey
    TRANSPARENT = "transparent"  # pixels that let an unknown background through
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported_transfer_syntax"  # DICOM: a video, an unknown compression
    WRONG_MODALITY = "wrong_modality"  # DICOM: CT, MR, mammography ...
    NOT_AN_IMAGE = "not_an_image"  # DICOM: a report, a document, a presentation state, a volume
    NO_PIXEL_DATA = "no_pixel_data"  # DICOM: a header alone
    INVALID_ATTRIBUTES = "invalid_attributes"  # DICOM: attributes that are missing or contradict each other
    DAMAGED = "damaged"  # truncated, or bytes that cannot be
    TOO_LARGE = "too_large"  # more bytes than are read, as they lie or unpacked
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    TOO_COMPLEX = "too_complex"  # made to cost time: thousands of scans, tiles, elements
    TOO_SMALL = "too_small"
    TOO_NARROW = "too_narrow"  # a strip, the padding of which would cost as a large square
    FRAME_NEEDED = "frame_needed"  # several frames, and none was named
    FRAME_OUT_OF_RANGE = "frame_out_of_range"
    REGION_OUT_OF_RANGE = "region_out_of_range"
    ANIMATED = "animated"
    BLANK = "blank"  # of one colour
    NO_NUMBER = "no_number"  # the network's scores or map are not finite


class ImageError(DataError):
    """One image cannot be used; `reason` says why in one word. It can be pickled, as workers send it."""

    def __init__(self, message: str, reason: ImageReason) -> None:
        super().__init__(message, reason)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])


class MaskError(DataError):
    """One lesion mask cannot be used."""


class ManifestError(DataError):
    """The table of images is not a manifest."""


class SplitError(DataError):
    """The patients cannot be divided as asked, or have been divided wrongly."""


class ConfigError(WsusError):
    """A setting that cannot be."""


class UnknownNameError(ConfigError):
    """A name outside a registry: says what exists and what was probably meant."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        nearest = difflib.get_close_matches(name.lower(), choices, n=1, cutoff=0.5)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        super().__init__(f"unknown {kind} {name!r}.{hint} Known: {', '.join(choices)}.")


class StoreError(WsusError):
    """A folder or bucket that cannot be read or written."""


class ChangedError(StoreError):
    """A conditional write came too late: another writer was first."""


class BundleError(WsusError):
    """A model bundle that must not be loaded."""


class TrainingDivergedError(WsusError):
    """The loss is no longer a number."""


class StudyError(WsusError):
    """A study that cannot go on."""


class StudyConflictError(StudyError):
    """The same study name with another configuration."""


class StudyBusyError(StudyError):
    """Another driver runs the study, or took it over."""


class StudyIncompleteError(StudyError):
    """The study ended and published what it could; some of its trials failed."""

    exit_status = 3


class StudyInterruptedError(KeyboardInterrupt):
    """A study was interrupted; the message says what of it is kept and how to go on. Not an `Exception`, as Ctrl-C is none."""
