#!/usr/bin/python3
"""pairs.py: two servers beside each other, in turns so short that the machine is the same for both; prints markdown.

Both run all the time, on one core; the clients are with one after the other, and who comes first changes. For what
takes so long itself (a handshake) that a round of peers.py sees little of it. ROUNDS (40), BENCH_SECONDS (0.5, of one
turn), POINTS (tlsfull,tlsresumed) and PEERS (ours,libuv in C) may be set.
"""
import os
import platform
import statistics
import sys

import peers

ROUNDS = int(os.environ.get("ROUNDS", "40"))
SECONDS = os.environ.get("BENCH_SECONDS", "0.5")


def spread(values, digits):
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def measure(point, names):
    """(processor time, handshakes a second) of each, turn by turn; turns in which a client failed are left out."""
    got = []
    with peers.serving(names[0], point) as one, peers.serving(names[1], point) as other:
        if not (one and other):
            sys.exit(f"{names}: a server doesn't listen")
        for turn in range(ROUNDS + 1):
            pair = {}
            for i in (0, 1) if turn % 2 else (1, 0):
                pair[i] = peers.load(*(one, other)[i], point, SECONDS)
            if turn and all(pair.values()) and all(int(found["n"]) for found in pair.values()):  # the first: to warm up
                got.append([[float(pair[i][what]) for i in (0, 1)] for what in ("cpu_us", "rate")])
    return got


def main():
    names = os.environ.get("PEERS", "ours,libuv in C").split(",")
    points = os.environ.get("POINTS", "tlsfull,tlsresumed").split(",")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.release()}; {ROUNDS} turns of {SECONDS} s; "
          "median (quartiles)\n")
    print(f"| |{names[0]}, µs|{names[1]}, µs|{names[0]} beside it|in all|rate beside it|\n|---|---:|---:|---:|---:|---:|")
    for point in points:
        cpu, rates = zip(*measure(point, names))
        sums = [sum(column) for column in zip(*cpu)]
        ratios = [spread([a / b for a, b in pairs], 3) for pairs in (cpu, rates)]
        print(f"| {point} | " + " | ".join(spread(column, 0) for column in zip(*cpu)) +
              f" | {ratios[0]} | {sums[0] / sums[1]:.3f} | {ratios[1]} |", flush=True)


main()
