-- proxy.lua - for the specs of Redis: stands between a client and a server, and is a bad network: it delays, cuts,
-- swallows and lies, when a number of bytes that chance has chosen has passed.
local t = require "helper"

local asyncio = t.asyncio
local proxy = {}

--- Nothing that could be a reply: that would be a lie nobody can see.
local GARBAGE = { "garbage\r\n", "*3\r\n:x\r\n", "$-2\r\n", "+OK", "\0\0\0\0", ">0\r\n", "_x\r\n", "$1x\r\n" }

--- What happens to a piece: what is passed on of it; false: the connection ends.
local HARMS = {
  cut = function(_, piece, at) return piece:sub(1, at), false end,
  swallow = function(harm)
    harm.deaf = true
    return "", true
  end,
  garbage = function(_, piece, at) -- takes nothing away: what is missing may be whole replies, and nobody can see that
    return piece:sub(1, at) .. GARBAGE[math.random(#GARBAGE)] .. piece:sub(at + 1), true
  end,
  hold = function(_, piece, at)
    asyncio.sleep(math.random() / 50)
    return piece, at > 0
  end,
}

--- Passes on from reader to writer, doing harm on the way.
local function pump(reader, writer, kinds, mean)
  local harm, left = { deaf = false }, math.random(2 * mean)
  while true do
    local piece = reader:read(math.random(2000))
    if not piece then return end
    local goes_on = true
    if harm.deaf then
      piece = ""
    elseif #piece >= left and #kinds > 0 then
      piece, goes_on = HARMS[kinds[math.random(#kinds)]](harm, piece, left)
      left = math.random(2 * mean)
    else
      left = left - #piece
    end
    while piece ~= "" do -- in pieces of any size
      local n = math.random(#piece)
      writer:send(piece:sub(1, n))
      piece = piece:sub(n + 1)
      if math.random(10) == 1 then asyncio.sleep(0) end
    end
    if not goes_on then return end
  end
end

--- Calls fn(path) while a proxy for that server listens there. harms: `there` and `back`, lists of kinds; `mean`: bytes
-- between two of them
function proxy.with(db, harms, fn)
  local path = db.folder .. "/proxy"
  local server <close> = asyncio.start_unix_server(function(reader, writer)
    local to_reader, to_writer = asyncio.open_unix_connection(db.path)
    local _ <close> = asyncio.defer(to_writer.abort, to_writer)
    local there = asyncio.create_task(asyncio.pcall, pump, reader, to_writer, harms.there or {}, harms.mean)
    local back = asyncio.create_task(asyncio.pcall, pump, to_reader, writer, harms.back or {}, harms.mean)
    asyncio.wait({ there, back }, { return_when = asyncio.FIRST_COMPLETED })
    there:stop()
    back:stop()
    writer:abort()
  end, path)
  local ok, err = asyncio.pcall(fn, path)
  server:abort_clients()
  if not ok then error(err, 0) end
end

return proxy
