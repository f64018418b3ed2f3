"""UV unwrapping, texture baking, file formats and the pictures people look at."""
