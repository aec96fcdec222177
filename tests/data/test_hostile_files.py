"""Whatever a stranger sends is decoded or refused with its reason, soon, and within the stated memory."""

import pytest
from hostile_inputs import HostileInput, hostile_inputs

from wsus.data.images import decode_image
from wsus.errors import ImageError


@pytest.mark.parametrize("sent", [one for one in hostile_inputs() if one.reason], ids=lambda sent: sent.name)
def test_refused_with_its_reason(sent: HostileInput) -> None:
    with pytest.raises(ImageError, match="x: ") as refused:
        decode_image(sent.content, name="x")
    assert refused.value.reason is sent.reason


@pytest.mark.parametrize("sent", [one for one in hostile_inputs() if not one.reason], ids=lambda sent: sent.name)
def test_decoded_however_strange(sent: HostileInput) -> None:
    grey_HW = decode_image(sent.content, name="x").grey_HW
    assert grey_HW.min() < grey_HW.max()
