-- HTTP servers that end: a request that a handler was given is answered, and its answer arrives, unless its connection
-- was aborted; nobody is forgotten.
local asyncio = require "asyncio"

local http = asyncio.http

local HOST = "127.0.0.1"
local REQUESTS = {
  "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET /pieces HTTP/1.1\r\nHost: h\r\n\r\n",
  "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
  "POST /unread HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
}

--- Answers in one of several ways, and counts what it was asked.
local function worker(c, count)
  count.taken, count.running, count.got = 0, 0, 0
  return function(request)
    count.taken, count.running = count.taken + 1, count.running + 1
    local _ <close> = setmetatable({}, { __close = function() count.running = count.running - 1 end })
    asyncio.sleep(c.random(0, 3) * (c.clock == "virtual" and 0.1 or 0.0003))
    if request.path ~= "/pieces" then return request.path == "/read" and request:read() or "hello" end
    local body = request:respond(200, { ["Content-Length"] = 5 })
    body:send "he"
    asyncio.sleep(0)
    body:send "llo"
  end
end

--- Asks several times, bytes now and again in two parts; until it is told that an answer was the last.
local function client(c, port, count)
  local ok, reader, writer = pcall(asyncio.open_connection, HOST, port)
  if not ok then return end
  local _ <close> = writer
  local well, err = pcall(function()
    for _ = 1, c.random(1, 4) do
      local text = c.one_of(REQUESTS)
      local cut = c.random(0, 1) * c.random(0, #text)
      writer:send(text:sub(1, cut))
      if cut > 0 then asyncio.sleep(c.random(0, 2) * 0.0003) end
      writer:send(text:sub(cut + 1))
      local head = reader:readuntil "\r\n\r\n"
      if not head then return end
      assert(reader:readexactly(5) == "hello", "an answer is another's")
      count.got = count.got + 1
      if head:find "Connection: close" then return end
    end
  end)
  writer:abort()
  if not well and not asyncio.isinstance(err, asyncio.OSError)
    and not asyncio.isinstance(err, asyncio.IncompleteReadError) then
    error(err, 0)
  end
end

local function shutdown(clock)
  return { "http shutdown, " .. clock, clock, function(c)
    local count, tasks = {}, {}
    local server = http.serve(worker(c, count), HOST, 0, { max_requests = c.one_of { 2, 100 } })
    local port = server:sockets()[1].port
    for i = 1, c.random(1, 5) do tasks[i] = asyncio.create_task(client, c, port, count) end
    local grace = c.one_of { 0, 0.001, 0.01, 1, 100 }
    return function()
      c.pass()
      server:shutdown(grace)
    end, function()
      server:shutdown(c.one_of { 0, 0.01, 100 })
      assert(server:shutdown(0) == 0)
      for _, task in ipairs(tasks) do asyncio.await(task) end
      local stats = server:stats()
      assert(stats.connections == 0 and count.running == 0, "a connection was forgotten")
      assert(stats.failed == 0, "a handler has failed")
      if stats.aborted == 0 and stats.reset == 0 then assert(count.got == count.taken, "an answer was lost") end
    end
  end }
end

return { shutdown "virtual", shutdown "real" }
