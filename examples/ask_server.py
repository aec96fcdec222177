"""Ask a running server (`wsus serve`) about images: probability, box, and what it warns of.

python examples/ask_server.py http://127.0.0.1:8000 scan.png other.dcm --token wsus_...
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from serve_app.client import Client, cam_array
from wsus.errors import WsusError


def main() -> int:
    """One line for each image, and its warnings below."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", help="its address")
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--token", help="where the server asks for one")
    asked = parser.parse_args()
    try:
        with Client(asked.server, token=asked.token) as client:
            for path in asked.images:
                answer = client.predict(path, cam="array")
                y, x = divmod(int(cam_array(answer).argmax()), answer["image"]["width_px"])
                boxes = answer["localisation"]["boxes_xyxy_px"]
                print(
                    f"{path.name}: POM {answer['pom']:.3f}, {answer['label']}, box {boxes[0] if boxes else None}, peak {(x, y)}"
                )
                for warning in answer["warnings"]:
                    print(f"  {warning}")
    except (WsusError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
