-- operations.lua NAME N - does one operation N times, and nothing else: what instructions.lua counts.
local asyncio = require "asyncio"

local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep
local OPTIONS = { spawn_reuse = { reuse_coroutines = true }, gather10_reuse = { reuse_coroutines = true } }

local function one() return 1 end
local TEN = { one, one, one, one, one, one, one, one, one, one }

local operations = {}

operations["sleep(0)"] = function(n) for _ = 1, n do sleep(0) end end

function operations.spawn(n)
  for _ = 1, n do await(create_task(one)) end
end
operations.spawn_reuse = operations.spawn

function operations.spawn100(n) -- a task of a batch of 100
  local tasks = {}
  for _ = 1, n // 100 do
    for i = 1, 100 do tasks[i] = create_task(one) end
    for i = 1, 100 do await(tasks[i]) end
  end
end

function operations.gather2(n)
  for _ = 1, n do asyncio.gather(one, one) end
end

function operations.gather10(n)
  for _ = 1, n do asyncio.gather(TEN) end
end

operations.gather10_reuse = operations.gather10

local function group(size, n)
  for _ = 1, n do
    local tasks <close> = asyncio.TaskGroup()
    for _ = 1, size do tasks:create_task(one) end
  end
end

function operations.group2(n) group(2, n) end
function operations.group10(n) group(10, n) end

function operations.wait10(n)
  for _ = 1, n do asyncio.wait(TEN) end
end

function operations.completed10(n)
  for _ = 1, n do
    for task in asyncio.as_completed(TEN) do task:result() end
  end
end

function operations.shield(n)
  for _ = 1, n do await(asyncio.shield(create_task(one))) end
end

function operations.timeout(n)
  for _ = 1, n do
    local _ <close> = asyncio.timeout(10)
  end
end

function operations.timeout_wait(n)
  for _ = 1, n do
    local _ <close> = asyncio.timeout(10)
    sleep(0)
  end
end

function operations.wait_for(n)
  for _ = 1, n do asyncio.wait_for(one, 10) end
end

function operations.move_on_after(n)
  for _ = 1, n do asyncio.move_on_after(10, one) end
end

function operations.future(n)
  local loop = asyncio.get_running_loop()
  for i = 1, n do
    local future = loop:create_future()
    future:set_result(i)
    await(future)
  end
end

function operations.pingpong(n)
  local loop = asyncio.get_running_loop()
  local ping, pong = loop:create_future(), nil
  local task = create_task(function()
    for i = 1, n do
      await(ping)
      ping = loop:create_future()
      pong:set_result(i)
    end
  end)
  for i = 1, n do
    pong = loop:create_future()
    ping:set_result(i)
    await(pong)
  end
  await(task)
end

function operations.callback(n)
  local loop = asyncio.get_running_loop()
  for _ = 1, n do
    local future = loop:create_future()
    future:add_done_callback(one)
    future:set_result(1)
  end
  sleep(0)
end

local function queue_of(size)
  return function(n)
    local queue = asyncio.Queue(size)
    local task = create_task(function() for i = 1, n do queue:put(i) end end)
    for _ = 1, n do queue:get() end
    await(task)
  end
end
operations.queue1, operations.queue1000 = queue_of(1), queue_of(1000)

function operations.lock(n)
  local lock = asyncio.Lock()
  for _ = 1, n do
    local _ <close> = lock:acquire()
  end
end

function operations.lock_contended(n)
  local lock, tasks = asyncio.Lock(), {}
  for i = 1, 10 do
    tasks[i] = create_task(function()
      for _ = 1, n // 10 do
        local _ <close> = lock:acquire()
        sleep(0)
      end
    end)
  end
  asyncio.gather(tasks)
end

function operations.semaphore(n)
  local semaphore = asyncio.Semaphore(1)
  for _ = 1, n do
    local _ <close> = semaphore:acquire()
  end
end

function operations.event(n)
  local here, there = asyncio.Event(), asyncio.Event()
  local task = create_task(function()
    for _ = 1, n do
      here:wait()
      here:clear()
      there:set()
    end
  end)
  for _ = 1, n do
    here:set()
    there:wait()
    there:clear()
  end
  await(task)
end

function operations.timer(n) -- a new task sleeps, 1,000 at a time
  for _ = 1, n // 1000 do
    local tasks = {}
    for i = 1, 1000 do tasks[i] = create_task(sleep, 0.000001 * i) end
    for i = 1, 1000 do await(tasks[i]) end
  end
end

local function four_variables()
  local variables = {}
  for i = 1, 4 do
    variables[i] = asyncio.ContextVar("variable " .. i)
    variables[i]:set(i)
  end
  return variables[1]
end

function operations.context_get(n)
  local variable = four_variables()
  for _ = 1, n do variable:get() end
end

function operations.context_set(n)
  local variable = four_variables()
  for i = 1, n do variable:set(i) end
end

function operations.call_soon(n)
  local loop = asyncio.get_running_loop()
  for _ = 1, n // 100 do
    for _ = 1, 100 do loop:call_soon(one) end
    sleep(0)
  end
end

--- The other end of echo64, which is not counted: a program of its own.
function operations.client(n)
  local reader, writer <close> = asyncio.open_connection("127.0.0.1", math.tointeger(arg[3]))
  local message = ("x"):rep(64)
  for _ = 1, n do
    writer:write(message)
    writer:drain()
    reader:readexactly(64)
  end
end

function operations.echo64(n)
  local server <close> = asyncio.start_server(function(reader, writer)
    for data in function() return reader:read(65536) end do
      writer:write(data)
      writer:drain()
    end
  end, "127.0.0.1", 0)
  local port = server:sockets()[1].port
  asyncio.run_process { arg[-1], arg[0], "client", tostring(n), tostring(port) }
end

local name = arg[1]
if not name then return operations end
local runner <close> = asyncio.Runner(OPTIONS[name])
runner:run(operations[name], math.tointeger(arg[2]))
