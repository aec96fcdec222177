"""B-mode is grey: what colours in a picture may mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsus.data.formats.image_warning import ImageWarning

CHROMA = 64  # of 255: above it a pixel is coloured, whatever lossy compression does to a grey one
SHARE = 0.01  # a scanner's mark or a coloured caliper takes less
_STEP = 3  # of the pixels, every third down and across is looked at: a ninth, since a share is wanted


def colour_warning(colours_HW3: NDArray[np.integer]) -> tuple[ImageWarning, ...]:
    """A warning where more than one in a hundred pixels of an 8-bit RGB image (H, W, 3) have a colour; else nothing."""
    looked_at = colours_HW3[::_STEP, ::_STEP].astype(np.int16)
    red, green, blue = (looked_at[..., channel] for channel in range(3))
    chroma = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    share = float((chroma > CHROMA).mean())
    if share <= SHARE:
        return ()
    what = "as in Doppler, elastography or a photograph"
    sentence = f"{100 * share:.0f} % of the image is coloured, {what}; the model knows grey B-mode alone"
    return (ImageWarning("coloured", sentence),)
