-- Servers that end: a request that was taken is answered unless its connection was aborted, nobody is forgotten, and a
-- cancelled end can be taken up again.
local asyncio = require "asyncio"

local HOST = "127.0.0.1"

local function port_of(server) return server:sockets()[1].port end

--- A handler that answers lines, and counts what it has taken and what it has given.
local function worker(c, count)
  count.taken, count.given, count.running = 0, 0, 0
  return function(reader, writer)
    count.running = count.running + 1
    local _ <close> = setmetatable({}, { __close = function() count.running = count.running - 1 end })
    for line in reader:lines() do
      count.taken = count.taken + 1
      asyncio.sleep(c.random(0, 3) * (c.clock == "virtual" and 0.1 or 0.0003))
      writer:send(line, "\n")
      count.given = count.given + 1
    end
  end
end

--- A client that asks, now and again several things at once, until it is hung up on; whom the server aborts is reset.
local function client(c, port, count)
  local ok, reader, writer = pcall(asyncio.open_connection, HOST, port)
  if not ok then return end
  local _ <close> = writer
  local asked, got = 0, 0
  local well, err = pcall(function()
    for _ = 1, 3 do
      for _ = 1, c.random(1, 3) do
        asked = asked + 1
        writer:write(asked, "\n")
      end
      asyncio.sleep(c.random(0, 3) * (c.clock == "virtual" and 0.1 or 0.0003))
      while got < asked do
        local line = reader:readline()
        if not line then return end
        got = got + 1
        assert(line == got .. "\n", "an answer was lost")
        count.got = count.got + 1
      end
    end
  end)
  writer:abort()
  if not well and not asyncio.isinstance(err, asyncio.OSError) then error(err, 0) end
end

local function clients(c, server, count)
  local port, list = port_of(server), {}
  count.got = 0
  for i = 1, c.random(1, 5) do list[i] = asyncio.create_task(client, c, port, count) end
  return list
end

--- The server has ended: nothing is left of it, and what it has answered has arrived.
local function over(server, count, tasks)
  assert(server:shutdown(0) == 0)
  for _, task in ipairs(tasks) do asyncio.await(task) end
  local stats = server:stats()
  assert(stats.connections == 0 and count.running == 0, "a connection was forgotten")
  assert(stats.failed == 0 and not server:is_serving())
  if stats.aborted == 0 and stats.reset == 0 then
    assert(count.given == count.taken, "a request was not answered")
    assert(not count.got or count.got == count.given, "an answer was lost")
  end
end

local function shutdown(clock)
  return { "Server:shutdown, " .. clock, clock, function(c)
    local count = {}
    local server = asyncio.start_server(worker(c, count), HOST, 0, { max_connections = c.one_of { 1, 2, 100 } })
    local tasks = clients(c, server, count)
    local grace = c.one_of { 0, 0.001, 0.01, 1, 100 }
    return function()
      c.pass()
      server:shutdown(grace)
    end, function()
      server:shutdown(c.one_of { 0, 0.01, 100 })
      over(server, count, tasks)
    end
  end }
end

--- A block that is left, one way or the other; the cancellation that it got comes out of it.
local function stopped(clock)
  return { "stop_grace, " .. clock, clock, function(c)
    local count, tasks, server, ends = {}, {}, nil, nil
    local forever, grace = c.one_of { true, false }, c.one_of { 0, 0.001, 0.01, 1, 100 }
    return function()
      local mine <close> = asyncio.start_server(worker(c, count), HOST, 0, { stop_grace = grace })
      server = mine
      tasks = clients(c, server, count)
      if not forever then return c.pass() end
      ends = asyncio.create_task(function()
        for _ = 1, 5 do c.pass() end
        if server:is_serving() then server:shutdown(grace) end
      end)
      server:serve_forever()
    end, function()
      if not server then return end
      if ends then asyncio.await(ends) end
      assert(not server:is_serving())
      server:shutdown(0)
      over(server, count, tasks)
    end
  end }
end

return {
  shutdown "virtual", shutdown "real", stopped "virtual", stopped "real",

  { "max_connections", "virtual", function(c)
    local count, max = {}, c.one_of { 1, 2 }
    local work = worker(c, count)
    local server = asyncio.start_server(function(...)
      assert(count.running < max, "too many at once")
      work(...)
    end, HOST, 0, { max_connections = max })
    local port = port_of(server)
    count.got = 0
    local others = clients(c, server, count)
    return function() client(c, port, count) end, function()
      for _, task in ipairs(others) do asyncio.await(task) end
      for _ = 1, max + 1 do
        local reader, writer <close> = asyncio.open_connection(HOST, port)
        writer:send "1\n"
        assert(reader:readline() == "1\n", "a place was lost")
      end
      server:shutdown(100)
      count.got = nil -- who was cancelled has got less
      over(server, count, {})
    end
  end },
}
