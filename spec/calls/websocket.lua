-- WebSockets: a receive that is cancelled has taken nothing, whoever else receives, and what a cancelled send was given
-- arrives.
local asyncio = require "asyncio"

local http = asyncio.http

local function url_of(server) return ("ws://127.0.0.1:%d/"):format(server:sockets()[1].port) end

local function rest(c) asyncio.sleep(c.random(0, 3) * (c.clock == "virtual" and 0.2 or 0.0003)) end

--- A server that sends the numbers from 1 to n, when it likes; pings now and again, where that takes no real time.
local function counting(c, n)
  return http.serve(function(request)
    local ws = request:websocket()
    for i = 1, n do
      if c.random(3) == 1 then rest(c) end
      if c.random(2) == 1 then ws:send(tostring(i)) else ws:send_binary(tostring(i)) end
      if i < n and c.clock == "virtual" and c.random(8) == 1 then ws:ping() end
    end
    ws:receive()
  end, "127.0.0.1", 0)
end

local function receiving(clock)
  return { "websocket receive, " .. clock, clock, function(c)
    local n, seen = c.random(1, 20), {}
    local server = counting(c, n)
    local ws = http.websocket(url_of(server), { max_queue = c.one_of { 1, 16 } })
    local got = 0
    local function receive()
      local number = tonumber((assert(ws:receive())))
      assert(number <= n and not seen[number], "a message came twice")
      seen[number], got = true, got + 1
      return number
    end
    local others = {}
    for i = 1, n > 4 and c.random(0, 2) or 0 do others[i] = asyncio.create_task(receive) end
    return function()
      local last = 0
      for _ = 1, n - #others do
        c.pass()
        local number = receive()
        assert(number > last, "messages are not in order")
        last = number
      end
    end, function()
      while got < n do
        if c.random(4) == 1 then rest(c) end
        local left = n - got
        for _, other in ipairs(others) do left = left - (other:done() and 0 or 1) end
        if left > 0 then receive() else asyncio.sleep(0) end
      end
      asyncio.gather(others)
      ws:close()
      assert(ws.close_code == 1000)
      server:shutdown(1)
    end
  end }
end

local function sending(clock)
  return { "websocket send, " .. clock, clock, function(c)
    local sizes, came, over = {}, 0, asyncio.Event()
    local server = http.serve(function(request)
      local ws = request:websocket()
      for data in ws:iter() do
        came = came + 1
        assert(#data == sizes[came], "a message is missing, or not whole")
        if c.random(8) == 1 then rest(c) end
      end
      over:set()
    end, "127.0.0.1", 0)
    local ws = http.websocket(url_of(server))
    return function()
      for i = 1, c.random(1, 30) do
        if c.random(4) == 1 then c.pass() end
        sizes[i] = c.one_of { 0, 10, 3000, 16384, 70000 }
        if c.random(2) == 1 then ws:send(("x"):rep(sizes[i])) else ws:send_binary(("x"):rep(sizes[i])) end
      end
    end, function()
      ws:close()
      over:wait()
      assert(ws.close_code == 1000 and came == #sizes, "a message was lost")
      server:shutdown(1)
    end
  end }
end

return { receiving "virtual", receiving "real", sending "virtual", sending "real" }
