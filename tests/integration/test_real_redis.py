# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's redis-server under redis-benchmark: patched and put back again and again, and no request fails."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from livepatch.artifact import file as artifact_file
from tests.harness import product, traces
from tests.real.objects import functions_that_differ
from tests.real.redis import rebuild, server

pytestmark = pytest.mark.xdist_group("redis")  # it is built once

ROUNDS = 200
NEW = 1 << 32  # what the new INCRBY adds besides


@pytest.fixture(scope="module")
def redis() -> rebuild.Rebuilt:
    """Debian's redis without the one fix, and pairs of objects."""
    return rebuild.rebuilt()


@pytest.fixture(scope="module")
def patch(redis, tmp_path_factory) -> Path:
    """INCRBY counts anew."""
    artifact = tmp_path_factory.mktemp("redis") / "incrby.lp.o"
    return product.build_pairs(artifact, redis.server, "incrby", redis.incrby)


@pytest.fixture(scope="module")
def fix(redis, tmp_path_factory) -> Path:
    """Debian's fix of CVE-2024-51741."""
    artifact = tmp_path_factory.mktemp("redis") / "redis-cve-2024-51741.lp.o"
    return product.build_pairs(artifact, redis.server, "redis-cve", redis.acl, "--cve", "CVE-2024-51741")


@pytest.fixture
def running(redis, tmp_path_factory):
    """The server and a client of ours."""
    path = tmp_path_factory.mktemp("redis") / "socket"
    with server.running(redis, path) as program:
        client = server.Client(path)
        yield program, client, path
        client.close()


def resident(pid: int) -> int:
    """Kilobytes of memory that the process has, without what it shares (proc_pid_status(5))."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon:"))


def test_one_function_goes_in_and_out_two_hundred_times_under_load(redis, patch, running):
    assert [each.name for each in artifact_file.read(str(patch)).manifest.functions] == ["incrbyCommand"]
    program, client, path = running
    selected = ("--pid", program.pid, patch)

    with server.load(redis, path) as unpatched:
        while unpatched.runs < 3:  # looked at all the time, as for a patch, but never stopped
            assert product.forked("check", *selected).status == "planned"
            unpatched.go_on()
    connections = int(client.info("stats")["total_connections_received"])
    per_run, rest = divmod(connections - 1, unpatched.runs)
    assert rest == 0
    assert per_run >= server.CLIENTS
    client.ask("DEL", server.COUNTER)
    client.ask("CONFIG", "RESETSTAT")

    before = memory = 0
    stops = []
    with server.load(redis, path) as benchmark:
        for number in range(ROUNDS):
            # As an operator runs it in the first rounds; then without the start of a Python each time.
            livepatch = product.livepatch if number < 3 else product.forked
            applied = livepatch("apply", *selected)
            assert applied.status == "applied", applied
            assert client.add("ours") == 1 + NEW
            benchmark.go_on()
            reverted = livepatch("revert", *selected)
            assert reverted.status == "reverted", reverted
            assert client.add("ours") == 1
            benchmark.go_on()
            stops += [applied.process["stop_us"], reverted.process["stop_us"]]
            if number == 20:
                before, memory = len(traces.maps(program.pid)), resident(program.pid)
    assert len(traces.maps(program.pid)) <= before + 2, traces.our_mappings(program.pid)
    assert resident(program.pid) < memory + 1024

    # What the last revert may have had to keep is out of use by now, and the next command frees it.
    assert product.livepatch("recover", "--pid", program.pid).code == 0
    traces.assert_clean(program.pid)

    requests = benchmark.runs * server.REQUESTS
    counted = int(client.ask("GET", server.COUNTER))
    assert counted % NEW == requests, "a request was lost or carried out twice"
    assert requests / 10 < counted // NEW < requests * 9 / 10, "one of both codes was hardly ever asked"
    stats = client.info("stats")
    assert int(stats["total_connections_received"]) == benchmark.runs * per_run, "a client had to connect anew"
    assert stats["total_error_replies"] == "0"
    commands = client.info("commandstats")["cmdstat_incrby"]
    assert f"calls={requests + 2 * ROUNDS}," in commands
    assert "rejected_calls=0,failed_calls=0" in commands
    print(
        f"{benchmark.runs} runs of {server.REQUESTS} requests, {requests} in all; "
        f"stop: median {statistics.median(stops):.0f} us, longest {max(stops):.0f} us; "
        f"longest latency of a run: median {statistics.median(benchmark.longest)} ms, "
        f"longest {max(benchmark.longest)} ms; where it was only checked {statistics.median(unpatched.longest)} ms"
    )


def test_a_real_fix_goes_in_and_out_under_load(redis, fix, running):
    """CVE-2024-51741: a key selector without permissions is taken, and whoever looks at it ends the server."""
    assert functions_that_differ(redis.acl.old_noline, redis.acl.new_noline) == {"ACLSetSelector"}
    assert [each.name for each in artifact_file.read(str(fix)).manifest.functions] == ["ACLSetSelector"]
    program, client, path = running

    def select() -> str:
        reply = client.ask("ACL", "SETUSER", "somebody", "%")
        client.ask("ACL", "DELUSER", "somebody")
        return reply

    with server.load(redis, path) as benchmark:
        for _ in range(3):
            assert select() == "OK"
            assert product.livepatch("apply", "--pid", program.pid, fix).status == "applied"
            assert select() == "-ERR Error in ACL SETUSER modifier '%': Syntax error"
            assert product.livepatch("revert", "--pid", program.pid, fix).status == "reverted"
            benchmark.go_on()
    assert select() == "OK"
    assert int(client.ask("GET", server.COUNTER)) == benchmark.runs * server.REQUESTS
    traces.assert_clean(program.pid)
