"""deploy/cluster: the script that starts two hosts, Redis and HAProxy, run for real; and the containers beside it."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from mm.broker import ROOT, SANITIZER_REPORTS, alive, binary, children, eventually, free_ports
from mm.client import Client, Closed
from mm.fixtures import each_qos

DEPLOY = ROOT / "deploy"
START_TIMEOUT = 60.0
STOP_TIMEOUT = 40.0
AGAIN_TIMEOUT = 60.0  # until a part that was killed serves again
PARTS = {"redis", "host1", "host2", "haproxy"}
DURABLE = {"clean": False, "properties": {"session_expiry_interval": 600}}


class Deployment:
    """deploy/cluster/run in a directory."""

    def __init__(self, directory, *options):
        self.directory = directory
        self._command = [DEPLOY / "cluster/run", "--binary", binary(), *options, directory]
        self.output = directory / "output"

    def __enter__(self):
        self.spawn()
        eventually(lambda: self._ended() or "MQTT on" in self.said(), "the deployment is up", START_TIMEOUT)
        assert not self._ended(), self.diagnosis()
        self.port, self.ports = self.ports_of("haproxy"), {name: self.ports_of(name) for name in PARTS}
        return self

    def __exit__(self, failure, *_):
        if failure:
            print(self.diagnosis())
            self.process.terminate()
            self.process.wait(STOP_TIMEOUT)
        else:
            self.stop()

    def spawn(self):
        environment = {**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=4"}
        self.directory.mkdir(exist_ok=True)
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            env=environment)
        return self

    def family(self):
        """pids of the script and of all below it."""
        pids = [self.process.pid]
        for pid in pids:
            pids += children(pid)
        return pids

    def stop(self, number=signal.SIGTERM):
        """Ends it, if it runs, and checks that nothing is left."""
        if self._ended():
            return
        family = self.family()
        self.process.send_signal(number)
        assert self.process.wait(STOP_TIMEOUT) == 0, self.diagnosis()
        left = [pid for pid in family if alive(pid)]
        assert not left, f"{left}\n{self.diagnosis()}"
        for log in self.directory.glob("host*.log"):
            assert not any(text in log.read_text(errors="replace") for text in SANITIZER_REPORTS), self.diagnosis()

    def _ended(self):
        return self.process.poll() is not None

    def said(self):
        return self.output.read_text(errors="replace")

    def diagnosis(self):
        logs = [self.output, *sorted(self.directory.glob("*.log")), *self.directory.glob("host*/run/*.log")]
        return "\n".join(f"--- {log}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-30:]) for log in logs)

    # ------------------------------------------------------------ its parts

    def ports_of(self, name):
        return int(re.search(rf"^{name} +127\.0\.0\.1:(\d+)", self.said(), re.MULTILINE)[1])

    def pid_of(self, name):
        """The newest process of a part, as the script has it."""
        pattern = rf"^{name} +127\.0\.0\.1:\d+ +pid (\d+)$|^{name} ended.* pid (\d+)$"
        return int("".join(re.findall(pattern, self.said(), re.MULTILINE)[-1]))

    def kill(self, name):
        """SIGKILL for a part; waits until the script has started another."""
        victim = self.pid_of(name)
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: self.pid_of(name) != victim, f"another {name}")

    def status(self, host):
        done = subprocess.run([binary(), "status", "--json", "-c", self.directory / host / "workers.json"],
                              capture_output=True, text=True, timeout=20, check=False)
        return json.loads(done.stdout) if done.stdout.startswith("{") else {}

    def cluster_is_up(self, host):
        cluster = self.status(host).get("cluster", {})
        live = [node for node in cluster.get("nodes", []) if node["lease_ms"] > 0]
        return cluster.get("ready") and cluster["state"] == "up" and len(live) == 2

    # ------------------------------------------------------------ HAProxy

    def haproxy(self, command):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.directory / "haproxy.sock"))
            connection.sendall(command.encode() + b"\n")
            return connection.makefile().read()

    def host_of(self, client):
        """Where HAProxy has sent this client."""
        address = "src=127.0.0.1:%d " % client.socket.getsockname()[1]
        line = next(line for line in self.haproxy("show sess").splitlines() if address in line)
        return re.search(r" srv=(\w+)", line)[1]

    def is_in_service(self, host):
        fields = {}
        for line in self.haproxy("show stat").splitlines():
            words = line.split(",")
            fields[words[1] if len(words) > 1 else ""] = words
        names = fields["svname"]
        return fields[host][names.index("status")].startswith("UP")

    def connect(self, client_id, **fields):
        """A client through HAProxy; tries again while a host is dying, as clients do."""
        deadline = time.monotonic() + AGAIN_TIMEOUT
        while True:
            try:
                return Client(self.port).connect(client_id, **fields)
            except (Closed, OSError):
                assert time.monotonic() < deadline, "no CONNACK through HAProxy"
                time.sleep(0.05)  # a client's pause between two attempts

    @contextlib.contextmanager
    def only(self, host):
        """New connections go to this host."""
        others = {"host1", "host2"} - {host}
        for other in others:
            self.haproxy(f"set server hosts/{other} state drain")
        yield
        for other in others:
            self.haproxy(f"set server hosts/{other} state ready")

    def client_at(self, host, client_id, **fields):
        with self.only(host):
            client = self.connect(client_id, **fields)
            assert self.host_of(client) == host
            return client


@pytest.fixture
def directory():
    # Not pytest's tmp_path: Unix sockets want short names.
    path = Path(tempfile.mkdtemp(prefix="mm-deploy-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def deployment():
    path = Path(tempfile.mkdtemp(prefix="mm-deploy-"))
    with Deployment(path) as running:
        yield running
    shutil.rmtree(path, ignore_errors=True)


# ---------------------------------------------------------------- through HAProxy


def test_both_hosts_have_clients_and_are_one_broker(deployment, unique):
    assert deployment.cluster_is_up("host1") and deployment.cluster_is_up("host2")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(deployment.connect(f"{unique}-{i}")) for i in range(6)]
        hosts = [deployment.host_of(client) for client in clients]
        assert hosts.count("host1") == hosts.count("host2") == 3
        for client in clients:
            client.subscribe(f"{unique}/#", qos=2)
        for qos in (0, 1, 2):
            for publisher in clients[:2]:
                publisher.publish(f"{unique}/{qos}", b"%d" % qos, qos=qos)
                for client in clients:
                    client.receive(topic=f"{unique}/{qos}", payload=b"%d" % qos, qos=qos)
        for client in clients:
            client.expect_nothing()


@each_qos
def test_retained_message_is_there_on_the_other_host(deployment, unique, qos):
    with deployment.client_at("host1", f"{unique}-p") as publisher, \
            deployment.client_at("host2", f"{unique}-s") as subscriber:
        publisher.publish(unique, b"kept", qos=qos, retain=True)

        def kept():  # it comes to the other host in its own time
            subscriber.subscribe(unique, qos=0)
            return subscriber.fence()
        messages = eventually(kept, "the retained message on the other host")
        assert [(message.topic, message.payload) for message in messages] == [(unique, b"kept")]


def test_session_follows_its_client_to_the_other_host(deployment, unique):
    with deployment.client_at("host1", unique, **DURABLE) as client:
        client.subscribe(f"{unique}/#", qos=2)
        client.disconnect()
    with deployment.client_at("host2", f"{unique}-p") as publisher:
        for i in range(30):
            publisher.publish(f"{unique}/{i % 3}", b"%d" % i, qos=i % 2 + 1)
    with deployment.client_at("host2", unique, **DURABLE) as client:
        assert client.connack.session_present
        assert sorted(int(client.receive().payload) for _ in range(30)) == list(range(30))
        client.expect_nothing()


def test_clients_of_a_host_that_dies_go_on_with_the_other_and_it_comes_back(deployment, unique):
    clients = {f"{unique}-{i}": deployment.client_at(host, f"{unique}-{i}")
               for i, host in enumerate(["host1", "host2", "host1", "host2"])}
    deployment.kill("host1")
    for name, client in clients.items():
        if name.endswith(("-0", "-2")):
            client.expect_closed()
            client.close()
            clients[name] = deployment.connect(name)
    with contextlib.ExitStack() as stack:
        for client in clients.values():
            stack.enter_context(client)
            client.timeout = AGAIN_TIMEOUT  # a SUBACK may wait for the dead host's lease, or its return
            client.subscribe(unique, qos=2)
        publisher = clients[f"{unique}-1"]
        publisher.publish(unique, b"on", qos=2)
        for client in clients.values():
            client.receive(payload=b"on")

        eventually(lambda: deployment.cluster_is_up("host1"), "the host is back", AGAIN_TIMEOUT)
        eventually(lambda: deployment.is_in_service("host1"), "HAProxy uses it", AGAIN_TIMEOUT)
        with deployment.client_at("host1", f"{unique}-back") as back:
            back.timeout = AGAIN_TIMEOUT  # the cluster is young: a PUBACK may wait until everybody could have joined
            back.publish(unique, b"back", qos=1)
        for client in clients.values():
            client.receive(payload=b"back")


def test_host_that_hangs_loses_its_clients_to_the_other(deployment, unique):
    """The health check asks for a CONNACK: the kernel accepts connections for a stopped host, too."""
    client = deployment.client_at("host2", unique)
    master = deployment.pid_of("host2")
    stopped = [master, *children(master)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        client.timeout = AGAIN_TIMEOUT
        client.expect_closed()
        with deployment.connect(f"{unique}-again") as again:
            assert deployment.host_of(again) == "host1"
    finally:
        for pid in reversed(stopped):
            os.kill(pid, signal.SIGCONT)
        client.close()
    eventually(lambda: deployment.is_in_service("host2") and deployment.cluster_is_up("host2"), "it is back",
               AGAIN_TIMEOUT)


@pytest.mark.parametrize("part", ["redis", "haproxy"])
def test_part_that_dies_is_started_again(deployment, unique, part):
    deployment.kill(part)
    for host in ("host1", "host2"):
        eventually(lambda host=host: deployment.cluster_is_up(host), f"{host} has the cluster", AGAIN_TIMEOUT)
    deployment.connect(f"{unique}-probe").close()
    with deployment.client_at("host1", f"{unique}-s") as subscriber, \
            deployment.client_at("host2", f"{unique}-p") as publisher:
        subscriber.subscribe(unique, qos=1)
        publisher.publish(unique, b"again", qos=1)
        subscriber.receive(payload=b"again")


# ---------------------------------------------------------------- the script's start and end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_what_it_had_is_there_at_the_next_start(directory, number):
    with Deployment(directory) as first:
        with first.client_at("host1", "durable", **DURABLE) as client:
            client.subscribe("t", qos=1)
            client.disconnect()
        with first.client_at("host2", "p") as publisher:
            publisher.publish("t", b"queued", qos=1)
            publisher.publish("kept", b"kept", qos=1, retain=True)
        assert len(first.family()) > 1 + len(PARTS)
        first.stop(number)
    with Deployment(directory, "--workers", "2") as second:
        with second.client_at("host2", "durable", **DURABLE) as client:
            assert client.connack.session_present
            client.receive(payload=b"queued")
        with second.connect("s") as subscriber:
            subscriber.subscribe("kept", qos=1)
            subscriber.receive(payload=b"kept", retain=True)


def test_nothing_is_left_when_the_script_is_killed(directory):
    with Deployment(directory) as running:
        family = running.family()
        running.process.kill()
        running.process.wait()
        eventually(lambda: not any(map(alive, family)), "the end of all parts", STOP_TIMEOUT)


@pytest.mark.parametrize("part", ["redis", "host1", "host2", "haproxy"])
def test_port_that_is_taken(directory, part):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        option = "--port" if part == "haproxy" else f"--{part}-port"
        port = taken.getsockname()[1]
        refused(Deployment(directory, option, str(port)),
                f"{part} cannot start: something listens on port {port} already")


@pytest.mark.parametrize("part, obstacle, said", [
    ("redis", "redis/appendonlydir", "ended with code 1"),
    ("host2", "host2/data", "ended with code"),
    ("haproxy", "haproxy.sock", "ended with code 1"),
])
def test_part_that_cannot_start_is_named_and_the_others_are_stopped(directory, part, obstacle, said):
    """A file is where a directory should be, or the other way round."""
    path = directory / obstacle
    path.parent.mkdir(exist_ok=True)
    if part == "haproxy":
        (path / "not empty").mkdir(parents=True)
    else:
        path.write_text("in the way")
    refused(Deployment(directory), f"{part} cannot start: it {said}", f"The end of {directory}/{part}.log:\n  ")


def refused(deployment, *messages):
    deployment.spawn()
    seen = set()

    def ended():
        seen.update(deployment.family())
        return deployment.process.poll() is not None
    try:
        eventually(ended, "the end of the script", START_TIMEOUT)
    except AssertionError:
        deployment.stop()  # it runs, against expectation
        raise
    assert deployment.process.returncode == 1, deployment.diagnosis()
    for message in messages:
        assert message in deployment.said(), deployment.diagnosis()
    assert not any(map(alive, seen)), deployment.diagnosis()


@pytest.mark.parametrize("arguments, said", [
    ([], "DIRECTORY is missing"), (["--port", "x", "d"], "--port needs a number"), (["--what", "d"], "unknown option"),
    (["d", "e"], "one directory"),
])
def test_wrong_command_line(directory, arguments, said):
    done = subprocess.run([DEPLOY / "cluster/run", *arguments], cwd=directory, capture_output=True, text=True,
                          timeout=20, check=False)
    assert done.returncode == 2 and said in done.stderr and "usage:" in done.stderr
    assert not list(directory.iterdir())


# ---------------------------------------------------------------- the containers: no daemon here to run them


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "cluster/compose.yaml").read_text())


def dockerfile():
    """{stage: [instruction, ...]}, continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    stages, stage = {}, None
    for line in filter(None, (line.strip() for line in text.splitlines() if not line.startswith("#"))):
        if line.startswith("FROM "):
            stage = line.split(" AS ")[1]
            stages[stage] = []
        stages[stage].append(" ".join(line.split()))
    return stages


