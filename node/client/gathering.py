"""Claims that are put into a settlement as they are accepted, beside those that are in it."""

from collections.abc import Sequence

from node.client.errors import Refused
from node.client.records import SettlementRecord, Stage
from node.client.settling import Order, Settlements


class Gathering(Settlements):
    """A payer's settlements, filled over days and announced by a person."""

    async def gather(self, beneficiary: bytes, claims: Sequence[bytes]) -> SettlementRecord:
        """Put claims into the open settlement with a member, beside what is in it.

        It is begun where there is none, and left open: what is paid is for a person to announce.
        """
        order = Order(beneficiary, claims=tuple(claims), announce=False)
        found = self._unfinished(order) or self._begin(order)
        number, record = found
        if not await self._opened(number, record):
            return await self.gather(beneficiary, claims)
        await self._resend(number, record)
        if record.stage is Stage.CLOSED:
            return await self.gather(beneficiary, claims)
        if record.stage is not Stage.OPEN:
            raise Refused(
                "settlement",
                f"{record.id.hex()} is announced, and its statement was not written yet",
                hint="depoli settlement statement, then run the inbox again",
            )
        await self._fill(number, record, order, beside=True)
        return record
