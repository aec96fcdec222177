"""The service that one writes first: FastAPI, eager torch, pytorch-grad-cam. `../serving.py` measures ours beside it."""

from __future__ import annotations

import io
import threading

import numpy as np
import torch
from fastapi import FastAPI, UploadFile
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchvision.models import resnet34

app = FastAPI()
net = resnet34(weights=None, num_classes=2).eval()
one_at_a_time = threading.Lock()  # GradCAM keeps the last pass on itself
cam = GradCAM(model=net, target_layers=[net.layer4[-1]])


@app.get("/")
def ready() -> dict[str, bool]:
    return {"ready": True}


@app.post("/predict")
def predict(image: UploadFile) -> dict[str, object]:
    """POM, and the box of where the map reaches 0.3."""
    picture = Image.open(io.BytesIO(image.file.read())).convert("RGB")
    scaled = np.asarray(picture.resize((224, 224)), dtype=np.float32) / 255
    batch = torch.from_numpy(scaled).permute(2, 0, 1)[None]
    with one_at_a_time:
        map_hw = cam(input_tensor=batch, targets=[ClassifierOutputTarget(1)])[0]
        pom = float(torch.softmax(cam.outputs, dim=1)[0, 1])
    ys, xs = np.nonzero(map_hw >= 0.3)
    box = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1] if len(xs) else None
    return {"pom": pom, "box": box}
