"""A command whose many options are listed under headings in its help."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

REST = "Other options"


class Grouped(click.Command):
    """A click command that takes `sections`: heading -> names of parameters, in that order."""

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write every section, and what no section names at the end."""
        rows = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and row is not None:
                rows[parameter.name] = row
        for heading, names in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([rows.pop(name) for name in names])
        with formatter.section(REST):
            formatter.write_dl(list(rows.values()))
