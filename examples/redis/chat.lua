-- chat.lua NAME [URL] - a chat over Redis: what each line of standard input says is published to a channel,
-- and shown is what others say. The last ten lines are kept in a list, for those who come later. `/who` lists
-- who is there.
local asyncio = require "asyncio"

local CHANNEL, HISTORY, PRESENT = "chat", "chat:history", "chat:present"

local function listen(messages, name)
  for kind, _, text in messages do
    if kind == "reconnected" then
      print "(the connection was lost; something may have been missed)"
    elseif text:match "^([^:]*)" ~= name then
      print(text)
    end
  end
end

local function say(client, text)
  client:transaction(function(p)
    p:publish(CHANNEL, text)
    p:rpush(HISTORY, text)
    p:ltrim(HISTORY, -10, -1)
  end)
end

local function talk(client, name)
  for line in asyncio.stdin():lines() do
    if line == "/who" then
      local names = client:smembers(PRESENT)
      table.sort(names)
      print(table.concat(names, " "))
    elseif line ~= "" then
      say(client, ("%s: %s"):format(name, line))
    end
  end
end

local function main(name, url)
  local client <close> = asyncio.redis.connect(url)
  local messages <close> = client:subscribe { channels = { CHANNEL } } -- first: nothing is missed between
  for _, text in ipairs(client:lrange(HISTORY, 0, -1)) do print(text) end
  client:sadd(PRESENT, name)
  local _ <close> = asyncio.defer(client.srem, client, PRESENT, name)
  local group <close> = asyncio.TaskGroup()
  local listener = group:create_task(listen, messages, name)
  print(("You are %s; Ctrl-D ends"):format(name))
  talk(client, name)
  listener:cancel()
end

io.stdout:setvbuf "line"
local ok, err = pcall(asyncio.run, main, arg[1] or "somebody", arg[2] or "redis://127.0.0.1:6379")
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end
