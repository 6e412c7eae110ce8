"""How many callers get as far as a TLS handshake, which costs a millisecond or two of this node.

So many a second from one host, so many in all. Links that are up are not concerned, and a node that
is kept out by a flood from its own host is still dialled by others.
"""

from collections import OrderedDict
from typing import Final

from node.budget import Budget

HOST_RATE: Final = 20.0  # handshakes a second
HOST_BURST: Final = 64.0  # nodes behind one address that all start
RATE: Final = 50.0
BURST: Final = 200.0
MAX_HOSTS: Final = 1024  # that are remembered, the latest


class Turnstile:
    """Lets callers in, at a bounded rate."""

    def __init__(self) -> None:
        self._all = Budget(RATE, BURST)
        self._hosts: OrderedDict[str, Budget] = OrderedDict()
        self.turned_away = 0

    def lets_in(self, host: str) -> bool:
        """Return whether a caller from `host` may shake hands, and count it."""
        own = self._hosts.pop(host, None) or Budget(HOST_RATE, HOST_BURST)
        self._hosts[host] = own
        if len(self._hosts) > MAX_HOSTS:
            self._hosts.popitem(last=False)
        if own.left < 1 or self._all.left < 1:
            self.turned_away += 1
            return False
        own.spend(1)
        self._all.spend(1)
        return True

    def give_back(self, host: str) -> None:
        """Learn that a caller from `host` was a peer: it does not count."""
        self._all.spend(-1)
        if (own := self._hosts.get(host)) is not None:
            own.spend(-1)
