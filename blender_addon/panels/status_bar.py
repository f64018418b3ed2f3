# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs, in Blender's status bar, so that it is seen with the sidebar closed."""

from .. import pump
from ..core.jobs import progress_of, title_of
from ..translations import said


def draw(self, context):
    """The running job's name, stage, share and time left; nothing while there is none."""
    job = pump.studio().jobs.running
    if job is None:
        return
    progress = progress_of(job)
    words = [f"{title_of(job)}: {said(progress.stage.text)}", progress.job.text, progress.eta]
    row = self.layout.row()
    row.ui_units_x = 22
    row.progress(factor=progress.job.factor, text=", ".join(said(word) for word in words if word), translate=False)
