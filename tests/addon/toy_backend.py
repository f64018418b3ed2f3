"""A wheel of a backend without anything in it, for installations that need no network."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

FILES = {
    "dreamcraft3d/__init__.py": '__version__ = "9.9"\n',
    "dreamcraft3d/cli.py": 'print("draft")\n',
    "dreamcraft3d-9.9.dist-info/METADATA": "Metadata-Version: 2.1\nName: dreamcraft3d\nVersion: 9.9\n",
    "dreamcraft3d-9.9.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}


def toy_wheel(folder: Path, version: str = "9.9") -> Path:
    """Written into ``folder``, which is made, in the place of another."""
    folder.mkdir(parents=True, exist_ok=True)
    for older in folder.glob("*.whl"):
        older.unlink()
    path = folder / f"dreamcraft3d-{version}-py3-none-any.whl"
    record = ""
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in ((n.replace("9.9", version), t.replace("9.9", version)) for n, t in FILES.items()):
            wheel.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text)}\n"
        wheel.writestr(f"dreamcraft3d-{version}.dist-info/RECORD", record)
    return path
