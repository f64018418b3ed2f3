"""Named settings as TOML files: data, not code."""
