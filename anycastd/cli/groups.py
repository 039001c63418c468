"""A group of verbs whose help tells what each does in a whole sentence: click's own cuts it where the line ends."""

from __future__ import annotations

import click

LONGEST = 300


class Group(click.Group):
    """A group that lists its verbs with their first sentences, wrapped."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        verbs = [(name, verb) for name, verb in found if verb is not None and not verb.hidden]
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.get_short_help_str(LONGEST)) for name, verb in verbs])
