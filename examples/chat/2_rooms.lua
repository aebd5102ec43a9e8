-- 2_rooms.lua [HOST [PORT]] - exercise 2: a chat with rooms. A line goes to the others in the room.
-- Talk to it with `nc 127.0.0.1 12345` in two or three terminals.
local asyncio = require "asyncio"

io.stdout:setvbuf "line"

local PATIENCE = 1 -- seconds that a client may take to read what waits for it
local HELLO = "Welcome! Enter a room with /join ROOM, then write what you like.\n"

local rooms = {} -- name -> set of writers
local room_of = {} -- writer -> name

local function send_to_others(sender, text)
  local others = {}
  for writer in pairs(rooms[room_of[sender]]) do
    if writer ~= sender then
      others[#others + 1] = writer
      pcall(writer.write, writer, text)
    end
  end
  for _, writer in ipairs(others) do -- who doesn't read must not fill our memory
    local ok, in_time = asyncio.pcall(asyncio.move_on_after, PATIENCE, writer.drain, writer)
    if not (ok and in_time) then writer:abort() end
  end
end

local function leave(writer)
  local name = room_of[writer]
  if not name then return end
  rooms[name][writer], room_of[writer] = nil, nil
  if not next(rooms[name]) then rooms[name] = nil end -- the last one turns off the light
end

local function join(writer, name)
  leave(writer)
  rooms[name] = rooms[name] or {}
  rooms[name][writer], room_of[writer] = true, name
  writer:write("You are in room ", name, " now.\n")
end

local function handle_line(writer, line)
  local room = line:match "^/join%s+(%S+)%s*$"
  if room then
    join(writer, room)
  elseif line:find "^/" then
    writer:write "Unknown command. There is: /join ROOM\n"
  elseif room_of[writer] then
    send_to_others(writer, line .. "\n")
  else
    writer:write "You are in no room yet: /join ROOM\n"
  end
  writer:drain()
end

local function handle_connection(reader, writer)
  local ok, err = asyncio.pcall(function()
    writer:write(HELLO)
    for line in reader:lines() do handle_line(writer, line) end
  end)
  leave(writer)
  if not ok then print("Exception: " .. tostring(err)) end
end

local function main(host, port)
  local server <close> = asyncio.start_server(handle_connection, host, port)
  print("Listening on " .. tostring(server:sockets()[1]))
  server:serve_forever()
end

local ok, err = pcall(asyncio.run, main, arg[1] or "127.0.0.1", tonumber(arg[2] or 12345))
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end
