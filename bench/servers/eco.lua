-- eco.lua MODE PORT: lua-eco; its program doesn't look at LUA_INIT, by which others are told of a collector.
local init = os.getenv "LUA_INIT"
if init then assert(load(init))() end
local eco = require "eco"
local socket = require "eco.socket"

local serve = {}

function serve.echo(client)
  for data in function() return client:read(65536) end do client:send(data) end
end

function serve.line(client)
  for line in function() return client:read "L" end do client:send(line) end
end

function serve.bulk(client)
  local chunk = ("x"):rep(65536)
  for _ = 1, (1 << 30) // #chunk do client:send(chunk) end
end

local server = assert(socket.listen_tcp("127.0.0.1", tonumber(arg[2]), { reuseaddr = true, backlog = 4096 }))
while true do
  local client = server:accept()
  if client then
    client:setoption("tcp_nodelay", true)
    eco.run(function()
      serve[arg[1]](client)
      client:close()
    end)
  end
end
