-- traced.lua - what a trace costs while it is on, beside the same without: for each operation and each event.
local asyncio = require "asyncio"

local ROUNDS, N = 7, 50000

local operations = dofile "bench/operations.lua"
local points = {
  switch = operations["sleep(0)"], spawn = operations.spawn, event = operations.event,
  queue = operations.queue1,
}

function points.echo(n)
  local server <close> = asyncio.start_server(function(reader, writer)
    for piece in function() return reader:read(64) end do writer:send(piece) end
  end, "127.0.0.1", 0)
  local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
  local message = ("x"):rep(64)
  for _ = 1, n do
    writer:send(message)
    reader:readexactly(64)
  end
end

--- µs of processor time for each of N; how many events that were, with a trace.
local function measure(fn, path)
  collectgarbage()
  local trace <close> = path and asyncio.trace(path)
  local start = os.clock()
  fn(N)
  local took = (os.clock() - start) / N * 1e6
  return took, trace and tonumber(tostring(trace):match "(%d+) events") / N
end

local function middle(values)
  table.sort(values)
  return ("%.2f (%.2f–%.2f)"):format(values[(#values + 1) // 2], values[1], values[#values])
end

asyncio.run(function()
  asyncio.get_running_loop().slow_callback_duration = 3600
  local path = os.tmpname() .. ".json"
  print "| |without, µs|with, µs|events|µs an event|\n|---|---:|---:|---:|---:|"
  for _, name in ipairs { "switch", "event", "queue", "spawn", "echo" } do
    local without, with, each, events = {}, {}, {}, nil
    for round = 1, ROUNDS do
      without[round] = measure(points[name])
      with[round], events = measure(points[name], path)
      each[round] = (with[round] - without[round]) / events
    end
    print(("| %s | %s | %s | %.1f | %s |"):format(name, middle(without), middle(with), events, middle(each)))
  end
  os.remove(path)
end)