def instruction(stage, word):
    return [line.split(" ", 1)[1] for line in stage if line.startswith(word + " ")]


def packages(stage):
    return set(re.search(r"--no-install-recommends ([^&]*)", " ".join(stage))[1].split())


def test_containers_are_the_parts_of_the_script(compose):
    stages = dockerfile()
    assert set(compose["services"]) == PARTS
    for name, service in compose["services"].items():
        target = service["build"]["target"]
        assert target == ("mqtt-master" if name.startswith("host") else name) and target in stages
        context = (DEPLOY / "cluster" / service["build"]["context"]).resolve()
        assert context == ROOT and (context / service["build"]["dockerfile"]) == DEPLOY / "Dockerfile"
        assert service["restart"] == "unless-stopped" and service["healthcheck"]["test"][0] == "CMD"
    for name in ("redis", "host1", "host2"):
        named, path = compose["services"][name]["volumes"][-1].split(":")
        assert named == name and name in compose["volumes"]
        assert path in instruction(stages[compose["services"][name]["build"]["target"]], "VOLUME")
    assert compose["services"]["haproxy"]["ports"] == ["127.0.0.1:1883:1883"]


def test_containers_have_the_script_s_settings(compose):
    script = (DEPLOY / "cluster/run").read_text()
    services = compose["services"]
    for name in ("redis", "haproxy"):
        mounts = [mount.split(":") for mount in services[name]["volumes"] if mount.startswith("./")]
        for source, target, mode in mounts:
            assert (DEPLOY / "cluster" / source).is_file() and f'"$here/{source[2:]}"' in script
            assert target in services[name]["command"] and mode == "ro"
        assert len(mounts) == 1
    in_script = {name: set(re.findall(rf"\b({names})=", script)) for name, names in {
        "host1": "NODE_ID|LISTEN|REDIS_URL|WORKERS", "haproxy": "MQTT_LISTEN|MQTT_HOST1|MQTT_HOST2|HAPROXY_SOCKET"}.items()}
    assert set(services["haproxy"]["environment"]) == in_script["haproxy"]
    wanted = set(re.findall(r'"\$\{(\w+)\}"', (DEPLOY / "cluster/haproxy.cfg").read_text()))
    assert set(services["haproxy"]["environment"]) == wanted
    wanted = set(re.findall(r"@(\w+)@", (DEPLOY / "cluster/workers.json").read_text()))
    for host in ("host1", "host2"):
        environment = services[host]["environment"]
        assert set(environment) == in_script["host1"] == wanted
        assert environment["NODE_ID"] == host
        assert environment["REDIS_URL"] == "redis://redis:6379/0"
        assert services["haproxy"]["environment"]["MQTT_" + host.upper()] == f"{host}:1883"
        assert environment["LISTEN"].endswith(":1883")
    options = [word for word in services["redis"]["command"] if word.startswith("--")]
    assert all(option in script for option in options) and "6379" in services["redis"]["command"]


