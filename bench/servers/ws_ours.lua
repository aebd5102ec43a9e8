-- ws_ours.lua PORT - an echo over WebSockets, with asyncio.http.
local asyncio = require "asyncio"
local http = require "asyncio.http"

asyncio.run(function()
  local server <close> = http.serve(function(request)
    local ws = request:websocket()
    for data, kind in ws:iter() do
      if kind == "text" then ws:send(data) else ws:send_binary(data) end
    end
  end, "127.0.0.1", tonumber(arg[1]), { backlog = 4096 })
  server:serve_forever()
end)
