"""The description of the API, made of the types that its answers are encoded from."""

from importlib.metadata import version
from typing import Any

import msgspec

from freshflow.serving.responses import Health, Problem, Recommendations, Related

__all__ = ["MOST_ITEMS", "PATHS", "description"]

MOST_ITEMS = 200
PATHS: dict[str, tuple[str, str | None]] = {  # by path: what it answers, and whose id it takes
    "/recommendations/{user}": ("A user's latest list.", "user"),
    "/related/{item}": ("The items nearest to an item.", "item"),
    "/healthz": ("How far the inputs have been read, and how long ago the latest list was made.", None),
    "/metrics": ("The same and more for Prometheus.", None),
    "/openapi.json": ("This description.", None),
}
ANSWERS: dict[str, type] = {"/recommendations/{user}": Recommendations, "/related/{item}": Related, "/healthz": Health}
IDS = "Slashes and other characters as they are or percent-encoded; `?`, `#` and `%` always so."


def description() -> dict[str, Any]:
    """The OpenAPI document."""
    types = (Recommendations, Related, Health, Problem)
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FreshFlow",
            "version": version("freshflow"),
            "description": "The lists that a job publishes.",
        },
        "paths": {path: {"get": _get(path, *about)} for path, about in PATHS.items()},
        "components": {"schemas": components},
    }


def _get(path: str, summary: str, whose: str | None) -> dict[str, Any]:
    answer = {"type": "string"} if path == "/metrics" else {"type": "object"}
    if path in ANSWERS:
        answer = {"$ref": f"#/components/schemas/{ANSWERS[path].__name__}"}
    content = "text/plain" if path == "/metrics" else "application/json"
    responses = {"200": {"description": summary, "content": {content: {"schema": answer}}}}
    if whose is None:
        if path == "/healthz":
            responses["503"] = responses["200"] | {"description": "An input cannot be read, or the store not be used."}
        return {"summary": summary, "operationId": _operation(path), "responses": responses}
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses["400"] = {"description": "`k` is no number that is allowed.", "content": problem}
    responses["404"] = {"description": f"There is no list of this {whose}.", "content": problem}
    responses["503"] = {"description": "The store does not answer.", "content": problem}
    k = {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS}
    parameters = [
        {"name": whose, "in": "path", "required": True, "description": IDS, "schema": {"type": "string"}},
        {"name": "k", "in": "query", "description": "Items at most.", "schema": k},
    ]
    return {"summary": summary, "operationId": _operation(path), "parameters": parameters, "responses": responses}


def _operation(path: str) -> str:
    return path.split("/")[1].removesuffix(".json")
