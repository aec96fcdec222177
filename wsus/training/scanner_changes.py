"""Changes that make an image look like another scanner's, or another reader's export of it: one function for each.

Images are in [0, 1], shape (B, 1, H, W), black where there is no picture. Each change takes how far it goes from `AugmentConfig`
and its random numbers from `Draws`.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from wsus.training.draws import Draws

_MARK_PX, _MARKS = 9, 6  # side of a burnt-in mark; marks of an image, at most
_BLACK = 0.004  # one level of 255: there is no picture


def cut_window(images_B1HW: torch.Tensor, probability: float, draws: Draws) -> torch.Tensor:
    """Another field of view: up to 15 % of each side becomes black."""
    height, width = images_B1HW.shape[2:]
    rows_11H1 = torch.linspace(0, 1, height, device=draws.device).view(1, 1, -1, 1)
    columns_111W = torch.linspace(0, 1, width, device=draws.device).view(1, 1, 1, -1)
    cut = [draws.uniform(1, 1, 1, high=0.15) for _ in range(4)]
    inside = (rows_11H1 >= cut[0]) & (rows_11H1 <= 1 - cut[1]) & (columns_111W >= cut[2]) & (columns_111W <= 1 - cut[3])
    return torch.where(draws.chosen(probability) & ~inside, images_B1HW.new_zeros(()), images_B1HW)


def flatten_marks(images_B1HW: torch.Tensor, probability: float, draws: Draws) -> torch.Tensor:
    """Small bright things, as calipers and text, are brought down to their surroundings."""
    around_B1HW = functional.avg_pool2d(images_B1HW, 11, stride=1, padding=5, count_include_pad=False)
    flat_B1HW = torch.minimum(images_B1HW, around_B1HW * 1.3 + draws.uniform(1, 1, 1, low=0.02, high=0.12))
    return torch.where(draws.chosen(probability), flat_B1HW, images_B1HW)


def change_resolution(images_B1HW: torch.Tensor, soften: float, sharpen: float, draws: Draws) -> torch.Tensor:
    """Mix a coarser copy in (3 x 3 mean, half or a quarter of the resolution), or take a share of it away."""
    coarse = [
        functional.avg_pool2d(images_B1HW, 3, stride=1, padding=1, count_include_pad=False),
        *(_resized(functional.avg_pool2d(images_B1HW, by), images_B1HW) for by in (2, 4)),
    ]
    kind_B111 = draws.uniform(1, 1, 1)
    coarse_B1HW = torch.where(kind_B111 < 0.4, coarse[0], torch.where(kind_B111 < 0.8, coarse[1], coarse[2]))
    softer_B111, sharper_B111 = draws.uniform(1, 1, 1, high=soften), -draws.uniform(1, 1, 1, high=sharpen)
    share_B111 = torch.where(draws.chosen(0.65), torch.where(kind_B111 < 0.8, softer_B111, 0.7 * softer_B111), sharper_B111)
    return torch.lerp(images_B1HW, coarse_B1HW, share_B111)


def change_gain(images_B1HW: torch.Tensor, amplitude: float, draws: Draws) -> torch.Tensor:
    """A smooth random field of gain, over depth and width (time gain compensation, contact of the probe)."""
    field_B1HW = _resized(draws.normal(1, 5, 4), images_B1HW, mode="bicubic")
    return images_B1HW * torch.exp(draws.uniform(1, 1, 1, high=amplitude) * field_B1HW)


def change_contrast(images_B1HW: torch.Tensor, reject: float, saturate: float, draws: Draws) -> torch.Tensor:
    """The level that is drawn black is lifted or lowered, the one that is drawn white lowered; what was black stays so."""
    seen_B1HW = functional.max_pool2d(images_B1HW, 5, stride=1, padding=2) > _BLACK
    black_B111 = draws.uniform(1, 1, 1, low=-reject, high=reject)
    white_B111 = 1 - draws.uniform(1, 1, 1, high=saturate) * draws.chosen(0.5)
    return ((images_B1HW - black_B111) / (white_B111 - black_B111).clamp_min(0.1)).clamp(0, 1) * seen_B1HW


def burn_marks(images_B1HW: torch.Tensor, probability: float, draws: Draws) -> torch.Tensor:
    """Calipers and strokes of text at random places, so that they say nothing of where, or what, a lesion is."""
    count, _, height, width = images_B1HW.shape
    stamps_S99 = _stamps().to(draws.device)
    first_B, second_B = (draws.uniform(1).mul(len(stamps_S99)).long() for _ in range(2))
    kind_BM = torch.cat([first_B.expand(-1, _MARKS // 2), second_B.expand(-1, _MARKS - _MARKS // 2)], dim=1)
    top_BM = draws.uniform(_MARKS).mul(height - _MARK_PX).long()
    left_BM = draws.uniform(_MARKS).mul(width - _MARK_PX).long()
    drawn_BM = (draws.uniform(_MARKS) < draws.uniform(1)) & (draws.uniform(1) < probability)
    strength_BM = drawn_BM * draws.uniform(1, low=0.6)

    span = torch.arange(_MARK_PX, device=draws.device)
    places = (top_BM[..., None, None] + span[:, None]) * width + left_BM[..., None, None] + span
    values = stamps_S99[kind_BM] * strength_BM[..., None, None]
    marked = images_B1HW.reshape(count, -1).scatter_reduce(1, places.flatten(1), values.flatten(1).to(images_B1HW), "amax")
    return marked.view_as(images_B1HW)


def erase_box(images_B1HW: torch.Tensor, probability: float, draws: Draws) -> torch.Tensor:
    """One box of up to a fifth of each side in a grey of its own (random erasing, Zhong et al. 2020, AAAI)."""
    height, width = images_B1HW.shape[2:]
    rows_11H1 = torch.arange(height, device=draws.device).view(1, 1, -1, 1)
    columns_111W = torch.arange(width, device=draws.device).view(1, 1, 1, -1)
    box_height, box_width = (
        draws.uniform(1, 1, 1, low=0.03, high=0.2) * height,
        draws.uniform(1, 1, 1, low=0.03, high=0.2) * width,
    )
    top, left = draws.uniform(1, 1, 1) * (height - box_height), draws.uniform(1, 1, 1) * (width - box_width)
    inside = (rows_11H1 >= top) & (rows_11H1 < top + box_height) & (columns_111W >= left) & (columns_111W < left + box_width)
    grey_B111 = draws.uniform(1, 1, 1, high=2.0) * images_B1HW.mean(dim=(2, 3), keepdim=True)
    return torch.where(inside & draws.chosen(probability), grey_B111, images_B1HW).clamp(0, 1)


def _resized(images: torch.Tensor, like_B1HW: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
    return functional.interpolate(images, size=like_B1HW.shape[2:], mode=mode, align_corners=False)


def _stamps() -> torch.Tensor:
    """Plus and diagonal crosses, large and small, dotted lines, and strokes of two letters; shape (8, 9, 9)."""
    stamps = torch.zeros(8, _MARK_PX, _MARK_PX)
    middle, last = _MARK_PX // 2, _MARK_PX - 1
    span = torch.arange(1, last)
    stamps[0, middle, 1:last] = stamps[0, 1:last, middle] = 1
    stamps[1, middle, :] = stamps[1, :, middle] = 1
    stamps[2, span, span] = stamps[2, span, last - span] = 1
    stamps[3, middle, 3:6] = stamps[3, 3:6, middle] = 1
    stamps[4, middle, ::3] = 1
    stamps[5, ::3, middle] = 1
    stamps[6, 1:last, 2] = stamps[6, 1:last, 6] = stamps[6, 1, 2:7] = stamps[6, middle, 2:7] = 1
    stamps[7, 1:last, 3] = stamps[7, 7, 3:7] = 1
    return stamps
