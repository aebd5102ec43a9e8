-- Reading streams: what a cancelled call has not given is there for the next one, and no byte comes twice.
local asyncio = require "asyncio"
local pieces = require "calls.pieces"

--- Both ends of a connection, in memory on the virtual clock: our reader, the writer at the other end, what drops all
-- of it, and our writer.
local function pair(c, limit)
  if c.clock == "virtual" then
    local reader, writer, _, far = asyncio.stream_pair { limit = limit }
    return reader, far, function()
      writer:abort()
      far:abort()
    end, writer
  end
  local accepted, over = asyncio.Queue(), asyncio.Event()
  local server = asyncio.start_server(function(_, writer)
    accepted:put_nowait(writer)
    over:wait()
  end, "127.0.0.1", 0)
  local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port, { limit = limit })
  local far = accepted:get()
  return reader, far, function()
    over:set()
    writer:abort()
    server:close()
    server:wait_closed()
  end, writer
end

local cases = {
  { "StreamReader:lines, separator", function(c)
    local reader, far, drop = pair(c, c.one_of { 70, 65536 })
    local text, got = pieces.lines(c, 30, "\r\n"), {}
    local feeder = pieces.feed(c, far, text, far.write_eof)
    return function()
      for line in reader:lines "\r\n" do
        got[#got + 1] = line .. "\r\n"
        if c.random(4) == 1 then c.pass() end
      end
    end, function()
      assert(table.concat(got) .. reader:read() == text, "a line was lost")
      asyncio.await(feeder)
      drop()
    end
  end },

  { "StreamReader:blocks", function(c)
    local reader, far, drop = pair(c, c.one_of { 16, 65536 })
    local text, got = pieces.lines(c, 30), {}
    local feeder = pieces.feed(c, far, text, far.write_eof)
    return function()
      for piece in reader:blocks(c.one_of { 1, 7, 65536 }) do
        got[#got + 1] = piece
        if c.random(4) == 1 then c.pass() end
      end
    end, function()
      assert(table.concat(got) .. reader:read() == text, "a piece was lost")
      asyncio.await(feeder)
      drop()
    end
  end },

  { "StreamReader:peek", function(c)
    local reader, far, drop = pair(c, c.one_of { 16, 65536 })
    local text, got = pieces.lines(c, 30), 0
    local feeder = pieces.feed(c, far, text, far.write_eof)
    return function()
      while true do
        local n = c.random(1, 300)
        local least = c.random(0, n)
        local seen = reader:peek(n, least)
        if not seen then break end
        assert(#seen <= n and #seen >= math.min(least, #text - got), "another number of bytes")
        assert(seen == text:sub(got + 1, got + #seen), "what is next was something else")
        local taken = c.random(0, #seen)
        got = got + #reader:readexactly(taken)
        if c.random(4) == 1 then c.pass() end
      end
      assert(got == #text)
    end, function(task)
      if not task:cancelled() then asyncio.await(task) end
      assert(reader:read() == text:sub(got + 1), "peek has taken something")
      asyncio.await(feeder)
      drop()
    end
  end },

  { "StreamReader:wait_eof", function(c)
    local reader, far, drop, writer = pair(c, c.one_of { 16, 65536 })
    local text, got, sent = pieces.lines(c, 30), {}, false
    local closes = c.random(5) == 1
    local feeder = asyncio.create_task(function()
      asyncio.await(pieces.feed(c, far, text, far.write_eof))
      sent = true
    end)
    local reading = asyncio.create_task(function()
      for piece in reader:blocks(c.one_of { 7, 300 }) do
        got[#got + 1] = piece
        c.pass()
      end
    end)
    local other = asyncio.create_task(function()
      if c.random(2) == 1 then c.pass() end
      reader:wait_eof()
    end)
    if c.random(2) == 1 then reading:cancel() end
    return function()
      reader:wait_eof()
      assert(sent or closes, "there was no end yet")
    end, function(task)
      if not task:cancelled() then asyncio.await(task) end
      if closes then
        writer:close()
      else
        asyncio.await(feeder)
      end
      asyncio.wait { other, reading, feeder }
      asyncio.await(other)
      if not closes then assert(table.concat(got) .. reader:read() == text, "a byte was lost") end
      pcall(asyncio.await, reading)
      pcall(asyncio.await, feeder)
      drop()
    end
  end },
}

local both = {}
for _, case in ipairs(cases) do
  both[#both + 1] = { case[1], "real", case[2] }
  both[#both + 1] = { case[1] .. ", in memory", "virtual", case[2] }
end
return both
