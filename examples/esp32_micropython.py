"""Send a sensor's value from an ESP32 to an RTOC server: plain MicroPython, no other library.

Fill in the settings, copy the file to the board as main.py, and reset it. It holds the small part of
RFC 6455 (WebSocket) that a client needs. It speaks ws:// without encryption: keep it in a network of your
own. It also runs under CPython, with an invented temperature, for a first try:

    python esp32_micropython.py
"""

import binascii
import hashlib
import json
import os
import socket
import struct
import time

try:
    import machine
    import network
except ImportError:  # not on a board
    machine = network = None

WIFI = ("my network", "its password")
SERVER = ("localhost", 5050)  # the server's name or address, and its port
PASSWORD = None  # the server's password; None where it has none
DEVICE = "ESP32"
PIN = 34  # analog input of a TMP36 temperature sensor: 10 mV/K, 500 mV at 0 degrees Celsius
INTERVAL = 1.0  # seconds
TIMEOUT = 10.0  # seconds
RETRY_FIRST, RETRY_LIMIT = 1, 60  # seconds to the next try after a failure: doubled up to the limit

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Connection:
    """A WebSocket connection to an RTOC server; OSError whenever it fails."""

    def __init__(self, host, port, password=None):
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][-1]
        self.socket = socket.socket()
        try:
            self.socket.settimeout(TIMEOUT)
            self.socket.connect(address)
            self.upgrade(host, port)
            self.request({"authorize": hashed(password) if password else True})
        except Exception:
            self.socket.close()
            raise

    def upgrade(self, host, port):
        """Do the opening handshake (RFC 6455 section 4.1); the server's proof is not checked."""
        key = binascii.b2a_base64(os.urandom(16)).strip().decode()
        lines = (
            "GET / HTTP/1.1",
            f"Host: {host}:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: " + key,
            "Sec-WebSocket-Version: 13",
            "",
            "",
        )
        self.socket.sendall("\r\n".join(lines).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.receive_exactly(1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise OSError("not a WebSocket server: " + head.split(b"\r\n")[0].decode())

    def request(self, fields):
        """Send a request and return its answer; pushes that come first are passed over."""
        self.send_frame(TEXT, json.dumps(fields).encode())
        while True:
            message = json.loads(self.receive_text())
            if message.get("authorized") is False:
                raise OSError("the server refuses the login, or asks for one")
            if "error" in message:
                return message

    def send(self, device, signal, value, unit):
        """Send one value, at the server's time; return whether it is stored."""
        answer = self.request({"dname": device, "sname": [signal], "y": [value], "unit": [unit]})
        return answer.get("sent") is True

    def receive_text(self):
        """Return the next text message as bytes; answer pings meanwhile."""
        message = b""
        while True:
            final, kind, payload = self.receive_frame()
            if kind == PING:
                self.send_frame(PONG, payload)
            elif kind == CLOSE:
                raise OSError("the server closed the connection")
            elif kind != PONG:
                message += payload
                if final:
                    return message

    def receive_frame(self):
        """Return (last of its message, opcode, payload) of one frame (RFC 6455 section 5.2)."""
        first, length = struct.unpack("!BB", self.receive_exactly(2))
        if length == 126:
            (length,) = struct.unpack("!H", self.receive_exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.receive_exactly(8))
        return bool(first & 0x80), first & 0x0F, self.receive_exactly(length)

    def send_frame(self, kind, payload):
        """Send one frame, masked as RFC 6455 section 5.3 wants it of clients."""
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | kind, 0x80 | length)
        elif length < 65536:
            head = struct.pack("!BBH", 0x80 | kind, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | kind, 0x80 | 127, length)
        mask = os.urandom(4)
        self.socket.sendall(head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))

    def receive_exactly(self, count):
        """Return so many bytes from the socket."""
        received = b""
        while len(received) < count:
            part = self.socket.recv(count - len(received))
            if not part:
                raise OSError("the connection broke")
            received += part
        return received

    def close(self):
        """Say goodbye with code 1000 and close."""
        try:
            self.send_frame(CLOSE, struct.pack("!H", 1000))
        finally:
            self.socket.close()


def hashed(password):
    """Return what RTOC takes for a password: base64(sha256(password))."""
    return binascii.b2a_base64(hashlib.sha256(password.encode()).digest()).strip().decode()


def join_wifi():
    """Connect the board to the network and wait until it is."""
    if network is None:
        return
    station = network.WLAN(network.STA_IF)
    station.active(True)
    if not station.isconnected():
        station.connect(*WIFI)
    while not station.isconnected():
        time.sleep(0.5)


def temperature():
    """Return the temperature in degrees Celsius."""
    if machine is None:
        return 20.0 + time.time() % 10
    millivolts = machine.ADC(machine.Pin(PIN)).read_uv() / 1000
    return (millivolts - 500) / 10


def run(server=SERVER, password=PASSWORD, read=temperature, count=None, sleep=time.sleep):
    """Send a value every INTERVAL seconds, `count` times or for good; connect again after a failure."""
    retry = RETRY_FIRST
    while count is None or count > 0:
        connection = None
        try:
            join_wifi()
            connection = Connection(server[0], server[1], password)
            while count is None or count > 0:
                if not connection.send(DEVICE, "Temperature", read(), "\u00b0C"):
                    print("the server did not store the value")
                retry = RETRY_FIRST
                count = None if count is None else count - 1
                sleep(INTERVAL)
            connection.close()
        except (OSError, ValueError) as error:
            print("failed:", error, "- again in", retry, "s")
            if connection is not None:
                connection.socket.close()
            sleep(retry)
            retry = min(2 * retry, RETRY_LIMIT)


if __name__ == "__main__":
    run()
