"""``softlabel info``: what a cache holds."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from softlabel.cache import open_cache
from softlabel.cache.describe import describe
from softlabel.cli.options import cache_argument, json_option, verbosity_options
from softlabel.console import drawing
from softlabel.console.display import percent, size
from softlabel.console.group import EXIT_FAILED, say
from softlabel.errors import plural
from softlabel.generation.settings import Settings, recorded_settings
from softlabel.preprocess import word_fields
from softlabel.raters import hard_label_rule

SHOWN_CASES, SHOWN_MISSING = 20, 5


@click.command()
@cache_argument
@click.option(
    "--complete",
    is_flag=True,
    help="Exit status 1 as well when the data set has cases that the cache has not.",
)
@json_option
@verbosity_options
def info(cache: Path, complete: bool, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Say what a cache holds: settings, classes, cases.

    -v lists every case, -q leaves the cases out. Exit status 1 when the file of a case is missing
    or damaged; the others are described.
    """
    with open_cache(cache) as opened:
        facts = describe(opened)
        recorded = recorded_settings(opened.header.settings)
        facts["settings"] |= recorded
        facts["raters"] = _raters(opened.raters)
        if facts["preprocessing"] is not None:
            settings = Settings(preprocess_options=recorded.get("preprocess_options", {}))
            facts["preprocessing"]["steps"] = [
                {"step": step.name, **vars(step.options)} for step in settings.preprocessing
            ]
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _print_facts(facts, verbose, quiet)
    if facts["problems"]:
        for problem in list(facts["problems"].values())[:SHOWN_CASES]:
            say(problem)
        count = plural(len(facts["problems"]), "case")
        click.echo(f"{count} could not be read (`softlabel verify` lists all).", err=True)
        sys.exit(EXIT_FAILED)
    if complete and facts["missing"] is None:
        click.echo(
            f"{cache} does not tell which cases its data set has; run `softlabel generate` again.",
            err=True,
        )
    if complete and facts["missing"] != []:
        sys.exit(EXIT_FAILED)


def _raters(raters: tuple[str, ...]) -> dict[str, Any] | None:
    """Whose label maps were combined, and whose is the hard one; None for a single annotator."""
    return {"names": list(raters), "hard_label": hard_label_rule(raters)} if raters else None


def _print_facts(facts: dict[str, Any], verbose: bool, quiet: bool) -> None:
    console = drawing.console(sys.stdout)
    _print_head(console, facts)
    console.print(_class_table(facts, with_cases=not quiet and len(facts["cases"]) > 1))
    if not quiet:
        console.print(_case_table(facts, len(facts["cases"]) if verbose else SHOWN_CASES))


def _print_head(console: drawing.TextConsole, facts: dict[str, Any]) -> None:
    settings = dict(facts["settings"])
    reader, options = settings.pop("format", "unknown"), settings.pop("format_options", {})
    steps = settings.pop("preprocess_options", {})
    lines = {
        "cache": f"{facts['path']} ({size(facts['bytes'])}), made by {facts['generator']}",
        "source": " ".join([reader, *(f"{k}={v}" for k, v in options.items() if v is not None)]),
        "cases": _cases_line(facts),
        "channels": ", ".join(facts["channels"]) or "unnamed",
        "settings": ", ".join(f"{k}={v}" for k, v in settings.items() if v is not None and v != {}),
        **_preset_lines(facts),
        **_preprocessing_lines(steps, facts["preprocessing"]),
        "ignored label": "none" if facts["ignore"] is None else str(facts["ignore"]),
    }
    if facts["raters"] is not None:
        lines["raters"] = ", ".join(facts["raters"]["names"])
        lines["hard label"] = facts["raters"]["hard_label"]
    for finding in facts["findings"]:
        lines[f"finding [{finding['code']}]"] = finding["text"]
    if facts["softened_share"] is not None:
        lines["softened"] = (
            f"{percent(facts['softened_share'])} of the known pixels, mean Σq "
            f"{facts['mean_soft_sum']:.4f}"
        )
    width = max(map(len, lines))
    for name, text in lines.items():
        console.print(f"{name:>{width}}  {text}")


