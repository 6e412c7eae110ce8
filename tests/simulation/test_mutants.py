"""Bugs planted in the node around the machine: the cheap ones; all are scripts/mutants."""

import pytest

from tests.simulation import arenas, bad_nodes

# By the lemma that breaks. Each is caught within a few seeds.
CAUGHT = {
    "torn_accepted": "L14",
    "damage_accepted": "L14",
    "old_file_first": "L14",
    "fence_forgotten": "L14",
    "copy_accepted": "L14",
    "no_fsync": "L14",
    "sent_before_durable": "L14",
    "body_not_on_disk": "L14",
    "journal_of_another_height": "L",
    "promises_not_restored": "L",
    "no_timer": "L9",
    "nothing_pulled": "L9",
    "pulled_once": "L9",
    "own_unjudged": "L",
    "dup_signers": "L2",
    "cert_of_another_set": "L",
}


@pytest.mark.parametrize("name", CAUGHT)
def test_a_planted_bug_is_caught(name: str) -> None:
    caught = arenas.hunt(name, range(40))
    assert caught is not None
    assert caught.oracle.startswith(CAUGHT[name])


def test_every_planted_bug_has_a_name_of_its_own() -> None:
    names = arenas.every_mutant()
    assert len(set(names)) == len(names) >= 30
    assert {arenas.arena_of(name) for name in names} == set(arenas.ARENAS)
    assert not bad_nodes.NODES.keys() & bad_nodes.JOURNALS.keys()
