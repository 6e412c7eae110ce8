"""The OpenAPI 3.1 document of the gateway, made of the same table as its routes."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from node.gateway import shapes
from node.gateway.operations import Operation, Parameter

VERSION: Final = "3.1.0"
_PROBLEM: Final = "application/problem+json"
_SHAPES: Final = (
    shapes.Claim,
    shapes.Claims,
    shapes.Lot,
    shapes.Verdict,
    shapes.Prescription,
    shapes.Prescriptions,
    shapes.Disclosed,
    shapes.Disclosures,
    shapes.Status,
    shapes.Event,
    shapes.Problem,
)
_SAID: Final = {
    200: "It is so.",
    202: "Taken, and not decided yet: ask again.",
    400: "The request is malformed.",
    401: "A token that this gateway knows is needed.",
    403: "The token may not do this, or a page in a browser asked.",
    404: "There is no such thing here.",
    409: "The network refused it.",
    410: "The node keeps it no more.",
    413: "The body is too long.",
    415: "The body is of another media type.",
    422: "A rule refuses it; nothing was kept. `field` says where.",
    429: "Too many of these are open.",
    500: "The gateway failed; its log says why.",
    502: "What the node answered does not hold.",
    503: "The node does not answer, or another command writes to the vault: try again.",
    504: "Sent, and not decided in time: ask again.",
}
# What any operation may be refused by; and any with a body.
_ALWAYS: Final = (400, 401, 403, 500, 502, 503)
_WITH_BODY: Final = (413, 415)


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """Return the document; `version` is that of the software."""
    _, schemas = msgspec.json.schema_components(_SHAPES, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    return {
        "openapi": VERSION,
        "info": {
            "title": "Dépoli gateway",
            "version": version,
            "description": "What a shop does, for its software, on this machine alone.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(each: Operation) -> dict[str, Any]:
    summary, _, more = each.about.partition(". ")
    refusals = {*_ALWAYS, *each.refusals, *(_WITH_BODY if each.bodies else ())}
    shown: dict[str, Any] = {
        "operationId": each.name,
        "summary": summary.rstrip("."),
        "description": f"{more} The token needs the scope {each.scope}.".strip(),
        "parameters": [_parameter(parameter) for parameter in each.parameters],
        "responses": {
            **{str(status): _good(each, status) for status in each.statuses},
            **{str(status): _refusal(status) for status in sorted(refusals)},
        },
    }
    if each.bodies:
        content = {type_: {"schema": schema} for type_, schema in each.bodies.items()}
        shown["requestBody"] = {"required": True, "content": content}
    return shown


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.about,
        "schema": parameter.schema,
    }


def _good(each: Operation, status: int) -> dict[str, Any]:
    if isinstance(each.answer, str):
        content: dict[str, Any] = {each.answer: {}}
    else:
        schema = {"$ref": f"#/components/schemas/{each.answer.__name__}"}
        content = {"application/json": {"schema": schema}}
    return {"description": _SAID[status], "content": content}


def _refusal(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": _SAID[status], "content": {_PROBLEM: {"schema": schema}}}
