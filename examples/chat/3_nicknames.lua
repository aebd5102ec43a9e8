-- 3_nicknames.lua [HOST [PORT]] - exercise 3: the chat with rooms, and people with names in them.
local asyncio = require "asyncio"

io.stdout:setvbuf "line"

local PATIENCE = 1 -- seconds that a client may take to read what waits for it
local HELP = "There is: /join ROOM, /nick NAME, /names (who else is in the room)\n"

local clients, guests = {}, 0 -- nick -> {nick=, room=, writer=}; how many have come

local function others_in_room(client)
  local others = {}
  for _, other in pairs(clients) do
    if other ~= client and other.room and other.room == client.room then others[#others + 1] = other end
  end
  return others
end

local function tell_others(client, text)
  local others = others_in_room(client)
  for _, other in ipairs(others) do pcall(other.writer.write, other.writer, text, "\n") end
  for _, other in ipairs(others) do -- who doesn't read must not fill our memory
    local ok, in_time = asyncio.pcall(asyncio.move_on_after, PATIENCE, other.writer.drain, other.writer)
    if not (ok and in_time) then other.writer:abort() end
  end
end

local commands = {} -- each returns what the client is told
function commands.join(client, room)
  tell_others(client, ("* %s leaves"):format(client.nick))
  client.room = room
  tell_others(client, ("* %s joins"):format(client.nick))
  return ("You are in room %s now.\n"):format(room)
end

function commands.nick(client, nick)
  if clients[nick] then return "That name is taken.\n" end
  local old = client.nick
  clients[old], clients[nick], client.nick = nil, client, nick
  tell_others(client, ("* %s is now %s"):format(old, nick))
  return ("You are %s now.\n"):format(nick)
end

function commands.names(client)
  local names = {}
  for i, other in ipairs(others_in_room(client)) do names[i] = other.nick end
  table.sort(names)
  return ("Here are: %s\n"):format(#names > 0 and table.concat(names, ", ") or "nobody else")
end

local function handle_line(client, line)
  local name, word = line:match "^/(%a+)%s*(%S*)%s*$"
  if commands[name] and (word ~= "" or name == "names") then return commands[name](client, word) end
  if line:find "^/" then return HELP end
  if not client.room then return "You are in no room yet: /join ROOM\n" end
  tell_others(client, ("%s: %s"):format(client.nick, line))
end

local function handle_connection(reader, writer)
  repeat guests = guests + 1 until not clients["guest" .. guests]
  local client = { nick = "guest" .. guests, writer = writer }
  clients[client.nick] = client
  local ok, err = asyncio.pcall(function()
    writer:write("Welcome, ", client.nick, "! ", HELP)
    for line in reader:lines() do writer:send(handle_line(client, line) or "") end
  end)
  clients[client.nick] = nil
  tell_others(client, ("* %s leaves"):format(client.nick))
  if not ok then print("Exception: " .. tostring(err)) end
end

local function main(host, port)
  local server <close> = asyncio.start_server(handle_connection, host, port)
  print("Listening on " .. tostring(server:sockets()[1]))
  server:serve_forever()
end

local ok, err = pcall(asyncio.run, main, arg[1] or "127.0.0.1", tonumber(arg[2] or 12345))
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end
