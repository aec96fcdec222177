"""Which file names say that a picture is the mask of another: `a_mask.png`, `a-seg.png`, `mask_a.png`, `a_mask - Copy.png` ..."""

from __future__ import annotations

import re

_SURE = "masks?|seg|segm|segmentations?|segmented|gt|ground[ _-]?truth|annotations?|contours?"
_OFTEN = "lesions?|tumou?rs?|labels?|roi|binary"  # such words may stand in an image's own name too
_COPY = r"(?:[ _-]*\(\d+\)|[ _-]*copy(?: ?\(\d+\))?|[ _-]*\d+)*"
_SURE_SUFFIX = re.compile(rf"(?P<image>.+?)[ _.-]+(?:{_SURE}){_COPY}", re.IGNORECASE)
_OFTEN_SUFFIX = re.compile(rf"(?P<image>.+?)[ _.-]+(?:{_OFTEN}){_COPY}", re.IGNORECASE)
_PREFIX = re.compile(rf"(?:{_SURE})[ _.-]+(?P<image>.+)", re.IGNORECASE)
_IMAGE_FOLDER = re.compile("images?|imgs?|pictures?|frames?|original|originals|us", re.IGNORECASE)
_MASK_FOLDER = re.compile(f"{_SURE}|{_OFTEN}", re.IGNORECASE)


def named_image(stem: str) -> str | None:
    """The stem of the image whose mask this name surely is; None where the name does not say that it is one."""
    match = _SURE_SUFFIX.fullmatch(stem) or _PREFIX.fullmatch(stem)
    return match["image"] if match else None


def perhaps_named_image(stem: str) -> str | None:
    """As `named_image`, for words that stand in the names of images too: what is in the picture decides."""
    match = _OFTEN_SUFFIX.fullmatch(stem)
    return match["image"] if match else None


def is_mask_folder(name: str) -> bool:
    """Whether a folder's name says that it holds masks."""
    return _MASK_FOLDER.fullmatch(name) is not None


def is_image_folder(name: str) -> bool:
    """Whether a folder's name says that it holds the images to which another one has the masks."""
    return _IMAGE_FOLDER.fullmatch(name) is not None
