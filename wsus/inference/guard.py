"""A guard against images that the model has never seen the like of: how far an image lies from the training images.

Two distances are measured, because each sees what the other does not (benchmarks/guard.py):
  features  the network's own pooled maps F_k on a scale without units, asinh(10 F_k / mean |F_k|)
  texture   of the network's input, whatever the network makes of it: the median grey level, and the mean step between
            neighbouring pixels, down and across, at four resolutions, each an octave apart
Each is a Mahalanobis distance to the training images (Lee et al. 2018, there by class), with the covariance of
probabilistic principal components (Tipping & Bishop 1999), since there may be fewer images than features. Both are divided
by what 99 % of the development images stay below, the larger one is the score, and the threshold is again at 99 % of them.

What is kept is means and covariances, no image and no image's features. Works on numpy alone, so with every engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from wsus.errors import BundleError
from wsus.inference.engines.engine import Engine
from wsus.models.bundle import GUARD, Bundle
from wsus.models.card import GuardNote

SHARE = 0.99
FEWEST_TRAINING, FEWEST_DEVELOPMENT = 20, 10  # below, a covariance or a share of 99 % means nothing
_OCTAVES, _MOST_COMPONENTS, _IMAGES_PER_COMPONENT = 4, 64, 4
_LEAST_VARIANCE = 1e-3  # where the variables have 1: what never varied may vary a little
_MOST_IMAGES = 5000  # of the training images; more would not change 64 components
_TINY = 1e-3  # a step, as share of the image's maximum: keeps the logarithm of a flat image finite


class Images(Protocol):
    """Network inputs, uint8 (N, H, W): an array, or what reads one when it is sliced."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> NDArray[np.uint8]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Gaussian:
    """A normal distribution of D variables by R principal components and equal variance in all other directions.

    mean_D, scale_D: the variables are centred and divided by these first.  components_RD: orthonormal rows.
    """

    mean_D: NDArray[np.float32]
    scale_D: NDArray[np.float32]
    components_RD: NDArray[np.float32]
    variances_R: NDArray[np.float32]
    other_variance: float

    @classmethod
    def fit(cls, values_ND: NDArray[np.floating]) -> Gaussian:
        """The maximum-likelihood fit (Tipping & Bishop 1999, eq. 8), with one component per four images and at most 64."""
        values_ND = np.asarray(values_ND, dtype=np.float64)
        count, width = values_ND.shape
        mean_D = values_ND.mean(axis=0)
        spread_D = values_ND.std(axis=0)
        scale_D = np.maximum(spread_D, 0.05 * spread_D.mean() + 1e-6)  # a variable that never moves is not divided by nothing
        _, singular, rows = np.linalg.svd((values_ND - mean_D) / scale_D, full_matrices=False)
        kept = max(1, min(_MOST_COMPONENTS, count // _IMAGES_PER_COMPONENT, width - 1))
        variances = np.maximum(singular**2 / count, _LEAST_VARIANCE)
        rest = max(float((singular[kept:] ** 2).sum() / count / (width - kept)), _LEAST_VARIANCE)
        return cls(
            mean_D=mean_D.astype(np.float32),
            scale_D=scale_D.astype(np.float32),
            components_RD=rows[:kept].astype(np.float32),
            variances_R=variances[:kept].astype(np.float32),
            other_variance=rest,
        )

    def distances(self, values_BD: NDArray[np.floating]) -> NDArray[np.float64]:
        """Mahalanobis distance of each row, divided by the square root of D: about 1 for what it was fitted to."""
        centred_BD = (values_BD.astype(np.float64) - self.mean_D) / self.scale_D
        along_BR = centred_BD @ self.components_RD.T.astype(np.float64)
        beside_B = np.maximum((centred_BD**2).sum(axis=1) - (along_BR**2).sum(axis=1), 0.0)
        squared_B = (along_BR**2 / self.variances_R).sum(axis=1) + beside_B / self.other_variance
        return np.asarray(np.sqrt(squared_B / centred_BD.shape[1]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """feature_unit_K: mean |F_k|.  usual_features, usual_texture: distances that 99 % of development images stay within."""

    feature_unit_K: NDArray[np.float32]
    features: Gaussian
    texture: Gaussian
    usual_features: float
    usual_texture: float
    threshold: float

    def scores(self, inputs_BHW: NDArray[np.uint8], features_BK: NDArray[np.float32]) -> NDArray[np.float64]:
        """One score per image; above the threshold it is unlike the training images.

        Args:
            inputs_BHW: what the network saw, uint8.  features_BK: its pooled maps, `EngineOutput.features_BK`.
        Raises:
            BundleError: the guard belongs to a network with another number of maps.
        """
        if features_BK.shape[1] != len(self.feature_unit_K):
            raise BundleError(f"the guard is for {len(self.feature_unit_K)} features, the network has {features_BK.shape[1]}")
        by_features_B = self.features.distances(_unitless(features_BK, self.feature_unit_K)) / self.usual_features
        return np.maximum(by_features_B, self.texture.distances(texture_of(inputs_BHW)) / self.usual_texture)


def texture_of(inputs_BHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Median grey level and logarithms of the mean steps of each image, as shares of its maximum; shape (B, 9)."""
    highest_B = np.maximum(inputs_BHW.max(axis=(1, 2)), 1).astype(np.float32)
    columns = [np.array([_median_level(image_HW) for image_HW in inputs_BHW], dtype=np.float32) / highest_B]
    level_BHW = inputs_BHW / highest_B[:, None, None]
    for _ in range(_OCTAVES):
        columns += [np.log(np.abs(np.diff(level_BHW, axis=axis)).mean(axis=(1, 2)) + _TINY) for axis in (1, 2)]
        height, width = (side // 2 * 2 for side in level_BHW.shape[1:])
        even_BHW = level_BHW[:, :height, :width]
        level_BHW = (even_BHW[:, ::2, ::2] + even_BHW[:, 1::2, ::2] + even_BHW[:, ::2, 1::2] + even_BHW[:, 1::2, 1::2]) / 4
    return np.stack(columns, axis=1)


def _median_level(image_HW: NDArray[np.uint8]) -> int:
    """By counting: five times as fast as sorting."""
    return int(np.searchsorted(np.cumsum(np.bincount(image_HW.ravel(), minlength=256)), image_HW.size / 2))


def fit_guard(
    engine: Engine, training_NHW: Images, development_NHW: Images, *, batch_size: int = 32
) -> tuple[Guard, GuardNote] | None:
    """Fit a guard to what a network saw in training, and set its threshold by what it was chosen by.

    Args:
        training_NHW, development_NHW: network inputs, read a batch at a time; of training images 5,000 at most.
    Returns:
        the guard and what a card says of it; None where there are too few images for one.
    """
    if len(training_NHW) < FEWEST_TRAINING or len(development_NHW) < FEWEST_DEVELOPMENT:
        return None
    training_NHW = training_NHW[:: -(-len(training_NHW) // _MOST_IMAGES)]
    features_NK, texture_NT = _measure(engine, training_NHW, batch_size)
    unit_K = np.abs(features_NK).mean(axis=0)
    unit_K = np.maximum(unit_K, 0.01 * unit_K.mean() + 1e-9)  # a map that is never active is not divided by nothing
    features, texture = Gaussian.fit(_unitless(features_NK, unit_K)), Gaussian.fit(texture_NT)

    features_MK, texture_MT = _measure(engine, development_NHW, batch_size)
    by_features_M, by_texture_M = features.distances(_unitless(features_MK, unit_K)), texture.distances(texture_MT)
    usual_features, usual_texture = _usual(by_features_M), _usual(by_texture_M)
    guard = Guard(
        feature_unit_K=unit_K,
        features=features,
        texture=texture,
        usual_features=usual_features,
        usual_texture=usual_texture,
        threshold=_usual(np.maximum(by_features_M / usual_features, by_texture_M / usual_texture)),
    )
    note = GuardNote(
        threshold=guard.threshold, share=SHARE, training_images=len(training_NHW), development_images=len(development_NHW)
    )
    return guard, note


def dump_guard(guard: Guard) -> bytes:
    """The content of `guard.safetensors`; the threshold stands on the card."""
    tensors = {"feature_unit": guard.feature_unit_K, "usual": np.array([guard.usual_features, guard.usual_texture])}
    for name, gaussian in (("features", guard.features), ("texture", guard.texture)):
        tensors |= {
            f"{name}.mean": gaussian.mean_D,
            f"{name}.scale": gaussian.scale_D,
            f"{name}.components": gaussian.components_RD,
            f"{name}.variances": gaussian.variances_R,
            f"{name}.other_variance": np.array([gaussian.other_variance]),
        }
    return save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})


def read_guard(bundle: Bundle) -> Guard | None:
    """A bundle's guard, None where it has none. Raises BundleError where it is damaged."""
    if GUARD not in bundle.sums or bundle.card.guard is None:
        return None
    return parse_guard(bundle.read_bytes(GUARD), bundle.card.guard.threshold, bundle.folder / GUARD)


def parse_guard(content: bytes, threshold: float, path: Path) -> Guard:
    """The inverse of `dump_guard`; `path` stands in error messages. Raises BundleError."""
    try:
        tensors = load(content)
        usual_features, usual_texture = (float(value) for value in tensors["usual"])
        guard = Guard(
            feature_unit_K=tensors["feature_unit"],
            features=_gaussian(tensors, "features"),
            texture=_gaussian(tensors, "texture"),
            usual_features=usual_features,
            usual_texture=usual_texture,
            threshold=threshold,
        )
    except (SafetensorError, KeyError, ValueError) as error:
        raise BundleError(f"{path}: not a guard ({error}); publish the model again") from error
    if any(not np.isfinite(tensor).all() for tensor in tensors.values()):
        raise BundleError(f"{path}: the guard holds values that are not finite; publish the model again")
    return guard


def _gaussian(tensors: dict[str, NDArray[np.float32]], name: str) -> Gaussian:
    parts = (tensors[f"{name}.{part}"] for part in ("mean", "scale", "components", "variances"))
    mean_D, scale_D, components_RD, variances_R = parts
    if not mean_D.shape == scale_D.shape == components_RD.shape[1:] or components_RD.shape[:1] != variances_R.shape:
        raise ValueError(f"{name} has shapes {mean_D.shape}, {scale_D.shape}, {components_RD.shape}, {variances_R.shape}")
    (other_variance,) = tensors[f"{name}.other_variance"]
    return Gaussian(
        mean_D=mean_D,
        scale_D=scale_D,
        components_RD=components_RD,
        variances_R=variances_R,
        other_variance=float(other_variance),
    )


def _measure(engine: Engine, inputs_NHW: Images, batch_size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pooled features (N, K) and texture (N, 9) of network inputs, a batch at a time."""
    features, textures = [], []
    for start in range(0, len(inputs_NHW), batch_size):
        batch_BHW = np.ascontiguousarray(inputs_NHW[start : start + batch_size])
        features.append(engine.infer(batch_BHW).features_BK)
        textures.append(texture_of(batch_BHW))
    return np.concatenate(features), np.concatenate(textures)


def _unitless(features_BK: NDArray[np.float32], unit_K: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.arcsinh(10 * features_BK / unit_K)


def _usual(distances_M: NDArray[np.float64]) -> float:
    """The least distance that at least 99 % stay within."""
    return float(np.quantile(distances_M, SHARE, method="inverted_cdf"))
