"""What each stage holds on the card, moment by moment, under the means that were taken.

A stage is a list of moments that follow one another; what it needs is what its largest moment needs. Trained weights
are kept in float32 with their gradient and AdamW's two averages, 16 bytes each: in less, updates round away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dreamcraft3d.kernels.hashgrid import HashGridSpec
from dreamcraft3d.pipeline.config import Preset, StageName
from dreamcraft3d.plan.activations import mesh_bytes, pass_bytes, tetrahedra_bytes, volume_bytes
from dreamcraft3d.plan.models import MARIGOLD, VAE, VAE_CHANNELS, Anatomy, anatomy
from dreamcraft3d.plan.weights import lora_parameters, parameters
from dreamcraft3d.priors.memory import LORA_RANK, Means

TRAINED = 16
"""Bytes of a trained weight: itself, its gradient, AdamW's two averages."""

FACES = 28
"""Faces of a surface for each square of the grid's cells along a side: of a sphere that fills the grid, counted."""


@dataclass
class Moment:
    """One point of a stage: what is on the card then, in bytes."""

    name: str
    items: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.items.values())


def moments(stage: StageName, preset: Preset, means: Means) -> list[Moment]:
    """What a stage holds at each of its moments."""
    return _STAGES[stage](preset, means)


def _width(means: Means) -> int:
    return 2 if means.half else 4


def _words(model: Anatomy, means: Means) -> list[Moment]:
    """The text encoder alone: its embeddings are kept, it goes before anything else comes."""
    if means.words_elsewhere or not model.words:
        return []
    return [Moment("words", {"text encoder": _width(means) * parameters(model.words)})]


def _reference(preset: Preset, means: Means) -> list[Moment]:
    width, drawing = _width(means), anatomy(preset.priors.texture)
    found = _words(drawing, means)
    for name, model in (("drawing", drawing), ("depth, then normals", MARIGOLD)):
        decode = pass_bytes("vae-decoder", "infer", VAE_CHANNELS, model.size // 8, 1, means.half)
        activations = max(model.unet_pass("infer", 2, means.half), decode, model.encoder_pass("infer", 1, means.half))
        weights = {"UNet": model.unet_bytes(width), "autoencoder": width * parameters(VAE)}
        found.append(Moment(name, weights | {"activations": activations}))
    return found


def _coarse(preset: Preset, means: Means) -> list[Moment]:
    settings = preset.coarse
    views = 1 if means.one_view else settings.distillation.views + 1
    state = {"field, gradient, optimiser": TRAINED * _field_parameters(preset)}
    render = {"renders": volume_bytes(settings.picture, settings.samples, views)}
    flat = anatomy(preset.priors.flat)
    return [*_words(flat, means), *_hybrid(preset, means, settings.distillation.views, state | render)]


def _geometry(preset: Preset, means: Means) -> list[Moment]:
    settings = preset.geometry
    views = 1 if means.one_view else settings.distillation.views + 1
    cells, faces = settings.resolution, FACES * settings.resolution**2
    trained = 4 * 2 * cells**3 + 3 * settings.colour_resolution**3
    held = (12 * 4 + 14 * 2) * 8 * cells**3 + 2 * 12 * cells**3  # tetrahedra, edges and vertices of a cube
    state = {"tetrahedra": held, "shape and colours, gradient, optimiser": TRAINED * trained}
    render = {"renders": tetrahedra_bytes(cells) + mesh_bytes(settings.picture, faces, views)}
    return _hybrid(preset, means, settings.distillation.views, state | render)


def _hybrid(preset: Preset, means: Means, views: int, held: dict[str, int]) -> list[Moment]:
    """The two priors asked in turn while the stage's renders wait for their gradient."""
    width, asked = _width(means), 1 if means.one_view else views
    found = []
    priors = {"2D prior": anatomy(preset.priors.flat), "3D prior": anatomy(preset.priors.view)}
    seen = priors["3D prior"]
    if seen.eyes:
        found.append(Moment("the reference is looked at", {"image encoder": width * parameters(seen.eyes)}))
    for name, model in priors.items():
        here = {name: model} if means.offload else priors
        weights = {n: m.unet_bytes(width) + m.encoder_bytes(width) for n, m in here.items()}
        through = model.encoder_pass("checkpointed" if means.checkpointing else "through", asked, means.half)
        conditions = 4 if name == "2D prior" and preset.priors.perp_neg else 2  # none, the view's, and two avoided
        activations = through + model.unet_pass("infer", conditions * asked, means.half)
        found.append(Moment(f"{name} is asked", held | weights | {"activations": activations}))
    return found


def _texture(preset: Preset, means: Means) -> list[Moment]:
    settings, model, width = preset.texture, anatomy(preset.priors.texture), _width(means)
    views, half = (1 if means.one_view else settings.views), means.half
    batch = 1 if means.one_view else settings.dreambooth_batch
    restored = 1 if means.one_view or settings.restore_every else settings.restored_views
    train = "checkpointed" if means.checkpointing else "train"
    through = "checkpointed" if means.checkpointing else "through"
    scaled = views if settings.guidance_scale == 1 else 2 * views

    held = {"colours, gradient, optimiser": TRAINED * 3 * settings.colour_resolution**3}
    held["frozen UNet, autoencoder"] = model.unet_bytes(width) + width * parameters(VAE)
    ranks = {"follower": settings.lora_rank, "DreamBooth": settings.dreambooth_rank}
    for name in {"sds": (), "vsd": ("follower",), "bsd": ("follower", "DreamBooth")}[settings.method]:
        rank = ranks[name] or (LORA_RANK if means.lora else 0)
        if rank:
            held[f"{name} (LoRA), gradient, optimiser"] = TRAINED * lora_parameters(model.unet, rank)
        else:
            trained = TRAINED // 2 if settings.half else TRAINED
            held[f"{name}, gradient, optimiser"] = trained * parameters(model.unet)
    render = {"renders": mesh_bytes(settings.picture, preset.geometry.faces, views + 1)}

    def moment(name: str, activations: int, more: dict[str, int] | None = None) -> Moment:
        return Moment(name, held | (more or {}) | {"activations": activations})

    bootstrapping = [
        moment(
            "renders are restored",
            max(model.unet_pass("infer", 2 * restored, half), model.encoder_pass("infer", restored, half)),
        ),
        moment("DreamBooth learns", model.unet_pass(train, batch * (2 if settings.preserved else 1), half)),
    ]
    asked = {"sds": "2D prior is asked", "vsd": "2D prior and LoRA are asked", "bsd": "DreamBooth and LoRA are asked"}
    distilling = moment(
        asked[settings.method],
        model.encoder_pass(through, views, half) + model.unet_pass("infer", scaled, half),
        render,
    )
    following = moment("LoRA learns", model.unet_pass(train, views, half))
    return [
        *_words(model, means),
        *(bootstrapping if settings.method == "bsd" else []),
        distilling,
        *([] if settings.method == "sds" else [following]),
    ]


def _field_parameters(preset: Preset) -> int:
    """Numbers of the coarse stage's field; the networks beside a hash grid are small change."""
    if preset.coarse.encoding == "dense":
        return 4 * preset.coarse.resolution**3
    spec = HashGridSpec()
    return spec.rows * spec.features


_STAGES: dict[StageName, Callable[[Preset, Means], list[Moment]]] = {
    "reference": _reference,
    "coarse": _coarse,
    "geometry": _geometry,
    "texture": _texture,
}
