-- idle_spec.lua - many encrypted connections on which nothing happens.
-- SPEC_CONNECTIONS: how many (300); each takes two descriptors.
local t = require "helper"
local secure = require "secure"

local asyncio = t.asyncio

--- Kilobytes of memory that the process has; how many sockets.
local function taken()
  local statm <close> = assert(io.open "/proc/self/statm")
  local _, pages = statm:read("n", "n")
  local pipe <close> = io.popen "ls -l /proc/$PPID/fd | grep -c socket:"
  return pages * 4, pipe:read "n"
end

TestIdle = {}

function TestIdle:test_connections_stay_and_take_little_and_leave_nothing()
  secure.need_proc()
  local n = math.tointeger(os.getenv "SPEC_CONNECTIONS") or t.count(300)
  t.real(function()
    local server <close> = secure.serve(function(reader, writer)
      for line in reader:lines() do writer:send(line, "\n") end
    end)
    local context = secure.client_context()
    local function greet(client)
      client.writer:send "hello\n"
      t.assertEquals(client.reader:readline(), "hello\n")
    end
    local function come()
      local client = {}
      client.reader, client.writer = secure.connect(server, { ssl = context })
      greet(client)
      return client
    end
    local _, open_before = taken()
    local function all_have_gone()
      return server:stats().connections == 0 and select(2, taken()) == open_before
    end
    do local _ <close> = come().writer end
    t.wait_until(all_have_gone)
    t.collect()
    local before = taken()
    local clients = {}
    for from = 1, n, 20 do
      local coming = {}
      for _ = from, math.min(from + 19, n) do coming[#coming + 1] = asyncio.create_task(come) end
      for _, task in ipairs(coming) do clients[#clients + 1] = asyncio.await(task) end
    end
    t.collect()
    local after, open_after = taken()
    t.assertEquals(server:stats().connections, n)
    t.assertEquals(open_after - open_before, 2 * n)
    local each = (after - before) / n
    if os.getenv "SPEC_CONNECTIONS" then
      print(("# %d connections: %.1f KB each, both ends and their tasks together"):format(n, each))
    end
    if not secure.watched then t.assertTrue(each < 80, each) end
    local cpu = os.clock()
    asyncio.sleep(0.3)
    t.assertTrue(os.clock() - cpu < 0.15, os.clock() - cpu)
    for _, client in ipairs(clients) do greet(client) end
    for _, client in ipairs(clients) do client.writer:close() end
    for _, client in ipairs(clients) do client.writer:wait_closed() end
    t.wait_until(all_have_gone)
    t.assertEquals({ server:stats().failed, server:stats().handshakes_failed }, { 0, 0 })
  end)
end

t.finish()
