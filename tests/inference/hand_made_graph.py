"""A graph with the interface of `model.onnx`, small enough to be worked by hand, and ways to spoil it."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS_2 = np.array([1.0, 3.0], dtype=np.float32)


def hand_made_graph(*, input_name: str = "images_BHW", input_type: int = TensorProto.UINT8, outside: str | None = None) -> bytes:
    """features = mean of the image (B, 1); cam_c = w_c * image; logits_c = w_c * mean, with w = (1, 3).

    outside: keep the weights in a file of this name instead.
    """
    weights = numpy_helper.from_array(WEIGHTS_2.reshape(1, 2, 1, 1), "w")
    if outside is not None:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        for key, value in (("location", outside), ("offset", "0"), ("length", "8")):
            weights.external_data.add(key=key, value=value)
    axes = numpy_helper.from_array(np.array([1]), "one")
    sides = numpy_helper.from_array(np.array([2, 3]), "sides")
    nodes = [
        helper.make_node("Cast", [input_name], ["float_BHW"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["float_BHW", "one"], ["x_B1HW"]),
        helper.make_node("Mul", ["x_B1HW", "w"], ["cam_BChw"]),
        helper.make_node("ReduceMean", ["cam_BChw", "sides"], ["logits_BC"], keepdims=0),
        helper.make_node("ReduceMean", ["x_B1HW", "sides"], ["features_BK"], keepdims=0),
    ]
    outputs = {"logits_BC": ["B", 2], "cam_BChw": ["B", 2, "H", "W"], "features_BK": ["B", 1]}
    graph = helper.make_graph(
        nodes,
        "hand-made",
        [helper.make_tensor_value_info(input_name, input_type, ["B", "H", "W"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [weights, axes, sides],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())
