#!/usr/bin/python3
"""counts.py: what a stream's message costs a server in instructions and in system calls; prints markdown.

Instructions are those of the process by callgrind, the kernel's not among them; system calls are strace's. Both are
the difference of two runs, of which one has three times as many messages, so that what a start costs cancels. Other
work on the machine doesn't change the first, and hardly the second. POINTS and PEERS (names, comma between) may be set.
"""
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import peers

# name: a point of peers.py, connections, rounds of the shorter run, messages in flight
POINTS = {
    "echo50": (50, 20, 1),
    "echo1000": (1000, 1, 1),
    "echo16k": (50, 10, 1),
    "pipe": (50, 4, 16),
    "line": (50, 20, 1),
    "linepipe": (50, 4, 16),
    "churn": (50, 10, 1),
    "bulk": (1, 1, 1),
}
PEERS = ["ours", "luv", "libuv in C"]
CALLS = ["read", "write", "epoll_wait", "epoll_ctl", "others"]
SAME = {"recvfrom": "read", "readv": "read", "sendto": "write", "writev": "write", "sendmsg": "write",
        "epoll_pwait": "epoll_wait"}


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, message):
        self.socket.sendall(message)

    def receive(self, n):
        while n:
            got = self.socket.recv(min(n, 1 << 20))
            if not got:
                raise EOFError
            n -= len(got)

    def close(self):
        self.socket.close()


def echo(clients, message):
    """A message of each, then each one's answer."""
    for client in clients:
        client.send(message)
    for client in clients:
        client.receive(len(message))


def talk(point, port, rounds):
    """So many rounds of messages."""
    _, kind, _, size, _, _ = peers.POINTS[point]
    n, _, in_flight = POINTS[point]
    message = (b"x" * (size - 1) + b"\n") * in_flight
    if kind == "bulk":
        for _ in range(rounds):
            client = Client(port)
            client.receive(1 << 30)
            client.close()
        return
    clients = [Client(port) for _ in range(n if kind == "echo" else 0)]
    echo(clients, message)
    for _ in range(rounds):
        if kind == "churn":
            clients = [Client(port) for _ in range(n)]
        echo(clients, message)
        for client in clients if kind == "churn" else ():
            client.close()
    if kind == "churn":  # a last one, so that the ends of all others have been seen
        time.sleep(0.2)
        echo([Client(port)], message)


def run(before, peer, point, rounds):
    """Runs a server below `before`, and talks to it."""
    command = peers.PEERS[peer]
    mode, _, _, size, _, _ = peers.POINTS[point]
    port = peers.free_port()
    environment = {**os.environ, **peers.HEAP, **(peers.COLLECTOR if size >= 16384 else {})}
    server = subprocess.Popen(before + command + [mode, port], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              env=environment, text=True)
    try:
        if not peers.await_listener(server, port):
            raise OSError(f"{peer} doesn't listen")
        talk(point, int(port), rounds)
        time.sleep(0.2)
    finally:
        stop(server)
        said = server.communicate(timeout=60)[1]
    return said


def stop(process):
    """Ends the program; what watches it ends with that."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as f:
        children = f.read().split()
    os.kill(int(children[0]) if children else process.pid, signal.SIGTERM)


def instructions(peer, point, rounds):
    before = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    return int(re.search(r"Collected : (\d+)", run(before, peer, point, rounds))[1])


def calls(peer, point, rounds):
    with tempfile.NamedTemporaryFile("r") as table:
        run(["strace", "-f", "-c", "-U", "calls,name", "-o", table.name], peer, point, rounds)
        found = dict.fromkeys(CALLS, 0)
        for line in table:
            row = re.match(r"\s*(\d+)\s+(\w+)$", line)
            if row and row[2] != "total":
                name = SAME.get(row[2], row[2])
                found[name if name in CALLS else "others"] += int(row[1])
    return found


def messages(point, rounds):
    n, _, in_flight = POINTS[point]
    return rounds * n * in_flight if point != "bulk" else rounds * (1 << 30) / 1e6


def measure(peer, point):
    """Of a message: instructions, and calls by name."""
    few = POINTS[point][1]
    more, n = 3 * few, messages(point, 2 * few)
    one = (instructions(peer, point, more) - instructions(peer, point, few)) / n
    first, then = calls(peer, point, few), calls(peer, point, more)
    return one, {name: (then[name] - first[name]) / n for name in CALLS}


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.005 else "–"


def main():
    points = os.environ.get("POINTS", ",".join(POINTS)).split(",")
    names = os.environ.get("PEERS", ",".join(PEERS)).split(",")
    print("Of a message (bulk: of a MB); – is less than half a hundredth. A call that is tried in vain counts.\n")
    print("| | |instructions|" + "|".join(CALLS) + "|all calls|\n|---|---|" + "---:|" * (len(CALLS) + 2))
    for point in points:
        for i, peer in enumerate(names):
            count, by_name = measure(peer, point)
            cells = [number(count)] + [number(by_name[name]) for name in CALLS] + [f"{sum(by_name.values()):.2f}"]
            print(f"| {'' if i else point} | {peer} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
