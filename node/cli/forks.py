"""What `depoli audit fork` prints: where two exports part, who is convicted, what is missing."""

from pathlib import Path
from typing import Any

import msgspec

from consensus.evidence import decode
from contracts.genesis import Genesis
from node.audit.fork import Agreement, Fork
from node.audit.words import deed_of, organisation_of


def to_json(
    found: Fork | Agreement, exports: tuple[Path, Path], genesis: Genesis
) -> dict[str, Any]:
    """Return the comparison of two exports as JSON values."""
    names = [str(path) for path in exports]
    if isinstance(found, Agreement):
        longer = None if found.longer is None else names[found.longer]
        return {"fork": False, "exports": names, "height": found.height, "longer": longer}
    return {
        "fork": True,
        "exports": names,
        "height": found.height,
        "blocks": [
            {
                "export": name,
                "block": each.block.header.hash.hex(),
                "round": each.certificate.round,
            }
            for name, each in zip(names, found.blocks, strict=True)
        ],
        "faulty_at_most": found.faulty,
        "culprits_at_least": found.shared,
        "culprits": [
            {"member": member.hex(), "organisation": organisation_of(genesis, member)}
            for member in found.culprits
        ],
        "evidence": [
            {
                **msgspec.structs.asdict(
                    deed_of(decode(each.evidence), each.member, genesis, recorded=None)
                ),
                "file": None,
            }
            for each in found.convictions
        ],
        "missing": None
        if found.missing is None
        else {
            "height": found.height,
            "round": found.missing.round,
            "block": found.missing.block_id.hex(),
            "kept_by": [organisation_of(genesis, member) for member in found.missing.holders],
        },
    }


def in_words(told: dict[str, Any]) -> str:
    """Return what `to_json` made as people read it."""
    if not told["fork"]:
        height, longer = told["height"], told["longer"]
        common = f"no fork: both have the same blocks up to height {height}"
        return common if longer is None else f"{common}; {longer} goes on from there"
    lines = [f"fork at height {told['height']}: two blocks were decided"]
    lines += [
        f"  {each['export']}: block {each['block']}, in round {each['round']}"
        for each in told["blocks"]
    ]
    names = [each["organisation"] for each in told["culprits"]]
    lines += [
        "",
        (
            f"at least {told['culprits_at_least']} validators must have contradicted themselves:"
            f" {told['faulty_at_most']} cannot fork this chain"
        ),
        f"{len(names)} convicted: {', '.join(names) or 'nobody'}",
    ]
    for each in told["evidence"]:
        lines += [f"  {each['says']}", f"    evidence {each['file'] or each['id']}"]
    if (missing := told["missing"]) is not None and len(names) < told["culprits_at_least"]:
        lacked = (
            f"missing: the proposal of block {missing['block']} at height {missing['height']},"
            f" round {missing['round']}; whoever of these prepared it has kept it:"
            f" {', '.join(missing['kept_by'])}"
        )
        lines += ["", lacked, "export the chain from their nodes, and name the files with --also"]
    return "\n".join(lines)
