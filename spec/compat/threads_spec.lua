-- asyncio.socket, copas and vim_async in threads, each with a state and loops of its own, at the same time.
local t = require "helper"
local socket = require "asyncio.socket"

local asyncio = t.asyncio

local ROUNDS = t.count(40)

--- Runs the job in so many threads at once, each with its number and the arguments; their results.
local function in_threads(n, job, ...)
  local args = table.pack(...)
  return t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(n)
    local jobs = {}
    for i = 1, n do jobs[i] = pool:submit(job, i, table.unpack(args, 1, args.n)) end
    return asyncio.gather(table.unpack(jobs))
  end)
end

TestThreads = {}

function TestThreads:test_each_has_sockets_of_its_own_in_several_loops()
  local function job(number, rounds)
    local asyncio = require "asyncio" -- luacheck: ignore
    local socket = asyncio.socket -- luacheck: ignore
    local function talk(server, i)
      local _, port = server:getsockname()
      local client = assert(socket.connect("localhost", port))
      local peer = assert(server:accept())
      local task = asyncio.create_task(function()
        local list = socket.select({ peer }, nil, 10)
        assert(list[1] == peer)
        return peer:send(peer:receive() .. " back\n")
      end)
      asyncio.sleep(0)
      client:send(("%d %d\n"):format(number, i))
      assert(client:receive() == ("%d %d back"):format(number, i))
      asyncio.await(task)
      client:settimeout(0.0005)
      assert(select(2, client:receive()) == "timeout")
      client:close()
      peer:close()
    end
    local kept = assert(socket.bind("127.0.0.1", 0))
    for i = 1, rounds do
      local one <close> = asyncio.new_event_loop()
      local other <close> = asyncio.new_event_loop()
      for _, loop in ipairs { one, other, one } do loop:run_until_complete(talk, kept, i) end
      assert(socket.dns.toip "localhost")
      assert(socket.dns.getaddrinfo "127.0.0.1")
    end
    kept:close()
    return number
  end
  t.assertEquals(table.pack(in_threads(4, job, ROUNDS)), { 1, 2, 3, 4, n = 4 })
end

function TestThreads:test_talk_to_each_other()
  local function job(number, port, rounds)
    local asyncio = require "asyncio" -- luacheck: ignore
    local socket = asyncio.socket -- luacheck: ignore
    return asyncio.run(function()
      local sum = 0
      local function ask(i)
        local client = assert(socket.connect("127.0.0.1", port))
        client:send(i .. "\n")
        local answer = client:receive()
        sum = sum + tonumber(answer)
        client:close()
      end
      for i = 1, rounds do asyncio.gather(asyncio.create_task(ask, i), asyncio.create_task(ask, number)) end
      return math.tointeger(sum)
    end)
  end
  t.real(function()
    local server = assert(socket.bind("127.0.0.1", 0, 64))
    local _, port = server:getsockname()
    local serving = asyncio.create_task(function()
      while true do
        local client = assert(server:accept())
        asyncio.create_task(function()
          client:send(client:receive() .. "\n")
          client:close()
        end)
      end
    end)
    local pool <close> = asyncio.ThreadPoolExecutor(3)
    local jobs = {}
    for i = 1, 3 do jobs[i] = pool:submit(job, i, port, ROUNDS) end
    local sums = table.pack(asyncio.gather(table.unpack(jobs)))
    for i = 1, 3 do t.assertEquals(sums[i], ROUNDS * (ROUNDS + 1) // 2 + i * ROUNDS) end
    serving:cancel()
    asyncio.wait { serving }
    server:close()
  end)
end

function TestThreads:test_each_has_a_copas_and_a_vim_async_of_its_own()
  local function job(number, rounds)
    local asyncio = require "asyncio" -- luacheck: ignore
    local copas, vim_async, socket = asyncio.compat.copas, asyncio.compat.vim_async, asyncio.socket -- luacheck: ignore
    local got = 0
    for _ = 1, rounds do
      local server = assert(socket.bind("127.0.0.1", 0))
      local _, port = server:getsockname()
      copas.addserver(server, copas.handler(function(client) client:send(client:receive() .. "\n") end))
      copas.addthread(function()
        local client = copas.wrap(socket.tcp())
        client:connect("127.0.0.1", port)
        client:send(number .. "\n")
        local answer = client:receive()
        got = got + answer
        copas.removeserver(server)
      end)
      copas.loop()
      vim_async.run(function()
        vim_async.sleep(1)
        got = got + number
      end):wait()
    end
    return math.tointeger(got) == 2 * number * rounds
  end
  t.assertEquals(table.pack(in_threads(3, job, ROUNDS // 4 + 1)), { true, true, true, n = 3 })
end

function TestThreads:test_each_loads_a_library_for_itself()
  if not package.searchpath("socket.http", package.path) then t.skip "LuaSocket is missing" end
  local function job(_, port, rounds)
    local asyncio = require "asyncio" -- luacheck: ignore
    local http = asyncio.compat.require "socket.http"
    return asyncio.run(function()
      local function get() return (http.request(("http://127.0.0.1:%d/"):format(port))) end
      for _ = 1, rounds do
        for _, body in ipairs { asyncio.gather(asyncio.create_task(get), asyncio.create_task(get)) } do
          assert(body == "hello")
        end
      end
      return true
    end)
  end
  t.real(function()
    local server <close> = asyncio.start_server(function(reader, writer)
      reader:readuntil "\r\n\r\n"
      writer:write "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
    end, "127.0.0.1", 0)
    local pool <close> = asyncio.ThreadPoolExecutor(3)
    local jobs = {}
    for i = 1, 3 do jobs[i] = pool:submit(job, i, server:sockets()[1].port, ROUNDS // 4 + 1) end
    t.assertEquals(table.pack(asyncio.gather(table.unpack(jobs))), { true, true, true, n = 3 })
  end)
end

t.finish()
