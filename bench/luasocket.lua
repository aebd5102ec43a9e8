--- luasocket.lua: what a request of LuaSocket's socket.http costs over our sockets, beside LuaSocket itself
-- and copas; prints markdown. CPU of the client alone, one request a connection, an answer of 1,000 bytes.
-- Each round runs all, one after the other, each in a process of its own. ROUNDS (5) and REQUESTS (4000) may
-- be set. copas is left out where `require` doesn't find it, release 3 or newer, and what it needs.
local ROUNDS = tonumber(os.getenv "ROUNDS") or 5
local REQUESTS = tonumber(os.getenv "REQUESTS") or 4000
local LUA = os.getenv "LUA" or "lua5.4"
local WARM = 50

--- Asks for the url so often.
local function asker(http, url)
  return function(n)
    for _ = 1, n do
      local body, code = http.request(url)
      assert(code == 200 and #body == 1000, code)
    end
  end
end

local clients = {}

function clients.luasocket(url)
  local ask = asker(require "socket.http", url)
  ask(WARM)
  return os.clock(), ask(REQUESTS)
end

function clients.ours(url, together)
  local asyncio = require "asyncio"
  local ask = asker(asyncio.compat.require "socket.http", url)
  return asyncio.run(function()
    ask(WARM)
    local began, group = os.clock(), asyncio.TaskGroup()
    local _ <close> = group
    for _ = 1, together do group:create_task(ask, REQUESTS // together) end
    return began
  end)
end

function clients.copas(url, together)
  local copas = require "copas"
  local ask = asker(require "copas.http", url)
  copas.addthread(ask, WARM)
  copas.loop()
  local began = os.clock()
  for _ = 1, together do copas.addthread(ask, REQUESTS // together) end
  copas.loop()
  return began
end

--- In a process of its own: µs of CPU a request.
local function client(name, url, together)
  local began = clients[name](url, together)
  print((os.clock() - began) / REQUESTS * 1e6)
end

local function serve()
  local asyncio = require "asyncio"
  local answer = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n" .. ("x"):rep(1000)
  asyncio.run(function()
    local server = asyncio.start_server(function(reader, writer)
      reader:readuntil "\r\n\r\n"
      writer:write(answer)
    end, "127.0.0.1", 0, { backlog = 128 })
    print(server:sockets()[1].port)
    io.stdout:flush()
    asyncio.stdin():read() -- until the other end has gone
  end)
end

local function measured(name, url, together)
  local command = ("%s '%s' %s '%s' %d 2>/dev/null"):format(LUA, arg[0], name, url, together)
  local pipe <close> = assert(io.popen(command))
  return tonumber(pipe:read "l" or "")
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2], list[1], list[#list]
end

local POINTS = { { "luasocket", 1 }, { "ours", 1 }, { "copas", 1 }, { "ours", 50 }, { "copas", 50 } }

local function main()
  local port_file = os.tmpname()
  local _ <close> = assert(io.popen(("%s '%s' serve >'%s'"):format(LUA, arg[0], port_file), "w"))
  local port
  repeat
    os.execute "sleep 0.05"
    local file <close> = assert(io.open(port_file))
    port = file:read "l"
  until port
  os.remove(port_file)
  local times, ratios = {}, {}
  for i = 1, #POINTS do times[i], ratios[i] = {}, {} end
  for _ = 1, ROUNDS do
    local first
    for i, point in ipairs(POINTS) do
      local us = measured(point[1], "http://127.0.0.1:" .. port, point[2])
      first = first or us
      if us then
        table.insert(times[i], us)
        table.insert(ratios[i], us / first)
      end
    end
  end
  print "| client | at once | µs of CPU a request | beside LuaSocket |\n|---|---|---|---|"
  for i, point in ipairs(POINTS) do
    if #times[i] > 0 then
      print(("| %s | %d |"):format(point[1], point[2]) .. (" %.0f (%.0f to %.0f) |"):format(median(times[i]))
        .. (" %.2f (%.2f to %.2f) |"):format(median(ratios[i])))
    end
  end
end

if arg[1] == "serve" then serve() elseif arg[1] then client(arg[1], arg[2], tonumber(arg[3])) else main() end
