-- scenario.lua - what host.c runs while allocations fail: every module of ours, in parts.
-- A part may end with any error. It must end, though: what it waits for has to come or to fail.
local host = require "host"
local root = os.getenv "OOM_ROOT" or "."
package.path = ("%s/lua/?.lua;%s/lua/?/init.lua;%s"):format(root, root, package.path)
local asyncio = require "asyncio"

local parts, names = {}, { "load" } -- host.c knows that one: all is loaded, in a state of its own
local sleep, await, create_task = asyncio.sleep, asyncio.await, asyncio.create_task

--- A part as the main task of a run. Users' callbacks here have somebody wait for what they do: when one
-- fails, and there is memory enough to say so, the main task is cancelled.
local function part(name, fn)
  names[#names + 1] = name
  parts[name] = function()
    local runner <close> = asyncio.Runner { cancel_timeout = 0.05, flush_timeout = 0.2 }
    return runner:run(function()
      local loop, main = asyncio.get_running_loop(), asyncio.current_task()
      loop:set_exception_handler(function(_, context)
        if context.handle then main:cancel() end
      end)
      return fn(loop)
    end)
  end
end

--- One that isn't run in a task.
local function bare(name, fn)
  names[#names + 1] = name
  parts[name] = fn
end

bare("run", function()
  assert(select("#", asyncio.run(function(...) return ... end, 1, nil, nil)) == 3)
  pcall(asyncio.run, function() error "of a string" end)
  pcall(asyncio.run, function() error { "of a table" } end)
end)

part("tasks", function()
  local function work(n, ...)
    sleep(0)
    sleep(0.0001)
    return n, ...
  end
  local list = {}
  for i = 1, 10 do list[i] = create_task(work, i, nil, "x") end
  local named = create_task { work, 1, name = "worker" }
  named:set_name "other"
  assert(#asyncio.all_tasks() >= 11 and tostring(named):find "other")
  assert(named:get_coro() and named:traceback())
  for i = 1, 10 do assert(await(list[i]) == i) end
  await(named)
  local failing = create_task(function() sleep(0) error { "failed" } end)
  assert(not pcall(await, failing))
  assert(failing:traceback() or true)
  create_task(coroutine.create(work), 1)
  for _ = 1, 300 do sleep(0) end
end)

part("cancel", function()
  local function stubborn()
    for _ = 1, 2 do pcall(sleep, 5) end
    return "in the end"
  end
  local tasks = {}
  for i = 1, 5 do tasks[i] = create_task(sleep, 5) end
  local never = create_task(sleep, 5)
  local inner = create_task(sleep, 5)
  local outer = create_task(await, inner)
  local hard = create_task(stubborn)
  never:cancel "before its first step"
  sleep(0)
  for i = 1, 5 do tasks[i]:cancel("message " .. i) end
  outer:cancel()
  hard:cancel()
  sleep(0)
  hard:cancel()
  for i = 1, 5 do assert(not pcall(await, tasks[i])) end
  pcall(await, never)
  pcall(await, outer)
  await(hard)
  local self = asyncio.current_task()
  self:cancel()
  self:cancel()
  assert(not pcall(sleep, 1))
  assert(not pcall(await, create_task(sleep, 1)))
  self:uncancel()
  self:uncancel()
  local twice = create_task(function()
    asyncio.current_task():cancel()
    pcall(await, create_task(sleep, 1))
    sleep(0)
  end)
  pcall(await, twice)
end)

part("futures", function(loop)
  local future, seen = loop:create_future(), 0
  for _ = 1, 5 do future:add_done_callback(function() seen = seen + 1 end) end
  local function removed() error "it was removed" end
  future:add_done_callback(removed)
  future:remove_done_callback(removed)
  local waiters = {}
  for i = 1, 5 do waiters[i] = create_task(await, future) end
  sleep(0)
  future:set_result(1, 2, 3)
  for i = 1, 5 do assert(select("#", await(waiters[i])) == 3) end
  future:add_done_callback(function() seen = seen + 1 end)
  sleep(0.001)
  local failing = loop:create_future()
  failing:add_done_callback(print)
  failing:remove_done_callback(print)
  loop:call_soon(failing.set_exception, failing, { "an error" })
  assert(not pcall(await, failing))
  local cancelled = loop:create_future()
  loop:call_soon(cancelled.cancel, cancelled, "message")
  pcall(await, cancelled)
  local waiting = loop:create_future()
  local task = create_task(await, waiting)
  sleep(0)
  task:cancel()
  pcall(await, task)
  return tostring(waiting), tostring(future)
end)

part("timers", function(loop)
  local due = loop:create_future()
  local handles = {}
  for i = 1, 40 do handles[i] = loop:call_later(60 + i, print) end
  loop:call_later(0.002, function() due:set_result() end)
  loop:call_at(loop:time() + 0.001, function(...) assert(select("#", ...) == 2) end, 1, 2)
  loop:call_soon(function() error "reported" end):cancel()
  await(due)
  for i = 1, 40 do handles[i]:cancel() end
  local sleepers = {}
  for i = 1, 20 do sleepers[i] = create_task(sleep, 0.001 * (i % 3)) end
  for i = 1, 20 do await(sleepers[i]) end
end)

part("gather", function()
  local function work(n) sleep(0.0005 * n) return n end
  local a, b = asyncio.gather(create_task(work, 1), function() return work(2) end)
  assert(a == 1 and b == 2)
  local results = asyncio.gather { create_task(work, 1), function() error "bad" end, return_exceptions = true }
  assert(results[1] == 1)
  assert(not pcall(asyncio.gather, create_task(work, 2), function() error "bad" end))
  local all = create_task(asyncio.gather, create_task(sleep, 5), create_task(sleep, 5))
  sleep(0)
  sleep(0)
  all:cancel()
  assert(not pcall(await, all))
end)

part("wait", function()
  local function work(n) sleep(0.0005 * n) return n end
  local function tasks()
    local list = {}
    for i = 1, 4 do list[i] = create_task(work, i) end
    return list
  end
  local done, pending = asyncio.wait(tasks())
  assert(#done == 4 and #pending == 0)
  done, pending = asyncio.wait(tasks(), { return_when = asyncio.FIRST_COMPLETED })
  assert(#done + #pending == 4)
  asyncio.wait({ create_task(sleep, 5), create_task(work, 1) }, { timeout = 0.001 })
  asyncio.wait({ create_task(error, "bad"), create_task(sleep, 5) }, { return_when = asyncio.FIRST_EXCEPTION })
  local n = 0
  for task in asyncio.as_completed(tasks()) do n = n + await(task) end
  assert(n == 10)
  pcall(function()
    for task in asyncio.as_completed({ create_task(sleep, 5), create_task(sleep, 0) }, { timeout = 0.002 }) do
      await(task)
    end
  end)
  for _, task in ipairs(asyncio.all_tasks()) do
    if task ~= asyncio.current_task() then task:cancel() end
  end
end)

part("timeouts", function(loop)
  local function expired(fn)
    local ok, err = pcall(fn)
    assert(not ok)
    return err
  end
  expired(function()
    local _ <close> = asyncio.timeout(0.001)
    sleep(5)
  end)
  do
    local scope <close> = asyncio.timeout(5)
    scope:reschedule(loop:time() + 4)
    sleep(0)
  end
  expired(function()
    local _ <close> = asyncio.timeout_at(loop:time() + 0.001)
    await(loop:create_future())
  end)
  assert(asyncio.wait_for(function() sleep(0) return 1 end, 5) == 1)
  expired(function() asyncio.wait_for(create_task(sleep, 5), 0.001) end)
  asyncio.move_on_after(0.001, sleep, 5)
  asyncio.move_on_after(5, sleep, 0)
  local task = create_task(function() sleep(0.001) return 7 end)
  expired(function() asyncio.wait_for(asyncio.shield(task), 0.0001) end)
  assert(await(asyncio.shield(task)) == 7)
  pcall(await, asyncio.shield(create_task(error, "bad")))
end)

part("taskgroup", function()
  local function work(n) sleep(0.0005 * n) return n end
  do
    local group <close> = asyncio.TaskGroup()
    for i = 1, 4 do group:create_task(work, i) end
  end
  local ok, err = pcall(function()
    local group <close> = asyncio.TaskGroup()
    group:create_task(sleep, 5)
    group:create_task(error, "bad")
    group:create_task(function() sleep(0) error { "worse" } end)
    sleep(5)
  end)
  assert(not ok and tostring(err))
  local outer = create_task(function()
    local group <close> = asyncio.TaskGroup()
    group:create_task(sleep, 5)
    group:create_task(function()
      local _ <close> = setmetatable({}, { __close = function() sleep(0) end })
      sleep(5)
    end)
  end)
  sleep(0.001)
  outer:cancel()
  pcall(await, outer)
  local group <close> = asyncio.TaskGroup()
  group:create_task(sleep, 5)
  sleep(0)
  group:cancel()
end)

part("coroutines", function()
  local coroutine = asyncio.coroutine
  local generate = coroutine.wrap(function()
    for i = 1, 4 do
      sleep(0)
      coroutine.yield(i)
    end
  end)
  local sum = 0
  for i in generate do sum = sum + i end
  assert(sum == 10)
  local co = coroutine.create(function(...)
    local _ <close> = setmetatable({}, { __close = function() sleep(0) end })
    coroutine.yield(...)
  end)
  coroutine.resume(co, 1, 2)
  coroutine.close(co)
  await(coroutine.create(function() sleep(0) return 1 end))
  pcall(await, coroutine.create(function() sleep(0) error "inside" end))
  local inner = create_task(function() return await(coroutine.create(function() sleep(5) end)) end)
  sleep(0)
  inner:cancel()
  pcall(await, inner)
  await(setmetatable({}, { __await = function() sleep(0) return 1 end }))
  pcall(table.sort, { 1, 2, 3 }, function() sleep(1) end)
  pcall(await, create_task(function() _G.coroutine.yield() end))
end)

part("locks", function()
  local lock, event, semaphore = asyncio.Lock(), asyncio.Event(), asyncio.Semaphore(2)
  local condition, barrier = asyncio.Condition(), asyncio.Barrier(3)
  local ready = false
  local tasks = {}
  local function start(fn) tasks[#tasks + 1] = create_task(fn) end
  for _ = 1, 3 do
    start(function()
      do
        local _ <close> = lock:acquire()
        sleep(0)
      end
      event:wait()
      local _ <close> = semaphore:acquire()
      sleep(0)
      barrier:wait()
    end)
    start(function()
      local _ <close> = condition:acquire()
      condition:wait_for(function() return ready end)
    end)
  end
  local cancelled = create_task(lock.acquire, lock)
  sleep(0.001)
  cancelled:cancel()
  event:set()
  semaphore:release()
  do
    local _ <close> = condition:acquire()
    ready = true
    condition:notify_all()
  end
  local _ = pcall(function()
    local _ <close> = asyncio.timeout(1)
    for _, task in ipairs(tasks) do await(task) end
  end)
  barrier:abort()
  for _, task in ipairs(tasks) do task:cancel() end
end)

part("queues", function()
  for _, make in ipairs { asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue } do
    local queue = make { maxsize = 2 }
    local function produce()
      for i = 1, 12 do queue:put(i % 5) end
      queue:shutdown()
    end
    local producer = create_task(produce)
    local n = 0
    local function consume()
      for _ in queue:iter() do
        n = n + 1
        queue:task_done()
        sleep(0)
      end
    end
    local consumers = { create_task(consume), create_task(consume) }
    local ok = pcall(await, producer)
    if not ok then queue:shutdown() end
    for _, consumer in ipairs(consumers) do pcall(await, consumer) end
    local getter = create_task(function() return make():get() end)
    sleep(0)
    getter:cancel()
    pcall(await, getter)
  end
end)

part("echo", function()
  local server <close> = asyncio.start_server(function(reader, writer)
    for line in reader:lines() do writer:send(line, "\n") end
  end, "127.0.0.1", 0, { close_timeout = 0.5 })
  local port = server:sockets()[1].port
  local clients = {}
  for i = 1, 3 do
    clients[i] = create_task(function()
      local reader, writer = asyncio.open_connection("127.0.0.1", port)
      local _ <close> = writer
      for n = 1, 3 do
        writer:write("line ", n, "\n")
        if not reader:readline() then break end
      end
    end)
  end
  for i = 1, 3 do pcall(await, clients[i]) end
  server:close()
  server:close_clients()
end)

part("bulk", function()
  local size = 3000000
  local server <close> = asyncio.start_server(function(reader, writer)
    local n = reader:readexactly(8)
    writer:write(("x"):rep(n // 1 | 0), "small", ("y"):rep(5000))
    writer:write_eof()
    reader:read()
  end, "127.0.0.1", 0, { close_timeout = 0.5 })
  local port = server:sockets()[1].port
  local reader, writer = asyncio.open_connection("127.0.0.1", port, { limit = 1000 })
  local _ <close> = writer
  writer:write(("%08d"):format(size))
  writer:drain()
  sleep(0.005) -- so that the kernel's buffers are full
  local total = 0
  while true do
    local bytes = reader:read(100000)
    if not bytes then break end
    total = total + #bytes
  end
  assert(total == size + 5005, "it was cut short")
  writer:write_eof()
end)

part("pieces", function()
  local server <close> = asyncio.start_server(function(reader, writer)
    writer:writelines { reader:readuntil { "--", "\r\n" }, ("z"):rep(2000), "end" }
    writer:set_write_buffer_limits { high = 10 }
    writer:drain()
    writer:close()
    writer:wait_closed()
  end, "127.0.0.1", 0, { close_timeout = 0.5 })
  local address = server:sockets()[1]
  for _ = 1, 2 do
    local reader, writer = asyncio.open_connection(address.host, address.port, { local_addr = { host = "127.0.0.1" } })
    local _ <close> = writer
    assert(tostring(writer:get_extra_info "peername"):find "127", "no address")
    writer:send "begin-"
    writer:send "-more"
    pcall(reader.readuntil, reader, "no such")
    reader:read(-1)
  end
  local _, writer = asyncio.open_connection(address.host, address.port)
  writer:abort()
  await(create_task(function()
    local _, dropped = asyncio.open_connection(address.host, address.port)
    dropped:write "lost"
  end))
  collectgarbage()
  local refused = asyncio.pcall(asyncio.open_connection, "127.0.0.1", 1)
  assert(not refused)
end)

part("failing handlers", function()
  local server = asyncio.start_server(function(reader, writer)
    writer:write "hello"
    reader:readline()
    error "a handler that fails"
  end, "127.0.0.1", 0, { close_timeout = 0.5 })
  local port = server:sockets()[1].port
  for _ = 1, 2 do
    local reader, writer = asyncio.open_connection("127.0.0.1", port)
    local _ <close> = writer
    writer:write "x\n"
    pcall(reader.read, reader)
  end
  local serving = create_task(server.serve_forever, server)
  local idle, writer = asyncio.open_connection("127.0.0.1", port)
  create_task(pcall, idle.read, idle)
  sleep(0.002)
  serving:cancel()
  pcall(await, serving)
  pcall(function()
    local _ <close> = server
    error "left by an error"
  end)
  writer:close()
end)

part("standard streams", function()
  local reader, out, err = asyncio.stdin(), asyncio.stdout(), asyncio.stderr()
  assert(reader:readline() == "first\n", "no first line")
  out:write("some output", ("w"):rep(2000))
  err:write "and an error\n"
  out:drain()
  assert(reader:readline() == "second\n", "no second line")
  assert(reader:readline() == nil, "no end")
end)

part("signals", function(loop)
  local arrived = loop:create_future()
  loop:add_signal_handler("SIGUSR1", function()
    if not arrived:done() then arrived:set_result() end
  end)
  host.raise(host.SIGUSR1)
  await(arrived)
  loop:remove_signal_handler "SIGUSR1"
end)

part("interrupted", function()
  host.raise(host.SIGINT)
  sleep(5)
end)

part("descriptors", function(loop)
  local from, to = host.pipe()
  local read, written = loop:create_future(), loop:create_future()
  loop:add_reader(from, function()
    loop:remove_reader(from)
    read:set_result(host.read(from))
  end)
  loop:add_writer(to, function(text)
    loop:remove_writer(to)
    host.write(to, text)
    written:set_result()
  end, "text")
  await(written)
  assert(await(read) == "text")
end)

part("names", function(loop)
  local addresses = loop:getaddrinfo("localhost", 80)
  assert(#addresses > 0)
  loop:getnameinfo(addresses[1], { numeric = true })
  pcall(loop.getaddrinfo, loop, "no.such.name.invalid", 80)
  local left = create_task(loop.getaddrinfo, loop, "localhost", 1)
  sleep(0)
  left:cancel()
  pcall(await, left)
  local server <close> = asyncio.start_server(function() end, "localhost", 0)
  local _, writer = asyncio.open_connection("localhost", server:sockets()[1].port, { happy_eyeballs_delay = 0.001 })
  writer:close()
end)

part("lost errors", function(loop)
  for i = 1, 3 do create_task(error, "lost " .. i) end
  loop:create_future():set_exception { "lost, too" }
  sleep(0.001)
  collectgarbage()
  collectgarbage()
  sleep(0.03)
  loop:call_soon(error, "in a callback")
  loop:set_exception_handler(function() error "the handler fails" end)
  create_task(error, "for the failing handler")
  sleep(0)
  collectgarbage()
  collectgarbage()
  sleep(0)
end)

part("errors", function()
  local group = asyncio.ExceptionGroup("several", {
    asyncio.TimeoutError "one", asyncio.OSError { message = "two", code = "EIO" },
    asyncio.ExceptionGroup("inner", { asyncio.Error "three" }),
  })
  local timeouts, rest = group:split(asyncio.TimeoutError)
  assert(tostring(timeouts) and tostring(rest) and tostring(group))
  local Mine = asyncio.Error:subclass "Mine"
  assert(asyncio.isinstance(Mine "x", asyncio.Error))
  assert(not asyncio.pcall(error, Mine { message = "y" }))
  asyncio.xpcall(error, function(err) return tostring(err) end, Mine "z")
  local task = create_task(asyncio.pcall, sleep, 5)
  sleep(0)
  task:cancel()
  pcall(await, task)
end)

bare("runner", function()
  local runner <close> = asyncio.Runner { cancel_timeout = 0.005, flush_timeout = 0.01 }
  local loop = runner:get_loop()
  loop:set_exception_handler(function() end)
  for i = 1, 2 do assert(runner:run(function(n) sleep(0) return n end, i) == i) end
  runner:run(function()
    create_task(sleep, 5)
    create_task(function() -- goes on, whatever happens
      for _ = 1, 100 do
        pcall(sleep, 5)
        pcall(sleep, 0)
      end
    end)
    sleep(0)
  end)
end)

--- Work of every kind under way when the state is closed.
local function leave_open(loop)
  local lock, queue = asyncio.Lock(), asyncio.Queue(1)
  asyncio.start_server(function(reader) reader:read() end, "127.0.0.1", 0)
  local server = asyncio.start_server(function(reader, writer)
    writer:write(("x"):rep(3000000))
    reader:read()
  end, "127.0.0.1", 0)
  local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
  writer:write "hello"
  create_task(reader.readuntil, reader)
  create_task(queue.get, queue)
  create_task(function()
    lock:acquire()
    sleep(5)
  end)
  create_task(lock.acquire, lock)
  create_task(sleep, 5)
  create_task(loop.getaddrinfo, loop, "localhost", 1)
  create_task(asyncio.gather, sleep, function() sleep(5) end)
  create_task(await, loop:create_future())
  create_task(function()
    local group <close> = asyncio.TaskGroup()
    group:create_task(sleep, 5)
  end)
  loop:add_signal_handler("SIGUSR1", print)
  loop:call_later(5, print)
  create_task(asyncio.stdin().readline, asyncio.stdin())
  sleep(0.002)
  queue:put(1)
end

bare("left open", function()
  local loop = asyncio.new_event_loop()
  loop:run_until_complete(leave_open, loop)
end)

bare("exit in task", function()
  asyncio.run(function()
    local loop = asyncio.get_running_loop()
    leave_open(loop)
    os.exit(0, true)
  end)
end)

local scenario = { names = names }

function scenario.run(name) return parts[name]() end

--- The state is as good as new.
function scenario.healthy()
  local result = asyncio.run(function()
    local queue = asyncio.Queue(1)
    create_task(function() for i = 1, 3 do queue:put(i) end end)
    local function answer(reader, writer) writer:write(reader:readline()) end
    local server <close> = asyncio.start_server(answer, "127.0.0.1", 0)
    local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    local _ <close> = writer
    writer:write "well\n"
    return reader:readline(), queue:get() + queue:get() + queue:get(), asyncio.gather(function() return 1 end)
  end)
  assert(result == "well\n")
end

return scenario
