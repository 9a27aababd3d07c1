"""The interface described for programs: an OpenAPI 3.1 document, written by hand and held by a test."""

from __future__ import annotations

from typing import Any


def document() -> dict[str, Any]:
    """The OpenAPI document of the service."""
    from agegender import __version__

    return {
        "openapi": "3.1.0",
        "info": {
            "title": "agegender",
            "version": __version__,
            "description": "How old a face looks, and which gender it is perceived as.",
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Predictions": _object(
                    model={"type": "string"}, images={"type": "array", "items": _ref("Image")}
                ),
                "Image": _object(
                    path={"type": "string", "description": "the file's name in the form, else empty"},
                    width=_nullable("integer"),
                    height=_nullable("integer"),
                    error=_nullable("string"),
                    faces={"type": "array", "items": _ref("Face")},
                ),
                "Face": _object(
                    box=_numbers(4) | {"description": "x1, y1, x2, y2 in pixels of the upright photo"},
                    confidence={"type": "number", "minimum": 0, "maximum": 1},
                    age=_nullable("number") | {"description": "years"},
                    age_interval={"oneOf": [_numbers(2), {"type": "null"}]},
                    gender={"enum": ["female", "male", None]},
                    gender_probability=_nullable("number") | {"minimum": 0.5, "maximum": 1},
                    warnings={"type": "array", "items": {"type": "string"}},
                ),
                "Error": _object(error={"type": "string"}, kind={"type": "string"}),
            },
        },
        "security": [{}, {"token": []}],
        "paths": {
            "/v1/predict": {
                "post": {
                    "summary": "Predict every face of one photo, or of several",
                    "parameters": [
                        _option("chips", {"type": "boolean"}, "each photo is a face chip: detect nothing"),
                        _option(
                            "min_confidence",
                            {"type": "number", "minimum": 0, "maximum": 1},
                            "leave out faces the detector is less sure of",
                        ),
                        _option(
                            "min_face",
                            {"type": "number", "minimum": 0},
                            "leave out faces under so many pixels",
                        ),
                    ],
                    "requestBody": {
                        "required": True,
                        "content": {
                            "multipart/form-data": {
                                "schema": {
                                    "type": "object",
                                    "properties": {"file": {"type": "array", "items": {"format": "binary"}}},
                                }
                            },
                            "image/*": {"schema": {"format": "binary"}},
                            "application/octet-stream": {"schema": {"format": "binary"}},
                        },
                    },
                    "responses": {
                        "200": _answer("the JSON of predict --json", "Predictions"),
                        "401": _answer("a token is needed", "Error"),
                        "403": _answer("without a token, only this machine is answered", "Error"),
                        "413": _answer("the photo has too many bytes or pixels", "Error"),
                        "415": _answer("not a picture in a known format", "Error"),
                        "422": _answer("the photo is damaged, or an option makes no sense", "Error"),
                        "500": _answer("a fault of the service", "Error"),
                        "503": _answer("too many requests at a time", "Error")
                        | {"headers": {"Retry-After": {"schema": {"type": "integer"}}}},
                    },
                }
            },
            "/v1/models": {
                "get": {
                    "summary": "All models and how good they are, as models --json",
                    "responses": {"200": _plain({"type": "array", "items": {"type": "object"}})},
                }
            },
            "/v1/health": {
                "get": {
                    "summary": "Whether it is up, its model, and how many requests are here",
                    "responses": {
                        "200": _plain(
                            _object(
                                status={"const": "ok"},
                                model={"type": "string"},
                                requests={"type": "integer"},
                                queue={"type": "integer"},
                            )
                        )
                    },
                }
            },
        },
    }


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _nullable(kind: str) -> dict[str, Any]:
    return {"type": [kind, "null"]}


def _numbers(count: int) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "number"}, "minItems": count, "maxItems": count}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _option(name: str, schema: dict[str, Any], words: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": words, "schema": schema}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "it", "content": {"application/json": {"schema": schema}}}


def _answer(words: str, name: str) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": _ref(name)}}}
