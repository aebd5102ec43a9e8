#!/usr/bin/python3
"""peers.py: our streams and datagrams beside those of others, on one machine in one run; prints markdown.

Each round measures every peer once, one after the other, so that a slow moment of the machine meets all of
them; ratios are taken within a round. The server runs on one core, the clients on another.
ROUNDS (9), BENCH_SECONDS (1.5, for one measurement), POINTS and PEERS (names, comma between) may be set; COLLECTOR: Lua
that sets the collector where messages are large.
"""
import atexit
import contextlib
import functools
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import rounds

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("BUILD", os.path.join(HERE, "..", "build"))
ROUNDS = int(os.environ.get("ROUNDS", "9"))
SECONDS = os.environ.get("BENCH_SECONDS", "1.5")
LUA = os.environ.get("LUA", "lua5.4")

# lua-eco's program; where it was not installed it may stand with its modules in a folder of its own
ECO = os.environ.get("ECO") or shutil.which("eco") or BUILD + "/bench/eco/bin/eco"

# name: mode of the server, kind of load, connections, bytes, messages in flight, what it is
POINTS = {
    "echo50": ("echo", "echo", 50, 64, 1, "50 connections, 64 bytes there and back"),
    "limits50": ("limits", "echo", 50, 64, 1, "the same with `read_timeout` and `write_timeout`"),
    "echo1000": ("echo", "echo", 1000, 64, 1, "1,000 connections"),
    "echo16k": ("echo", "echo", 50, 16384, 1, "16 KiB messages"),
    "pipe": ("echo", "echo", 50, 64, 16, "16 messages in flight on each connection"),
    "copy16k": ("copy", "echo", 50, 16384, 1, "the same by `asyncio.copy`"),
    "proxy16k": ("proxy", "echo", 50, 16384, 1, "16 KiB messages through a proxy by `asyncio.copy`, there and back"),
    "proxybulk": ("proxy", "echo", 4, 1 << 20, 1, "1 MiB messages through it"),
    "line": ("line", "echo", 50, 64, 1, "line by line"),
    "linepipe": ("line", "echo", 50, 64, 16, "line by line, 16 lines in flight"),
    "churn": ("echo", "churn", 50, 64, 1, "a connection for each message"),
    "bulk": ("bulk", "bulk", 1, 64, 1, "1 GiB in pieces of 64 KiB, for each MB"),
    "idle": ("echo", "idle", 10000, 64, 1, "bytes for each of 10,000 connections after one echo"),
    "udp": ("udp", "udp", 50, 64, 1, "datagrams of 64 bytes there and back, 50 clients, one at a time"),
    "udpiter": ("udp-iter", "udp", 50, 64, 1, "the same in a `for` loop over `endpoint:iter()`"),
    "udpmany": ("udp-many", "udp", 10, 64, 16, "10 clients with 16 in flight, by `receive_many` and `send_many`"),
    "tls64": ("tls-echo", "tls-echo", 50, 64, 1, "TLS 1.3, 50 connections, 64 bytes there and back"),
    "tls16k": ("tls-echo", "tls-echo", 50, 16384, 1, "TLS, 16 KiB messages"),
    "tlsfull": ("tls-echo", "tls-churn", 50, 64, 1, "TLS, a handshake (P-256), a message, the end"),
    "tlsresumed": ("tls-echo", "tls-resume", 50, 64, 1, "the same with a session resumed"),
    "tlsbulk": ("tls-bulk", "tls-bulk", 1, 64, 1, "TLS, 1 GiB in pieces of 64 KiB, for each MB"),
    "tlsidle": ("tls-echo", "tls-idle", 2000, 64, 1, "TLS, bytes for each of 2,000 connections after one echo"),
}
PEERS = {
    "ours": [LUA, HERE + "/servers/ours.lua"],
    "luv": [LUA, HERE + "/servers/luv.lua"],
    "cqueues": [LUA, HERE + "/servers/cqueues.lua"],
    "lua-eco": [ECO, HERE + "/servers/eco.lua"],
    "asyncio": [sys.executable, HERE + "/servers/python.py"],
    "uvloop": [sys.executable, HERE + "/servers/python.py"],
    "libuv in C": [BUILD + "/bench/libuv"],
    "libuv's recvmmsg": [BUILD + "/bench/datagrams"],
    "Node": ["node", HERE + "/servers/node.js"],
}
FLOOR_OF_DATAGRAMS = [BUILD + "/bench/datagrams"]
FLOOR_OF_TLS = [BUILD + "/bench/tls"]  # libuv and OpenSSL
# glibc maps and unmaps each block of 128 KiB or more, which would be most of what asyncio's reads of 256 KiB cost;
# and gives the top of its heap back. Every peer gets the same heap, which keeps what it has: none is better off with
# glibc's own settings, or with jemalloc.
HEAP = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "134217728", "MALLOC_TOP_PAD_": "1048576"}
# the command's generational mode is for small objects
COLLECTOR = {"LUA_INIT": os.environ.get("COLLECTOR", "collectgarbage 'incremental'")}
# its buffer is static: no comparison; it doesn't get through 10,000 connections in a minute
LEFT_OUT = {("libuv in C", "idle"), ("lua-eco", "idle")}
COPIERS = {"ours", "libuv in C"}  # who else has a copy of its own
TLS = {"ours", "asyncio", "uvloop", "Node", "libuv in C"}
UDP = {"ours", "luv", "asyncio", "uvloop", "Node", "libuv in C", "libuv's recvmmsg"}
STREAMS = set(PEERS) - {"libuv's recvmmsg"}
# of modes that not all have
WHO = {"udp": UDP, "udp-iter": UDP, "udp-many": UDP,
       "copy": COPIERS, "proxy": COPIERS, "limits": {"ours"}, "tls-echo": TLS, "tls-bulk": TLS}


