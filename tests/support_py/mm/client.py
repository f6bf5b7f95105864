"""A blocking MQTT client for tests. It does nothing by itself: every packet it sends is a call in the test.

    sub = Client(port).connect("sub")            # MQTT 5 unless version= says otherwise
    sub.subscribe("a/#", qos=1)
    pub.publish("a/b", b"hi", qos=1)             # returns when the handshake is complete
    message = sub.receive()                      # the next PUBLISH, acknowledged as its QoS asks
    message = sub.expect(Type.PUBLISH, qos=1)    # the next packet, unacknowledged
    sub.puback(message.packet_id)
    sub.expect_nothing()                         # whatever was on its way would have come before the PINGRESP
    sub.expect_closed(Reason.PROTOCOL_ERROR)
"""
import collections
import contextlib
import os
import socket
import struct
import time

from mm import packets
from mm.packets import V5, Reason, Type

TIMEOUT = 10.0
LENIENT = os.environ.get("MM_TARGET") == "mosquitto"  # Mosquitto 2.0.11 often closes without saying why


class Closed(AssertionError):
    """The broker closed the connection while the test waited for a packet."""


class Client:
    def __init__(self, port, version=V5, timeout=TIMEOUT, host="127.0.0.1", receive_buffer=None):
        self.version, self.timeout = version, timeout
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client_id = None
        self.connack = None
        self._bytes = bytearray()
        self._inbox = collections.deque()
        self._last_packet_id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ------------------------------------------------------------ raw bytes

    def send(self, data):
        """Send bytes. That the broker has closed meanwhile is for the next read to tell."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def send_bytewise(self, data):
        """One TCP segment a byte."""
        for byte in data:
            self.send(bytes([byte]))
        return self

    def close(self):
        self.socket.close()

    def abort(self):
        """Close with a reset, as a machine that lost power or a killed process would look like."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def finish(self):
        """Half-close: nothing more will be sent."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        return self

    def absorb(self):
        """Take in what the socket has, to be decoded later; False at the end of the stream."""
        try:
            chunk = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self._bytes += chunk
        return bool(chunk)

    def _fill(self, count, deadline):
        while len(self._bytes) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"nothing came for {self.timeout} s, {len(self._bytes)} bytes of a packet in hand")
            self.socket.settimeout(left)
            try:
                chunk = self.socket.recv(max(65536, min(count - len(self._bytes), 1 << 20)))
            except socket.timeout:
                continue
            except ConnectionResetError:
                chunk = b""
            finally:
                self.socket.settimeout(self.timeout)
            if not chunk:
                raise Closed("the broker closed the connection")
            self._bytes += chunk

    def _read_packet(self, deadline):
        self._fill(2, deadline)
        length = shift = 0
        at = 1
        while True:
            self._fill(at + 1, deadline)
            digit = self._bytes[at]
            length |= (digit & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not digit & 0x80:
                break
            if shift > 21:
                raise packets.Malformed("a remaining length of more than four bytes")
        if at > 2 and digit == 0:
            raise packets.Malformed("a remaining length that is longer than it need be")
        self._fill(at + length, deadline)
        first_byte, body = self._bytes[0], bytes(memoryview(self._bytes)[at:at + length])
        self.last_packet_size = at + length
        del self._bytes[:at + length]
        return packets.decode(first_byte, body, self.version)

    # ------------------------------------------------------------ receiving

    def next(self, timeout=None):
        """The next packet, whatever it is."""
        if self._inbox:
            return self._inbox.popleft()
        return self._read_packet(time.monotonic() + (timeout or self.timeout))

    def expect(self, type, timeout=None, **fields):
        """The next packet, which must be of this type and have these fields."""
        packet = self.next(timeout)
        assert packet.type == type, f"expected {type.name}, got {packet}"
        for name, value in fields.items():
            assert getattr(packet, name) == value, f"expected {name}={value!r} in {packet}"
        return packet

    def wait_for(self, type, timeout=None, **fields):
        """The next packet of this type with these fields; what comes before it stays in the inbox."""
        def matches(packet):
            return packet.type == type and all(getattr(packet, name) == value for name, value in fields.items())
        for index, packet in enumerate(self._inbox):
            if matches(packet):
                del self._inbox[index]
                return packet
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            packet = self._read_packet(deadline)
            if matches(packet):
                return packet
            self._inbox.append(packet)

    def receive(self, timeout=None, **fields):
        """The next packet, which must be a PUBLISH, acknowledged to the end as its QoS asks."""
        message = self.expect(Type.PUBLISH, timeout, **fields)
        self.acknowledge(message)
        return message

    def acknowledge(self, message):
        if message.qos == 1:
            self.puback(message.packet_id)
        elif message.qos == 2:
            self.pubrec(message.packet_id)
            self.wait_for(Type.PUBREL, packet_id=message.packet_id)
            self.pubcomp(message.packet_id)

    def receive_many(self, count):
        return [self.receive() for _ in range(count)]

    def fence(self):
        """Everything that the broker sent before it answered a PINGREQ."""
        self.send(packets.PINGREQ)
        self.wait_for(Type.PINGRESP)
        before = list(self._inbox)
        self._inbox.clear()
        return before

    def expect_nothing(self):
        unexpected = self.fence()
        assert not unexpected, f"unexpected: {unexpected}"

    def expect_closed(self, reason=None, timeout=None):
        """The broker closes the connection. With `reason`, an MQTT 5 client is told it in a DISCONNECT before."""
        deadline = time.monotonic() + (timeout or self.timeout)
        seen = list(self._inbox)
        self._inbox.clear()
        try:
            while True:
                seen.append(self._read_packet(deadline))
        except Closed:
            pass
        if reason is not None and self.version == V5 and not LENIENT:
            assert seen and seen[-1].type == Type.DISCONNECT, f"no DISCONNECT before the close, but {seen}"
            assert seen[-1].reason == reason, f"expected reason {reason:#x}: {seen[-1]}"
        return seen

    # ------------------------------------------------------------ packets of a client

    def packet_id(self):
        self._last_packet_id = self._last_packet_id % 65535 + 1
        return self._last_packet_id

    def connect(self, client_id="", clean=True, expect=Reason.SUCCESS, properties=None, **fields):
        """CONNECT and CONNACK. Keyword arguments are those of packets.connect."""
        self.client_id = client_id
        self.send(packets.connect(client_id, self.version, clean, properties=properties, **fields))
        self.connack = self.expect(Type.CONNACK)
        assert self.connack.reason == expect, f"expected return code {expect:#x}: {self.connack}"
        return self

    def subscribe(self, *filters, qos=0, identifier=None, granted=None, **options):
        """SUBSCRIBE and SUBACK. Every filter must be granted the QoS asked for, or what `granted` says."""
        packet_id = self.packet_id()
        byte = packets.subscription_options(qos, **options)
        properties = {} if identifier is None else {"subscription_identifier": identifier}
        self.send(packets.subscribe(packet_id, [(name, byte) for name in filters], self.version, properties))
        suback = self.wait_for(Type.SUBACK, packet_id=packet_id)
        expected = [qos] * len(filters) if granted is None else granted
        assert suback.reasons == expected, f"expected {expected}: {suback}"
        return suback

    def unsubscribe(self, *filters):
        packet_id = self.packet_id()
        self.send(packets.unsubscribe(packet_id, filters, self.version))
        return self.wait_for(Type.UNSUBACK, packet_id=packet_id)

    def send_publish(self, topic, payload=b"", qos=0, packet_id=None, **fields):
        """PUBLISH alone; returns the packet identifier that an acknowledgement will bear."""
        if qos and packet_id is None:
            packet_id = self.packet_id()
        self.send(packets.publish(topic, payload, qos, packet_id, version=self.version, **fields))
        return packet_id

    def publish(self, topic, payload=b"", qos=0, retain=False, **properties):
        """PUBLISH and the whole handshake of its QoS; returns the PUBACK or PUBREC."""
        packet_id = self.send_publish(topic, payload, qos, retain=retain, properties=properties)
        if qos == 1:
            return self.wait_for(Type.PUBACK, packet_id=packet_id)
        if qos == 2:
            pubrec = self.wait_for(Type.PUBREC, packet_id=packet_id)
            if pubrec.reason < 0x80:
                self.pubrel(packet_id)
                self.wait_for(Type.PUBCOMP, packet_id=packet_id)
            return pubrec
        return None

    def puback(self, packet_id, reason=None):
        return self.send(packets.acknowledge(Type.PUBACK, packet_id, reason))

    def pubrec(self, packet_id, reason=None):
        return self.send(packets.acknowledge(Type.PUBREC, packet_id, reason))

    def pubrel(self, packet_id, reason=None):
        return self.send(packets.acknowledge(Type.PUBREL, packet_id, reason))

    def pubcomp(self, packet_id, reason=None):
        return self.send(packets.acknowledge(Type.PUBCOMP, packet_id, reason))

    def disconnect(self, reason=None, **properties):
        """DISCONNECT, and wait until the broker has closed: after that the broker knows that the client is gone."""
        self.send(packets.disconnect(reason, properties or None))
        seen = self.expect_closed()
        self.close()
        return seen
