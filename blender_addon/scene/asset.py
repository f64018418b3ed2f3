# SPDX-License-Identifier: GPL-3.0-or-later
"""An object as an asset: its tags, its catalog, and the picture that it is found by."""

from __future__ import annotations

import bpy

from ..core.catalog import ensure_catalog, library_of, tags
from ..core.previews import Picture
from .icons import fill


def mark(made: bpy.types.Object, words: str, picture: Picture | None) -> str:
    """Mark an object as an asset, with a preview.

    Args:
        words: that it was made from; they become its tags and its description.
        picture: its preview, or None to have Blender render one.

    Returns:
        Why it is in no catalog although the file lies in an asset library, or empty.
    """
    made.asset_mark()
    asset = made.asset_data
    asset.description = words
    for tag in tags(words):
        asset.tags.new(tag, skip_if_exists=True)
    if picture is None:
        made.asset_generate_preview()
    else:
        fill(made.preview_ensure(), picture.pixels)
    library = library_of(bpy.data.filepath, [known.path for known in bpy.context.preferences.filepaths.asset_libraries])
    if library is not None:
        try:
            asset.catalog_id = ensure_catalog(library)
        except OSError as error:
            return f"The catalog could not be written: {error.strerror}."
    return ""