def test_host_of_a_container_has_a_good_configuration(compose, directory):
    for host in ("host1", "host2"):
        environment = {**os.environ, **compose["services"][host]["environment"], "MQTT_MASTER": binary()}
        done = subprocess.run([DEPLOY / "cluster/host", directory / host, "check"], env=environment,
                              capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (directory / host / "workers.json").stat().st_mode & 0o077 == 0


def test_what_is_put_into_a_configuration_stays_as_it_is(directory):
    url = "redis://user:a&b|c\\@127.0.0.1:6379/0"
    environment = {**os.environ, "NODE_ID": "n", "LISTEN": "127.0.0.1:1883", "REDIS_URL": url, "WORKERS": "3",
                   "MQTT_MASTER": "/bin/true"}
    subprocess.run([DEPLOY / "cluster/host", directory], env=environment, timeout=20, check=True)
    text = (directory / "workers.json").read_text()
    assert f'"url": "{url}"' in text and '"count": 3 ' in text


def test_haproxy_takes_its_file_with_the_names_of_containers(compose, directory):
    environment = {**os.environ, **compose["services"]["haproxy"]["environment"],
                   "MQTT_LISTEN": f"127.0.0.1:{free_ports(1)[0]}", "HAPROXY_SOCKET": str(directory / "s")}
    done = subprocess.run(["/usr/sbin/haproxy", "-c", "-f", DEPLOY / "cluster/haproxy.cfg"], env=environment,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_images_have_what_is_needed():
    stages = dockerfile()
    assert "scripts/install_deps build" in instruction(stages["build"], "RUN")
    assert all(stage[0].startswith("FROM debian:bookworm") for stage in stages.values())
    for line in [line for stage in stages.values() for line in instruction(stage, "COPY")]:
        *sources, _ = [word for word in line.split() if not word.startswith("--from")]
        assert "--from=build" in line or all((ROOT / source).exists() for source in sources), line
    known = subprocess.run(["sh", "-c", "grep -E '^(build|test)=' -A3 scripts/install_deps"], cwd=ROOT,
                           capture_output=True, text=True, check=True).stdout.replace('"', " ").split()
    assert packages(stages["redis"]) | packages(stages["haproxy"]) <= set(known)


def test_image_has_the_libraries_that_the_program_wants():
    """What the program names itself; the rest comes with these."""
    wanted = re.findall(r"NEEDED.*\[(.*)\]",
                        subprocess.run(["readelf", "-d", binary()], capture_output=True, text=True, check=True).stdout)
    paths = dict(re.findall(r"(\S+) => (\S+)",
                            subprocess.run(["ldd", binary()], capture_output=True, text=True, check=True).stdout))
    files = [paths[name] for name in wanted if name in paths]
    owners = set()
    for file in files:
        # What was installed under /usr/lib may have been found under /lib.
        for path in (os.path.realpath(file), file, "/usr" + file):
            done = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                owners.add(done.stdout.split(":")[0])
                break
        else:
            raise AssertionError(f"no package has {file}")
    always_there = {"libc6", "libgcc-s1", "libstdc++6", "libasan8", "libubsan1", "libfmt9", "libmd0"}
    assert owners - always_there == packages(dockerfile()["mqtt-master"]), owners
