--- `asyncio trace PID SECONDS FILE`: what happens in a program within some seconds, as a file to look at.
-- @module asyncio.looking.trace
local client = require "asyncio.looking.client"

local function open(path, mode)
  local file, message = io.open(path, mode)
  if not file then client.fail("%s", message) end
  return file
end

--- Whether it can be written, before anything is asked for; and what removes it where it wasn't there.
local function try(path)
  local file <close> = open(path, "ab")
  local is_new = file:seek "end" == 0
  return setmetatable({}, { __close = function(_, err)
    if err and is_new then os.remove(path) end
  end })
end

--- A trace is of a Lua state: of that of the first loop.
local function main(name, seconds, path, kind)
  local connection <close> = client.connect(client.find(name))
  local number = connection:loops()[1]
  local _ <close> = try(path)
  local text = connection:ask(("%s %d %d"):format(kind, number, math.ceil(1000 * seconds)))
  local file <close> = open(path, "wb")
  if not (file:write(text) and file:flush()) then client.fail("%s cannot be written", path) end
end

return function(name, seconds, path, kind) return client.run(main, name, seconds, path, kind) end
