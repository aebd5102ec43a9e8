-- 92_minimal_server.lua [HOST [PORT]] - the smallest server. Try it with `nc 127.0.0.1 12345`.
local asyncio = require "asyncio"

io.stdout:setvbuf "line"

-- Runs once for each connection, as a task of its own: many at the same time.
local function handle_connection(reader, writer)
  local data = reader:read(100)
  writer:write(data or "") -- nil: gone without a word
  writer:drain()
  writer:close()
end

local function main(host, port)
  -- "0.0.0.0" as the host would let in callers from everywhere.
  local server <close> = asyncio.start_server(handle_connection, host, port)
  print("Listening on " .. tostring(server:sockets()[1]))
  server:serve_forever()
end

asyncio.run(main, arg[1] or "localhost", tonumber(arg[2] or 12345))
