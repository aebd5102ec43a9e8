"""http_python.py PORT FOLDER: an HTTP server, with aiohttp, on uvloop if that is there."""
import asyncio
import sys

from aiohttp import web

TEXT = '{"id": 12345, "name": "lua-asyncio", "tags": ["a", "b", "c"], "text": "a hundred bytes of JSON", "n": 12}'


async def hello(request):
    return web.Response(text="hello world\n")


async def json(request):
    return web.Response(text=TEXT, content_type="application/json")


async def post(request):
    return web.Response(text=str(len(await request.read())))


async def main():
    app = web.Application()
    app.add_routes([web.get("/", hello), web.get("/json", json), web.post("/post", post), web.static("/", sys.argv[2])])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1]), backlog=4096).start()
    await asyncio.Event().wait()

try:
    import uvloop
    uvloop.install()
except ImportError:
    pass
asyncio.run(main())
