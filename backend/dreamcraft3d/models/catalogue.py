"""The catalogue of full-size models: typed data, read from ``catalogue.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from dreamcraft3d.errors import UserError

Role = Literal["flat", "view", "texture", "text-to-image", "matting", "depth", "normals", "caption"]


class Model(BaseModel):
    """One model.

    Attributes:
        name: what we call it.
        roles: what it can do for a run.
        repositories: on the hub; the first is asked first, the others are its mirrors.
        files: patterns of the files that are needed.
        gigabytes: their size together, in 1e9 bytes.
        licence: its short name.
        non_commercial: the licence forbids commercial use, and must be accepted before the download.
        gated: the hub wants an account that has accepted the licence.
        verified: whether all this was read on the model's own page.
        sha256: of single files whose checksum is published elsewhere than on the hub.
        sources: where each figure is from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    about: str
    repositories: Annotated[tuple[str, ...], Field(min_length=1)]
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    gigabytes: Annotated[float, Field(gt=0)]
    licence: str
    non_commercial: bool = False
    gated: bool = False
    verified: bool
    sha256: dict[str, str] = {}
    sources: Annotated[tuple[str, ...], Field(min_length=1)]


@cache
def catalogue() -> dict[str, Model]:
    """All models by name, in the order of ``catalogue.toml``."""
    text = resources.files("dreamcraft3d.models").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {name: Model.model_validate({**values, "name": name}) for name, values in tomllib.loads(text).items()}


def find_model(name: str) -> Model:
    """A model by name.

    Raises:
        UserError: there is none of that name.
    """
    models = catalogue()
    if name not in models:
        raise UserError(f'There is no model "{name}".', f"Models: {', '.join(models)}.")
    return models[name]
