"""How the embedded priors were made, runnable end to end."""
