"""Hosts in network namespaces of their own, so that a test can cut one off from Redis as a broken switch does: packets
go nowhere, and nobody is told.

    test process (clients) ──10.N.1.0/30── host-1 ──10.N.101.0/30── Redis
                           ──10.N.2.0/30── host-2 ──10.N.102.0/30──

Needs root and iproute2.
"""
import contextlib
import os
import random
import subprocess

import pytest

from mm.cluster import Cluster, Host
from mm.redis import Redis


def ip(*words, namespace=None):
    place = ["-n", namespace] if namespace else []
    return subprocess.run(["ip", *place, *words], check=True, capture_output=True, text=True)


def require_namespaces():
    """Skips the test where the kernel has none for us."""
    name = f"mm{os.getpid()}probe"
    try:
        ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', '') or error}")
    ip("netns", "del", name)


class NamespaceCluster(Cluster):
    """A Cluster with the verbs partition(host) and heal(host)."""

    def __init__(self, hosts=2, **fields):
        require_namespaces()
        self._tag = f"mm{os.getpid():x}{random.SystemRandom().randrange(256):02x}"
        self._net = random.SystemRandom().randrange(100, 250)
        self._redis_namespace = f"{self._tag}r"
        self._namespaces = []
        try:
            self._make_namespace(self._redis_namespace)
            for index in range(hosts):
                self._make_links(index)
            redis = Redis(address="0.0.0.0", inside=["ip", "netns", "exec", self._redis_namespace])
            super().__init__(hosts, redis=redis, **fields)
        except BaseException:
            self._remove_namespaces()
            raise

    def _make_namespace(self, name):
        ip("netns", "add", name)
        self._namespaces.append(name)
        ip("link", "set", "lo", "up", namespace=name)

    def _make_links(self, index):
        """A link to the test process and one to Redis; the far ends of links bear the number of the host."""
        host = f"{self._tag}h{index}"
        self._make_namespace(host)
        for kind, near, net in (("c", None, index + 1), ("r", self._redis_namespace, index + 101)):
            ours = f"{self._tag}{kind}{index}"
            place = ["netns", near] if near else []
            ip("link", "add", ours, *place, "type", "veth", "peer", "name", kind, "netns", host)
            for name, namespace, last in ((ours, near, 1), (kind, host, 2)):
                ip("addr", "add", f"10.{self._net}.{net}.{last}/30", "dev", name, namespace=namespace)
                ip("link", "set", name, "up", namespace=namespace)

    def make_host(self, index):
        url = f"redis://10.{self._net}.{index + 101}.1:{self.redis.port}/0"
        return Host(f"host-{index}", url, self._workers, self._config, address=f"10.{self._net}.{index + 1}.2",
                    inside=["ip", "netns", "exec", f"{self._tag}h{index}"])

    def __enter__(self):
        try:
            self.redis.__enter__()
            return super().__enter__()
        except BaseException:
            self.redis.__exit__(True)
            self._remove_namespaces()
            raise

    def __exit__(self, *failure):
        try:
            return super().__exit__(*failure)
        finally:
            self.redis.__exit__(failure[0])
            self._remove_namespaces()

    def _remove_namespaces(self):
        for name in self._namespaces:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)

    # ------------------------------------------------------------ trouble

    def _link(self, host, state):
        ip("link", "set", f"{self._tag}r{self.hosts.index(host)}", state, namespace=self._redis_namespace)

    def partition(self, host):
        """Cuts a host off from Redis; its clients still reach it."""
        self._link(host, "down")

    def heal(self, host):
        self._link(host, "up")
