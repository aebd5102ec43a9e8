-- Pairs in memory, and readers that are fed: what is sent is what is read, or what is left to read, of what was sent.
local asyncio = require "asyncio"

--- Bytes of which no two stretches look alike: what is lost or doubled shows.
local function text(n)
  local words, length = {}, 0
  for i = 1, math.huge do
    if length >= n then break end
    words[i] = ("%x."):format(i * 2654435761 & 0xffffffff)
    length = length + #words[i]
  end
  return table.concat(words):sub(1, n)
end

local TEXT = text(4000)

local function pair(c)
  local limit = c.one_of { 1, 10, 100, 65536 }
  local reader, writer, peer_reader, peer_writer = asyncio.stream_pair { limit = limit }
  for _, each in ipairs { writer, peer_writer } do
    each:set_write_buffer_limits { high = c.one_of { 0, 50, 500 }, low = 0 }
  end
  return reader, writer, peer_reader, peer_writer
end

--- Sends the text in pieces; how much of it was written is in the table that it returns first.
local function sender(c, writer)
  local sent = { n = 0 }
  return sent, function()
    while sent.n < #TEXT do
      local piece = TEXT:sub(sent.n + 1, sent.n + c.random(1, 900))
      sent.n = sent.n + #piece
      writer:send(piece) -- written at once; only the draining may be cancelled
      if c.random(3) == 1 then c.pass() end
    end
    writer:write_eof()
  end
end

--- One of the ways of reading; what it has got, or nil at the end.
local function read(c, reader)
  local way = c.random(5)
  if way == 1 then return reader:readexactly(c.random(1, 30)) end
  if way == 2 then return reader:readuntil { ".", "f" } end
  if way == 3 then return reader:readuntil "." end
  return reader:read(c.random(1, 300))
end

--- Takes all that comes, into the list; what broke off lies in the error, or lies there still.
local function take(c, reader, got)
  while true do
    local ok, piece = asyncio.pcall(read, c, reader)
    if not ok then piece = piece.partial or reader:read(1) end
    if not piece then return end
    got[#got + 1] = piece
  end
end

local function same(got, n) assert(table.concat(got) == TEXT:sub(1, n), "bytes were lost or doubled") end

local function end_of(...)
  for _, writer in ipairs { ... } do
    writer:close()
    writer:wait_closed()
  end
end

local function cut_reads(c)
  local _, writer, peer_reader, peer_writer = pair(c)
  local _, send = sender(c, writer)
  local feeder, got = asyncio.create_task(send), {}
  return function() take(c, peer_reader, got) end, function()
    take(c, peer_reader, got)
    asyncio.await(feeder)
    same(got, #TEXT)
    end_of(writer, peer_writer)
  end
end

--- What was read is written at once, so who is cancelled has nothing in its hands.
local function echo(c, reader, writer)
  while true do
    local piece = reader:read(c.random(1, 300))
    if not piece then break end
    writer:send(piece)
    if c.random(4) == 1 then c.pass() end
  end
  writer:write_eof()
end

return {
  { "StreamReader:read of a pair", "virtual", cut_reads },
  { "StreamReader:read of a pair in real time", "real", cut_reads },

  { "both directions of a pair", "virtual", function(c)
    local reader, writer, peer_reader, peer_writer = pair(c)
    local _, send = sender(c, writer)
    local feeder, got = asyncio.create_task(send), {}
    local answers = asyncio.create_task(take, c, reader, got)
    return function() echo(c, peer_reader, peer_writer) end, function()
      echo(c, peer_reader, peer_writer)
      asyncio.await(feeder)
      asyncio.await(answers)
      same(got, #TEXT)
      end_of(writer, peer_writer)
    end
  end },

  { "StreamWriter:send of a pair", "virtual", function(c)
    local _, writer, peer_reader, peer_writer = pair(c)
    local sent, send = sender(c, writer)
    local got = {}
    local reading = asyncio.create_task(take, c, peer_reader, got)
    return send, function()
      writer:write_eof()
      asyncio.await(reading)
      same(got, sent.n)
      end_of(peer_writer, writer)
    end
  end },

  { "StreamWriter <close> of a pair", "virtual", function(c)
    local _, writer, peer_reader, peer_writer = pair(c)
    local sent, send = sender(c, writer)
    local got, broke = {}, false
    local reading = asyncio.create_task(function()
      while true do
        c.pass()
        local ok, piece = pcall(peer_reader.read, peer_reader, 100)
        if not ok then
          assert(asyncio.isinstance(piece, asyncio.ConnectionResetError))
          broke = true
        end
        if not ok or not piece then return end
        got[#got + 1] = piece
      end
    end)
    return function()
      local _ <close> = writer
      send()
    end, function(task)
      if not writer:is_closing() then writer:close() end -- it never ran
      asyncio.await(reading)
      if broke then
        local all = table.concat(got)
        assert(task:cancelled() and all == TEXT:sub(1, #all))
      else
        same(got, sent.n)
      end
      end_of(writer, peer_writer)
    end
  end },

  { "StreamReader:feed and drain", "virtual", function(c)
    local reader, fed, got = asyncio.StreamReader(c.one_of { 1, 50, 1000 }), 0, {}
    local reading = asyncio.create_task(take, c, reader, got)
    return function()
      while fed < #TEXT do
        local piece = TEXT:sub(fed + 1, fed + c.random(1, 900))
        fed = fed + #piece
        if not reader:feed(piece) then reader:drain() end
        if c.random(3) == 1 then c.pass() end
      end
    end, function()
      reader:feed_eof()
      asyncio.await(reading)
      same(got, fed)
    end
  end },

  { "StreamReader:read of what is fed", "virtual", function(c)
    local reader, got = asyncio.StreamReader(c.one_of { 1, 50, 1000 }), {}
    local feeder = asyncio.create_task(function()
      for i = 1, #TEXT, 500 do
        c.pass()
        if not reader:feed(TEXT:sub(i, i + 499)) then reader:drain() end
      end
      reader:feed_eof()
    end)
    return function() take(c, reader, got) end, function()
      take(c, reader, got)
      asyncio.await(feeder)
      same(got, #TEXT)
    end
  end },
}
