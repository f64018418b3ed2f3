# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding, installing and starting the backend; knows nothing of Blender."""
