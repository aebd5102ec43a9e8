-- chat_client.lua HOST PORT CAFILE [CERTFILE KEYFILE] - talks to chat_server.lua: what you type goes there,
-- what the others say is printed. CAFILE vouches for the server, CERTFILE, if any, for you. Ctrl-D ends it.
local asyncio = require "asyncio"
local ssl = require "asyncio.ssl"

io.stdout:setvbuf "line"

local function main(host, port, cafile, certfile, keyfile)
  local context = ssl.create_default_context { cafile = cafile, certfile = certfile, keyfile = keyfile }
  local reader, writer <close> = asyncio.open_connection {
    host = host, port = port, ssl = context, connect_timeout = 10,
  }
  print(("Connected to %s"):format(writer:get_extra_info "peercert".subject))
  local _ <close> = asyncio.create_task(function()
    for line in asyncio.stdin():lines() do writer:send(line, "\n") end
    writer:write_eof() -- then the server ends the conversation
  end)
  for line in reader:lines() do print(line) end
end

if not arg[3] then
  io.stderr:write "usage: chat_client.lua HOST PORT CAFILE [CERTFILE KEYFILE]\n"
  os.exit(2, true)
end
local ok, err = pcall(asyncio.run, main, arg[1], tonumber(arg[2]), arg[3], arg[4], arg[5])
if ok or asyncio.isinstance(err, asyncio.KeyboardInterrupt) then return end
if not asyncio.isinstance(err, asyncio.OSError) then error(err, 0) end
io.stderr:write("chat_client.lua: ", err.message, "\n") -- nobody there; or it isn't the one it should be
os.exit(1, true)
