-- 01_async_tcp_server.lua [HOST [PORT]] - sends every line back in upper case.
-- Try it with `nc 127.0.0.1 12345` in another terminal, or with 01_async_tcp_client.lua. Ctrl-C ends it.
local asyncio = require "asyncio"

io.stdout:setvbuf "line" -- show each line at once, also when a pipe or a file takes them

-- Runs once for every connection, each time as a task of its own.
local function handle_connection(reader, writer)
  print "New connection!"

  -- asyncio.pcall catches errors and lets a cancellation pass, like Python's `except Exception`.
  local ok, err = asyncio.pcall(function()
    while true do
      local line = reader:readline()
      if not line then break end -- nil: the client has sent all it had
      print("Got a line: " .. (line:gsub("\r?\n$", "")))
      writer:write(line:upper())
      writer:drain() -- wait while the client is slower in reading than we in writing
    end
  end)
  if not ok then print("Exception: " .. tostring(err)) end

  writer:close()
  print "Connection closed!"
end

local function main(host, port)
  local server <close> = asyncio.start_server(handle_connection, host, port)
  print("Listening on " .. tostring(server:sockets()[1]))
  server:serve_forever()
end

local ok, err = pcall(asyncio.run, main, arg[1] or "127.0.0.1", tonumber(arg[2] or 12345))
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end
