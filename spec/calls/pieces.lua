-- What cases of streams and sockets share: bytes sent in pieces of any size, at any time, and what is made of them.
local asyncio = require "asyncio"

local pieces = {}

--- Bytes of which no two stretches look alike: what is lost or doubled shows.
function pieces.text(n)
  local words, length = {}, 0
  for i = 1, math.huge do
    if length >= n then break end
    words[i] = ("%x."):format(i * 2654435761 & 0xffffffff)
    length = length + #words[i]
  end
  return table.concat(words):sub(1, n)
end

--- A text of n lines, none as the other. separator: "\n"
function pieces.lines(c, n, separator)
  local list = {}
  for i = 1, n do list[i] = i .. ("."):rep(c.random(0, 60)) .. (separator or "\n") end
  return table.concat(list)
end

--- Sends the text in pieces of up to so many bytes; how much of it was written is in the table that it returns first.
function pieces.sender(c, writer, text, most)
  local sent = { n = 0 }
  return sent, function()
    while sent.n < #text do
      local piece = text:sub(sent.n + 1, sent.n + c.random(1, most))
      sent.n = sent.n + #piece
      writer:send(piece) -- written at once; only the draining may be cancelled
      if c.random(3) == 1 then c.pass() end
    end
  end
end

--- A task that sends the text in pieces of any size, at any time, and then the end, by finish(to).
function pieces.feed(c, to, text, finish)
  return asyncio.create_task(function()
    local at = 1
    while at <= #text do
      local n = c.random(1, c.one_of { 3, 40, 400 })
      to:send(text:sub(at, at + n - 1))
      at = at + n
      if c.random(3) == 1 then c.pass() end
    end
    finish(to)
  end)
end

--- One of the ways of reading; what it has got, or nil at the end.
local function read(c, reader, most)
  local way = c.random(5)
  if way == 1 then return reader:readexactly(c.random(1, 30)) end
  if way == 2 then return reader:readuntil { ".", "f" } end
  if way == 3 then return reader:readuntil "." end
  return reader:read(c.random(1, most))
end

--- Takes all that comes, into the list; what broke off lies in the error, or lies there still.
-- expected (optional): is told errors, and raises those that may not come
function pieces.take(c, reader, got, most, expected)
  while true do
    local ok, piece = asyncio.pcall(read, c, reader, most)
    if not ok then
      if expected then expected(piece) end
      piece = piece.partial or reader:read(1)
    end
    if not piece then return end
    got[#got + 1] = piece
  end
end

--- The pieces are the first so many bytes of the text.
function pieces.check(got, text, n) assert(table.concat(got) == text:sub(1, n), "bytes were lost or doubled") end

return pieces
