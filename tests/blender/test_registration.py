"""What is left of the add-on after it was disabled: nothing; and its shortcuts, which are off."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import bpy
import pytest

Part = Callable[[str], ModuleType]


def traces() -> dict[str, Any]:
    """All that an add-on may hang on to Blender, by place."""
    handlers = {name: getattr(bpy.app.handlers, name) for name in dir(bpy.app.handlers)}
    keys = bpy.context.window_manager.keyconfigs.addon
    return {
        "types": {name for name in dir(bpy.types) if "dreamcraft" in name.lower()},
        "operators": dir(bpy.ops.dreamcraft3d),
        "properties": {
            (owner, name)
            for owner in ("Scene", "WindowManager", "Object", "Mesh", "Image", "Material", "ID", "WorkSpace", "Screen")
            for name in dir(getattr(bpy.types, owner))
        },
        "handlers": {name: [str(one) for one in held] for name, held in handlers.items() if isinstance(held, list)},
        "keys": [(kept.name, item.idname) for kept in keys.keymaps for item in kept.keymap_items],
        "drawn": {
            name: [str(one) for one in drawers]
            for name in dir(bpy.types)
            if (drawers := getattr(getattr(getattr(bpy.types, name), "draw", None), "_draw_funcs", None)) is not None
        },
    }


def test_disabled_twice_it_leaves_blender_as_it_was_without_it(blender: Any, installed: str, part: Part) -> None:
    tick, enabled = part("pump")._tick, traces()
    bpy.ops.preferences.addon_disable(module=installed)
    try:
        without = traces()
        assert not without["types"]
        assert not without["operators"]
        assert not [name for _, name in without["keys"] if "dreamcraft3d" in name]
        assert "dreamcraft3d" not in str(without["handlers"]) + str(without["drawn"])
        for _ in range(2):
            bpy.ops.preferences.addon_enable(module=installed)
            now = traces()
            assert {place: len(found) for place, found in now.items()} == {p: len(f) for p, f in enabled.items()}
            bpy.ops.preferences.addon_disable(module=installed)
            assert traces() == without
            assert not bpy.app.timers.is_registered(tick)
            bpy.app.translations.register(installed, {})  # raises where it is registered still
            bpy.app.translations.unregister(installed)
    finally:
        bpy.ops.preferences.addon_enable(module=installed)


def test_shortcuts_are_there_and_off(blender: Any, part: Part) -> None:
    keys = bpy.context.window_manager.keyconfigs.addon
    if keys is None:
        pytest.skip("this Blender has no keys")
    items = [item for item in keys.keymaps["3D View"].keymap_items if item.idname.startswith("dreamcraft3d.")]
    assert {item.idname for item in items} == {"dreamcraft3d.generate", "dreamcraft3d.cancel"}
    assert not any(item.active for item in items)


def test_cancel_without_a_job_means_the_one_in_sight_and_does_nothing_where_none_runs(blender: Any) -> None:
    assert bpy.ops.dreamcraft3d.cancel() == {"CANCELLED"}
