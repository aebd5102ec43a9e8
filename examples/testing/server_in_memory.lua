-- An HTTP-like server and its tests: client and server are joined in memory, and time is virtual. So
-- minutes pass in milliseconds, always in the same way, and no port is needed. Start it without arguments.
local asyncio = require "asyncio"
local testing = require "asyncio.testing"

local HEAD_TIMEOUT, IDLE_TIMEOUT = 10, 300

local PAGES = {
  ["/"] = function() return "welcome" end,
  ["/slow"] = function() asyncio.sleep(120) return "at last" end,
}

local function read_head(reader)
  local head = {}
  for line in reader:lines "\r\n" do
    if line == "" then return head end
    head[#head + 1] = line
  end
end

local function respond(writer, status, body)
  writer:send(("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s"):format(status, #body, body))
end

--- The server: asyncio.start_server(handle, "127.0.0.1", 8080) calls it for each connection.
local function handle(reader, writer)
  while true do
    local something, byte = asyncio.move_on_after(IDLE_TIMEOUT, reader.peek, reader)
    if not something or not byte then return end
    local in_time, head = asyncio.move_on_after(HEAD_TIMEOUT, read_head, reader)
    if not in_time then return respond(writer, "408 Request Timeout", "") end
    if not head then return end
    local page = PAGES[head[1] and head[1]:match "^GET (%S+)"]
    respond(writer, page and "200 OK" or "404 Not Found", page and page() or "")
  end
end

--- Its tests; testing.async makes functions that any framework can call.
local function test(name, fn)
  local began, minutes = os.clock(), nil
  testing.async(function()
    local reader, writer <close>, server_reader, server_writer = asyncio.stream_pair()
    local server = asyncio.create_task(function()
      local _ <close> = server_writer
      handle(server_reader, server_writer)
    end)
    fn(reader, writer, server)
    writer:close()
    asyncio.wait { server }
    minutes = asyncio.get_running_loop():time() / 60
  end, { clock = "virtual" })()
  print(("ok - %s: %.1f minutes in %.1f ms"):format(name, minutes, (os.clock() - began) * 1000))
end

local function get(reader, writer, path)
  writer:send("GET ", path, " HTTP/1.1\r\n\r\n")
  local head = read_head(reader)
  return head[1]:match "%d%d%d", reader:readexactly(tonumber(head[2]:match "%d+"))
end

test("takes its time for a page", function(reader, writer)
  assert(get(reader, writer, "/none") == "404")
  assert(select(2, get(reader, writer, "/slow")) == "at last")
end)
test("tells a client that it is too slow", function(reader, writer)
  writer:send "GET / HT"
  assert(read_head(reader)[1] == "HTTP/1.1 408 Request Timeout")
end)
test("closes a connection on which nothing comes", function(reader)
  assert(reader:read(1) == nil and asyncio.get_running_loop():time() >= IDLE_TIMEOUT)
end)
test("fails, and no more, when its client breaks off", function(_, writer, server)
  writer:send "GET /slow HTTP/1.1\r\n\r\n"
  asyncio.sleep(60)
  writer:abort()
  local _, err = asyncio.pcall(asyncio.await, server)
  assert(asyncio.isinstance(err, asyncio.ConnectionError))
end)
