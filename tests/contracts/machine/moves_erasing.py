"""What members might do about what they disclosed to one another."""

from contracts.calls import (
    DisclosureAcknowledge,
    ErasureOutcome,
    ErasureRequest,
    ErasureStatement,
)
from contracts.erasure import State
from tests.contracts.machine.erasing import Erasing
from tests.contracts.machine.moves_paying import PayingMoves
from tests.contracts.machine.stage import Draw, Intent


class ErasingMoves(PayingMoves):
    """Makes calls about acknowledgements and erasures."""

    model: Erasing

    def _named(self, draw: Draw) -> tuple[bytes, bytes, bytes]:
        """Return who names whom, and a commitment."""
        sender, other = self.anyone(draw).id, self.anyone(draw).id
        known = [commitment for who, commitment in self.model.stands if who == sender]
        return sender, draw.value(other, sender, bytes(16)), draw.value(self.fresh(), *known)

    def disclosure_acknowledge(self, draw: Draw) -> Intent:
        sender, other, commitment = self._named(draw)
        return Intent(sender, DisclosureAcknowledge(other, commitment))

    def erasure_request(self, draw: Draw) -> Intent:
        sender, other, commitment = self._named(draw)
        return Intent(sender, ErasureRequest(other, commitment))

    def erasure_statement(self, draw: Draw) -> Intent:
        every = self.model.erasures
        id_ = draw.target(
            [id_ for id_, each in every.items() if each.state is not State.STATED],
            [*every, bytes(32)],
        )
        outcome = draw.one_of(tuple(ErasureOutcome))
        if id_ not in every:
            return Intent(self.anyone(draw).id, ErasureStatement(id_, outcome))
        if every[id_].state is State.HELD:
            outcome = draw.value(ErasureOutcome.ERASED, outcome)
        sender = self.someone(draw, every[id_].recipient)
        return Intent(sender, ErasureStatement(id_, outcome))
