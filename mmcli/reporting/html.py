"""The report page: one file, no network, drawings and pictures inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import jinja2
from markupsafe import Markup
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
    """The template of that name, filled; in a page all values are escaped, in Markdown those that are marked `| md`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mmcli.reporting"),
        autoescape=not template.endswith(".md.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"shown": shown, "md": markdown.escaped, "code_block": markdown.code_block, "drawn": _drawn}
    environment.globals["chart_styles"] = Markup(svg.styles())
    return environment.get_template(template).render(values)


def _drawn(figure: Figure) -> Markup:
    """A drawing in the page: its own texts are escaped already."""
    return Markup(figure.inline())
