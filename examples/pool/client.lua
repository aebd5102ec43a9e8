-- client.lua - many tasks talk to a server of one request a line, over few connections that are used again.
-- The server is in here, too. It breaks a connection now and then, and is slow now and then: what has failed
-- in the middle of an answer is thrown away, and the request tried anew. Each has its limit of time.
local asyncio = require "asyncio"

local REQUESTS, CONNECTIONS, PATIENCE, TRIES = 60, 4, 0.1, 10

local served = 0

--- The server: "square 7" is answered by "49".
local function handle_connection(reader, writer)
  for line in reader:lines() do
    served = served + 1
    if line == "ping" then
      writer:write "pong\n"
    else
      if served % 10 == 0 then return end -- breaks the connection
      if served % 13 == 0 then asyncio.sleep(2 * PATIENCE) end
      local number = tonumber(line:match "^square (%d+)$")
      writer:write(("%d\n"):format(number * number))
    end
    writer:drain()
  end
end

local function ask(connection, request)
  connection.writer:write(request .. "\n")
  return connection.reader:readline() or error(asyncio.ConnectionError "the server has left")
end

local function pool_of(host, port)
  return asyncio.Pool {
    max = CONNECTIONS, idle_timeout = 30,
    create = function()
      local reader, writer = asyncio.open_connection { host = host, port = port, connect_timeout = 5 }
      return { reader = reader, writer = writer }
    end,
    check = function(connection)
      return asyncio.wait_for(function() return ask(connection, "ping") end, PATIENCE)
    end,
    destroy = function(connection)
      connection.writer:abort() -- who knows what is still to come
      connection.writer:wait_closed()
    end,
  }
end

--- One request: the answer, and how often it was tried.
local function square(pool, number)
  for try = 1, TRIES do
    local ok, answer = asyncio.pcall(function()
      local _ <close> = asyncio.timeout(PATIENCE)
      local lease <close> = pool:acquire()
      return tonumber(ask(lease.value, "square " .. number))
    end)
    if ok then return answer, try end
  end
  error(asyncio.Error("no answer for " .. number))
end

asyncio.run(function()
  local server <close> = asyncio.start_server(handle_connection, "127.0.0.1", 0)
  local pool <close> = pool_of("127.0.0.1", server:sockets()[1].port)
  local tries = 0
  do
    local group <close> = asyncio.TaskGroup()
    for i = 1, REQUESTS do
      group:create_task(function()
        local answer, n = square(pool, i)
        assert(answer == i * i)
        tries = tries + n
      end)
    end
  end
  local stats = pool:stats()
  print(("%d answers, %d tries"):format(REQUESTS, tries))
  print(("%d connections made, %d thrown away, %d idle"):format(stats.created, stats.destroyed, stats.idle))
end)
