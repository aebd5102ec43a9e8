"""rounds.py: every peer in turn, round by round, so that what the machine does meanwhile meets all of them."""
import os
import sys


def measure(points, peers, n, may, one):
    """Measures by one(peer, point) what may(peer, point), n times, or once what is memory ("idle"): points, peers (the
    names in the environment's POINTS and PEERS, or all), and (peer, point) -> results."""
    points = os.environ.get("POINTS", ",".join(points)).split(",")
    peers = os.environ.get("PEERS", ",".join(peers)).split(",")
    got = {}
    for point in points:
        for _ in range(1 if point.endswith("idle") else n):
            for peer in peers:
                if may(peer, point):
                    got.setdefault((peer, point), []).append(one(peer, point))
        print(f"bench: {point} done", file=sys.stderr, flush=True)
    return points, peers, got
