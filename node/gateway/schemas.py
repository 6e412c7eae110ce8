"""The documents that the gateway takes, as JSON Schema: what `node.client.request` judges.

They say no more than those refuse; much that those refuse cannot be said in a schema.
"""

from typing import Any, Final

from node.client.fhir import AXIS_MAX
from node.client.request import AMOUNT_MAX, FORMAT, LEGS, ORDINAL_MAX, PRESCRIPTION_FORMAT

Schema = dict[str, Any]
MAX_LOT: Final = 500  # claims in one request
_REFERENCE: Final[Schema] = {"type": "string", "pattern": "^[A-Z0-9-]{1,20}$"}
_DAY: Final[Schema] = {"type": "string", "format": "date"}
_CENTS: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": AMOUNT_MAX}
_CENTS_OR_NONE: Final[Schema] = {**_CENTS, "type": ["integer", "null"]}
_SECRET: Final[Schema] = {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"}
_CODE: Final[Schema] = {"type": ["string", "null"], "examples": ["VU2"]}


def _object(required: tuple[str, ...], properties: Schema, *, is_closed: bool = True) -> Schema:
    shown: Schema = {"type": "object", "required": list(required), "properties": properties}
    return shown | {"additionalProperties": False} if is_closed else shown


_LENS: Final = _object(
    ("product", "eye"),
    {
        "product": _object(
            ("coding",),
            {
                "coding": {
                    "type": "array",
                    "items": _object(("code",), {"code": {"type": "string"}}, is_closed=False),
                }
            },
            is_closed=False,
        ),
        "eye": {"enum": ["right", "left"]},
        "sphere": {"type": "number", "multipleOf": 0.25},
        "cylinder": {"type": "number", "multipleOf": 0.25},
        "axis": {"type": "integer", "minimum": -AXIS_MAX, "maximum": AXIS_MAX},
        "add": {"type": "number", "multipleOf": 0.25},
        "prism": {"type": "array", "items": {"type": "object"}, "maxItems": 2},
    },
    is_closed=False,
)
_RESOURCE: Final = _object(
    ("resourceType", "status", "dateWritten", "prescriber", "lensSpecification"),
    {
        "resourceType": {"const": "VisionPrescription"},
        "status": {"const": "active"},
        "dateWritten": {"type": "string"},
        "prescriber": {"type": "object", "description": "identifier.value: the RPPS number"},
        "lensSpecification": {"type": "array", "items": _LENS, "minItems": 1, "maxItems": 4},
    },
    is_closed=False,
)
_HANDED: Final = _object(
    ("format", "prescription"),
    {
        "format": {"const": PRESCRIPTION_FORMAT},
        "prescription": _RESOURCE,
        "reference": {"type": ["string", "null"], "pattern": "^[A-Z0-9-]{1,20}$"},
        "secret": _SECRET,
        "ordinal": {"type": "integer", "minimum": 0, "maximum": ORDINAL_MAX},
    },
)
RESOURCE: Final[Schema] = {"type": "object", "description": "a resource of FHIR R4 or R5"}
PRESCRIPTION: Final[Schema] = {"anyOf": [_RESOURCE, _HANDED]}
CLAIM: Final = _object(
    ("format", "claim"),
    {
        "format": {"const": FORMAT},
        "prescription": _RESOURCE,
        "prescription_reference": _REFERENCE,
        "secret": _SECRET,
        "authorisation_reference": {"type": ["string", "null"], "pattern": "^[A-Z0-9-]{1,20}$"},
        "claim": _object(
            ("reference", "payer", "leg", "codes", "amounts", "invoice_date"),
            {
                "reference": _REFERENCE,
                "payer": {"type": "string", "description": "its label, or its id"},
                "leg": {"enum": list(LEGS)},
                "codes": {
                    "type": "object",
                    "properties": {
                        "right": _CODE,
                        "left": _CODE,
                        "frame": _CODE,
                        "supplements": {"type": ["array", "null"], "items": {"type": "string"}},
                    },
                },
                "amounts": {
                    "type": "object",
                    "properties": {
                        "lenses": _CENTS,
                        "frame": {**_CENTS, "type": ["integer", "null"]},
                    },
                },
                "invoice_date": _DAY,
                "insured": {"type": ["string", "null"], "pattern": "^[A-Z0-9-]{1,20}$"},
                "authorisation": {"type": ["string", "null"], "pattern": "^[A-Z0-9-]{1,20}$"},
            },
        ),
    },
)
LOT: Final = _object(
    ("claims",),
    {
        "claims": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_LOT,
            "items": {"description": "a claim, as submitClaim takes it; judged by itself"},
        }
    },
)
