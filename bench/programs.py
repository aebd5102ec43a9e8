#!/usr/bin/python3
"""programs.py: what it takes to start a program, and to talk to it, beside others; prints markdown.

Each round measures every peer once, one after the other; ratios are taken within a round.
ROUNDS (9), POINTS and PEERS (names, comma between) may be set.
"""
import os
import shutil
import statistics
import subprocess
import sys

import rounds

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("BUILD", os.path.join(HERE, "..", "build"))
ROUNDS = int(os.environ.get("ROUNDS", "9"))
LUA = os.environ.get("LUA", "lua5.4")

# name: how many, what is measured
POINTS = {
    "spawn": (500, "`true` is started and waited for, again and again; for each"),
    "cat": (100, "100 MB go through `cat`, from one string into one string"),
    "flow": (100, "the same in pieces of 64 KiB that nobody keeps"),
}
PYTHON = [sys.executable, HERE + "/programs/python.py"]
PEERS = {
    "ours": [LUA, HERE + "/programs/ours.lua"],
    "subprocess": PYTHON,
    "asyncio": PYTHON,
    "Node": ["node", HERE + "/programs/node.js"],
    "C": [BUILD + "/bench/floor"],
}
LEFT_OUT = {("subprocess", "flow")}  # it knows communicate only


def may(peer, point):
    return (peer, point) not in LEFT_OUT and (peer != "Node" or shutil.which("node"))


def measure(peer, point):
    command = PEERS[peer] + [point, str(POINTS[point][0])] + (["asyncio"] if peer == "asyncio" else [])
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120)
    return float(run.stdout) if run.returncode == 0 else None


def spread(values):
    known = [v for v in values if v is not None]
    return f"{statistics.median(known):.2f} ({min(known):.2f}–{max(known):.2f})" if known else "–"


def table(title, peers, points, cell):
    print(f"\n### {title}\n\n| |" + "|".join(peers) + "|\n|---|" + "---:|" * len(peers))
    for point in points:
        print(f"| {point} | " + " | ".join(cell(peer, point) for peer in peers) + " |")


def main():
    points, peers, got = rounds.measure(POINTS, PEERS, ROUNDS, may, measure)

    def absolute(peer, point):
        return spread([v and v * 1000 for v in got.get((peer, point), [])])

    def ratio(peer, point):
        pairs = zip(got.get(("ours", point), []), got.get((peer, point), []))
        return spread([a / b for a, b in pairs if a and b])

    print(f"{os.cpu_count()} cores; {ROUNDS} rounds; median (least–greatest)\n")
    for point in points:
        print(f"* **{point}**: {POINTS[point][1]}")
    table("Milliseconds", peers, points, absolute)
    table("Ours as a part of theirs, round by round", [p for p in peers if p != "ours"], points, ratio)


main()