def pinned(core, command, **options):
    if os.cpu_count() > 1:
        command = ["taskset", "-c", str(core)] + command
    return subprocess.Popen(command, **options)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def listening(port, protocol, state):
    wanted = f"0100007F:{int(port):04X}"
    with open("/proc/net/" + protocol) as table:
        return any(row.split()[1] == wanted and row.split()[3] == state for row in list(table)[1:])


def await_listener(server, port, protocol="tcp"):
    deadline = time.monotonic() + 20
    while not listening(port, protocol, "0A" if protocol == "tcp" else "07"):
        if server.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def may(peer, point):
    mode = POINTS[point][0]
    return (peer, point) not in LEFT_OUT and peer in WHO.get(mode, STREAMS) and shutil.which(PEERS[peer][0])


def eco_modules():
    """Where lua-eco's modules are, beside its program, for the environment."""
    modules = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(ECO))), "lib/lua/5.4")
    return {"LUA_PATH": modules + "/?.lua;;", "LUA_CPATH": modules + "/?.so;;"}


@functools.cache
def certificate():
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    subprocess.run(["sh", HERE + "/../spec/certificates.sh", folder], check=True)
    return {"CERTFILE": folder + "/server.pem", "KEYFILE": folder + "/server.key"}


@contextlib.contextmanager
def serving(peer, point):
    """The server's process and its port; None when it doesn't listen."""
    mode, kind, _, size, _, _ = POINTS[point]
    port = free_port()
    extra = ["uvloop"] if peer == "uvloop" else []
    far = None
    if mode == "proxy":
        far_port = free_port()
        far = pinned(1, PEERS["libuv in C"] + ["echo", far_port])
        await_listener(far, far_port)
        extra = [far_port]
    command, at_server = PEERS[peer], mode
    environment = {**os.environ, **HEAP, **(COLLECTOR if size >= 16384 else {})}
    if kind == "udp" and peer != "ours":
        at_server = "mmsg" if peer == "libuv's recvmmsg" else "udp"
        if peer == "libuv in C":
            command = FLOOR_OF_DATAGRAMS
    if mode.startswith("tls"):
        environment.update(certificate())
        if peer == "libuv in C":
            command = FLOOR_OF_TLS
    if peer == "lua-eco":
        environment.update(eco_modules())
    server = pinned(0, command + [at_server, port] + extra, stderr=subprocess.DEVNULL, env=environment)
    try:
        listens = await_listener(server, port, "udp" if kind == "udp" else "tcp")
        yield (server, port) if listens else None
    finally:
        for process in filter(None, (server, far)):
            process.kill()
            process.wait()


def load(server, port, point, seconds):
    """What the clients have measured of it; None when they failed."""
    _, kind, connections, size, in_flight, _ = POINTS[point]
    clients = pinned(1, [BUILD + "/bench/load", str(server.pid), port, kind, str(connections), str(size), seconds,
                         str(in_flight)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        out = clients.communicate(timeout=120)[0]
    except subprocess.TimeoutExpired:
        clients.kill()
        clients.wait()
        return None
    return dict(pair.split("=") for pair in out.split()) if clients.returncode == 0 else None


def measure(peer, point):
    with serving(peer, point) as served:
        return served and load(*served, point, SECONDS)


def main():
    points, peers, got = rounds.measure(POINTS, PEERS, ROUNDS, may, measure)
    report(got, points, peers)


def figure(result, point):
    return result and float(result["bytes" if point.endswith("idle") else "cpu_us"])


def spread(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def table(title, peers, points, cell):
    print(f"\n### {title}\n\n| |" + "|".join(peers) + "|\n|---|" + "---:|" * len(peers))
    for point in points:
        print(f"| {point} | " + " | ".join(cell(peer, point) for peer in peers) + " |")


def report(got, points, peers):
    def values(peer, point):
        return [figure(result, point) for result in got.get((peer, point), [])]

    def absolute(peer, point):
        known = [v for v in values(peer, point) if v]
        return spread(known, 0 if point.endswith(("idle", "bulk")) else 2) if known else "–"

    def ratio(peer, point):
        pairs = [a / b for a, b in zip(values("ours", point), values(peer, point)) if a and b]
        return spread(pairs, 2) if pairs else "–"

    def late(peer, point):
        known = [int(r["p99_us"]) for r in got.get((peer, point), []) if r and "p99_us" in r]
        return spread(known, 0) if known else "–"

    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.release()}; {ROUNDS} rounds; "
          "median (least–greatest)\n")
    for point in points:
        print(f"* **{point}**: {POINTS[point][5]}")
    peers = [peer for peer in peers if any(values(peer, point) for point in points)]
    table("Processor time of the server for each message, µs (idle: memory, bytes)", peers, points, absolute)
    table("Ours as a part of theirs, round by round: below 1 ours needs less",
          [p for p in peers if p != "ours"], points, ratio)
    table("The 99th percentile of the time a message took, µs", peers,
          [p for p in points if POINTS[p][1] in ("echo", "churn", "udp")], late)


if __name__ == "__main__":
    main()
