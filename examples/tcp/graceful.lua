-- graceful.lua [HOST [PORT]] - a server that ends without losing an answer: at SIGTERM (`kill PID`, what
-- service managers and containers send) it accepts no more, answers what it was asked, hangs up, and ends.
-- Ctrl-C does the same; a second one doesn't wait for the answers.
-- Talk to it with `nc 127.0.0.1 12345`: it sends each line back in capitals, and takes its time for that.
local asyncio = require "asyncio"

local GRACE = 10 -- seconds that requests have to be answered

io.stdout:setvbuf "line"

-- The answer to one request; here it could ask a database.
local function answer(line)
  asyncio.sleep(0.01)
  return line:upper() .. "\n"
end

-- Nothing in here knows of the end: when the server is shut down the loop ends as if the client had said all.
local function handle_connection(reader, writer)
  for line in reader:lines() do
    writer:write(answer(line))
    writer:drain()
  end
end

local function main(host, port)
  local server <close> = asyncio.start_server(handle_connection, host, port, {
    backlog = 500,
    max_connections = 1000, -- more wait until one of them has ended
    stop_grace = GRACE,     -- Ctrl-C shuts it down, too
  })
  print(("Listening on %s"):format(server:sockets()[1]))

  asyncio.get_running_loop():add_signal_handler("SIGTERM", function()
    print "Shutting down"
    asyncio.create_task(server.shutdown, server, GRACE)
  end)

  local _ <close> = setmetatable({}, { __close = function()
    local stats = server:stats()
    print(("Served %d connections, aborted %d"):format(stats.accepted, stats.aborted))
  end })
  server:serve_forever() -- returns when the shutdown has ended
end

local ok, err = pcall(asyncio.run, main, arg[1] or "127.0.0.1", tonumber(arg[2] or 12345))
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end
