"""Diffusion models as the rest of the house sees them: encode, predict noise, name a scheduler."""
