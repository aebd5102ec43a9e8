-- proxy.lua [HOST [PORT [TO_HOST [TO_PORT]]]] - passes each connection on to TO_HOST:TO_PORT, and tells what
-- went through it. Each half ends by itself: who has said all still gets the answer.
-- Try it with the echo server of the lecture behind it, on port 12345: `nc 127.0.0.1 12346`.
local asyncio = require "asyncio"

local BLOCK = 1 << 20 -- bytes after which the figures are brought up to date

local to = { host = arg[3] or "127.0.0.1", port = tonumber(arg[4] or 12345), connect_timeout = 10 }
local stats = { there = 0, back = 0, broken = 0, refused = 0 }

io.stdout:setvbuf "line"

-- One direction, up to its end. The bytes never become Lua strings, and a side that is slow slows the other.
local function pass(reader, writer, direction)
  repeat
    local n = asyncio.copy(reader, writer, { max_bytes = BLOCK })
    stats[direction] = stats[direction] + n
  until n == 0
  writer:write_eof()
end

-- Both directions; when one breaks the other is cancelled.
local function pass_both(reader, writer, far_reader, far_writer)
  local group <close> = asyncio.TaskGroup()
  group:create_task(pass, reader, far_writer, "there")
  group:create_task(pass, far_reader, writer, "back")
end

local function handle_connection(reader, writer)
  local connected, far_reader, far_writer = asyncio.pcall(asyncio.open_connection, to)
  if not connected then -- the client is told why: far_reader is the error
    stats.refused = stats.refused + 1
    print(far_reader.message)
    return writer:send("proxy: ", far_reader.message, "\n")
  end
  local _ <close> = far_writer
  local ok, err = asyncio.pcall(pass_both, reader, writer, far_reader, far_writer)
  if ok then return end
  stats.broken = stats.broken + 1
  print(("A connection broke: %s"):format(err.errors and err.errors[1] or err))
  writer:abort() -- neither side waits for the other any longer
  far_writer:abort()
end

local function main(host, port)
  local server <close> = asyncio.start_server(handle_connection, host, port, { backlog = 500 })
  print(("Listening on %s"):format(server:sockets()[1]))
  local _ <close> = setmetatable({}, { __close = function()
    local n = server:stats().accepted
    print(("%d connections (%d broken, %d refused), %d bytes there, %d back"):format(n, stats.broken,
      stats.refused, stats.there, stats.back))
  end })
  server:serve_forever()
end

local ok, err = pcall(asyncio.run, main, arg[1] or "127.0.0.1", tonumber(arg[2] or 12346))
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end
