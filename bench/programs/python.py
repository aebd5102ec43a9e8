"""python.py spawn|cat|flow N [asyncio]: `true`, N times; or N MB through `cat`, as one string, or in pieces that
aren't kept (asyncio only). Prints the seconds of one."""
import asyncio
import subprocess
import sys
import time

WARM, MB, PIECE = 20, 1000000, 65536


async def aio(command, data):
    pipe = None if data is None else asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(command, stdin=pipe or asyncio.subprocess.DEVNULL, stdout=pipe)
    if pipe:
        return (await process.communicate(data))[0]
    await process.wait()


async def plain(command, data):
    if data is None:
        subprocess.run([command], stdin=subprocess.DEVNULL, check=True)
        return None
    return subprocess.run([command], input=data, stdout=subprocess.PIPE, check=True).stdout


async def flow(n):
    cat = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)

    async def feed():
        piece, left = b"x" * PIECE, n
        while left > 0:
            cat.stdin.write(piece[:left])
            await cat.stdin.drain()
            left -= PIECE
        cat.stdin.close()
    feeder, got = asyncio.create_task(feed()), 0
    while data := await cat.stdout.read(PIECE):
        got += len(data)
    await feeder
    await cat.wait()
    assert got == n


async def main(mode, n, run):
    if mode == "spawn":
        for _ in range(WARM):
            await run("true", None)
        begun = time.monotonic()
        for _ in range(n):
            await run("true", None)
        return (time.monotonic() - begun) / n
    if mode == "flow":
        begun = time.monotonic()
        await flow(n * MB)
        return time.monotonic() - begun
    data = b"x" * (n * MB)
    begun = time.monotonic()
    out = await run("cat", data)
    took = time.monotonic() - begun
    assert out == data
    return took


print(f"{asyncio.run(main(sys.argv[1], int(sys.argv[2]), aio if 'asyncio' in sys.argv else plain)):.9f}")
