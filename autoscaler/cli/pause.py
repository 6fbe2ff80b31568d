"""autoscaler pause"""

from __future__ import annotations

from typing import Annotated

import typer

from autoscaler.cli import live
from autoscaler.core.label_values import Mode
from autoscaler.core.override import MODE, parse_service, read_wanted


def pause(  # noqa: PLR0913 - the options of the command
    service: live.Service,
    *,
    scale_in: Annotated[
        bool, typer.Option("--in", help="Only scale-in: it may still grow, and shrink to max.")
    ] = False,
    scale_out: Annotated[
        bool, typer.Option("--out", help="Only scale-out: it may still shrink, and grow to min.")
    ] = False,
    time: live.For = "1h",
    reason: live.Reason = "",
    by: live.By = "",
) -> None:
    """Leave a service as it is for a while: nothing of it is started or stopped.

    It follows its backlog again by itself when the time is over, or after `autoscaler resume`.
    """
    mode = Mode.OFF
    if scale_in != scale_out:
        mode = Mode.PAUSE_IN if scale_in else Mode.PAUSE_OUT
    live.put(
        read_wanted(parse_service(service), {MODE: mode.value}, time, reason, by or live.user())
    )
