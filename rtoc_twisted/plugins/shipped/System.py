"""The load of the machine that the server runs on."""

import importlib
import time

from rtoc_twisted.plugins.child.api import LoggerPlugin

_MIB = 1024 * 1024


class Plugin(LoggerPlugin):
    """Records processor, memory, disk, network and temperatures once a second; needs psutil."""

    __doc_disk__ = "The directory whose file system is looked at"

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        try:
            psutil = self._psutil = importlib.import_module("psutil")
        except ImportError:
            raise RuntimeError("psutil is missing: pip install 'rtoc_twisted[system]'") from None
        self.disk = "/"
        self._network = self._traffic()
        # The first answer is the mean since the last question, of which there was none.
        psutil.cpu_percent()
        self.setDeviceName("System")
        self.setPerpetualTimer(self._measure, samplerate=1)
        self.start()

    def _measure(self) -> None:
        values: dict[str, tuple[float, str]] = {
            "CPU": (self._psutil.cpu_percent(), "%"),
            "Memory": (self._psutil.virtual_memory().percent, "%"),
            "Disk": (self._psutil.disk_usage(self.disk).percent, "%"),
        }
        values.update(self._rates())
        values.update(self._temperatures())
        y, units = zip(*values.values(), strict=True)
        self.stream(list(y), list(values), unit=list(units))

    def _traffic(self) -> tuple[float, int, int]:
        """Return the moment, and the bytes received and sent until then."""
        total = self._psutil.net_io_counters()
        # A machine may have no network at all.
        return time.monotonic(), total.bytes_recv if total else 0, total.bytes_sent if total else 0

    def _rates(self) -> dict[str, tuple[float, str]]:
        before, self._network = self._network, self._traffic()
        seconds, received, sent = (new - old for new, old in zip(self._network, before, strict=True))
        if seconds <= 0:
            return {}
        return {
            "Received": (received / seconds / _MIB, "MiB/s"),
            "Sent": (sent / seconds / _MIB, "MiB/s"),
        }

    def _temperatures(self) -> dict[str, tuple[float, str]]:
        # Not on every system does psutil have the function, and not every machine a sensor.
        read = getattr(self._psutil, "sensors_temperatures", dict)
        return {
            f"Temperature {chip} {sensor.label or number}": (sensor.current, "°C")
            for chip, sensors in read().items()
            for number, sensor in enumerate(sensors, 1)
        }
