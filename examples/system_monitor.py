"""Send this machine's load, memory, disk and network to an RTOC server, once a second.

    python examples/system_monitor.py --url wss://localhost:8443 --fingerprint AB:CD:..

Needs psutil (pip install "rtoc_twisted[examples]"). A server on another machine wants a password or a
token: RTOC_PASSWORD, RTOC_TOKEN. When the server goes away the monitor waits for it to come back; what
was measured meanwhile is not sent.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import time
from collections.abc import Sequence

import psutil

from rtoc_twisted.client import Client, ConnectionLost, Credentials, RequestTimedOut, Trust
from rtoc_twisted.errors import RTOCError

UNITS = {
    "Load": "",
    "CPU": "%",
    "Memory": "%",
    "Memory used": "GB",
    "Disk": "%",
    "Disk read": "MB/s",
    "Disk written": "MB/s",
    "Received": "kB/s",
    "Sent": "kB/s",
}


class Machine:
    """Measures this machine; rates are means since the last measurement."""

    def __init__(self) -> None:
        psutil.cpu_percent()
        self._time = time.monotonic()
        self._counters = self._count()

    def measure(self) -> dict[str, float]:
        """Return a value for each signal of UNITS."""
        now, counters = time.monotonic(), self._count()
        seconds = max(now - self._time, 1e-3)
        read, written, received, sent = (
            (new - old) / seconds for new, old in zip(counters, self._counters, strict=True)
        )
        self._time, self._counters = now, counters
        memory = psutil.virtual_memory()
        return {
            "Load": psutil.getloadavg()[0],
            "CPU": psutil.cpu_percent(),
            "Memory": memory.percent,
            "Memory used": (memory.total - memory.available) / 1e9,
            "Disk": psutil.disk_usage("/").percent,
            "Disk read": read / 1e6,
            "Disk written": written / 1e6,
            "Received": received / 1e3,
            "Sent": sent / 1e3,
        }

    @staticmethod
    def _count() -> tuple[int, int, int, int]:
        """Return the bytes read, written, received and sent since the machine started."""
        disk, network = psutil.disk_io_counters(), psutil.net_io_counters()
        # Containers may have no disk of their own to count.
        read, written = (disk.read_bytes, disk.write_bytes) if disk is not None else (0, 0)
        return read, written, network.bytes_recv, network.bytes_sent


async def monitor(client: Client, device: str, interval: float, count: int | None) -> None:
    """Send a measurement every `interval` seconds, `count` times or for good."""
    machine = Machine()
    while count is None or count > 0:
        await asyncio.sleep(interval)
        try:
            await client.send(device, machine.measure(), units=UNITS)
        except (ConnectionLost, RequestTimedOut) as lost:
            if not lost.retriable:
                raise
            print(f"not sent: {lost}", file=sys.stderr)
            continue
        count = None if count is None else count - 1


async def run(args: argparse.Namespace) -> None:
    """Keep a client open and monitor."""
    credentials = Credentials(
        os.environ.get("RTOC_PASSWORD"), user=args.user, token=os.environ.get("RTOC_TOKEN")
    )
    trust = Trust(args.ca, args.fingerprint, args.insecure)
    async with Client(args.url, credentials=credentials, trust=trust, patient=True) as client:
        print(f"sending to {args.url} as {args.device}; Ctrl-C ends", flush=True)
        await monitor(client, args.device, args.interval, args.count)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the monitor from the command line; return its exit code."""
    parser = argparse.ArgumentParser(description="Send this machine's state to an RTOC server.")
    parser.add_argument("--url", default=os.environ.get("RTOC_URL", "ws://localhost:5050"))
    parser.add_argument("--user", help="account to log in to")
    parser.add_argument("--ca", metavar="FILE", help="PEM file of the authorities to trust")
    parser.add_argument("--fingerprint", metavar="SHA256", help="trust just this certificate")
    parser.add_argument("--insecure", action="store_true", help="trust any certificate")
    parser.add_argument("--device", default=platform.node() or "Machine", help="(%(default)s)")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds (%(default)g)")
    parser.add_argument("--count", type=int, metavar="N", help="end after N measurements")
    args = parser.parse_args(argv)
    try:
        asyncio.run(run(args))
    except KeyboardInterrupt:
        return 130
    except RTOCError as error:
        print(f"system_monitor: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
