"""The opening of a link to a broker, by the kind of its address."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from steerio.edge.wire.addresses import is_local
from steerio.edge.wire.endpoint import LinkEndpoint
from steerio.edge.wire.headers import Receiver
from steerio.edge.wire.keys import ClientKeys
from steerio.edge.wire.unix_links import LocalLink
from steerio.errors import UsageError


def open_link(
    address: str,
    identity: str,
    keys: ClientKeys | None,
    receiver: Receiver,
    opened: contextlib.ExitStack,
    *,
    copies: bool = True,
) -> LinkEndpoint:
    """Return a link to a broker: a Unix stream to one of this host, ZeroMQ to one of another.

    Args:
        address: of the broker.
        identity: this peer's name on the wire, unique at the broker.
        keys: CURVE keys for addresses that want them.
        receiver: which kind of peer this is.
        opened: closes it.
        copies: whether frames may be changed once they are flushed, so that they have to be copied.

    Raises:
        UsageError: the address or its keys are malformed, no broker listens there, or there are no
            descriptors or threads.
    """
    with _connecting(address):
        if is_local(address):
            local = LocalLink(address, receiver)
            opened.callback(local.close)
            return local
        # loaded by those alone that speak to other hosts
        from steerio.edge.wire.contexts import Context
        from steerio.edge.wire.zeromq_link import ZmqLink

        context = Context()
        opened.callback(context.end)  # also closes sockets that a second Ctrl-C kept open
        return ZmqLink(context, address, identity.encode(), keys, receiver, copies=copies)


@contextlib.contextmanager
def _connecting(address: str) -> Generator[None, None, None]:
    """Turn an error that keeps a link from being opened into one in words.

    Raises:
        UsageError: the address or its keys are malformed, or there are no descriptors or threads.
    """
    try:
        yield
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot connect to a broker at {address}: {why or error}") from None
