"""Predictions from a bundle or a network; the one path that studies, the command line and serving share.

ONNX Runtime (since 1.29, on Linux too) reports names, graphs and hashes of models to its maker unless this variable is set
before it is loaded. What models see here is nobody's business; whoever wants the reports sets it to 0.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
