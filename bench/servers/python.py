"""python.py MODE PORT [uvloop]: asyncio's streams, on its own loop or on uvloop's; tls-MODE: with CERTFILE, KEYFILE;
udp: an echo of datagrams."""
import asyncio
import os
import ssl
import sys


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def line(reader, writer):
    while data := await reader.readline():
        writer.write(data)
        await writer.drain()


async def bulk(_, writer):
    chunk = b"x" * 65536
    for _ in range((1 << 30) // len(chunk)):
        writer.write(chunk)
        await writer.drain()


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def udp(port):
    await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("127.0.0.1", port))
    await asyncio.Event().wait()


async def main(mode, port, context):
    async def serve(reader, writer):
        try:
            await mode(reader, writer)
        except (ConnectionError, ssl.SSLError):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096, ssl=context)
    async with server:
        await server.serve_forever()


if "uvloop" in sys.argv:
    import uvloop
    uvloop.install()
mode, context = sys.argv[1], None
if mode.startswith("tls-"):
    mode = mode[4:]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(os.environ["CERTFILE"], os.environ["KEYFILE"])
serving = udp(int(sys.argv[2])) if mode == "udp" else main(globals()[mode], int(sys.argv[2]), context)
asyncio.run(serving)
