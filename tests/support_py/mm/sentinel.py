"""A Redis that fails over: a master, its replica and three sentinels, each a process of its own.

    with Failover() as redis:
        redis.wait_for_replica()
        redis.master.kill()
        redis.failed_over()
        redis.sentinels[0].call("SENTINEL", "masters")
"""
import contextlib

from mm.broker import eventually
from mm.redis import Redis

NAME = "mm"
DOWN_AFTER = 800  # milliseconds
FAILOVER_TIMEOUT = 30.0
PASSWORD = "s3cret"


class Sentinel(Redis):
    """One that has been told of `master`. It writes what it learns into its file, which it needs for that."""

    def __init__(self, master, password=None, quorum=2):
        super().__init__(password=password)
        lines = [f"port {self.port}", f"bind {self.address}", f"dir {self.directory}", "protected-mode no",
                 f"unixsocket {self.directory}/socket",
                 f"sentinel monitor {NAME} {master.address} {master.port} {quorum}",
                 f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER}", f"sentinel failover-timeout {NAME} 3000"]
        if master.password:
            lines.append(f"sentinel auth-pass {NAME} {master.password}")
        if password:  # with it they speak to each other as well
            lines.append(f"requirepass {password}")
        self.file.write_text("\n".join(lines) + "\n")

    @property
    def file(self):
        return self.directory / "sentinel.conf"

    def _words(self):
        return [str(self.file), "--sentinel"]

    def master(self):
        """(address, port) of the master that it knows."""
        address, port = self.call("SENTINEL", "get-master-addr-by-name", NAME)
        return address, int(port)

    def knows_everybody(self):
        return "slaves=1,sentinels=3" in self.call("INFO", "sentinel")


class Failover:
    """In the place of a Redis of a Cluster: pass `config` to its hosts."""

    def __init__(self, sentinel_password=None):
        self.master = Redis(password=PASSWORD)
        self.replica = Redis(password=PASSWORD, masterauth=PASSWORD,
                             replicaof=f"{self.master.address} {self.master.port}")
        self._sentinel_password = sentinel_password
        self.sentinels = []

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.master)
            stack.enter_context(self.replica)
            for _ in range(3):
                self.sentinels.append(stack.enter_context(Sentinel(self.master, self._sentinel_password)))
            eventually(lambda: all(sentinel.knows_everybody() for sentinel in self.sentinels),
                       "all sentinels know each other and the replica", FAILOVER_TIMEOUT)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure):
        return self._stack.__exit__(*failure)

    @property
    def url(self):
        return f"redis://:{PASSWORD}@/0"

    @property
    def config(self):
        hosts = [f"{sentinel.address}:{sentinel.port}" for sentinel in self.sentinels]
        redis = {"sentinels": hosts, "sentinel_master": NAME}
        if self._sentinel_password:
            redis["sentinel_password"] = self._sentinel_password
        return {"redis": redis}

    def wait_for_replica(self):
        """Until it has all that the master has now."""
        eventually(lambda: self.offset(self.replica) >= self.offset(self.master), "the replica has everything")

    @staticmethod
    def offset(server):
        fields = dict(line.split(":", 1) for line in server.call("INFO", "replication").splitlines() if ":" in line)
        return int(fields.get("slave_repl_offset", fields["master_repl_offset"]))

    def cut_replica_off(self):
        """It stays one that may become the master, but gets nothing any more."""
        self.replica.call("CONFIG", "SET", "masterauth", "not the password")
        self.master.call("CLIENT", "KILL", "TYPE", "replica")
        eventually(lambda: "master_link_status:down" in self.replica.call("INFO", "replication"), "a broken link")

    def failed_over(self):
        """Waits until the replica is the master for every sentinel."""
        place = (self.replica.address, self.replica.port)
        eventually(lambda: all(sentinel.master() == place for sentinel in self.sentinels), "a failover",
                   FAILOVER_TIMEOUT)
