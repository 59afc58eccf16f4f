"""What every part's options derive from, and how they are checked: frozen, keyword-only, unknown fields refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mmcli.errors import ConfigError, combine, unknown


class Config(BaseModel):
    """What every part's `Config` derives from: frozen, keyword-only, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


C = TypeVar("C", bound=Config)


def validate(config: type[C], values: Mapping[str, Any], where: str) -> C:
    """A config from plain values.

    Raises:
        ConfigError: naming `where`, the option, the value and what was expected.
    """
    try:
        return config.model_validate(dict(values))
    except ValidationError as error:
        raise combine([ConfigError(text) for text in explain(error, config, where)]) from None


def explain(error: ValidationError, config: type[Config], where: str) -> Iterator[str]:
    """One sentence for each thing that is wrong, with the nearest right name of an unknown option."""
    for problem in error.errors():
        option = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            yield unknown(f"option {where}.{option}:", option, config.model_fields).replace("option ", "", 1)
        else:
            reason = problem["msg"][:1].lower() + problem["msg"][1:]
            yield f"{where}{'.' if option else ''}{option} = {problem['input']!r}: {reason}."
