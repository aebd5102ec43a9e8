# ws_python.py PORT - an echo over WebSockets, with websockets and uvloop.
import asyncio
import sys

import uvloop
import websockets


async def echo(ws, *_):
    async for data in ws:
        await ws.send(data)


async def main():
    async with websockets.serve(echo, "127.0.0.1", int(sys.argv[1]), compression=None):
        await asyncio.Future()

uvloop.install()
asyncio.run(main())
