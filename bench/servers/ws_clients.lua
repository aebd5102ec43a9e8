-- ws_clients.lua PORT CONNECTIONS SIZE SECONDS - each sends a message and waits for it; prints how many came
-- back.
local asyncio = require "asyncio"
local http = require "asyncio.http"

local port, connections, size, seconds = arg[1], tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4])

asyncio.run(function()
  local n, message, stop = 0, ("x"):rep(size), false
  local open = {}
  for i = 1, connections do open[i] = http.websocket(("ws://127.0.0.1:%s/"):format(port)) end
  print "ready"
  io.stdout:flush()
  io.read()
  asyncio.get_running_loop():call_later(seconds, function() stop = true end)
  local talks = {}
  for i, ws in ipairs(open) do
    talks[i] = function()
      while not stop and seconds > 0 do
        ws:send_binary(message)
        if not ws:receive() then error "it has ended" end
        n = n + 1
      end
    end
  end
  asyncio.gather(table.unpack(talks))
  print(n)
  io.stdout:flush()
  io.read()
  for _, ws in ipairs(open) do ws:close() end
end)
