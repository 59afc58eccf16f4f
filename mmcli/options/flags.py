"""How an option is declared: a field of a frozen dataclass, `Annotated[type, Flag(...)] = default`; and how it is gathered.

The dataclass is what the stage is given; the command line reads the flags off it, and so do help, completion and the docs.
A field may also be a whole group of flags: `Annotated[type, Group(Class)]`, or plainly another such dataclass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from mmcli.errors import ConfigError, unknown

T = TypeVar("T")


@dataclass(frozen=True)
class Flag:
    """What a person types for a field; without a name it is given by its place."""

    name: str
    help: str
    short: str = ""
    metavar: str | None = None
    panel: str | None = None
    """The heading in help under which it stands."""
    envvar: str | None = None
    min: float | None = None
    max: float | None = None
    parse: Callable[[Any], Any] | None = None
    """From the text, or the texts where there may be several, to the field's value; raises ConfigError that names the flag."""
    many: bool = False
    """With `parse`: whether it may be repeated. A tuple may be anyway."""
    shown: str | None = None
    """The default as a person would type it, where `parse` makes something else of it."""
    show_default: bool = True
    complete: str | tuple[str, ...] = ()
    """What to complete: the names themselves, or what they are names of."""
    after: str = ""
    """The field that it follows in help, where it is not the one declared before it."""
    eager: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class Group:
    """A field that several flags make: those of `flags`, handed to `make`."""

    flags: type
    make: Callable[[Any], Any] = lambda given: given


@dataclass(frozen=True)
class Option:
    """A field with its flag, as the command line needs it."""

    key: str
    """The field's name."""
    type: Any
    flag: Flag
    default: Any
    """MISSING where it must be given."""

    @property
    def many(self) -> bool:
        """Whether it may be repeated, or, given by its place, be several words."""
        return self.flag.many or (get_origin(self.type) is tuple and Ellipsis in get_args(self.type))


def one_of(flag: str, what: str, text: str, known: Iterable[str], meant: Mapping[str, str] | None = None) -> str:
    """The text itself.

    Args:
        meant: what other tools call it -> what it is called here.

    Raises:
        ConfigError: it is none of those known; naming the nearest, or what it is called here.
    """
    known = list(known)
    if text in known:
        return text
    here = (meant or {}).get(text.lower())
    if here is None:
        raise ConfigError(f"{flag} {text}: {unknown(what, text, known)}")
    raise ConfigError(f"{flag} {text}: unknown {what} {text!r}. Did you mean {here!r}?", f"Known: {', '.join(known)}.")


def options_of(cls: type) -> list[Option]:
    """Every option of a class and of its groups, in the order of help."""
    found: list[Option] = []
    for field, annotation, told in _declared(cls):
        if isinstance(told, Group):
            found += options_of(told.flags)
            continue
        option = Option(field.name, annotation, told, _default(field))
        places = [place for place, other in enumerate(found) if other.key == told.after]
        found.insert(places[0] + 1 if places else len(found), option)
    return found


def gather(cls: type[T], values: Mapping[str, Any]) -> T:
    """The class from what was typed, by the fields' names; what was not keeps its default.

    Raises:
        ConfigError: a text that its flag cannot take.
    """
    made: dict[str, Any] = {}
    declared: type = cls
    for field, _, told in _declared(declared):
        if isinstance(told, Group):
            made[field.name] = told.make(gather(told.flags, values))
            continue
        value = values.get(field.name)
        if value is None or value == []:
            continue
        if told.parse is not None:
            value = told.parse(value)
        made[field.name] = tuple(value) if isinstance(value, list) else value
    return cls(**made)


@cache
def _declared(cls: type) -> list[tuple[Field[Any], Any, Flag | Group]]:
    hints = get_type_hints(cls, include_extras=True)
    found: list[tuple[Field[Any], Any, Flag | Group]] = []
    for field in fields(cls):
        hint = hints[field.name]
        if get_origin(hint) is Annotated:
            annotation, told = get_args(hint)
            found.append((field, annotation, told))
        elif isinstance(hint, type) and is_dataclass(hint):
            found.append((field, hint, Group(hint)))
        else:
            raise TypeError(f"{cls.__module__}.{cls.__qualname__}.{field.name} has no flag")
    return found


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default