def _cases_line(facts: dict[str, Any]) -> str:
    """How many cases there are, and which are missing."""
    count, missing = len(facts["cases"]), facts["missing"]
    groups = f"{len(facts['groups'])} groups"
    if not missing:
        return f"{count} of {groups}"
    named = ", ".join(missing[:SHOWN_MISSING]) + (", …" if len(missing) > SHOWN_MISSING else "")
    return f"{count} of {count + len(missing)} cases, {len(missing)} missing ({named}); {groups}"


def _preset_lines(facts: dict[str, Any]) -> dict[str, str]:
    """What a preset became, and in how many cases."""
    chosen = Counter(
        ", ".join(f"{name}={value}" for name, value in case["superpixel_settings"].items())
        for case in facts["cases"]
        if case["superpixel_settings"]
    )
    return {
        f"preset {facts['settings'].get('preset', '')}{f' ({number})' if number > 1 else ''}": (
            f"{plural(count, 'case')}: {text}"
        )
        for number, (text, count) in enumerate(chosen.most_common(), start=1)
    }


def _preset_cell(chosen: dict[str, Any]) -> str:
    """Size, compactness and sigma of a case."""
    short = {"superpixel_size": "size", "compactness": "compactness", "sigma": "sigma"}
    return ", ".join(f"{word} {chosen[name]:g}" for name, word in short.items() if name in chosen)


def _preprocessing_lines(steps: dict[str, Any], found: dict[str, Any] | None) -> dict[str, str]:
    """The steps before superpixels, what they saved, and what they noted."""
    if not steps:
        return {}
    words = word_fields()
    options = ", ".join(f"{name}={value}" for name, value in steps.items() if name not in words)
    told = ", ".join(f"{name} ({word})" for name, word in steps.items() if name in words)
    lines = {"preprocessing": f"{told}{f'; {options}' if options else ''}"}
    if found is not None:
        saved = found["saved_share"]
        lines["pixels"] = (
            f"{found['pixels_after']:,} of {found['pixels_before']:,}: {percent(abs(saved))} "
            f"{'saved' if saved >= 0 else 'more'}"
        )
        for note in found["notes"]:
            lines[f"note [{note['code']}]"] = f"{plural(note['cases'], 'case')}: {note['text']}"
    return lines


def _class_table(facts: dict[str, Any], with_cases: bool) -> Table:
    lowest = ["lowest in"] if with_cases else []
    table = Table("axis", "value", "class", "pixels", "share", "own q", *lowest)
    for position, row in enumerate(facts["classes"]):
        share = "–" if row["frequency"] is None else percent(row["frequency"])
        own, softest = row["own_class_q"], row["softest"]
        cells = ["–" if own is None else f"{own:.3f}"]
        if with_cases:
            cells += ["–" if own is None else f"{softest['case']}: {softest['own_class_q']:.3f}"]
        name, pixels = row["name"], f"{row['pixels']:,}"
        table.add_row(str(position), str(row["value"]), name, pixels, share, *cells)
    table.caption = "own q: mean soft label of a class in its own pixels"
    return table


def _case_table(facts: dict[str, Any], most: int) -> Table:
    preset = any(row["superpixel_settings"] for row in facts["cases"])
    table = Table(
        "case", "group", "shape", "spacing mm", "superpixels", "softened", "size",
        *(["by the preset"] if preset else []),
    )  # fmt: skip
    for row in facts["cases"][:most]:
        spacing = row["spacing_mm"]
        table.add_row(
            row["id"],
            row["group"],
            "×".join(map(str, row["shape"])),
            "–" if spacing is None else "×".join(f"{s:.4g}" for s in spacing),
            f"{row['superpixels']} of {row['superpixels_asked']}" if row["superpixels"] else "–",
            percent(row["softened_pixels"] / max(1, row["known_pixels"])),
            size(row["bytes"]),
            *([_preset_cell(row["superpixel_settings"])] if preset else []),
        )
    notes = []
    if any(row["superpixels"] for row in facts["cases"][:most]):
        notes.append("superpixels: made, of as many as were asked for")
    if len(facts["cases"]) > most:
        notes.append(f"and {len(facts['cases']) - most} more (-v lists them)")
    table.caption = "; ".join(notes)
    return table
