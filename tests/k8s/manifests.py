"""Where the manifests lie, and what tests ask of them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
OVERLAYS = sorted(path.parent.relative_to(K8S / "overlays").as_posix() for path in K8S.glob("overlays/**/kustomization.yaml"))


def kubectl() -> str:
    """The kubectl beside this Python."""
    return str(Path(sys.executable).parent / "kubectl")


def strict(schema: Any) -> Any:
    """A CRD's schema as JSON Schema in which a field that is not named is an error."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: value for key, value in schema.items() if key not in ("properties", "items", "additionalProperties", "default")}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"], **({"pattern": schema["pattern"]} if "pattern" in schema else {})}
    if "properties" in schema:
        made["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        made["items"] = strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = strict(schema["additionalProperties"])
    elif "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    return made


def cel_rules(schema: Any) -> Iterator[str]:
    """The CEL expressions of a schema, wherever they stand."""
    if isinstance(schema, dict):
        yield from (rule["rule"] for rule in schema.get("x-kubernetes-validations", []))
        for value in schema.values():
            yield from cel_rules(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from cel_rules(value)


def one(documents: list[dict[str, Any]], kind: str, name: str | None = None) -> dict[str, Any]:
    """The one object of a kind (and name)."""
    (found,) = (d for d in documents if d["kind"] == kind and name in (None, d["metadata"]["name"]))
    return found
