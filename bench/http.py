#!/usr/bin/python3
"""http.py: processor time for each request of an HTTP server, of ours and of others; prints markdown.

The server runs on one core, its clients (wrk) on the other. What a server has used is read from /proc before and after.
ROUNDS (3), BENCH_SECONDS (2, a whole number), POINTS and PEERS may be set. NGINX: where it is, if not in build-peers or the PATH.
"""
import contextlib
import glob
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = os.environ.get("BENCH_SECONDS", "2")
TICKS = os.sysconf("SC_CLK_TCK")
IDLE = 2000  # connections, for the memory of each

# The name of a point → connections, path, wrk's script.
PIPELINE = """
init = function() local r = {} for i = 1, 16 do r[i] = wrk.format("GET", "/") end all = table.concat(r) end
request = function() return all end
"""
POST = 'wrk.method = "POST" wrk.body = ("x"):rep(10240)'
POINTS = {
    "hello1": (1, "/", ""), "hello50": (50, "/", ""), "hello1000": (1000, "/", ""), "pipelined": (50, "/", PIPELINE),
    "json50": (50, "/json", ""), "file1m": (8, "/file1m.bin", ""), "post10k": (50, "/post", POST), "idle": None,
}

NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log /dev/null crit;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}; sendfile on; tcp_nopush on;
  proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  client_body_buffer_size 64k;
  server {{
    listen 127.0.0.1:{port} backlog=4096; default_type text/plain; root {folder};
    location = / {{ return 200 "hello world\\n"; }}
    location = /json {{ default_type application/json; return 200 '{json}'; }}
    location = /post {{ return 200 "10240"; }}
  }}
}}
"""
JSON = '{"id": 12345, "name": "lua-asyncio", "tags": ["a", "b", "c"], "text": "a hundred bytes of JSON", "n": 12}'


def nginx():
    for name in (os.environ.get("NGINX"), "build-peers/usr/sbin/nginx", shutil.which("nginx"), "/usr/sbin/nginx"):
        if name and os.path.exists(name):
            return name
    return None


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def command(name, port, folder):
    servers = HERE + "/servers/http_"
    if name == "nginx":
        with open(folder + "/nginx.conf", "w") as file:
            file.write(NGINX.format(port=port, folder=folder, json=JSON))
        return [nginx(), "-c", folder + "/nginx.conf", "-p", folder] if nginx() else None
    lua = os.environ.get("LUA", "lua5.4")
    return {
        "ours": [lua, servers + "ours.lua", str(port), folder],
        "luv by hand": [lua, servers + "luv.lua", str(port)],
        "Node http": ["node", servers + "node.js", str(port), folder],
        "aiohttp": ["/usr/bin/python3", servers + "python.py", str(port), folder],
    }[name]


def family(pid):
    """The process and its children."""
    children = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(OSError), open(path) as file:
            children += file.read().split()
    return [pid] + [each for child in children for each in family(int(child))]


def used(pid):
    """Seconds of processor time."""
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError), open(f"/proc/{each}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory(pid):
    """Bytes of its own that are in memory."""
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError), open(f"/proc/{each}/smaps_rollup") as file:
            total += sum(int(n) for n in re.findall(r"^Private_\w+:\s+(\d+)", file.read(), re.M)) * 1024
    return total


@contextlib.contextmanager
def running(line, port, **more):
    """A server, once it listens: its process and port."""
    server = subprocess.Popen(["taskset", "-c", "0"] + line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield server.pid, port
    finally:
        server.terminate()
        server.wait()


def serving(name, folder):
    port = free_port()
    line = command(name, port, folder)
    return running(line, port) if line else contextlib.nullcontext()


def load(pid, port, point, folder):
    """Microseconds of the server's for each request, and requests a second."""
    connections, path, script = POINTS[point]
    line = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", f"http://127.0.0.1:{port}{path}"]
    if script:
        with open(folder + "/script.lua", "w") as file:
            file.write(script)
        line += ["-s", folder + "/script.lua"]
    before = used(pid)
    text = subprocess.run(line, capture_output=True, text=True).stdout
    spent = used(pid) - before
    found = re.search(r"(\d+) requests in ([\d.]+)(m?s)", text)
    if not found or re.search(r"Non-2xx|Socket errors: .*read [1-9]", text):
        return None
    n = int(found[1])
    return spent / n * 1e6, n / (float(found[2]) * (0.001 if found[3] == "ms" else 1))


def ask(s):
    s.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    got = b""
    while b"hello world\n" not in got:
        got += s.recv(4096)


def idle(pid, port):
    """Bytes for each connection that has had an answer and waits."""
    with contextlib.ExitStack() as stack:
        def connect(n):
            for _ in range(n):
                ask(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
        connect(100)
        before = memory(pid)
        connect(IDLE)
        return (memory(pid) - before) / IDLE, 0


def main():
    peers = os.environ.get("PEERS", "ours,nginx,luv by hand,Node http,aiohttp").split(",")
    points = os.environ.get("POINTS", ",".join(POINTS)).split(",")
    got = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with open(folder + "/file1m.bin", "wb") as file:
            file.write(os.urandom(1 << 20))
        for turn in range(ROUNDS):
            for name in peers[turn % len(peers):] + peers[:turn % len(peers)]:
                for point in points:
                    if name == "luv by hand" and not (point.startswith("hello") or point in ("pipelined", "idle")):
                        continue
                    with serving(name, folder) as server:
                        if not server:
                            continue
                        found = idle(*server) if point == "idle" else load(*server, point, folder)
                        if found:
                            got.setdefault((point, name), []).append(found)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.release()}; {ROUNDS} rounds of {SECONDS} s\n")
    print("| | " + " | ".join(peers) + " |\n|---|" + "---:|" * len(peers))
    for point in points:
        cells = []
        for name in peers:
            values = sorted(each[0] for each in got.get((point, name), []))
            cells.append(f"{statistics.median(values):.{0 if point == 'idle' else 1}f} "
                         f"({values[0]:.{0 if point == 'idle' else 1}f}–{values[-1]:.{0 if point == 'idle' else 1}f})"
                         if values else "–")
        print(f"| {point} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
