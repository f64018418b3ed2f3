# SPDX-License-Identifier: GPL-3.0-or-later
"""The only code that writes objects, meshes, materials and images."""
