"""What a monitoring system reads: counts and levels, nothing of any claim."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from contracts.execute import Executed
from ledger.entry import APPLIED
from ledger.validators import ValidatorSet
from node.catchup import Progress
from node.joining import JoinProgress
from node.mempool import Mempool
from node.post.office import PostOffice

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Versions:
    """Which rules are in force, and which are to follow."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_force = Gauge(
            "depoli_version", "Version of the rules at the open height", registry=registry
        )
        self.scheduled = Gauge(
            "depoli_version_scheduled", "Version that is to follow, 0: none", registry=registry
        )
        self.height = Gauge(
            "depoli_version_height",
            "From where on it is in force, or may be announced, 0: none is to follow",
            registry=registry,
        )
        self.upgrade_needed = Gauge(
            "depoli_upgrade_needed",
            "1 while a version is to follow that this software does not know",
            registry=registry,
        )


class Snapshots:
    """How far the snapshots of this node are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.height = Gauge(
            "depoli_snapshot_height", "Height of the newest snapshot, 0: none", registry=registry
        )
        self.failures = Counter(
            "depoli_snapshot_failures", "Snapshots that were due and not made", registry=registry
        )


class Disk:
    """How much room there is, and whether what is there is whole."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.scrubbed_height = Gauge(
            "depoli_scrubbed_height",
            "Last block of the file of blocks that was checked last, for damage",
            registry=registry,
        )
        self.scrubbed_bytes = Counter(
            "depoli_scrubbed_bytes", "Of blocks that were checked for damage", registry=registry
        )
        self.first_body = Gauge(
            "depoli_first_body", "Lowest block whose contents are kept", registry=registry
        )
        self._damaged = Gauge(
            "depoli_blocks_damaged",
            "1 where a block on the disk is known to be damaged",
            registry=registry,
        )
        self._free = Gauge("depoli_disk_free_bytes", "On the disk of the data", registry=registry)
        self._least = Gauge(
            "depoli_disk_least_bytes",
            "With less free on the disk of the data the node is not ready",
            registry=registry,
        )

    def watch(
        self, free: Callable[[], int], least: Callable[[], int], damage: Callable[[], str]
    ) -> None:
        """Let the figures of the disk be asked for whenever somebody reads them."""
        self._free.set_function(free)
        self._least.set_function(least)
        self._damaged.set_function(lambda: bool(damage()))


class Reach:
    """Whether this node takes part, and how many validators it reaches."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ready = Gauge("depoli_ready", "1 while /readyz answers 200", registry=registry)
        self._validators = Gauge(
            "depoli_validators", "Validators of the open height", registry=registry
        )
        self._quorum = Gauge(
            "depoli_validators_quorum", "How many of them make a block", registry=registry
        )
        self._linked = Gauge(
            "depoli_validators_linked", "Those that are here or linked", registry=registry
        )

    def watch(
        self,
        ready: Callable[[], bool],
        validators: Callable[[], ValidatorSet],
        linked: Callable[[], int],
    ) -> None:
        """Let these figures be asked for whenever somebody reads them."""
        self._ready.set_function(ready)
        self._validators.set_function(lambda: len(validators()))
        self._quorum.set_function(lambda: validators().quorum)
        self._linked.set_function(linked)


class Evidence:
    """What validators are convicted by."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.found = Counter(
            "depoli_evidence", "Contradictions that were found", ["kind"], registry=registry
        )
        self.waiting = Gauge(
            "depoli_evidence_waiting", "Pieces of it that stand in no block yet", registry=registry
        )


class Joins:
    """How far a node that joins by a snapshot has come; all 0 where it does not."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.height = Gauge(
            "depoli_join_height", "Height of the snapshot that is fetched", registry=registry
        )
        self.chunks = Gauge("depoli_join_chunks", "Chunks that it has", registry=registry)
        self.here = Gauge("depoli_join_chunks_here", "Those that are here", registry=registry)
        self.bytes = Gauge("depoli_join_bytes", "What was fetched since start", registry=registry)


class Post:
    """What waits here of the post between members."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._waiting = Gauge("depoli_post_waiting", "Envelopes that wait here", registry=registry)
        self._bytes = Gauge("depoli_post_bytes", "What they weigh", registry=registry)
        self._most = Gauge("depoli_post_bytes_most", "What may wait here", registry=registry)
        self._oldest = Gauge(
            "depoli_post_oldest_seconds", "How long the first of them has waited", registry=registry
        )

    def watch(self, office: PostOffice, most: int) -> None:
        """Let these figures be asked for whenever somebody reads them."""
        self._waiting.set_function(lambda: office.waiting)
        self._bytes.set_function(lambda: office.weight)
        self._oldest.set_function(lambda: office.age_s)
        self._most.set(most)


