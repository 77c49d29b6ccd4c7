"""The types of the codec as JSON Schema (2020-12)."""

import inspect
import types
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
from msgspec import Meta, UnsetType

from gateway.wire.codec import to_camel

Schema = dict[str, Any]

_PRIMITIVES: Mapping[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    Any: {},
    object: {},
}
_LIMITS: Mapping[str, str | Mapping[str, str]] = {
    "ge": "minimum",
    "le": "maximum",
    "pattern": "pattern",
    "min_length": {"string": "minLength", "array": "minItems", "object": "minProperties"},
    "max_length": {"string": "maxLength", "array": "maxItems", "object": "maxProperties"},
    "description": "description",
}


class Schemas:
    """Collects schemas by name while it describes types."""

    def __init__(self) -> None:
        self.named: dict[str, Schema] = {}
        self._types: dict[str, type] = {}

    def of(self, kind: Any, *, taken: bool = False) -> Schema:
        """The schema of a type; ``taken``: as a request's body, in which unknown members are refused."""
        if kind in _PRIMITIVES:
            return dict(_PRIMITIVES[kind])
        if attrs.has(kind):
            return self._reference(kind, taken)
        origin, parts = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self._limited(self.of(parts[0], taken=taken), parts[1:])
        if origin is Literal:
            return {"type": "string", "enum": list(parts)}
        if origin in (Union, types.UnionType):
            return _any_of([self.of(part, taken=taken) for part in parts if part is not UnsetType])
        if origin in (list, tuple, Sequence):
            return {"type": "array", "items": self.of(parts[0], taken=taken)}
        if origin in (dict, Mapping):
            return {"type": "object", "additionalProperties": self.of(parts[1], taken=taken)}
        raise TypeError(f"{kind!r} has no schema; teach gateway/web/apidoc/schema.py its kind")

    def _reference(self, cls: type, taken: bool) -> Schema:
        name = cls.__name__
        if self._types.setdefault(name, cls) is not cls:
            raise TypeError(f"two types of the API are called {name}: {cls} and {self._types[name]}")
        if name not in self.named:
            self.named[name] = {}
            self.named[name] = self._object(cls, taken)
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, cls: type, taken: bool) -> Schema:
        hints = get_type_hints(cls, include_extras=True)
        fields = attrs.fields(cls)
        schema: Schema = {
            "type": "object",
            "description": text_of(cls),
            "properties": {to_camel(field.name): self.of(hints[field.name], taken=taken) for field in fields},
        }
        # A member with a default may be absent: from responses if it is UNSET, from bodies in any case.
        if required := [to_camel(field.name) for field in fields if field.default is attrs.NOTHING]:
            schema["required"] = required
        if taken:
            schema["additionalProperties"] = False
        return schema

    def _limited(self, schema: Schema, limits: tuple[Any, ...]) -> Schema:
        for limit in limits:
            if not isinstance(limit, Meta):
                continue
            for name, keyword in _LIMITS.items():
                value = getattr(limit, name)
                if value is not None:
                    schema[keyword if isinstance(keyword, str) else keyword[schema["type"]]] = value
            schema |= limit.extra_json_schema or {}
        return schema


def text_of(documented: Any) -> str:
    """Its docstring, one line per paragraph."""
    paragraphs = inspect.cleandoc(documented.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).replace("``", "`")


def _any_of(schemas: list[Schema]) -> Schema:
    if len(schemas) == 1:
        return schemas[0]
    null = {"type": "null"}
    others = [schema for schema in schemas if schema != null]
    if null in schemas and len(others) == 1 and isinstance(others[0].get("type"), str) and "enum" not in others[0]:
        return {**others[0], "type": [others[0]["type"], "null"]}
    return {"anyOf": schemas}
