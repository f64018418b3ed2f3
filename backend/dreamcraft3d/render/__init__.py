"""Cameras, the volume renderer, the rasterizer and shading."""
