-- cqueues.lua MODE PORT
local cqueues = require "cqueues"
local socket = require "cqueues.socket"

local serve = {}

function serve.echo(client)
  for data in function() return client:read(-65536) end do client:write(data) end
end

function serve.line(client)
  for line in client:lines "*L" do client:write(line) end
end

function serve.bulk(client)
  local chunk = ("x"):rep(65536)
  for _ = 1, (1 << 30) // #chunk do client:write(chunk) end
end

local loop = cqueues.new()
local server = socket.listen {
  host = "127.0.0.1", port = tonumber(arg[2]), reuseaddr = true, nodelay = true, backlog = 4096,
}
loop:wrap(function()
  for client in server:clients() do
    loop:wrap(function()
      client:setmode("b", "bn")
      client:onerror(function(_, _, code) return code end)
      pcall(serve[arg[1]], client)
      client:close()
    end)
  end
end)
assert(loop:loop())
