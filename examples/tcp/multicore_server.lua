-- multicore_server.lua [HOST [PORT [WORKERS]]] - one process that serves with all cores: each worker thread
-- runs a loop and a server of its own, all on one port, and the kernel deals the connections out.
-- What you type becomes the greeting of all of them. Ctrl-C ends them all.
-- Talk to it with `nc 127.0.0.1 12345` in two or three terminals.
local asyncio = require "asyncio"

io.stdout:setvbuf "line"

-- Runs in a worker, which has a Lua state of its own: all it knows are its arguments.
local function serve(number, host, port, orders, ports)
  local asyncio = require "asyncio" -- luacheck: ignore
  local greeting, served = "Hello", 0

  local function handle_connection(reader, writer)
    for line in reader:lines() do
      served = served + 1
      writer:write(("%s from worker %d: %s\n"):format(greeting, number, line))
      writer:drain()
    end
  end

  return asyncio.run(function()
    local server <close> = asyncio.start_server(handle_connection, host, port, { reuse_port = true })
    ports:put(server:sockets()[1].port)
    for _, order in orders:iter() do greeting = order end -- until the channel is closed
    server:close()
    server:close_clients() -- else idle ones would be waited for
    return served
  end)
end

-- Starts one worker's server; its job and the port, once it listens.
local function start(pool, number, host, port, orders)
  local ports = asyncio.Channel()
  local job = pool:submit(serve, number, host, port, orders, ports)
  local listening = asyncio.create_task(ports.get, ports)
  asyncio.wait({ job, listening }, { return_when = asyncio.FIRST_COMPLETED })
  if not listening:done() then
    listening:cancel()
    asyncio.await(job) -- raises what went wrong
  end
  return job, asyncio.await(listening)
end

local function main(host, port, workers)
  local pool <close> = asyncio.ThreadPoolExecutor(workers)
  local orders, jobs = {}, {}

  local function close_all()
    for _, channel in ipairs(orders) do channel:close() end
  end
  local _ <close> = setmetatable({}, { __close = function()
    close_all()
    for number, job in ipairs(jobs) do
      print(("Worker %d served %d lines"):format(number, asyncio.await(job)))
    end
  end })

  for number = 1, workers do
    orders[number] = asyncio.Channel()
    jobs[number], port = start(pool, number, host, port, orders[number])
  end
  print(("Listening on %s:%d with %d workers"):format(host, port, workers))

  for line in asyncio.stdin():lines() do
    for _, channel in ipairs(orders) do channel:put(line) end
    print("Greeting: " .. line)
  end
  asyncio.Event():wait() -- for Ctrl-C
end

local host, port, workers = arg[1] or "127.0.0.1", tonumber(arg[2] or 12345), tonumber(arg[3] or 4)
local ok, err = pcall(asyncio.run, main, host, port, workers)
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end
