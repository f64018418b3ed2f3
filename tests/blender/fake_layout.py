"""A layout that draws nothing and checks everything: properties, operators, menus and icons must exist."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import bpy


def icons() -> set[str]:
    return set(bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items.keys())


class FakeLayout:
    """Takes the place of ``UILayout``; ``said`` is all text that would be seen, ``buttons`` all operators, ``icons`` all
    pictures."""

    def __init__(self, root: FakeLayout | None = None) -> None:
        self.__dict__["root"] = root or self
        if root is None:
            self.__dict__["said"] = []
            self.__dict__["buttons"] = []
            self.__dict__["icons"] = []
        known = bpy.types.UILayout.bl_rna
        self.__dict__["known"] = set(known.properties.keys()) | set(known.functions.keys())

    def __setattr__(self, name: str, value: Any) -> None:
        assert name in self.known, f"UILayout has no {name}"

    def __getattr__(self, name: str) -> Any:
        if name not in self.__dict__["known"]:
            raise AttributeError(name)
        return lambda *args, **kwargs: self._called(name, *args, **kwargs)

    def _called(self, name: str, *args: Any, **kwargs: Any) -> Any:
        function = bpy.types.UILayout.bl_rna.functions[name]
        for argument in kwargs:
            assert argument in function.parameters or argument in (
                "text",
                "text_ctxt",
                "translate",
                "icon",
                "icon_value",
            ), f"UILayout.{name} has no {argument}"
        if kwargs.get("icon"):
            assert kwargs["icon"] in icons(), kwargs["icon"]
        if kwargs.get("text"):
            self.root.said.append(kwargs["text"])
        if name in ("prop", "textbox"):
            data, attribute = args[:2]
            assert attribute in data.bl_rna.properties, attribute
        if name == "menu":
            assert hasattr(bpy.types, args[0]), args[0]
        if name == "template_icon":
            self.root.icons.append(kwargs["icon_value"])
        if name == "operator":
            return self._operator(args[0])
        if name == "panel":
            return FakeLayout(self.root), FakeLayout(self.root)  # open
        if name in ("row", "column", "box", "split", "grid_flow", "column_flow"):
            return FakeLayout(self.root)
        return None

    def _operator(self, idname: str) -> Any:
        module, name = idname.split(".")
        known = getattr(getattr(bpy.ops, module), name).get_rna_type()  # raises KeyError where there is none
        self.root.buttons.append(idname)
        return _Asked(set(known.properties.keys()))


class _Asked:
    """An operator's properties."""

    def __init__(self, known: set[str]) -> None:
        self.__dict__["known"] = known

    def __setattr__(self, name: str, value: Any) -> None:
        assert name in self.known, name


def draw_appended(function: Callable[[Any, Any], None]) -> FakeLayout:
    """What a function draws that was appended to one of Blender's own headers."""
    layout = FakeLayout()
    function(SimpleNamespace(layout=layout), bpy.context)
    return layout


def draw(panel: type, **fields: Any) -> FakeLayout:
    """What a panel, a menu or an operator's dialog draws now; ``fields`` are the operator's."""
    layout = FakeLayout()
    drawer = SimpleNamespace(layout=layout, **fields)
    if issubclass(panel, bpy.types.Operator):
        module, name = panel.bl_idname.split(".")
        drawer.bl_rna = getattr(getattr(bpy.ops, module), name).get_rna_type()
    for name, value in vars(panel).items():
        if callable(value) and not name.startswith("_") and name not in ("draw", "bl_rna"):
            setattr(drawer, name, value.__get__(drawer))
    panel.draw(drawer, bpy.context)
    return layout
