"""MQTT packets for tests: every packet of 3.1, 3.1.1 and 5.0, to bytes and back.

Written apart from the broker's codec, so that the two check each other. The encoders put on the wire whatever they are
told, right or wrong; what they cannot say is said with raw bytes: `frame(first_byte, body)`. The decoder is strict: it
raises `Malformed` when the broker sends something that the specification does not allow.
"""
import struct
from enum import IntEnum

V31, V311, V5 = 3, 4, 5


class Type(IntEnum):
    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


# The low four bits of the first byte; PUBLISH has its own.
FLAGS = {Type.PUBREL: 2, Type.SUBSCRIBE: 2, Type.UNSUBSCRIBE: 2}


class Reason(IntEnum):
    """The reason codes that tests speak of."""
    SUCCESS = 0x00
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    CONTINUE_AUTHENTICATION = 0x18
    RE_AUTHENTICATE = 0x19
    UNSPECIFIED = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_IN_USE = 0x91
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2


# The reason codes that the server may put into each packet (MQTT 5, section 2.4).
SERVER_REASONS = {
    Type.CONNACK: {0x00, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F},
    Type.PUBACK: {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    Type.PUBREC: {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    Type.PUBREL: {0x00, 0x92},
    Type.PUBCOMP: {0x00, 0x92},
    Type.SUBACK: {0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2},
    Type.UNSUBACK: {0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91},
    Type.DISCONNECT: {0x00, *range(0x80, 0x84), 0x87, 0x89, 0x8B, *range(0x8D, 0x91), *range(0x93, 0xA3)},
    Type.AUTH: {0x00, 0x18, 0x19},
}

# name: (identifier, kind, packets from the server that may carry it)
PROPERTIES = {
    "payload_format_indicator": (0x01, "byte", {Type.PUBLISH}),
    "message_expiry_interval": (0x02, "four", {Type.PUBLISH}),
    "content_type": (0x03, "utf8", {Type.PUBLISH}),
    "response_topic": (0x08, "utf8", {Type.PUBLISH}),
    "correlation_data": (0x09, "binary", {Type.PUBLISH}),
    "subscription_identifier": (0x0B, "varint", {Type.PUBLISH}),
    "session_expiry_interval": (0x11, "four", {Type.CONNACK}),
    "assigned_client_identifier": (0x12, "utf8", {Type.CONNACK}),
    "server_keep_alive": (0x13, "two", {Type.CONNACK}),
    "authentication_method": (0x15, "utf8", {Type.CONNACK, Type.AUTH}),
    "authentication_data": (0x16, "binary", {Type.CONNACK, Type.AUTH}),
    "request_problem_information": (0x17, "byte", set()),
    "will_delay_interval": (0x18, "four", set()),
    "request_response_information": (0x19, "byte", set()),
    "response_information": (0x1A, "utf8", {Type.CONNACK}),
    "server_reference": (0x1C, "utf8", {Type.CONNACK, Type.DISCONNECT}),
    "reason_string": (0x1F, "utf8", {Type.CONNACK, Type.PUBACK, Type.PUBREC, Type.PUBREL, Type.PUBCOMP, Type.SUBACK,
                                     Type.UNSUBACK, Type.DISCONNECT, Type.AUTH}),
    "receive_maximum": (0x21, "two", {Type.CONNACK}),
    "topic_alias_maximum": (0x22, "two", {Type.CONNACK}),
    "topic_alias": (0x23, "two", {Type.PUBLISH}),
    "maximum_qos": (0x24, "byte", {Type.CONNACK}),
    "retain_available": (0x25, "byte", {Type.CONNACK}),
    "user_property": (0x26, "pair", {Type.CONNACK, Type.PUBLISH, Type.PUBACK, Type.PUBREC, Type.PUBREL, Type.PUBCOMP,
                                     Type.SUBACK, Type.UNSUBACK, Type.DISCONNECT, Type.AUTH}),
    "maximum_packet_size": (0x27, "four", {Type.CONNACK}),
    "wildcard_subscription_available": (0x28, "byte", {Type.CONNACK}),
    "subscription_identifiers_available": (0x29, "byte", {Type.CONNACK}),
    "shared_subscription_available": (0x2A, "byte", {Type.CONNACK}),
}
PROPERTY_BY_ID = {identifier: (name, kind, packets) for name, (identifier, kind, packets) in PROPERTIES.items()}
REPEATABLE = {"user_property", "subscription_identifier"}


class Malformed(AssertionError):
    """The broker sent bytes that are not a correct packet."""


# ---------------------------------------------------------------- encoding


def varint(value):
    out = bytearray()
    while True:
        value, digit = divmod(value, 128)
        out.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(out)


def two(value):
    return struct.pack(">H", value)


def four(value):
    return struct.pack(">I", value)


def binary(value):
    return two(len(value)) + value


def utf8(text):
    """A length-prefixed string; bytes go out as they are, so that a test can send bad UTF-8."""
    return binary(text if isinstance(text, bytes) else text.encode())


def frame(first_byte, body=b""):
    return bytes([first_byte]) + varint(len(body)) + body


ENCODE_KIND = {
    "byte": lambda value: bytes([value]),
    "two": two,
    "four": four,
    "varint": varint,
    "utf8": utf8,
    "binary": binary,
    "pair": lambda value: utf8(value[0]) + utf8(value[1]),
}


def encode_properties(properties):
    """A property list with its length. `properties` is a dict (a list value repeats the property) or raw bytes."""
    if isinstance(properties, bytes):
        return varint(len(properties)) + properties
    out = b""
    for name, value in (properties or {}).items():
        identifier, kind, _ = PROPERTIES[name]
        for one in value if isinstance(value, list) else [value]:
            out += bytes([identifier]) + ENCODE_KIND[kind](one)
    return varint(len(out)) + out


class Will:
    def __init__(self, topic, payload=b"", qos=0, retain=False, **properties):
        self.topic, self.payload, self.qos, self.retain, self.properties = topic, payload, qos, retain, properties


def connect(client_id="", version=V5, clean=True, keep_alive=60, will=None, username=None, password=None,
            properties=None, flags=None, protocol_name=None, level=None):
    """CONNECT. `flags`, `protocol_name` and `level` override what would be right."""
    if flags is None:
        flags = (0x02 if clean else 0) | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
        if will:
            flags |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
    if protocol_name is None:
        protocol_name = "MQIsdp" if version == V31 else "MQTT"
    body = utf8(protocol_name)
    body += bytes([version if level is None else level, flags]) + two(keep_alive)
    if version == V5:
        body += encode_properties(properties)
    body += utf8(client_id)
    if will:
        if version == V5:
            body += encode_properties(will.properties)
        body += utf8(will.topic) + binary(will.payload)
    if username is not None:
        body += utf8(username)
    if password is not None:
        body += utf8(password)
    return frame(0x10, body)


def publish(topic, payload=b"", qos=0, packet_id=None, retain=False, dup=False, version=V5, properties=None):
    body = utf8(topic)
    if packet_id is not None:
        body += two(packet_id)
    if version == V5:
        body += encode_properties(properties)
    return frame(0x30 | dup << 3 | qos << 1 | retain, body + payload)


def acknowledge(type, packet_id, reason=None, properties=None):
    """PUBACK, PUBREC, PUBREL or PUBCOMP; the short form when there is no reason."""
    body = two(packet_id)
    if reason is not None:
        body += bytes([reason])
    if properties is not None:
        body += encode_properties(properties)
    return frame(type << 4 | FLAGS.get(type, 0), body)


def subscription_options(qos=0, no_local=False, retain_as_published=False, retain_handling=0):
    return qos | no_local << 2 | retain_as_published << 3 | retain_handling << 4


def subscribe(packet_id, filters, version=V5, properties=None):
    """`filters` is a list of (filter, options byte)."""
    body = two(packet_id)
    if version == V5:
        body += encode_properties(properties)
    return frame(0x82, body + b"".join(utf8(name) + bytes([options]) for name, options in filters))


def unsubscribe(packet_id, filters, version=V5, properties=None):
    body = two(packet_id)
    if version == V5:
        body += encode_properties(properties)
    return frame(0xA2, body + b"".join(utf8(name) for name in filters))


def disconnect(reason=None, properties=None):
    body = b"" if reason is None else bytes([reason])
    if properties is not None:
        body += encode_properties(properties)
    return frame(0xE0, body)


def auth(reason=0x18, properties=None):
    return frame(0xF0, bytes([reason]) + encode_properties(properties))


PINGREQ = frame(0xC0)

# ---------------------------------------------------------------- decoding


class Packet:
    """A decoded packet: `packet.type` and the fields of that type as attributes."""

    def __init__(self, type, **fields):
        self.type = type
        self.__dict__.update(fields)

    def __repr__(self):
        def short(value):
            return f"{value[:40]!r}…({len(value)} bytes)" if isinstance(value, bytes) and len(value) > 60 else repr(value)
        fields = ", ".join(f"{k}={short(v)}" for k, v in self.__dict__.items() if k != "type" and v not in ({}, None))
        return f"{self.type.name}({fields})"


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise Malformed(f"packet ends early: {self.data[:64].hex()}")
        self.at += count
        return self.data[self.at - count:self.at]

    def left(self):
        return len(self.data) - self.at

    def byte(self):
        return self.take(1)[0]

    def two(self):
        return struct.unpack(">H", self.take(2))[0]

    def four(self):
        return struct.unpack(">I", self.take(4))[0]

    def varint(self):
        value = shift = 0
        while True:
            digit = self.byte()
            value |= (digit & 0x7F) << shift
            if not digit & 0x80:
                if digit == 0 and shift:
                    raise Malformed("a variable byte integer is longer than it need be")
                return value
            shift += 7
            if shift > 21:
                raise Malformed("a variable byte integer has more than four bytes")

    def binary(self):
        return self.take(self.two())

    def utf8(self):
        text = self.binary().decode()
        if "\0" in text:
            raise Malformed("a string contains U+0000")
        return text

    def pair(self):
        return (self.utf8(), self.utf8())

    def properties(self, type):
        end = self.varint() + self.at
        found = {}
        while self.at < end:
            name, kind, packets = PROPERTY_BY_ID.get(self.varint(), (None, None, None))
            if name is None or type not in packets:
                raise Malformed(f"{type.name} carries property {name}")
            value = getattr(self, kind)()
            if name in REPEATABLE:
                found.setdefault(name, []).append(value)
            elif name in found:
                raise Malformed(f"{type.name} carries {name} twice")
            else:
                found[name] = value
        if self.at != end:
            raise Malformed(f"the properties of {type.name} overrun their length")
        return found


def decode(first_byte, body, version):
    """One packet from the server."""
    try:
        type = Type(first_byte >> 4)
    except ValueError:
        raise Malformed(f"packet type {first_byte >> 4}") from None
    if type != Type.PUBLISH and first_byte & 0x0F != FLAGS.get(type, 0):
        raise Malformed(f"{type.name} with flags {first_byte & 0x0F:#x}")
    reader = Reader(body)
    packet = DECODERS[type](reader, type, first_byte, version)
    if reader.left():
        raise Malformed(f"{reader.left()} bytes too many in {packet}")
    for reason in getattr(packet, "reasons", [getattr(packet, "reason", None)]):
        if version == V5 and reason is not None and reason not in SERVER_REASONS[type]:
            raise Malformed(f"reason code {reason:#x} in {type.name}")
    return packet


def _connack(reader, type, _, version):
    flags, reason = reader.byte(), reader.byte()
    if flags & 0xFE:
        raise Malformed(f"CONNACK flags {flags:#x}")
    properties = reader.properties(type) if version == V5 else {}
    return Packet(type, session_present=bool(flags), reason=reason, properties=properties)


def _publish(reader, type, first_byte, version):
    qos = first_byte >> 1 & 3
    if qos == 3:
        raise Malformed("PUBLISH with QoS 3")
    dup, retain = bool(first_byte & 8), bool(first_byte & 1)
    if dup and qos == 0:
        raise Malformed("PUBLISH with QoS 0 and DUP")
    topic = reader.utf8()
    packet_id = reader.two() if qos else None
    if packet_id == 0:
        raise Malformed("PUBLISH with packet identifier 0")
    properties = reader.properties(type) if version == V5 else {}
    return Packet(type, topic=topic, payload=bytes(reader.take(reader.left())), qos=qos, packet_id=packet_id, dup=dup,
                  retain=retain, properties=properties)


def _ack(reader, type, _, version):
    packet_id, reason, properties = reader.two(), 0, {}
    if version == V5 and reader.left():
        reason = reader.byte()
        properties = reader.properties(type) if reader.left() else {}
    return Packet(type, packet_id=packet_id, reason=reason, properties=properties)


def _reason_list(reader, type, _, version):
    packet_id = reader.two()
    properties = reader.properties(type) if version == V5 else {}
    reasons = list(reader.take(reader.left()))
    if version != V5 and not set(reasons) <= {0, 1, 2, 0x80}:
        raise Malformed(f"SUBACK return codes {reasons}")
    return Packet(type, packet_id=packet_id, reasons=reasons, properties=properties)


def _unsuback(reader, type, first_byte, version):
    return _reason_list(reader, type, first_byte, version) if version == V5 else Packet(type, packet_id=reader.two())


def _pingresp(_reader, type, _first_byte, _version):
    return Packet(type)


def _disconnect(reader, type, _, version):
    if version != V5:
        raise Malformed("the server sent DISCONNECT to a client older than MQTT 5")
    reason = reader.byte() if reader.left() else 0
    return Packet(type, reason=reason, properties=reader.properties(type) if reader.left() else {})


def _auth(reader, type, _, version):
    if version != V5:
        raise Malformed("AUTH to a client older than MQTT 5")
    return _disconnect(reader, type, 0, version)


def _never_sent_by_a_server(_reader, type, _first_byte, _version):
    raise Malformed(f"the server sent {type.name}")


DECODERS = {type: _never_sent_by_a_server for type in Type} | {
    Type.CONNACK: _connack, Type.PUBLISH: _publish, Type.PUBACK: _ack, Type.PUBREC: _ack, Type.PUBREL: _ack,
    Type.PUBCOMP: _ack, Type.SUBACK: _reason_list, Type.UNSUBACK: _unsuback, Type.PINGRESP: _pingresp,
    Type.DISCONNECT: _disconnect, Type.AUTH: _auth,
}
