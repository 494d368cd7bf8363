"""``softlabel-train init``."""

from __future__ import annotations

from pathlib import Path

import click

from softlabel.console.display import progress
from softlabel.errors import UsageError
from softlabel.files.atomic import require_writable
from softlabel.generation import Settings, check_dataset
from softlabel.parallel import cpu_count
from softlabel.readers import READERS, list_dataset
from softlabel_train.checkpoint import publish
from softlabel_train.config import parse_override
from softlabel_train.fingerprint import PATCH_GB, fingerprint
from softlabel_train.init import recipe_text, superpixels_of


class _Init(click.Command):
    """Says how an option of a format is written here, where others have dashes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-").replace("-", "_")
            if name not in {option.name for r in READERS.values() for option in r.options}:
                raise
            ctx.fail(
                f"No such option {error.option_name!r}; options of the format are written without "
                f"dashes here: {name}=VALUE."
            )


@click.command(cls=_Init)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="The recipe.  [default: SOURCE's name.yaml]",
)
@click.option(
    "--format", "format_", default="auto", show_default=True,
    type=click.Choice(["auto", *READERS]), help="Format of SOURCE.",
)  # fmt: skip
@click.option(
    "--memory-gb", type=click.FloatRange(min=1), default=PATCH_GB, show_default=True,
    help="Memory of the device that trains: the size of the patches follows.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace a recipe that is there.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def init(
    source: Path,
    options: tuple[str, ...],
    out: Path | None,
    format_: str,
    memory_gb: float,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Write a recipe for the data set SOURCE, with comments, to be edited.

    OPTION=VALUE are options of the format, as `softlabel generate --help` lists them
    (images=img labels=mask). Every label map is read once: patches, voxels and split follow from
    their sizes, spacings and patients. Findings are those of `softlabel check`.
    """
    out = out or Path(f"{source.resolve().name}.yaml")
    if out.suffix not in (".yaml", ".yml"):
        raise UsageError(f"The recipe {out} must end in .yaml.")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} is there already; give another name, or --overwrite.")
    require_writable(out.parent)
    given = dict(parse_override(option) for option in options)
    dataset = list_dataset(source, format_, given)
    with progress(len(dataset.refs), "label maps", quiet) as advance:
        found = check_dataset(dataset, Settings(), jobs=cpu_count(), progress=lambda _: advance(""))
    facts = fingerprint(found)
    publish(out, recipe_text(out.stem, dataset, facts, memory_gb).encode())
    # the first look knew no size of superpixels; the second one reads nothing again
    for finding in check_dataset(dataset, superpixels_of(facts)).findings:
        click.echo(f"{finding.severity} [{finding.code}]: {finding.text}", err=True)
    click.echo(f"Written: {out}. Look at it, then: softlabel-train fit {out}")
