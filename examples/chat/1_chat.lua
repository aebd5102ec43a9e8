-- 1_chat.lua [HOST [PORT]] - exercise 1: every line goes to all the other clients.
-- Talk to it with `nc 127.0.0.1 12345` in two or three terminals.
local asyncio = require "asyncio"

io.stdout:setvbuf "line"

local PATIENCE = 1 -- seconds that a client may take to read what waits for it

local clients = {} -- the writers of all open connections, as keys

-- Sends a text to all but one. No await happens while the table is traversed: it may change then.
local function send_to_others(sender, text)
  local others = {}
  for writer in pairs(clients) do
    if writer ~= sender then
      others[#others + 1] = writer
      pcall(writer.write, writer, text) -- one that has just gone is its own handler's business
    end
  end
  for _, writer in ipairs(others) do -- who doesn't read must not fill our memory
    local ok, in_time = asyncio.pcall(asyncio.move_on_after, PATIENCE, writer.drain, writer)
    if not (ok and in_time) then writer:abort() end
  end
end

local function handle_connection(reader, writer)
  print("Connected: " .. tostring(writer:get_extra_info "peername"))
  clients[writer] = true
  local ok, err = asyncio.pcall(function()
    for line in reader:lines() do send_to_others(writer, line .. "\n") end
  end)
  clients[writer] = nil
  print(ok and "Disconnected" or "Exception: " .. tostring(err))
end

local function main(host, port)
  local server <close> = asyncio.start_server(handle_connection, host, port)
  print("Listening on " .. tostring(server:sockets()[1]))
  server:serve_forever()
end

local ok, err = pcall(asyncio.run, main, arg[1] or "127.0.0.1", tonumber(arg[2] or 12345))
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end
