"""One connection of a client under asyncio: bytes to packets and back. What a packet means is its owner's business."""
import asyncio

from record import Ping

from mm import packets
from mm.packets import Type


class Connection(asyncio.Protocol):
    """`owner.on_packet(connection, packet)` is called for every packet, `owner.on_closed(connection)` at the end."""

    def __init__(self, owner, attempt, version, hello):
        self.owner, self.attempt, self.version, self.hello = owner, attempt, version, hello
        self.record = owner.record
        self.settled = asyncio.Event()  # accepted, refused or closed
        self.closed = asyncio.Event()
        self.transport = None
        self._bytes = bytearray()

    @property
    def accepted(self):
        return self.attempt.accepted is not None and not self.closed.is_set()

    # ------------------------------------------------------------ asyncio

    def connection_made(self, transport):
        self.transport = transport
        self.owner.world.connections.add(self)
        self.attempt.local_port = transport.get_extra_info("sockname")[1]
        transport.write(self.hello)

    def data_received(self, data):
        self._bytes += data
        try:
            while not self.closed.is_set() and (packet := self._next()):
                self.attempt.alive = self.record.now()
                self._on_packet(packet)
        except packets.Malformed as error:
            self.record.problem("protocol", f"{self.attempt.client} (connection {self.attempt.number}) got {error}")
            self.abort()
        except Exception as error:  # the test's own fault: the run must not go on
            self.owner.world.fail(error)
            self.abort()

    def connection_lost(self, _error):
        self._end("lost")

    # ------------------------------------------------------------ packets

    def _next(self):
        data = self._bytes
        length = shift = 0
        for at in range(1, min(len(data), 5)):
            length |= (data[at] & 0x7F) << shift
            shift += 7
            if not data[at] & 0x80:
                break
        else:
            return None
        end = at + 1 + length
        if len(data) < end:
            return None
        first, body = data[0], bytes(memoryview(data)[at + 1:end])
        del data[:end]
        return packets.decode(first, body, self.version)

    def _on_packet(self, packet):
        if packet.type == Type.CONNACK:
            if packet.reason == 0:
                self.attempt.accepted, self.attempt.present = self.attempt.alive, packet.session_present
            else:
                self.attempt.reason = packet.reason
            self.owner.on_connack(self, packet)
            self.settled.set()
        elif packet.type == Type.PINGRESP:
            next(ping for ping in self.attempt.pings if not ping.answered).answered = self.attempt.alive
        elif packet.type == Type.DISCONNECT:
            self.attempt.reason = packet.reason
        else:
            self.owner.on_packet(self, packet)

    def send(self, data):
        if not self.closed.is_set() and not self.transport.is_closing():
            self.transport.write(data)

    def ping(self):
        self.attempt.pings.append(Ping(self.record.now()))
        self.send(packets.PINGREQ)

    # ------------------------------------------------------------ ends

    def abort(self, how="aborted"):
        """End it with a reset, or what comes of one."""
        self._end(how)
        if self.transport:
            self.transport.abort()

    async def leave(self, with_will=False, timeout=10):
        """DISCONNECT, and wait for the broker to close."""
        if self.closed.is_set():
            return
        self.attempt.goodbye = self.record.now()
        self.attempt.end = "left with will" if with_will else "left"
        self.send(packets.disconnect(0x04) if with_will else packets.disconnect())
        try:
            await asyncio.wait_for(self.closed.wait(), timeout)
        except TimeoutError:
            self.record.problem("stuck", f"connection {self.attempt.number} of {self.attempt.client} was not closed "
                                f"{timeout} s after DISCONNECT", (), (self.attempt.client,))
            self.abort()

    def _end(self, how):
        if self.closed.is_set():
            return
        self.attempt.ended = self.record.now()
        self.attempt.end = self.attempt.end or how
        self.closed.set()
        self.settled.set()
        self.owner.world.connections.discard(self)
        self.owner.on_closed(self)
