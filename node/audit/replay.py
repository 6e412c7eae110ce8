"""Verify an export from genesis, executing everything again; stop at the first false fact.

Nothing in the export is believed: the genesis document is the auditor's own, and from it follow
the keys, the validators, the state and every header. Signatures are verified ahead by other cores.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.errors import Inadmissible
from contracts.execute import ChainState, Executed, execute
from contracts.genesis import Genesis, SignedGenesis, start
from ledger.block import MAX_BLOCK_BYTES, CommittedBlock, Outline
from ledger.certificate import CommitCertificate
from ledger.encoding import decode, encode
from ledger.errors import LedgerError, Malformed, Mismatch
from node.audit.errors import FalseFact
from node.audit.records import Records
from node.audit.report import Report
from node.audit.signatures import Ahead
from node.audit.state import Memory
