# SPDX-License-Identifier: GPL-3.0-or-later
"""Generate: order an object, and make the place where it grows."""

from pathlib import Path

import bpy
import numpy as np

from dreamcraft3d_protocol.errors import ProtocolError

from .. import pump
from ..core.studio import Wish
from ..scene import target

MAX_PICTURE_BYTES = 64 << 20


class DREAMCRAFT3D_OT_generate(bpy.types.Operator):
    """Make an object from the prompt or the picture; it grows at the 3D cursor"""

    bl_idname = "dreamcraft3d.generate"
    bl_label = "Generate"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 (Blender wants a set)

    @classmethod
    def poll(cls, context):
        form = context.scene.dreamcraft3d
        if not form.prompt.strip() and not form.picture.strip():
            cls.poll_message_set("Type what to make, or choose a picture")
            return False
        session = pump.studio().session
        if session.status.phase in ("missing", "installing"):
            cls.poll_message_set("Install the backend first")
            return False
        if session.status.phase == "off" and not session.settings.autostart:
            cls.poll_message_set("Start the backend first")
            return False
        return True

    def execute(self, context):
        form = context.scene.dreamcraft3d
        wish = Wish(form.prompt.strip(), form.preset, form.seed, form.negative.strip())
        try:
            arrays = read_picture(form.picture)
            job = pump.studio().generate(wish, arrays)
        except (OSError, ProtocolError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        name = wish.name if wish.prompt else Path(bpy.path.abspath(form.picture)).stem[:48]
        target.make(context, job, name, form.size)
        return {"FINISHED"}


def read_picture(path: str) -> dict[str, np.ndarray]:
    """The bytes of a picture as the protocol sends them; nothing where no path is given.

    Raises:
        OSError: it cannot be read; ``str()`` is a sentence.
    """
    if not path.strip():
        return {}
    file = Path(bpy.path.abspath(path))
    if not file.is_file():
        raise OSError(f"There is no picture at {file}. Choose another, or clear the field.")
    if file.stat().st_size > MAX_PICTURE_BYTES:
        raise OSError(f"{file.name} is larger than {MAX_PICTURE_BYTES >> 20} MB. Choose a smaller picture.")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise OSError(f"{file} cannot be read: {error.strerror}.") from None
    if not content:
        raise OSError(f"{file.name} is empty. Choose another picture.")
    return {"picture": np.frombuffer(content, np.uint8)}


CLASSES = (DREAMCRAFT3D_OT_generate,)
