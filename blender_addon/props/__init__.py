# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist sets: the form in the sidebar, and the preferences."""
