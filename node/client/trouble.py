"""What a node's refusals, and its silence, mean to a person: the error with what to do about it."""

from typing import Final

import msgspec

from node.client.errors import ClientError, NetworkRefused, NotFound, Pruned, Unreachable

MESSAGE: Final = 300  # characters of a node's words that are shown


class Trouble(msgspec.Struct, frozen=True):
    """RFC 9457 problem details, what we show of them."""

    title: str = ""
    status: int = 0
    detail: str = ""
    type: str = ""


def problem(url: str, status: int, body: bytes) -> ClientError:
    """Return what an answer with an error's status says, with what to do."""
    try:
        trouble = msgspec.json.decode(body, type=Trouble)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        trouble = Trouble(title=f"HTTP status {status}")
    return refusal(url, status, trouble)


def refusal(url: str, status: int, trouble: Trouble) -> ClientError:
    """Return what a refusal of this status says, with what to do."""
    words = (f"{trouble.title}: {trouble.detail}" if trouble.detail else trouble.title)[:MESSAGE]
    match status:
        case 401:
            return ClientError(
                f"the node at {url} does not know this token",
                hint="ask its operator for one, and put it in the file that token_file names",
            )
        case 404:
            return NotFound(words)
        case 410:
            return Pruned(words)
        case 413:
            return ClientError(words, hint="send fewer transactions at once")
        case 422:
            return NetworkRefused(words)
        case 429 if trouble.type.endswith(":too-many-streams"):
            return NetworkRefused(words, hint="close another `depoli events --follow`")
        case 429:
            return NetworkRefused(
                f"the node's queue is full ({words})", hint="wait, and run the same again"
            )
        case 503:
            return Unreachable(
                f"the node at {url} is not ready: {trouble.detail or trouble.title}"[:MESSAGE],
                hint="wait, and send again, which is safe; its operator asks: depoli doctor",
            )
        case _:
            return ClientError(f"the node at {url} refuses: {words}")


def unreachable(url: str, error: Exception) -> Unreachable:
    """Return what it means that nothing, or no HTTP, came from a node."""
    return Unreachable(
        f"no node answers at {url} ({_short(error)})",
        hint="start it, or correct `node` in client.toml; sending again does no harm",
    )


def _short(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return "it took too long" if isinstance(error, TimeoutError) else text[:MESSAGE]
