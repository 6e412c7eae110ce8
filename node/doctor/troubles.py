"""Why a peer is not linked: what the words of the last try mean, and what to do about it.

The words come from the system, from TLS and from `node.p2p`; what none of the patterns knows is
shown as it is.
"""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Reason:
    """What it means that a link is not there; `{label}` in the remedy stands for the peer."""

    cause: str
    what: str
    remedy: str


UNKNOWN: Final = Reason(
    "unlinked",
    "it is down, or cut off from here",
    "ask the operator of {label} whether its node runs, and what depoli doctor says there",
)
NO_ADDRESS: Final = Reason(
    "no-address",
    "no address is known for it here, and it does not call",
    "write the address of {label} into the table [peers] of config.toml, and restart; or see that "
    "its node runs and knows the address of this one",
)
_KNOWN: Final = (  # the first that fits counts
    (
        r"is of the chain|another chain",
        Reason(
            "other-chain",
            "it follows another chain",
            "compare the chain ids (depoli genesis show): whoever has the wrong genesis.json "
            "initialises a new folder with the right one",
        ),
    ),
    (
        r"another instance",
        Reason(
            "twin",
            "another node runs with the key of this one, and has the link",
            "stop one of the two at once: a container that was forgotten, a restored copy, a "
            "standby. Two that vote with one key are a fault that others can prove",
        ),
    ),
    (
        r"version \d+ of the protocol",
        Reason(
            "protocol",
            "it speaks another version of the protocol",
            "install the same version of depoli on both",
        ),
    ),
    (
        r"penalised|penalty",
        Reason(
            "penalty",
            "it is kept away for a while, because of what it sent",
            "read the reason, and the log of both nodes: a peer that sends what the protocol does "
            "not allow is damaged, or not the program that it should be",
        ),
    ),
    (
        r"accept our node key",
        Reason(
            "own-key-refused",
            "it does not accept the node key of this node",
            "compare the node key of this node (depoli keys show) with the registered one: either "
            "node.seed here is the wrong one, or {label} follows another genesis",
        ),
    ),
    (
        r"node key|certificate",
        Reason(
            "certificate",
            "it shows a node key that is not registered",
            "compare the node key of {label} (depoli keys show there) with the registered one: its "
            "node.seed is the wrong one, or its address in [peers] here leads to somebody else",
        ),
    ),
    (
        r"TLS|SSL",
        Reason(
            "tls",
            "what answers there is no node",
            "compare the address of {label} in [peers] of config.toml with its p2p.listen: "
            "another program listens there, or a proxy stands between",
        ),
    ),
    (
        r"refused",
        Reason(
            "refused",
            "its machine is up, but nothing listens there",
            "start the node of {label}; where it runs, compare its p2p.listen with its address in "
            "[peers] of config.toml here",
        ),
    ),
    (
        r"not known$|is no name|nodename|resolution|No address associated|has no address",
        Reason(
            "name",
            "the name of its machine is not found",
            "mend its address in [peers] of config.toml, or the DNS of this machine",
        ),
    ),
    (
        r"says nothing|timed out|timeout|unreachable|No route",
        Reason(
            "timeout",
            "nothing answers there",
            "see whether the machine of {label} is up, and that no firewall stands between; "
            "compare its address in [peers] of config.toml",
        ),
    ),
    (r"it has to dial", NO_ADDRESS),
)


def reason_of(trouble: str, address: str) -> Reason:
    """Return what the words of the last try to link a peer mean."""
    for pattern, reason in _KNOWN:
        if re.search(pattern, trouble, re.IGNORECASE):
            return reason
    return UNKNOWN if trouble or address else NO_ADDRESS
