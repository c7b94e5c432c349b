"""OpenAPI description of the HTTP API, generated from the response types."""

from importlib.metadata import version
from typing import Any

import msgspec

from freshflow.serving.responses import Health, Problem, Recommendations, Related

MAX_LIST_ITEMS = 200
PATHS: dict[str, tuple[str, str | None]] = {  # by path: the summary, and the name of the id parameter
    "/recommendations/{user}": ("A user's latest list.", "user"),
    "/related/{item}": ("The items nearest to an item.", "item"),
    "/healthz": ("How far the inputs have been read, and how long ago the latest list was made.", None),
    "/metrics": ("The same and more for Prometheus.", None),
    "/openapi.json": ("This description.", None),
}
RESPONSE_TYPES: dict[str, type] = {
    "/recommendations/{user}": Recommendations,
    "/related/{item}": Related,
    "/healthz": Health,
}
ID_DESCRIPTION = "Slashes and other characters as they are or percent-encoded; `?`, `#` and `%` always so."


def build_openapi() -> dict[str, Any]:
    """Build the OpenAPI document."""
    types = (Recommendations, Related, Health, Problem)
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FreshFlow",
            "version": version("freshflow"),
            "description": "The lists that a job publishes.",
        },
        "paths": {path: {"get": _get_operation(path, *path_spec)} for path, path_spec in PATHS.items()},
        "components": {"schemas": components},
    }


def _get_operation(path: str, summary: str, id_name: str | None) -> dict[str, Any]:
    response_schema = {"type": "string"} if path == "/metrics" else {"type": "object"}
    if path in RESPONSE_TYPES:
        response_schema = {"$ref": f"#/components/schemas/{RESPONSE_TYPES[path].__name__}"}
    media_type = "text/plain" if path == "/metrics" else "application/json"
    responses = {"200": {"description": summary, "content": {media_type: {"schema": response_schema}}}}
    if id_name is None:
        if path == "/healthz":
            responses["503"] = responses["200"] | {"description": "An input cannot be read, or the store not be used."}
        return {"summary": summary, "operationId": _operation_id(path), "responses": responses}
    problem_content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses["400"] = {"description": "`k` is no number that is allowed.", "content": problem_content}
    responses["404"] = {"description": f"There is no list of this {id_name}.", "content": problem_content}
    responses["503"] = {"description": "The store does not answer.", "content": problem_content}
    k_schema = {"type": "integer", "minimum": 1, "maximum": MAX_LIST_ITEMS}
    parameters = [
        {"name": id_name, "in": "path", "required": True, "description": ID_DESCRIPTION, "schema": {"type": "string"}},
        {"name": "k", "in": "query", "description": "Items at most.", "schema": k_schema},
    ]
    return {"summary": summary, "operationId": _operation_id(path), "parameters": parameters, "responses": responses}


def _operation_id(path: str) -> str:
    return path.split("/")[1].removesuffix(".json")