class Metrics:
    """The figures of one node, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.height = Gauge("depoli_height", "Height of the last block", registry=registry)
        self.round = Gauge("depoli_round", "Round of the height under way", registry=registry)
        self.mempool = Gauge("depoli_mempool_transactions", "Waiting", registry=registry)
        self.mempool_bytes = Gauge("depoli_mempool_bytes", "Waiting", registry=registry)
        self.peers = Gauge("depoli_peers_linked", "Links that are up", registry=registry)
        self.twins = Gauge(
            "depoli_twins", "Node keys with which two live nodes speak", registry=registry
        )
        self.sync_target = Gauge(
            "depoli_sync_target", "Height that this node catches up to", registry=registry
        )
        self.sync_rate = Gauge(
            "depoli_sync_blocks_per_second",
            "How fast it catches up, 0: it is not behind",
            registry=registry,
        )
        self.joins = Joins(registry)
        self.versions = Versions(registry)
        self.snapshots = Snapshots(registry)
        self.fenced = Gauge(
            "depoli_fenced", "1 while this validator may not sign", registry=registry
        )
        self.foreign = Counter(
            "depoli_foreign_signatures",
            "Signatures of our own key that our journal does not hold",
            registry=registry,
        )
        self.transactions = Counter(
            "depoli_transactions", "Transactions in decided blocks", registry=registry
        )
        self.entries = Counter(
            "depoli_entries", "Calls in decided blocks", ["outcome"], registry=registry
        )
        self.rejected = Counter(
            "depoli_transactions_rejected", "Refused at the door", ["reason"], registry=registry
        )
        self.rounds_above_zero = Counter(
            "depoli_late_blocks", "Blocks not decided in round 0", registry=registry
        )
        self.disk = Disk(registry)
        self.reach = Reach(registry)
        self.post = Post(registry)
        self.events = Gauge("depoli_events_waiting", "Messages to be handled", registry=registry)
        self.refused_messages = Counter(
            "depoli_messages_refused", "Signed, and said by no honest validator", registry=registry
        )
        self.evidence = Evidence(registry)
        self.execute_seconds = Histogram(
            "depoli_execute_seconds", "Executing a block", registry=registry
        )
        self.commit_seconds = Histogram(
            "depoli_commit_seconds", "Making a decided block durable", registry=registry
        )
        self.journal_seconds = Histogram(
            "depoli_journal_seconds", "Making promises durable", registry=registry
        )

    def count_waiting(self, mempool: Mempool, events: int, *, fenced: bool) -> None:
        """Show what waits here, and whether this validator may sign."""
        self.mempool.set(len(mempool))
        self.mempool_bytes.set(mempool.bytes)
        self.events.set(events)
        self.fenced.set(fenced)

    def count_progress(self, progress: Progress | None, height: int) -> None:
        """Show how far this node is behind, if it is."""
        self.sync_target.set(height if progress is None else progress.target)
        self.sync_rate.set(0 if progress is None else progress.blocks_per_s)

    def count_joining(self, progress: JoinProgress | None) -> None:
        """Show how far a snapshot has come, if one is fetched."""
        self.joins.height.set((progress and progress.height) or 0)
        self.joins.chunks.set(progress.of if progress else 0)
        self.joins.here.set(progress.chunks if progress else 0)
        self.joins.bytes.set(progress.fetched_bytes if progress else 0)

    def count_block(self, executed: Executed) -> None:
        """Count a decided block."""
        header = executed.header
        self.height.set(header.height)
        self.transactions.inc(len({entry.transaction for entry in executed.entries}))
        self.rounds_above_zero.inc(header.built_round > 0)
        applied = sum(entry.outcome.code == APPLIED for entry in executed.entries)
        self.entries.labels("applied").inc(applied)
        self.entries.labels("refused").inc(len(executed.entries) - applied)

    def text(self) -> bytes:
        """Return the Prometheus exposition."""
        return generate_latest(self._registry)
