"""The `twistd rtoc` command; our own code is imported only when it is asked for."""

from twisted.application.service import ServiceMaker

rtoc = ServiceMaker(
    "rtoc",
    "rtoc_twisted.service",
    "Record measurements and control devices over the RTOC WebSocket protocol.",
    "rtoc",
)
