"""What a run is made of: typed settings, read from presets, kept whole in the run's folder."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from dreamcraft3d.errors import UserError

StageName = Literal["reference", "coarse", "geometry", "texture"]
EMBEDDED = "embedded"
STAGES: tuple[StageName, ...] = ("reference", "coarse", "geometry", "texture")
Range = tuple[float, float]
Weight = float | tuple[tuple[float, float], ...]
"""Of a loss: a number, or points (step of the stage, weight) with straight lines between them."""


def _none_or_odd(pixels: int) -> int:
    if pixels < 0 or (pixels and pixels % 2 == 0):
        raise ValueError("breadth is 0 or an odd number of pixels, with one in the middle")
    return pixels


Breadth = Annotated[int, AfterValidator(_none_or_odd)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PriorSettings(_Settings):
    """Which models guide a run: the embedded ones, or models of the catalogue by name.

    ``flat`` is the 2D prior of the shape, ``view`` the 3D one, ``texture`` the painter; ``picture`` draws the reference
    where there are only words. ``matting`` cuts it out, ``depth`` and ``normals`` tell its surface, ``caption`` its words.
    ``perp_neg``: whether the full-size 2D prior of the shape is pushed away from the views that are not seen (Perp-Neg).
    """

    flat: str = EMBEDDED
    view: str = EMBEDDED
    texture: str = EMBEDDED
    picture: str = EMBEDDED
    matting: str = EMBEDDED
    depth: str = EMBEDDED
    normals: str = EMBEDDED
    caption: str = EMBEDDED
    perp_neg: bool = True

    @property
    def full(self) -> bool:
        """Whether they are models of the catalogue."""
        return self.flat != EMBEDDED

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        chosen = [name == EMBEDDED for name in (self.flat, self.view, self.texture, self.picture)]
        if any(chosen) != all(chosen):
            raise ValueError("of flat, view, texture and picture, either all are embedded ones, or none")
        if (self.depth == EMBEDDED) != (self.normals == EMBEDDED):
            raise ValueError("either both depth and normals are estimated by the embedded model, or none")
        if not self.full and self.caption != EMBEDDED:
            raise ValueError("the embedded priors do not know the words of other captions")
        return self


class ReferenceSettings(_Settings):
    """From words to a picture: how many are drawn (the most typical is kept), and how.

    ``start`` is the noise level at which the sketch of the words is handed to the diffusion model; ``steps`` are those of
    the whole schedule. ``redrawn`` is for a given mesh, once it has the colours of such a picture: the noise level at
    which its front is drawn anew; 0 leaves it. ``rim``: how many pixels from its edge a drawn object is too vague to be
    relied upon (:func:`dreamcraft3d.picture.outline.firm`). ``surface``: how much depth and normals that are estimated of it
    count, 1 as those of a picture that was given.
    """

    candidates: int
    start: float
    steps: int
    guidance_scale: float
    redrawn: float
    rim: int
    surface: float


class Distillation(_Settings):
    """Hybrid score distillation: the weight of the 2D term, mu times which is the 3D term's, and the timesteps.

    Timesteps move from ``timesteps_start`` to ``timesteps_end`` (fractions of the schedule) over the first
    ``annealed_until`` of the stage; views open from the reference's to all over the first ``views_until``. The 3D term has
    the same timesteps, or a range ``view_timesteps`` of its own.
    """

    weight: float
    mu: float
    flat_scale: float
    view_scale: float
    views: int
    timesteps_start: Range
    timesteps_end: Range
    annealed_until: float
    views_until: float
    view_timesteps: Range | None = None


class ReferenceLosses(_Settings):
    """Weights of the losses at the reference view.

    Colours are compared by their squares inside the mask; or, where there is a ``rim`` of so many pixels to leave out, by
    their absolute differences inside of it.
    """

    rim: int = 0
    rgb: float
    mask: float
    depth: float
    normal: float


class CoarseSettings(_Settings):
    """The implicit surface: dense lattice or hash grid, first as a density (NeRF), then as a signed distance (NeuS).

    ``alternate``: whether steps that look at the reference take turns with steps that distil, or each step does both.
    ``sparsity`` to ``continuity`` weigh what keeps a shape sound (:mod:`dreamcraft3d.pipeline.regularisers`; ``sparsity``
    is of the entropy).
    """

    encoding: Literal["dense", "hash"]
    resolution: int
    picture: int
    samples: int
    density_steps: int
    sdf_steps: int
    sampled_views: int
    sampled_view_start: float
    sampled_view_steps: int
    sampled_view_scale: float
    fit_steps: int
    shape_rate: float
    sdf_rate: float
    sharpness_rate: float
    colour_rate: float
    smoothness: float
    colour_smoothness: float
    sparsity: Weight
    orientation: Weight = 0.0
    flatness: Weight = 0.0
    continuity: Weight = 0.0
    eikonal: float
    alternate: bool
    reference: ReferenceLosses
    distillation: Distillation


class GeometrySettings(_Settings):
    """DMTet: cells a side of its grid (``given_resolution`` around a mesh that was given, to keep its thin parts), nodes
    a side of its colours, how often the 2D prior sees normals, and how many faces the mesh may have in the end.

    ``alternate``: whether steps that show normals leave the reference alone. ``view_always``: whether the 3D prior is shown
    colours in those steps, too. Distillation from pictures leaves colours broader than ``breadth`` pixels as they are; 0
    leaves none.
    """

    resolution: int
    given_resolution: int
    faces: int
    colour_resolution: int
    picture: int
    steps: int
    shape_rate: float
    colour_rate: float
    normal_share: float
    alternate: bool
    view_always: bool
    consistency: Weight
    laplacian: float
    smoothness: float
    breadth: Breadth
    reference: ReferenceLosses
    distillation: Distillation


class TextureSettings(_Settings):
    """Bootstrapped score distillation: rounds of restoring, DreamBooth and distilling against a follower.

    Attributes:
        method: ``bsd``; or less of it: ``vsd`` distils from the frozen prior, without rounds and DreamBooth, ``sds`` also
            without the follower, each for ``distil_steps`` times the number of rounds.
        restore_levels: the noise levels t' of the rounds, one each.
        restored_views: renders that are restored at the beginning of a round; or, where ``restore_every`` is a number, one
            in so many of DreamBooth's steps, and this many are kept (:mod:`dreamcraft3d.pipeline.lessons`).
        dreambooth_rank, lora_rank: of the two models that learn; 0 trains all weights. LoRAs learn at ``lora_rate``, a whole
            DreamBooth at ``dreambooth_rate``.
        identifier: whether the DreamBooth's words name this one object, or are the prompt.
        preserved: of how many pictures of the object's class it is reminded (prior preservation).
        camera: whether both are told where renders are seen from.
        half: whether whole copies are trained in float16, where small updates round away.
        damping: the epsilon of their AdamW.
        timesteps_start, timesteps_end: timesteps move from one to the other through the stage.
        alternate: as in the coarse stage.
        breadth: distillation leaves colours broader than so many pixels as they are; 0 leaves none.
        settling: the share of the stage, at its end, over which ``colour_rate`` falls to nothing.
    """

    method: Literal["sds", "vsd", "bsd"] = "bsd"
    colour_resolution: int
    picture: int
    restore_levels: tuple[float, ...]
    restore_with: Literal["words", "reference"]
    restore_scale: float
    restored_views: int
    restore_steps: int
    restore_every: int = 0
    dreambooth_rank: int
    dreambooth_steps: int
    dreambooth_batch: int
    dreambooth_rate: float
    identifier: bool
    preserved: int = 0
    camera: bool
    distil_steps: int
    lora_rank: int
    lora_rate: float
    half: bool = False
    damping: float = 1e-8
    guidance_scale: float
    colour_rate: float
    weight: float
    smoothness: float
    breadth: Breadth
    settling: float = Field(0.0, ge=0, le=1)
    views: int
    timesteps_start: Range
    timesteps_end: Range
    alternate: bool
    reference: ReferenceLosses


class ExportSettings(_Settings):
    """Side of the baked texture, and of the contact sheet's pictures, in pixels."""

    texture: int
    sheet: int


