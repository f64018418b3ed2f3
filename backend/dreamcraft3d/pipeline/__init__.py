"""The four stages, and the driver that runs, checkpoints and resumes them."""
