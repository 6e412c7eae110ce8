"""What this node must know soon: the version of the rules that is scheduled, and who is ready.

A node that does not know the version in force at a height stops below it: it executes nothing, and
signs nothing, by rules that it does not have.
"""

from dataclasses import dataclass

from contracts import dispatch, versions
from contracts.execute import ChainState
from contracts.versions import Scheduled
from node.log import Log
from node.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Outlook:
    """The rules in force at the open height, and those that are to follow."""

    height: int  # that is open
    in_force: int
    scheduled: Scheduled | None  # and not yet in force
    known: tuple[int, ...]  # to this software, ascending
    ready: tuple[int, ...]  # what each validator of the next height signalled last, 0: nothing
    quorum: int  # of them

    @property
    def is_known(self) -> bool:
        """Whether this software knows what is to follow; true where nothing is."""
        return self.scheduled is None or self.scheduled.version in self.known

    @property
    def warning(self) -> str:
        """What must be done here before the next version comes into force, "" for nothing."""
        coming = self.scheduled
        if coming is None or self.is_known:
            return ""
        if coming.from_height is None:
            when = f"is scheduled for block {coming.not_before} or later"
        else:
            when = f"is in force from block {coming.from_height} on"
        known = ", ".join(map(str, self.known))
        return (
            f"version {coming.version} of the rules {when}, and this software knows {known}: this"
            f" node stops before it; install a release that knows version {coming.version}"
        )


class Lookout:
    """Looks at each height before it is opened."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._metrics, self._log = metrics, log
        self._warned = ""

    def look(self, state: ChainState) -> None:
        """Show which rules are to follow, and warn once; raise `UnknownVersion` for the next."""
        dispatch.require_known(state.state, state.header.height + 1)
        seen, gauges = outlook(state), self._metrics.versions
        coming = seen.scheduled
        gauges.in_force.set(seen.in_force)
        gauges.scheduled.set(0 if coming is None else coming.version)
        gauges.height.set(0 if coming is None else coming.from_height or coming.not_before)
        gauges.upgrade_needed.set(not seen.is_known)
        if seen.warning not in {"", self._warned}:
            self._log.warning("upgrade needed", reason=seen.warning)
        self._warned = seen.warning


def outlook(state: ChainState) -> Outlook:
    """Return what stands in the state after the last block."""
    height, agenda = state.header.height + 1, versions.agenda(state.state)
    in_force = agenda.at(height)
    return Outlook(
        height=height,
        in_force=in_force,
        scheduled=agenda.scheduled if in_force == agenda.in_force else None,
        known=dispatch.known(),
        ready=versions.readiness(state.state, state.next_validators),
        quorum=state.next_validators.quorum,
    )
