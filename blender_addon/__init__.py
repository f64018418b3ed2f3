# SPDX-License-Identifier: GPL-3.0-or-later
"""DreamCraft3D for Blender: register and unregister, nothing else.

Blender is imported only when it registers the add-on, so that ``core`` and ``link`` can be used without it.
"""


def register() -> None:
    """Add classes and properties; the pump starts with Blender's next idle moment."""
    from . import registration

    registration.register()


def unregister() -> None:
    """Take all of it away again; a job that is running goes on in the backend."""
    from . import registration

    registration.unregister()
