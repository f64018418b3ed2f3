"""Matting: cutting the object out of a picture."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from dreamcraft3d.errors import UserError

NEAR_UNIFORM = 0.85
"""A studio background fills at least this share of the border; the object may touch the rest."""
UNIFORM = 5.0
"""CIELAB distance from a smooth background within which a border counts as uniform."""
COLOUR_STEP = 3.0
"""CIELAB distance below which a colour is the background's; grows with the background's noise."""
EDGE = 2
"""Pixels on either side of the cut whose coverage is estimated."""
GRABCUT_SIDE = 512


def cut_out(rgba: Tensor) -> Tensor:
    """Find the object and make the rest transparent.

    A picture that has transparency keeps it as it is. Otherwise, if the border is one colour or a smooth gradient, all
    that is like it and reaches the border is background, and so are large enclosed areas of exactly that colour (the
    inside of a handle). In any other picture, GrabCut (Rother et al., SIGGRAPH 2004) looks for what stands out in the
    middle. Small specks and holes are dropped. Along the cut, coverage is estimated from the colours on both sides, and
    colours are those of the object alone.

    Args:
        rgba: (H, W, 4) sRGB and straight alpha in [0, 1].

    Returns:
        (H, W, 4), transparent outside the object.

    Raises:
        UserError: no object stands out, or the picture is nothing but object.
    """
    alpha = rgba[..., 3]
    if alpha.min() < 1 - 2 / 255:
        if alpha.max() <= 0.5:
            raise _no_object()
        return rgba
    rgb = np.ascontiguousarray(rgba[..., :3].float().cpu().numpy())
    if min(rgb.shape[:2]) < 8:
        raise UserError("The picture is too small to find an object in.", "Give one of at least 128 pixels a side.")
    object_mask = _against_studio(rgb)
    if object_mask is None:
        object_mask = _by_grabcut(rgb)
    object_mask = _tidy(object_mask)
    if not 0.001 < object_mask.mean() < 0.97:
        raise _no_object()
    return torch.from_numpy(_soft_edge(rgb, object_mask)).to(rgba)


def _no_object() -> UserError:
    return UserError(
        "No object stands out in the picture.", "Give a picture of one object on a plain or transparent background."
    )


def _against_studio(rgb: np.ndarray) -> np.ndarray | None:
    """The object on a near-uniform background, None if there is no such background.

    The background is a quadratic polynomial of the place in CIELAB, fitted to the border by trimmed least squares.
    """
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    height, width = lab.shape[:2]
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).astype(np.float32)
    border = np.ones((height, width), dtype=bool)
    border[2:-2, 2:-2] = False
    samples, places = lab[border], terms[border]
    apart = np.linalg.norm(samples - np.median(samples, axis=0), axis=1)
    for _ in range(4):
        kept = apart <= np.quantile(apart, NEAR_UNIFORM)
        coefficients = np.linalg.lstsq(places[kept], samples[kept], rcond=None)[0]
        apart = np.linalg.norm(samples - places @ coefficients, axis=1)
    if np.quantile(apart, NEAR_UNIFORM) > UNIFORM:
        return None
    noise = float(np.median(apart))
    distance = np.linalg.norm(lab - terms @ coefficients, axis=-1)
    like, _ = ndimage.label(distance < COLOUR_STEP + 2 * noise)
    outside = np.isin(like, np.setdiff1d(like[border], 0))
    exact, count = ndimage.label(~outside & (distance < 1 + 2 * noise))
    areas = np.bincount(exact.ravel(), minlength=count + 1)
    openings = np.flatnonzero(areas > 0.005 * (~outside).sum())
    return ~(outside | (np.isin(exact, openings[openings > 0])))


def _by_grabcut(rgb: np.ndarray) -> np.ndarray:
    """What stands out inside a centred rectangle, found in a reduced picture."""
    height, width = rgb.shape[:2]
    scale = min(1.0, GRABCUT_SIDE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = (cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) * 255).round().astype(np.uint8)
    inset_x, inset_y = max(1, size[0] // 20), max(1, size[1] // 20)
    labels = np.zeros(small.shape[:2], dtype=np.uint8)
    rectangle = (inset_x, inset_y, size[0] - 2 * inset_x, size[1] - 2 * inset_y)
    cv2.setRNGSeed(0)
    cv2.grabCut(small, labels, rectangle, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_RECT)
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


def _tidy(mask: np.ndarray) -> np.ndarray:
    """Without components below a twentieth of the largest, and without holes below a two-hundredth of the object."""
    for value, share in ((True, 0.05), (False, 0.005)):
        labels, count = ndimage.label(mask == value)
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        areas[0] = 0
        whole = areas.max() if value else mask.sum()
        mask = np.where(np.isin(labels, np.flatnonzero((areas > 0) & (areas < share * whole))), not value, mask)
    return mask


def _soft_edge(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """RGBA with coverage and pure colours along the cut.

    A pixel's colour C lies between the nearest sure object colour F and the nearest sure background colour B:
    alpha = (C - B).(F - B) / |F - B|^2. Where F and B are alike, or far away because the object is thin, the cut is hard.
    """
    sure = ndimage.distance_transform_edt(mask) > EDGE
    sure_background = ndimage.distance_transform_edt(~mask) > EDGE
    to_object, nearest_object = ndimage.distance_transform_edt(~sure, return_indices=True)
    nearest_background = ndimage.distance_transform_edt(~sure_background, return_distances=False, return_indices=True)
    foreground, background = rgb[tuple(nearest_object)], rgb[tuple(nearest_background)]
    axis = foreground - background
    length = (axis * axis).sum(axis=-1)
    known = sure.any() and sure_background.any()
    band = ~sure & ~sure_background & (to_object <= 2 * EDGE + 1) & (length > 0.01) & known
    coverage = ((rgb - background) * axis).sum(axis=-1) / np.maximum(length, 1e-6)
    alpha = np.where(band, coverage.clip(0, 1), mask).astype(np.float32)
    colour = np.where((band & (alpha < 1))[..., None], foreground, rgb)
    return np.concatenate([colour, alpha[..., None]], axis=-1)