class Preset(_Settings):
    """Everything that makes a run what it is, besides what was asked for."""

    name: str
    about: str
    half_extent: float
    priors: PriorSettings = PriorSettings()
    reference: ReferenceSettings
    coarse: CoarseSettings
    geometry: GeometrySettings
    texture: TextureSettings
    export: ExportSettings

    @model_validator(mode="after")
    def _priors_can_what_is_asked(self) -> Self:
        if self.priors.full and self.coarse.sampled_views:
            raise ValueError("only the embedded priors can draw sampled_views before the coarse stage")
        if self.priors.full and self.texture.restore_with == "reference":
            raise ValueError("only the embedded priors can restore renders with the reference")
        if self.texture.preserved and not self.priors.full:
            raise ValueError("only a full-size prior can be reminded of preserved pictures of the class")
        if self.texture.half and not self.priors.full:
            raise ValueError("only copies of a full-size prior can be trained in half precision")
        if self.texture.half and self.texture.damping < 1e-6:
            raise ValueError("half precision needs a damping of 1e-6 or more: less is nought there, and is divided by")
        return self


def preset_names(own: Path | None = None) -> list[str]:
    """The presets in the package, and those in a folder of one's own."""
    return sorted(_preset_files(own))


def load_preset(name: str, own: Path | None = None) -> Preset:
    """A preset by name; one that says ``base = "other"`` overrides that one's values.

    Args:
        name: its file's, less ``.toml``. The package's own come first.
        own: a folder with more of them; it need not exist.

    Raises:
        UserError: there is no such preset, or it does not read as one.
    """
    try:
        return Preset.model_validate({**_read(name, _preset_files(own), ()), "name": name})
    except ValidationError as error:
        raise UserError(
            f"The preset {name} has a mistake: {error.errors()[0]['msg']} at {error.errors()[0]['loc']}."
        ) from None


def _preset_files(own: Path | None) -> dict[str, Traversable | Path]:
    files: dict[str, Traversable | Path] = {} if own is None else {f.stem: f for f in own.glob("*.toml")}
    shipped = (f for f in resources.files("dreamcraft3d.presets").iterdir() if f.name.endswith(".toml"))
    return files | {f.name.removesuffix(".toml"): f for f in shipped}


def changed(preset: Preset, changes: dict[str, Any]) -> Preset:
    """The preset with other values, named as in its file: ``{"texture": {"method": "vsd"}}``.

    Raises:
        pydantic.ValidationError: they do not make a preset.
    """
    return Preset.model_validate(_merged(preset.model_dump(), changes))


def _read(name: str, files: dict[str, Traversable | Path], above: tuple[str, ...]) -> dict[str, object]:
    if name not in files:
        raise UserError(f'There is no preset "{name}".', f"Presets: {', '.join(sorted(files))}.")
    if name in above:
        raise UserError(f"The preset {name} is based on itself.", "Name another base in its file.")
    try:
        values = dict(_parsed(files[name].read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UserError(f"The preset {name} cannot be read: {error}.", "Mend its file, or delete it.") from None
    base = values.pop("base", None)
    return values if base is None else _merged(_read(str(base), files, (*above, name)), values)


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
