"""One HTML file: a template filled in, with a policy that lets no script run but its own."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from softlabel._version import __version__
from softlabel.errors import UsageError
from softlabel.files.atomic import publish, require_writable, sweep

OWN = "softlabel.reports"
GENERATOR = "softlabel report"
MARK = f'<meta name="generator" content="{GENERATOR} {__version__}">'
"""What a page begins with, and is known by: up to the version."""

HEAD_BYTES = 1024
"""Of a file, in which the mark is looked for."""

NOTICE = (
    "For research use. Soft values are pseudo-probabilities, made of label maps and their images; "
    "they are not calibrated to any grader."
)


def render_page(template: str, package: str = OWN, **content: Any) -> str:
    """Fill in a template.

    Parameters
    ----------
    template : str
        Its name, such as ``cache.html``.
    package : str
        Whose folder ``templates`` has it; it may extend and import those of this package.
    **content
        What it shows. Every text is escaped; ``data``, plain values for the page's script, becomes
        JSON that cannot leave its element.

    Returns
    -------
    str
        HTML that needs nothing from outside.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(OWN)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = _template_text("report.js"), _template_text("report.css")
    return environment.get_template(template).render(
        content,
        mark=MARK,
        policy=_policy(script),
        notice=NOTICE,
        version=__version__,
        script=script,
        style=style,
    )


def publish_page(path: Path, html: str) -> None:
    """Write a page so that it is complete or absent.

    Raises
    ------
    UsageError
        When the file is something else than a report, or cannot be written.
    """
    require_replaceable(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        publish(path, html.encode("utf-8", "replace"))
    except OSError as error:
        raise UsageError(
            f"The report {path} cannot be written ({error.strerror or error}); give a file in a "
            "folder that is writable and has space."
        ) from error


def require_replaceable(path: Path) -> None:
    """Refuse a path at which something lies that is no report, before the report is made.

    Raises
    ------
    UsageError
    """
    require_writable(path.parent)
    if not path.exists():
        return
    if path.is_file():
        with path.open("rb") as file:
            if MARK.rpartition(" ")[0].encode() in file.read(HEAD_BYTES):
                return
    raise UsageError(
        f"{path} exists and is no report of softlabel; give another file with -o, or remove it."
    )


def _policy(script: str) -> str:
    """Content security policy: images in the page itself, its style, its one script, no more."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _template_text(name: str) -> str:
    return (files(OWN) / "templates" / name).read_text(encoding="utf-8")
