-- Limits of time: calls that run into them, or are cancelled, or both at once, have taken nothing and lost nothing.
local asyncio = require "asyncio"

--- Both ends of a connection, and what closes it.
local function connection(opts)
  local accepted, over = asyncio.get_running_loop():create_future(), asyncio.Event()
  local server = asyncio.start_server(function(reader, writer)
    accepted:set_result(reader, writer)
    over:wait()
    writer:abort()
  end, "127.0.0.1", 0)
  opts.host, opts.port = "127.0.0.1", server:sockets()[1].port
  local reader, writer = asyncio.open_connection(opts)
  local far_reader, far_writer = asyncio.await(accepted)
  return reader, writer, far_reader, far_writer, function()
    over:set()
    writer:abort()
    server:close()
    server:wait_closed()
  end
end

local function text(c)
  local words = {}
  for i = 1, 200 do words[i] = ("%x%s"):format(c.random(0, 0xffffff), c.one_of { "\n", " ", " " }) end
  return table.concat(words) .. "\n"
end

--- A limit that a pause of the engine's may pass, or not.
local function limit(c)
  return c.clock == "virtual" and c.one_of { 0.1, 1, 4 } or c.one_of { 0.0005, 0.001, 0.01 }
end

local function is_timeout(err, phase) return asyncio.isinstance(err, asyncio.TimeoutError) and err.phase == phase end

local READS = {
  function(reader, c) return reader:read(c.one_of { 1, 10, 5000 }) end,
  function(reader, c) return reader:readexactly(c.one_of { 1, 7, 50 }) end,
  function(reader) return reader:readline() end,
  function(reader) return reader:readuntil { "a", "7 " } end,
  function(reader)
    local line = reader:lines()()
    return line and line .. "\n"
  end,
}

--- One read, which may find the end in its middle.
local function take(reader, c)
  local ok, piece = asyncio.pcall(c.one_of(READS), reader, c)
  if ok then return piece end
  if asyncio.isinstance(piece, asyncio.IncompleteReadError) then return piece.partial end
  if not is_timeout(piece, "read") then error(piece, 0) end
  return ""
end

local function read_case(c)
  local reader, _, _, source, close = connection { read_timeout = limit(c) }
  local all, got = text(c), {}
  local feeder = asyncio.create_task(function()
    local i = 1
    while i <= #all do
      c.pass()
      local n = c.one_of { 1, 30, 300, #all }
      source:send(all:sub(i, i + n - 1))
      i = i + n
    end
    source:write_eof()
  end)
  return function()
    for piece in function() return take(reader, c) end do got[#got + 1] = piece end
  end, function()
    asyncio.await(feeder)
    for piece in function() return take(reader, c) end do got[#got + 1] = piece end
    assert(table.concat(got) == all, "bytes were lost, or came twice")
    close()
  end
end

local function write_case(c)
  local _, writer, sink, _, close = connection { write_timeout = limit(c) }
  writer:set_write_buffer_limits { high = c.one_of { 0, 10000 }, low = 0 }
  local piece, written, got = text(c):rep(c.one_of { 1, 1000, 4000 }), 0, 0
  local eater = asyncio.create_task(function()
    for data in function() return sink:read(1 << 20) end do
      got = got + #data
      if c.random(3) == 1 then c.pass() end
    end
  end)
  return function()
    for _ = 1, c.random(3) do
      written = written + #piece
      local ok, err = asyncio.pcall(writer.send, writer, piece)
      while not ok do
        if not is_timeout(err, "write") then error(err, 0) end
        ok, err = asyncio.pcall(writer.drain, writer)
      end
    end
  end, function()
    writer:close()
    repeat
      local ok, err = asyncio.pcall(writer.wait_closed, writer)
      assert(ok or is_timeout(err, "write"), err)
    until ok
    asyncio.await(eater)
    assert(got == written, "bytes were lost")
    close()
  end
end

return {
  { "reads with a read_timeout, real", "real", read_case },
  { "reads with a read_timeout, virtual", "virtual", read_case },
  { "send and drain with a write_timeout", "real", write_case },

  { "several drains of one stream with a write_timeout", "real", function(c)
    local _, writer, sink, _, close = connection { write_timeout = limit(c) }
    writer:set_write_buffer_limits { high = 0 }
    local piece = ("x"):rep(c.one_of { 1000, 1000, 7000000 })
    writer:write(piece)
    local others = asyncio.TaskGroup()
    for _ = 1, 2 do
      others:create_task(function()
        c.pass()
        asyncio.pcall(writer.drain, writer)
      end)
    end
    return function() writer:drain() end, function()
      do local _ <close> = others end
      assert(#sink:readexactly(#piece) == #piece)
      writer:drain()
      close()
    end
  end },

  { "open_connection with a connect_timeout", "real", function(c)
    local server = asyncio.start_server(function() end, "127.0.0.1", 0)
    local port = server:sockets()[1].port
    local writer
    return function()
      local ok, reader, got = asyncio.pcall(asyncio.open_connection, c.one_of { "127.0.0.1", "localhost" }, port,
        { connect_timeout = c.one_of { 0.00001, 0.0001, 0.001, 1 } })
      if ok then
        writer = got
      elseif not (is_timeout(reader, "connect") or is_timeout(reader, "lookup")) then
        error(reader, 0)
      end
    end, function()
      if writer then writer:abort() end
      server:close()
      server:wait_closed()
    end
  end },
}
