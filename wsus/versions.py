"""Which software made a figure: Python's version and those of the packages that figures depend on."""

from __future__ import annotations

import platform
from importlib import metadata

PACKAGES = (
    *("wsus", "ray", "torch", "torchvision", "numpy", "pandas", "scipy"),
    *("scikit-learn", "pillow", "pyarrow", "safetensors"),
)


def own_versions() -> dict[str, str]:
    """Of this process; "missing" where a package is not installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found
