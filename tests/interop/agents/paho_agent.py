"""Paho's Python client behind the agent protocol (see mm_agents.py): paho_agent.py <protocol version>"""
import sys
import tempfile
import threading
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

VERSION = int(sys.argv[1])
V5 = VERSION == 5
DIRECTORY = tempfile.TemporaryDirectory(prefix="mm-agent-")
PROPERTIES = {"content_type": ("ContentType", str), "response_topic": ("ResponseTopic", str),
              "correlation_data": ("CorrelationData", bytes.fromhex), "expiry": ("MessageExpiryInterval", int),
              "alias": ("TopicAlias", int), "delay": ("WillDelayInterval", int)}

lock = threading.Lock()


def say(name, word, *fields):
    with lock:
        print(name, word, *(f"{key}={value}" for key, value in fields), sep="\t", flush=True)


def parse_payload(text):
    return Path(text[1:]).read_bytes() if text.startswith("@") else bytes.fromhex(text)


def describe_payload(payload):
    if len(payload) <= 4096:
        return payload.hex()
    with tempfile.NamedTemporaryFile(dir=DIRECTORY.name, delete=False) as file:
        file.write(payload)
    return "@" + file.name


def properties(fields, users=(), packet=PacketTypes.PUBLISH):
    if not V5:
        return None
    found = Properties(packet)
    for key, (name, convert) in PROPERTIES.items():
        if key in fields:
            setattr(found, name, convert(fields[key]))
    if users:
        found.UserProperty = [tuple(user.split(":")) for user in users]
    return found


class Agent:
    """One client. `waiting` maps what an acknowledgement names to the count of those still to come."""

    def __init__(self, name):
        self.name, self.client, self.aliases = name, None, {}
        self.acknowledged = threading.Semaphore(0)
        self.left = 0

    def connect(self, fields, users):
        clean = fields.get("clean") != "0"
        self.client = paho.Client(fields["id"], protocol=VERSION, clean_session=None if V5 else clean,
                                  reconnect_on_failure=False)
        self.client.on_connect = self.on_connect
        self.client.on_message = self.on_message
        self.client.on_disconnect = self.on_disconnect
        self.client.on_subscribe = self.on_subscribe
        self.client.on_unsubscribe = lambda *_: say(self.name, "ok")
        self.client.on_publish = self.on_publish
        self.client.max_queued_messages_set(0)
        if "will_topic" in fields:
            self.client.will_set(fields["will_topic"], parse_payload(fields["will_payload"]), 1)
        extra = {}
        if V5:
            wanted = Properties(PacketTypes.CONNECT)
            for key, name in {"expiry": "SessionExpiryInterval", "alias_max": "TopicAliasMaximum",
                              "receive_max": "ReceiveMaximum"}.items():
                if key in fields:
                    setattr(wanted, name, int(fields[key]))
            extra = {"clean_start": clean, "properties": wanted}
        self.client.connect("127.0.0.1", int(fields["port"]), 60, **extra)
        self.client.loop_start()

    def on_connect(self, _client, _data, flags, code, _properties=None):
        code = getattr(code, "value", code)
        if code != 0:
            say(self.name, "error", ("text", f"CONNACK {code}"))
            return
        say(self.name, "ok", ("session_present", flags["session present"]))

    def on_disconnect(self, _client, _data, code, _properties=None):
        say(self.name, "closed", ("code", getattr(code, "value", 0)))

    def on_message(self, _client, _data, message):
        topic, fields = message.topic, []
        if V5:
            found = message.properties.json()
            if alias := found.get("TopicAlias"):
                topic = self.aliases.setdefault(alias, topic) if not topic else topic
                self.aliases[alias] = topic
            for key, (name, _) in PROPERTIES.items():
                if name in found and key != "alias":
                    fields.append((key, found[name]))
            fields += [("id", one) for one in found.get("SubscriptionIdentifier", [])]
            fields += [("user", ":".join(pair)) for pair in found.get("UserProperty", [])]
        say(self.name, "message", ("topic", topic), ("qos", message.qos), ("retain", int(message.retain)),
            ("dup", int(message.dup)), ("payload", describe_payload(message.payload)), *fields)

    def subscribe(self, fields, users):
        qos = int(fields["qos"])
        if V5:
            wanted = Properties(PacketTypes.SUBSCRIBE)
            if "identifier" in fields:
                wanted.SubscriptionIdentifier = int(fields["identifier"])
            self.client.subscribe(fields["filter"], options=SubscribeOptions(qos), properties=wanted)
        else:
            self.client.subscribe(fields["filter"], qos)

    def on_subscribe(self, _client, _data, _mid, codes, _properties=None):
        codes = [getattr(code, "value", code) for code in codes]
        if max(codes) >= 0x80:
            say(self.name, "error", ("text", f"SUBACK {codes}"))
        else:
            say(self.name, "ok")

    def unsubscribe(self, fields, users):
        self.client.unsubscribe(fields["filter"])

    def publish(self, fields, users):
        self.left = 1
        self.client.publish(fields["topic"], parse_payload(fields["payload"]), int(fields["qos"]),
                            fields["retain"] == "1", properties=properties(fields, users))

    def burst(self, fields, users):
        self.left = int(fields["count"])
        for number in range(self.left):
            self.client.publish(fields["topic"], str(number), int(fields["qos"]))

    def on_publish(self, *_):
        self.left -= 1
        if self.left == 0:
            say(self.name, "ok")

    def disconnect(self, fields, users):
        self.client.on_disconnect = None
        self.client.disconnect()
        self.client.loop_stop()
        say(self.name, "ok")

    def close(self, fields, users):
        if self.client is not None:
            self.client.on_disconnect = None
            self.client.disconnect()
            self.client.loop_stop()


agents = {}
for line in sys.stdin:
    name, word, *rest = line.rstrip("\n").split("\t")
    pairs = [field.split("=", 1) for field in rest]
    users = [value for key, value in pairs if key == "user"]
    try:
        getattr(agents.setdefault(name, Agent(name)), word)(dict(pairs), users)
    except Exception as error:  # whatever it is, the test is told
        say(name, "error", ("text", repr(error)))
