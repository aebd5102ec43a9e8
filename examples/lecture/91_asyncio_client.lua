-- 91_asyncio_client.lua [HOST [PORT]] - the client with asyncio. 00_tcp_socket_server.lua must be running.
local asyncio = require "asyncio"

local function main(host, port)
  local reader, writer = asyncio.open_connection(host, port)

  local message = "Hello, I'm the client using asyncio!"
  writer:write(message)
  writer:drain() -- waits while too much is on its way

  local line = reader:read(100) -- as soon as there is something: 100 bytes at most
  print("Received: " .. line)

  print "Close the connection"
  writer:close()
  writer:wait_closed()
end

asyncio.run(main, arg[1] or "localhost", tonumber(arg[2] or 12345))
