-- Copies: what was taken from one stream has been written to the other, in order, and the rest is still there. And a
-- writer's descriptor: it is given with all that came, or not at all.
local asyncio = require "asyncio"

--- Both ends of a connection, and what closes it.
local function connection()
  local loop = asyncio.get_running_loop()
  local accepted, over, path = loop:create_future(), loop:create_future(), os.tmpname()
  os.remove(path)
  local server = asyncio.start_unix_server(function(reader, writer)
    accepted:set_result(reader, writer)
    asyncio.await(over)
    writer:abort()
  end, path)
  local reader, writer = asyncio.open_unix_connection(path)
  local far_reader, far_writer = asyncio.await(accepted)
  return reader, writer, far_reader, far_writer, function()
    over:set_result()
    writer:abort()
    server:close()
    server:wait_closed()
  end
end

local function text(c)
  local words = {}
  for i = 1, 500 do words[i] = ("%x."):format(c.random(0, 0xffffff)) end
  return table.concat(words):rep(c.one_of { 1, 1, 40, 120 })
end

--- Sends the text in pieces, then the end.
local function send(c, writer, data)
  local i = 1
  while i <= #data do
    c.pass()
    local n = c.one_of { 1, 100, 10000, 100000 }
    writer:send(data:sub(i, i + n - 1))
    i = i + n
    if c.random(4) == 1 then
      writer:send(data:sub(i))
      break
    end
  end
  writer:write_eof()
end

return {
  { "copy", "real", function(c)
    local reader, _, _, source, close = connection()
    local _, writer, sink, _, close_sink = connection()
    local all, got = text(c), {}
    writer:set_write_buffer_limits { high = c.one_of { 0, 1000, 65536 }, low = 0 }
    local feeder = asyncio.create_task(send, c, source, all)
    local eater = asyncio.create_task(function()
      for piece in function() return sink:read(c.one_of { 10, 10000, 1 << 20 }) end do
        got[#got + 1] = piece
        if c.random(5) == 1 then c.pass() end
      end
    end)
    return function()
      local max = c.one_of { false, 1, 1000, 70000 }
      repeat until asyncio.copy(reader, writer, { max_bytes = max or nil }) < (max or math.huge) or c.random(50) == 1
    end, function()
      writer:write_eof()
      local rest = reader:read()
      asyncio.await(eater)
      asyncio.await(feeder)
      assert(table.concat(got) .. rest == all, "bytes were lost, or came twice")
      close()
      close_sink()
    end
  end },

  { "StreamWriter:detach", "real", function(c)
    local reader, writer, far_reader, far_writer, close = connection()
    local there, back = text(c), text(c)
    local feeder = asyncio.create_task(send, c, far_writer, back)
    local eater = asyncio.create_task(function() return far_reader:read() end)
    local fd, unread
    writer:write(there)
    return function() fd, unread = writer:detach() end, function(task)
      assert(task:cancelled() == not fd, "a descriptor was lost")
      local now_reader, now_writer = reader, writer
      if fd then now_reader, now_writer = asyncio.open_fd(fd) end
      now_writer:write_eof()
      assert((unread or "") .. now_reader:read() == back, "bytes were lost, or came twice")
      assert(asyncio.await(eater) == there, "output was lost")
      asyncio.await(feeder)
      now_writer:close()
      now_writer:wait_closed()
      close()
    end
  end },

  { "copy in memory", "virtual", function(c)
    local _, source, reader, near = asyncio.stream_pair { limit = c.one_of { 10, 1000, 65536 } }
    local _, writer, sink, far = asyncio.stream_pair { limit = c.one_of { 10, 1000, 65536 } }
    local all = text(c)
    writer:set_write_buffer_limits { high = c.one_of { 0, 1000, 65536 }, low = 0 }
    local feeder = asyncio.create_task(send, c, source, all)
    local eater = asyncio.create_task(function() return sink:read() end)
    return function() asyncio.copy(reader, writer) end, function()
      writer:write_eof()
      local rest = reader:read()
      asyncio.await(feeder)
      assert(asyncio.await(eater) .. rest == all, "bytes were lost, or came twice")
      for _, each in ipairs { source, near, writer, far } do each:abort() end
    end
  end },

  { "copy to itself", "virtual", function(c)
    local reader, other, _, writer = asyncio.stream_pair { limit = 1 << 20 } -- room for all of it
    local all = text(c)
    writer:write(all)
    return function() asyncio.copy(reader, writer, { max_bytes = c.one_of { 10, 1 << 20, 4 << 20 } }) end, function()
      writer:write_eof()
      local rest = reader:read()
      assert(#rest == #all and (all .. all):find(rest, 1, true), "bytes were lost, or came twice")
      writer:abort()
      other:abort()
    end
  end },

  { "copy of an echo", "real", function(c)
    local reader, writer, far_reader, far_writer, close = connection()
    local all = text(c)
    writer:set_write_buffer_limits { high = c.one_of { 0, 1000, 65536 }, low = 0 }
    local feeder = asyncio.create_task(send, c, far_writer, all)
    local eater = asyncio.create_task(function() return far_reader:read() end)
    return function() asyncio.copy(reader, writer) end, function()
      local rest = reader:read()
      writer:write_eof()
      asyncio.await(feeder)
      assert(asyncio.await(eater) .. rest == all, "bytes were lost, or came twice")
      close()
    end
  end },
}
