"""How the Blender add-on and the backend talk: messages, arrays, keys, and a client. Knows neither torch nor bpy."""

VERSION = (3, 1)
"""(major, minor) of the protocol. Another major is refused; a higher minor may add fields that a lower one ignores."""
