"""The report page: one file, no network, drawings and pictures inside."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from typing import Any

import jinja2
from markupsafe import Markup, escape
from PIL import Image

from mmcli.reporting import markdown, svg
from mmcli.reporting.metrics import shown
from mmcli.reporting.svg import Figure


def picture_of(image: Image.Image) -> str:
    """An image in memory as a data address."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def render(template: str, values: Mapping[str, Any]) -> str:
    """The template of that name, filled."""
    return environment(template).get_template(template).render(values)


def environment(template: str) -> jinja2.Environment:
    """For templates such as that one: in a page all values are escaped, in Markdown those that are marked `| md`."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("mmcli.reporting"),
        autoescape=not template.endswith(".md.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    made.filters |= {"shown": shown, "md": markdown.escaped, "code_block": markdown.code_block}
    made.filters |= {"drawn": _drawn, "breakable": _breakable}
    made.globals["chart_styles"] = Markup(svg.styles())
    return made


def _breakable(name: str) -> Markup:
    """A name that may go on in a new line after the marks within it."""
    return Markup(re.sub(r"(?<=\w)[_/.-]+(?=\w)", r"\g<0><wbr>", str(escape(name))))


def _drawn(figure: Figure) -> Markup:
    """A drawing in the page: its own texts are escaped already."""
    return Markup(figure.inline())
