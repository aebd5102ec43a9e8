-- get.lua [URL] - GET /index.html: what the lecture did with sockets by hand.
local asyncio = require "asyncio"

asyncio.run(function(url) print(asyncio.http.get(url):raise_for_status():read()) end,
  arg[1] or "http://127.0.0.1:8080/index.html")
