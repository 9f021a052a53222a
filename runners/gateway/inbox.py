"""The stream of frames to a web node, which holds a bounded number of bytes.

Writers count what they add in a key beside the stream, claim checks included, and the
node takes off what it has handled. Counting and adding is one script, so any number of
workers keeps the bound. An empty stream begins at zero again, whatever was lost.
"""

from redis.asyncio.client import Pipeline

from langbot.lib.conf import limits
from langbot.lib.exchange import Commands
from langbot.lib.redis import node_inbox, node_inbox_size
from langbot.lib.streams import after_entry
from runners.gateway.messages import INBOX_SECONDS, Kind, NodeMessage

REFUSED = 0  # what the script answers over the bound
_ENTRY_BYTES = 512  # that an entry takes beside its payload, generously
_SIZE = b"z"  # field: bytes that the node takes off again

# ARGV: bytes of the entry, bound, life in seconds, fields and values.
_ADD = """
local size = 0
if redis.call('XLEN', KEYS[1]) > 0 then
  size = math.max(tonumber(redis.call('GET', KEYS[2]) or 0), 0)
end
size = size + tonumber(ARGV[1])
if size > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[2], size, 'EX', ARGV[3])
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


def add(commands: Commands, node: str, message: NodeMessage) -> str | None:
    """Add the message with the last of `commands`, which may be refused.

    Returns the key of its claim check, if there is one: a refused message leaves it.
    A message that only stops something has twice the room.
    """
    fields = message.fields(commands)
    size = len(message.payload) + _ENTRY_BYTES
    bound = limits().node_inbox_bytes
    if message.kind is Kind.CANCEL:
        bound *= 2
    fields[_SIZE] = b"%d" % size
    entry = [part for field in fields.items() for part in field]
    keys = node_inbox(node), node_inbox_size(node)
    given = (size, bound, INBOX_SECONDS, *entry)
    commands.append(("EVAL", _ADD, len(keys), *keys, *given))
    return fields[b"x"].decode() if b"x" in fields else None


def size_of(fields: dict[bytes, bytes]) -> int:
    """Return how much of the bound an entry takes."""
    return int(fields.get(_SIZE, b"0"))


def trim(commands: Commands, node: str, last_entry: bytes, handled_bytes: int) -> None:
    """Delete what the node has handled, up to its last entry."""
    key = node_inbox_size(node)
    commands += [
        ("XTRIM", node_inbox(node), "MINID", after_entry(last_entry)),
        ("DECRBY", key, handled_bytes),
        ("EXPIRE", key, INBOX_SECONDS),
    ]


def renew(pipeline: Pipeline, node: str) -> None:
    """Keep the stream and its count while the node lives."""
    for key in (node_inbox(node), node_inbox_size(node)):
        pipeline.expire(key, INBOX_SECONDS)
