"""``softlabel-train recipes``."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args, get_origin

import click
import yaml
from rich.table import Table

from softlabel_train.cli import show_tables
from softlabel_train.config import (
    Recipe,
    Section,
    load_recipe,
    recipe_arms,
    recipe_grids,
    recipe_names,
)


@click.command()
@click.argument("recipe", required=False)
@click.option("--keys", is_flag=True, help="List every key, its default and its meaning.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of YAML and tables.")
def recipes(recipe: str | None, keys: bool, as_json: bool) -> None:
    """List the recipes that are shipped, or show RECIPE as it is resolved."""
    if keys:
        rows = list(_keys(Recipe()))
        if as_json:
            click.echo(json.dumps([dict(zip(("key", "default", "about"), r, strict=True))
                                   for r in rows], indent=2))  # fmt: skip
            return
        table = Table("key", "default", "meaning")
        for key, default, about in rows:
            table.add_row(key, json.dumps(default), about)
        show_tables([table])
    elif recipe:
        values = load_recipe(recipe).model_dump(mode="json")
        click.echo(
            json.dumps(values, indent=2) if as_json
            else yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip()
        )  # fmt: skip
    elif as_json:
        found = {
            n: {"about": a, "arms": recipe_arms(n), "grids": recipe_grids(n)}
            for n, a in recipe_names().items()
        }
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        table = Table("recipe", "about", "arms", "grids")
        for name, about in recipe_names().items():
            table.add_row(name, about, " ".join(recipe_arms(name)), " ".join(recipe_grids(name)))
        show_tables([table])


def _keys(section: Section, prefix: str = "") -> list[tuple[str, object, str]]:
    rows: list[tuple[str, object, str]] = []
    values = section.model_dump(mode="json")
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            rows += _keys(value, f"{prefix}{name}.")
        else:
            about = info.description or ""
            if words := _words(info.annotation):
                about = f"{' | '.join(words)}{f': {about}' if about else ''}"
            rows.append((f"{prefix}{name}", values[name], about))
    return rows


def _words(annotation: Any) -> tuple[str, ...]:
    """The words that a key takes; none for a key that takes something else."""
    return get_args(annotation) if get_origin(annotation) is Literal else ()
