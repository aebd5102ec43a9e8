#!/usr/bin/python3
"""websocket.py: processor time for each message that a WebSocket server echoes, of ours and of others; prints markdown.

The server runs on one core, its clients (ours) on the other. ROUNDS (5), BENCH_SECONDS (2), POINTS and PEERS may be set.
"""
import importlib.util
import os
import platform
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("http_bench", HERE + "/http.py")  # Python has an http of its own
http = importlib.util.module_from_spec(spec)
spec.loader.exec_module(http)
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = os.environ.get("BENCH_SECONDS", "2")
POINTS = {"echo64": (50, 64), "echo64k": (10, 65536), "idle": (1000, 64)}  # connections, bytes
PEERS = {
    "ours": [os.environ.get("LUA", "lua5.4"), HERE + "/servers/ws_ours.lua"],
    "Node ws": ["node", HERE + "/servers/ws_node.js"],
    "websockets on uvloop": ["/usr/bin/python3", HERE + "/servers/ws_python.py"],
}


def serving(name):
    port = http.free_port()
    return http.running(PEERS[name] + [str(port)], port, env={**os.environ, "NODE_PATH": "/usr/share/nodejs"})


def measure(pid, port, connections, size, idle):
    """Microseconds of the server's for each message; or bytes for each connection that is idle."""
    memory = http.memory(pid)
    with subprocess.Popen(["taskset", "-c", "1", PEERS["ours"][0], HERE + "/servers/ws_clients.lua", str(port),
                           str(connections), str(size), "0" if idle else SECONDS],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
        if clients.stdout.readline() != "ready\n":
            return None
        grown, before = http.memory(pid) - memory, http.used(pid)
        clients.stdin.write("\n")
        clients.stdin.flush()
        n = int(clients.stdout.readline() or 0)
        spent = http.used(pid) - before
        clients.stdin.write("\n")
        clients.stdin.close()
        return grown / connections if idle else spent / n * 1e6 if n else None


def main():
    names = os.environ.get("PEERS", ",".join(PEERS)).split(",")
    points = os.environ.get("POINTS", ",".join(POINTS)).split(",")
    got = {}
    for _ in range(ROUNDS):
        for point in points:
            for name in names:
                with serving(name) as server:
                    found = measure(*server, *POINTS[point], point == "idle")
                    if found:
                        got.setdefault((point, name), []).append(found)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.release()}; {ROUNDS} rounds of {SECONDS} s; "
          "median (least–greatest)\n")
    print("| |" + "|".join(names) + f"|{names[0]} beside {names[1]}|\n|---|" + "---:|" * (len(names) + 1))
    for point in points:
        values = [sorted(got.get((point, name), [])) for name in names]
        cells = [f"{statistics.median(v):.1f} ({v[0]:.1f}–{v[-1]:.1f})" if v else "–" for v in values]
        ratios = [a / b for a, b in zip(got.get((point, names[0]), []), got.get((point, names[1]), []))]
        print(f"| {point} | " + " | ".join(cells) + f" | {statistics.median(ratios):.2f} |" if ratios else "", flush=True)


if __name__ == "__main__":
    sys.exit(main())
