# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to jobs, previews and the connection; knows nothing of Blender."""
