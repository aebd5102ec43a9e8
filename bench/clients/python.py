"""python.py URL POINT TASKS SECONDS - the same with aiohttp."""
import asyncio
import sys
import time

import aiohttp

url, point, tasks, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
BODY = b"x" * 10240
done = 0


async def ask(session):
    async with session.post(url, data=BODY) if point == "post" else session.get(url) as answer:
        assert answer.status == 200 and len(await answer.read()) > 0


async def main():
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit_per_host=tasks)) as session:
        for _ in range(300):
            await ask(session)
        began, used = time.monotonic(), time.process_time()

        async def work():
            global done
            while time.monotonic() < began + seconds:
                await ask(session)
                done += 1

        await asyncio.gather(*[work() for _ in range(tasks)])
        print(done, (time.process_time() - used) * 1e6, time.monotonic() - began)


asyncio.run(main())
