"""`status` shows the cluster as it is."""
import os
import signal
import subprocess
import urllib.error
import urllib.request

from mm.broker import binary, eventually, free_ports
from mm.redis import Redis


def test_status_shows_nodes_leases_and_the_gateway(shared_cluster):
    a, b = shared_cluster
    cluster = a.cluster_status()
    assert cluster["ready"] and cluster["state"] == "up" and cluster["node_id"] == "host-0"
    assert a.live_nodes() == {"host-0", "host-1"}
    assert all(0 < node["lease_ms"] <= 2000 for node in cluster["nodes"])
    assert 0 < cluster["lease_ms"] <= 2000
    eventually(lambda: a.cluster_status()["copied"], "Redis has all that it has acknowledged")
    gateway = next(row for row in a.status()["workers"] if row["name"] == "gateway")
    assert gateway["state"] == "ready" and gateway["pid"] == a.gateway_pid() and gateway["listening"] == "-"


def test_status_and_its_exit_code_follow_redis(cluster):
    c = cluster(hosts=1)
    host = c[0]

    def code():
        return subprocess.run([binary(), "status", "-c", str(host.config_file)], capture_output=True, text=True,
                              timeout=20, check=False)
    assert code().returncode == 0
    c.redis.kill()
    host.fan_out("redis down")
    shown = code()
    assert shown.returncode == 3 and "fan-out:redis down" in shown.stdout and "[redis down]" in shown.stdout
    c.redis.start()
    eventually(lambda: code().returncode == 0, "in service again", 30)


def test_readyz_and_metrics_follow_redis(cluster):
    """A host whose fan-out is not up is no place to send clients to."""
    port = free_ports(1)[0]
    c = cluster(hosts=1, admin={"listen": f"http://127.0.0.1:{port}"})

    def get(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
    assert get("/readyz") == (200, "ready\n")
    assert "\nmqtt_master_cluster_fan_out_up 1\n" in get("/metrics")[1]
    c.redis.kill()
    c[0].fan_out("redis down")
    assert get("/readyz") == (503, "not ready\ngateway: redis down\n")
    assert get("/healthz")[0] == 200
    text = get("/metrics")[1]
    assert "\nmqtt_master_cluster_fan_out_up 0\n" in text and "\nmqtt_master_in_service 0\n" in text
    c.redis.start()
    eventually(lambda: get("/readyz")[0] == 200, "in service again", 30)
    lease = [line for line in get("/metrics")[1].splitlines() if line.startswith("mqtt_master_cluster_node_lease_seconds{")]
    assert len(lease) == 1 and 'node="host-0.' in lease[0]


def test_troubles_with_redis_are_counted_and_logged(cluster):
    c = cluster(hosts=2)
    a, b = c
    subscriber = b.connect("s")
    subscriber.subscribe("t")
    before = a.cluster_status()
    assert before["redis_warnings"] == 1  # this one keeps nothing on disk
    c.redis.kill()
    a.fan_out("redis down")
    a.connect("p").publish("t", b"lost")
    c.redis.start()
    c.settled()
    after = a.cluster_status()
    assert after["redis_breaks"] == before["redis_breaks"] + 1
    assert after["calls_lost"] > before["calls_lost"] and after["dropped_qos0"] == before["dropped_qos0"] + 1
    log = (a.directory / "run/mqtt-master.log").read_text()
    assert "redis is not there: other hosts are out of reach" in log and log.count("redis is there") > 1


def test_waiting_messages_are_shown(cluster):
    c = cluster(hosts=2)
    a, b = c
    subscriber = b.connect("s")  # kept: it ends with its object
    subscriber.subscribe("t", qos=1)
    c.redis.kill()
    a.fan_out("redis down")
    publisher = a.connect("p")
    for _ in range(10):
        publisher.send_publish("t", b"x" * 10_000, qos=1)
    eventually(lambda: a.cluster_status()["waiting_bytes"] > 50_000, "what waits is shown")
    c.redis.start()
    c.settled()
    eventually(lambda: a.cluster_status()["waiting_bytes"] == 0, "nothing waits any more")


def test_qos0_that_redis_did_not_pass_on_is_counted(cluster):
    """Redis closes a listener that does not keep up. What was for it is missing, and so much is known."""
    sent, size = 2000, 10_000
    with Redis(client_output_buffer_limit="pubsub 1000000 0 0") as redis:
        c = cluster(hosts=2, redis=redis, sections={"stall_timeout": 60, "redis": {"lease": 60}})
        a, b = c
        subscriber, publisher = b.connect("s"), a.connect("p")
        subscriber.subscribe("t/#", qos=0)
        publisher.publish("t", b"first")
        subscriber.receive(payload=b"first")
        gateway = b.gateway_pid()
        os.kill(gateway, signal.SIGSTOP)
        try:
            for _ in range(sent):
                publisher.publish("t", bytes(size))
            publisher.expect_nothing()  # all are taken
            eventually(lambda: a.cluster_status()["outstanding_bytes"] < 10_000, "Redis has all", 30)
        finally:
            os.kill(gateway, signal.SIGCONT)
        eventually(lambda: b.cluster_status()["listener_breaks"] == 1, "a listener that was closed", 30)
        c.settled()
        publisher.publish("t/last", b"last")
        got = 0
        while subscriber.receive(timeout=30).topic != "t/last":
            got += 1
        eventually(lambda: b.cluster_status()["lost_qos0"] > 0, "messages that are missing")
        status = b.cluster_status()
        assert got + status["lost_qos0"] + a.cluster_status()["dropped_qos0"] == sent
        assert status["redis_breaks"] == 0
        log = (b.directory / "run/mqtt-master.log").read_text()
        assert log.count("the connection that listens to redis is lost") == 1
