"""A backbone, global average pooling, one linear layer: class scores and class activation maps in one pass.

Source: Zhou et al. 2016, "Learning deep features for discriminative localization"; Kim et al. 2021:
F_k = sum_ij f_k(i, j);  S_c = sum_k w_kc F_k;  M_c = sum_k w_kc f_k.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from wsus.nets.backbones import get_backbone
from wsus.nets.config import NetConfig
from wsus.nets.features import build_features, count_tapped_maps
from wsus.nets.place_attention import PlaceAttention
from wsus.types import CLASS_NAMES, CamOutput


class CamNet(nn.Module):
    """Grey images in, `CamOutput` out; nothing is left behind on the module.

    The linear layer has no bias (as in the paper) and the pooling is a mean (a sum changes only the scale), so that a
    class score is exactly the mean of its map: S_c = mean_ij M_c(i, j). One 1 x 1 convolution therefore gives both.

    With attention over places a class score is S_c = sum_ij [(1 - mix) / hw + mix a_ij] m_c(ij), m_c the class maps of the deep
    features; at inference it is the mean of S_c and the branch's own class score, the latter weighted by `own_share`. The
    attention a_ij is trained by the branch's own score alone: the deep features see the lesion from every place, and would
    pull it away. The map of both classes then is the attention: where the evidence lies.
    """

    mean_1311: torch.Tensor
    std_1311: torch.Tensor

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        backbone = get_backbone(config.backbone)
        self.config = config
        self.features, channels = build_features(
            backbone, batch_norm=config.batch_norm, stride=config.stride, width=config.width, dilated=config.dilated
        )
        classes = len(CLASS_NAMES)
        self.dropout = nn.Dropout2d(config.dropout)  # leaves out whole maps, hence whole entries of the pooled vector
        self.to_class_maps = nn.Conv2d(channels, classes, kernel_size=1) if config.head == "class_maps" else nn.Identity()
        pooled = classes if config.head == "class_maps" else channels
        self.linear = nn.Conv2d(pooled, classes, kernel_size=1, bias=False)
        nn.init.normal_(self.linear.weight, std=pooled**-0.5 if config.head == "class_maps" else 0.01)
        self.places: PlaceAttention | None = None
        if config.pooling == "attention":
            early = count_tapped_maps(self.features, config.backbone, config.attention.stride)
            self.places = PlaceAttention(early, classes, config.attention, config.dropout)
        mean, std = backbone.mean, backbone.std
        if config.published_scale and backbone.published_scale is not None:
            mean, std = backbone.published_scale
        self.register_buffer("mean_1311", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std_1311", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, x_B1HW: torch.Tensor) -> CamOutput:
        """Score a batch of grey images in [0, 1], shape (B, 1, H, W)."""
        scaled_B3HW = (x_B1HW.expand(-1, 3, -1, -1) - self.mean_1311) / self.std_1311
        if self.places is not None:
            return self._attended(self.places, scaled_B3HW)
        maps_BKhw = self.features(scaled_B3HW)
        cam_BChw = self._class_maps(maps_BKhw)
        return CamOutput(logits_BC=cam_BChw.mean(dim=(2, 3)), cam_BChw=cam_BChw, features_BK=_mean(maps_BKhw))

    def _attended(self, attention: PlaceAttention, scaled_B3HW: torch.Tensor) -> CamOutput:
        early_BJhw, maps_BKhw = self.features.tapped(scaled_B3HW, self.config.attention.stride)  # type: ignore[operator]
        places = attention(early_BJhw)
        deep_BChw = self._class_maps(maps_BKhw)

        where_B1hw = functional.adaptive_avg_pool2d(places.attention_B1hw.detach(), (deep_BChw.shape[2], deep_BChw.shape[3]))
        where_B1hw = where_B1hw / where_B1hw.sum(dim=(2, 3), keepdim=True)
        attended_BC = (where_B1hw * deep_BChw).sum(dim=(2, 3))
        mix = torch.rand(len(deep_BChw), 1, device=deep_BChw.device) if self.training else self.config.attention.mix
        logits_BC = (1 - mix) * deep_BChw.mean(dim=(2, 3)) + mix * attended_BC
        own = self.config.attention.own_share
        if own and not self.training:
            logits_BC = (logits_BC + own * places.scores_BC) / (1 + own)

        return CamOutput(
            logits_BC=logits_BC,
            cam_BChw=places.attention_B1hw.expand(-1, deep_BChw.shape[1], -1, -1),
            features_BK=_mean(maps_BKhw),
            auxiliary_BC=places.scores_BC if self.training else None,
        )

    def _class_maps(self, maps_BKhw: torch.Tensor) -> torch.Tensor:
        cam_BChw: torch.Tensor = self.linear(self.to_class_maps(self.dropout(maps_BKhw))).float()
        return cam_BChw


def _mean(maps_BKhw: torch.Tensor) -> torch.Tensor:
    return maps_BKhw.mean(dim=(2, 3), dtype=torch.float32)


def scale_to_unit(images_BHW: torch.Tensor) -> torch.Tensor:
    """uint8 images (B, H, W) -> float32 (B, 1, H, W), each divided by its own maximum (the paper's normalisation)."""
    images_B1HW = images_BHW.unsqueeze(1).float()
    return images_B1HW / images_B1HW.amax(dim=(2, 3), keepdim=True).clamp_min(1.0)
