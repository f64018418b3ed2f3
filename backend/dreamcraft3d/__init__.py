"""DreamCraft3D: a picture or a prompt becomes a textured 3D object."""

__version__ = "0.1.0"
