#!/usr/bin/python3
"""clients.py: processor time for each request of an HTTP client, ours and others'; prints markdown.

nginx answers on one core, the client runs on the other; they take turns, and the ratio is between those of a round.
ROUNDS (5), BENCH_SECONDS (1), POINTS and PEERS may be set. NGINX: where it is, if not in build-peers or the PATH.
"""
import glob
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = os.environ.get("BENCH_SECONDS", "1")

# The name of a point → path, tasks that ask at a time.
POINTS = {"get1": ("/", 1), "get50": ("/", 50), "file64k": ("/file64k.bin", 10), "post10k": ("/post", 50)}
PEERS = {
    "ours": [os.environ.get("LUA", "lua5.4"), HERE + "/clients/ours.lua"],
    "aiohttp": ["/usr/bin/python3", HERE + "/clients/python.py"],
    "Node": ["node", HERE + "/clients/node.js"],
}

CONFIG = """
worker_processes 1; daemon off; pid {folder}/pid; error_log /dev/null crit;
events {{ worker_connections 2000; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}; sendfile on;
  proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  client_body_buffer_size 64k;
  server {{
    listen 127.0.0.1:{port}; default_type application/octet-stream; root {folder};
    location = / {{ return 200 "hello world\\n"; }}
    location = /post {{ return 200 "10240"; }}
  }}
}}
"""


def start_nginx(folder):
    """nginx on the first core, and its port."""
    unpacked = glob.glob(HERE + "/../build-peers/usr/sbin/nginx")
    found = os.environ.get("NGINX") or shutil.which("nginx") or (unpacked and unpacked[0])
    if not found:
        sys.exit("clients.py: nginx is not there: tools/setup bench")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with open(folder + "/conf", "w", encoding="ascii") as f:
        f.write(CONFIG.format(folder=folder, port=port))
    with open(folder + "/file64k.bin", "wb") as f:
        f.write(os.urandom(65536))
    os.chmod(folder, 0o755)
    server = subprocess.Popen(["taskset", "-c", "0", found, "-c", folder + "/conf", "-e", folder + "/log"],
                              stderr=subprocess.DEVNULL)
    for _ in range(100):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return server, port
        time.sleep(0.05)
    sys.exit("clients.py: nginx doesn't listen")


def run(peer, point, port):
    """µs of processor time for each request, and requests a second."""
    path, tasks = POINTS[point]
    command = ["taskset", "-c", str(os.cpu_count() - 1), *PEERS[peer], f"http://127.0.0.1:{port}{path}",
               "post" if point.startswith("post") else "get", str(tasks), SECONDS]
    out = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if out.returncode:
        return None
    n, cpu, seconds = map(float, out.stdout.split())
    return cpu / n, n / seconds


def middle(values, digits=1):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def main():
    peers = os.environ.get("PEERS", ",".join(PEERS)).split(",")
    points = os.environ.get("POINTS", ",".join(POINTS)).split(",")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.release()}; {ROUNDS} rounds of {SECONDS} s; "
          "median (least–greatest)\n")
    print("| |" + "|".join(f"{p}, µs" for p in peers) + "|" + "|".join(f"{p} / {peers[0]}" for p in peers[1:]) + "|")
    print("|---|" + "---:|" * (2 * len(peers) - 1))
    with tempfile.TemporaryDirectory() as folder:
        server, port = start_nginx(folder)
        try:
            for point in points:
                rounds = [[run(p, point, port) for p in (peers if i % 2 else peers[::-1])] for i in range(ROUNDS)]
                rounds = [r if i % 2 else r[::-1] for i, r in enumerate(rounds)]
                cells = [middle([r[i][0] for r in rounds if r[i]]) if any(r[i] for r in rounds) else "–"
                         for i in range(len(peers))]
                for i in range(1, len(peers)):
                    both = [r[i][0] / r[0][0] for r in rounds if r[i] and r[0]]
                    cells.append(middle(both, 2) if both else "–")
                print(f"| {point} | " + " | ".join(cells) + " |", flush=True)
        finally:
            server.terminate()
            server.wait()


main()
