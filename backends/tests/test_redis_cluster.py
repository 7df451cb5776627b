"""A keep on three real nodes of a cluster: found by any of them, moved, and failed over."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import redis
from redis.crc import key_slot

import quantkeep
from quantkeep import OutcomeUnknown, QuantkeepError, Unavailable
from quantkeep.errors import InvalidUrl
from quantkeep_backends.redis.keys import Names
from quantkeep_conformance import servers
from quantkeep_conformance.records import KIT_RECORDS, Entry, Setting

SLOTS = 16_384


@attrs.define
class Node:
    """One node, which a test may kill."""

    process: servers.Process
    client: redis.Redis
    port: int

    @property
    def id(self) -> str:
        return self.client.cluster("myid").decode()

    def ask(self, *command: Any) -> Any:
        return self.client.execute_command(*command)


@attrs.define
class Cluster:
    """Three primaries, and a replica of the one that holds the keep."""

    nodes: list[Node]
    replica: Node

    def url(self, node: Node, name: str = "default") -> str:
        return f"redis+cluster://127.0.0.1:{node.port}?name={name}&timeout=30"

    def owner(self, name: str = "default") -> Node:
        slot = key_slot(Names(name).meta)
        return self.nodes[slot * 3 // SLOTS]  # as they are handed out below


def started(ending: contextlib.ExitStack, kind: str, port: int) -> Node:
    settings = {
        "cluster-enabled": "yes",
        # A node that a slow machine holds up is not failed over: only where a test asks for it.
        "cluster-node-timeout": "60000",
        "cluster-replica-validity-factor": "0",
        "cluster-require-full-coverage": "no",
        "repl-diskless-sync-delay": "0",
    }
    server = ending.enter_context(servers.redis(kind, settings, port=port))
    return Node(server.process, redis.Redis(port=port, protocol=2), port)


def free_ports(count: int) -> list[int]:
    """Whose cluster bus, 10,000 above, is free too."""
    found: set[int] = set()
    while len(found) < count:
        found.add(servers.free_port())
    return sorted(found)


@pytest.fixture(scope="module", params=["redis", "valkey"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with contextlib.ExitStack() as ending:
        nodes = [started(ending, request.param, port) for port in free_ports(4)]
        made = Cluster(nodes[:3], nodes[3])
        join(made)
        yield made


def join(cluster: Cluster) -> None:
    first = cluster.nodes[0]
    for number, node in enumerate(cluster.nodes):
        slots = range(SLOTS * number // 3, SLOTS * (number + 1) // 3)
        node.ask("CLUSTER", "ADDSLOTS", *slots)
    for node in (*cluster.nodes[1:], cluster.replica):
        node.ask("CLUSTER", "MEET", "127.0.0.1", first.port)
    insist(lambda: all(known(node) == 4 for node in (*cluster.nodes, cluster.replica)))
    insist(lambda: cluster.replica.ask("CLUSTER", "REPLICATE", cluster.owner().id))
    insist(lambda: all(map(has_settled, (*cluster.nodes, cluster.replica))))
    insist(lambda: cluster.replica.client.info("replication")["master_link_status"] == "up")


def has_settled(node: Node) -> bool:
    """Whether it knows who has each slot: not all have to be served for a node to be ok."""
    said = node.client.cluster("info")
    return said["cluster_state"] == "ok" and int(said["cluster_slots_assigned"]) == SLOTS


def known(node: Node) -> int:
    return int(node.client.cluster("info")["cluster_known_nodes"])


def insist(act: Any, seconds: float = 90) -> Any:
    """*act* again and again, until it neither fails nor is false."""
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.RedisError, QuantkeepError, KeyError):
            if found := act():
                return found
        assert time.monotonic() < until, "the cluster does not settle"
        time.sleep(0.05)


def test_any_node_leads_to_the_keep(cluster: Cluster):
    for number, node in enumerate(cluster.nodes):
        with quantkeep.open({"tape": cluster.url(node)}, records=KIT_RECORDS) as keep:
            keep.commit(keep.table(Entry).append([Entry(number=number)]))
            rows = [Entry(number=n, uid=f"{number} {n}") for n in range(400)]
            keep.commit(keep.table(Entry).append(rows))
            assert keep.table(Entry).count() == 401 * (number + 1)
            assert keep.health()[next(iter(keep.health()))].facts["cluster"] is True


def test_a_keep_is_in_one_slot(cluster: Cluster):
    name = "one slot"
    with quantkeep.open({"tape": cluster.url(cluster.nodes[0], name)}, records=KIT_RECORDS) as keep:
        keep.commit(keep.table(Setting).put(Setting(owner="{a}", name="{b}", value=1)))
        keep.commit(keep.table(Entry).append([Entry(account="}{", number=1)]))
    keys = [key for node in cluster.nodes for key in node.client.scan_iter("quantkeep:{one%20*")]
    assert len(keys) > 5
    assert len({key_slot(key) for key in keys}) == 1


def test_a_node_of_a_cluster_says_so(cluster: Cluster):
    other = next(node for node in cluster.nodes if node is not cluster.owner())
    with pytest.raises(InvalidUrl, match=r"redis\+cluster"):
        quantkeep.open(f"redis://127.0.0.1:{other.port}/0")
    with pytest.raises(InvalidUrl, match="one database"):
        quantkeep.open(f"redis+cluster://127.0.0.1:{other.port}/3")


def test_a_handle_follows_its_slot_to_another_node(cluster: Cluster):
    """MOVED: the command was not executed, and is sent to where the slot is now."""
    name = next(
        f"moves {n}" for n in range(1_000) if cluster.owner(f"moves {n}") is not cluster.owner()
    )
    source = cluster.owner(name)
    target = next(n for n in cluster.nodes if n not in (source, cluster.owner()))
    slot = key_slot(Names(name).meta)
    with quantkeep.open({"tape": cluster.url(source, name)}, records=KIT_RECORDS) as keep:
        keep.commit(keep.table(Entry).append([Entry(number=1)]))
        keep.commit(keep.table(Entry).append([Entry(number=n, uid=f"{n}") for n in range(2, 500)]))
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10_000)
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
        for node in (target, source, *cluster.nodes):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)
        keep.commit(keep.table(Entry).append([Entry(number=500)]))
        assert [entry.number for entry in keep.table(Entry).scan()] == [*range(1, 501)]
        assert keep.backend.check() == []


@pytest.mark.requirement("D70-38")
def test_a_killed_primary_is_failed_over(cluster: Cluster, impatient: Any):
    """With wait=1 nothing that was acknowledged is lost; the handle goes on with the replica."""
    owner = cluster.owner()
    url = cluster.url(owner) + "&wait=1"
    with quantkeep.open({"tape": url}, records=KIT_RECORDS, durability="replicated") as keep:
        table = keep.table(Setting)
        for number in range(200):
            keep.commit(table.put(Setting(owner="failover", name=f"{number}", value=number)))
        owner.process.stop(9)
        with impatient(keep, 0.2), pytest.raises((Unavailable, OutcomeUnknown)):
            keep.commit(table.put(Setting(owner="failover", name="lost", value=1)))
        for node in (*cluster.nodes, cluster.replica):
            if node is not owner:
                node.client.config_set("cluster-node-timeout", 500)
        found = insist(lambda: table.list(quantkeep.Where("owner", "==", "failover")))
        assert {f"{n}" for n in range(200)} <= {setting.name for setting in found}
    other = next(node for node in cluster.nodes if node is not owner)
    with quantkeep.open({"tape": cluster.url(other)}, records=KIT_RECORDS) as keep:
        keep.commit(keep.table(Setting).put(Setting(owner="failover", name="after", value=1)))
        assert keep.backend.check() == []
