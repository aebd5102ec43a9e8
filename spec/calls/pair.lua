-- Pairs in memory, and readers that are fed: what is sent is what is read, or what is left to read, of what was sent.
local asyncio = require "asyncio"
local pieces = require "calls.pieces"

local TEXT = pieces.text(4000)

local function pair(c)
  local limit = c.one_of { 1, 10, 100, 65536 }
  local reader, writer, peer_reader, peer_writer = asyncio.stream_pair { limit = limit }
  for _, each in ipairs { writer, peer_writer } do
    each:set_write_buffer_limits { high = c.one_of { 0, 50, 500 }, low = 0 }
  end
  return reader, writer, peer_reader, peer_writer
end

--- Sends the text, and then the end.
local function sender(c, writer)
  local sent, send = pieces.sender(c, writer, TEXT, 900)
  return sent, function()
    send()
    writer:write_eof()
  end
end

local function take(c, reader, got) pieces.take(c, reader, got, 300) end
local function same(got, n) pieces.check(got, TEXT, n) end

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
