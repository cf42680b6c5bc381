"""Does a server answer others while it is busy with one? A tiny question every millisecond tells."""

from __future__ import annotations

import selectors
import time

from .client import PATIENCE, Client, ServerFailed, masked_frame

_TINY = masked_frame(b'{"logger":"hello"}')
_EVERY = 0.001


def longest_wait(pulse: Client, seconds: float, busy: tuple[Client, bytes] | None = None) -> float:
    """Return how many seconds the slowest answer to a tiny question took.

    busy: another connection, and the frame of a large question that is sent over it: it is waited for the
    whole answer; without it the server is idle otherwise, and `seconds` long is asked. One thread does all
    of it, so that the receiving of the one answer never holds up the reading of the other's clock for more
    than one read. Raises ServerFailed.
    """
    clock = time.perf_counter
    longest, waiting, done = 0.0, False, False
    with selectors.DefaultSelector() as selector:
        selector.register(pulse.socket, selectors.EVENT_READ)
        if busy is not None:
            client, frame = busy
            selector.register(client.socket, selectors.EVENT_READ)
            client.socket.sendall(frame)
        start = clock()
        asked = start - _EVERY
        while waiting or not done:
            if not waiting and clock() >= asked + _EVERY:
                asked = clock()
                pulse.socket.sendall(_TINY)
                waiting = True
            patience = PATIENCE if waiting else max(0.0, asked + _EVERY - clock())
            ready = {key.fileobj for key, _ in selector.select(patience)}
            if waiting and not ready:
                raise ServerFailed(f"nothing came for {PATIENCE:.0f} s")
            if pulse.socket in ready and pulse.payloads():
                longest = max(longest, clock() - asked)
                waiting = False
            if busy is None:
                done = clock() >= start + seconds
            elif busy[0].socket in ready:
                done = bool(busy[0].payloads()) or done
    return longest
