-- asyncio.socket: a cancelled receive has taken nothing, and a cancelled accept has lost no client.
local asyncio = require "asyncio"
local pieces = require "calls.pieces"
local socket = require "asyncio.socket"

local function pair()
  local server = assert(socket.bind("127.0.0.1", 0))
  local client = assert(socket.connect("127.0.0.1", (select(2, server:getsockname()))))
  local peer = assert(server:accept())
  server:close()
  return client, peer
end

local function finish(peer) peer:shutdown "send" end

--- What is read by `read(client)` until that gives nothing is, with the rest, all that was sent.
local function reading(c, read)
  local client, peer = pair()
  local text, got = pieces.lines(c, 12), {}
  local feeder = pieces.feed(c, peer, text, finish)
  if c.random(3) == 1 then client:settimeout(c.one_of { 0, 0.0002 }, c.one_of { "b", "t" }) end
  return function()
    for _ = 1, 30 do
      read(client, got)
      if c.random(8) == 1 then c.pass() end
    end
  end, function()
    client:settimeout()
    client:settimeout(nil, "t")
    local rest = client:receive "*a" or ""
    assert(table.concat(got) .. rest == text, "bytes were lost")
    asyncio.await(feeder)
    client:close()
    peer:close()
  end
end

--- Who connects, and says so.
local function visitors(c, port, n)
  return asyncio.create_task(function()
    local made = {}
    for i = 1, n do
      made[i] = assert(socket.connect("127.0.0.1", port))
      made[i]:send(i .. "\n")
      c.pass()
    end
    return made
  end)
end

local function close_all(list)
  for _, s in ipairs(list) do s:close() end
end

local function accepting(c)
  local server = assert(socket.bind("127.0.0.1", 0, 32))
  local visiting = visitors(c, select(2, server:getsockname()), 5)
  local got = {}
  return function()
    for _ = 1, 5 do
      got[#got + 1] = server:accept()
      c.pass()
    end
  end, function()
    local made = asyncio.await(visiting)
    server:settimeout(5)
    for _ = #got + 1, 5 do got[#got + 1] = assert(server:accept()) end
    for i, s in ipairs(got) do assert(s:receive() == tostring(i), "a client was lost") end
    close_all(made)
    close_all(got)
    server:close()
  end
end

local cases = {
  { "socket receive, lines", function(c)
    return reading(c, function(client, got)
      local line, _, partial = client:receive()
      got[#got + 1] = line and line .. "\n" or partial
    end)
  end },

  { "socket receive, bytes", function(c)
    return reading(c, function(client, got)
      local bytes, _, partial = client:receive(c.one_of { 0, 1, 50, 500 })
      got[#got + 1] = bytes or partial
    end)
  end },

  { "socket send", function(c)
    local client, peer = pair()
    local text = pieces.lines(c, 300):rep(150)
    client:setoption("send-buffer-size", 200000)
    local reads = asyncio.create_task(function()
      local got = {}
      repeat
        local bytes, _, partial = peer:receive(c.one_of { 10000, 100000 })
        got[#got + 1] = bytes or partial
        if c.random(8) == 1 then c.pass() end
      until not bytes
      return table.concat(got)
    end)
    if c.random(3) == 1 then client:settimeout(0.001) end
    local last, err
    return function()
      local sent
      last, err, sent = client:send(text)
      last = last or sent
      client:close()
    end, function(task)
      if task:cancelled() then client:close() end -- if it never began
      local got = asyncio.await(reads)
      assert(text:sub(1, #got) == got, "others came than were sent")
      assert(not last or #got == last, err)
      peer:close()
    end
  end },

  { "socket accept", accepting },

  { "socket connect", function(c)
    local server = assert(socket.bind("127.0.0.1", 0, c.one_of { 1, 32 }))
    local _, port = server:getsockname()
    local client = socket.tcp()
    local host = c.one_of { "127.0.0.1", "localhost" }
    return function()
      c.pass()
      assert(client:connect(host, port))
      c.pass()
      return client:send "x"
    end, function()
      client:close()
      server:close()
    end
  end },

  { "socket.select", function(c)
    local one, one_peer = pair()
    local two, two_peer = pair()
    local feeder = asyncio.create_task(function()
      for i = 1, 10 do
        c.one_of { one_peer, two_peer }:send(i .. "\n")
        c.pass()
      end
    end)
    local got, count = {}, 0
    local function take(s)
      s:settimeout(0)
      local line = s:receive()
      if not line then return end
      count = count + 1
      got[tonumber(line)] = true
    end
    return function()
      while count < 10 do
        local list = socket.select({ one, two }, nil, c.one_of { 0, 0.001, 5 })
        for _, s in ipairs(list) do take(s) end
      end
    end, function()
      asyncio.await(feeder)
      while count < 10 do
        for _, s in ipairs(socket.select({ one, two }, nil, 5)) do take(s) end
      end
      assert(#got == 10, "a line was lost")
      close_all { one, two, one_peer, two_peer }
    end
  end },

  { "socket receivefrom", function(c)
    local a, b = socket.udp4(), socket.udp4()
    a:setsockname("127.0.0.1", 0)
    local _, port = a:getsockname()
    local feeder = asyncio.create_task(function()
      for i = 1, 10 do
        b:sendto(tostring(i), "127.0.0.1", port)
        c.pass()
      end
    end)
    local n = 0
    return function()
      for i = 1, 10 do
        assert(a:receivefrom() == tostring(i))
        n = i
        c.pass()
      end
    end, function()
      asyncio.await(feeder)
      a:settimeout(5)
      for i = n + 1, 10 do assert(a:receive() == tostring(i), "a datagram was lost") end
      close_all { a, b }
    end
  end },

  { "socket.sleep", function(c)
    local loop = asyncio.get_running_loop()
    return function()
      local seconds, begin = c.random(), loop:time()
      socket.sleep(seconds)
      assert(loop:time() - begin >= seconds - 1e-9)
    end, function() end
  end },

  { "socket.dns.toip", function(c)
    return function()
      c.pass()
      return assert(socket.dns.toip "localhost")
    end, function() end
  end },
}

local list = {}
for _, case in ipairs(cases) do
  local name, setup = table.unpack(case)
  list[#list + 1] = { name, name == "socket.sleep" and "virtual" or "real", setup }
end
return list
