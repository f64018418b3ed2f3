"""DreamCraft3D: a picture or a prompt becomes a textured 3D object."""

import logging

__version__ = "0.1.0"

# transformers advises to install torchvision; its picture processors run as well without, by Pillow
logging.getLogger("transformers.utils.import_utils").addFilter(lambda record: "torchvision" not in record.getMessage())
