-- scenario.lua - what host.c runs while allocations fail: every module of ours, in parts.
-- A part may end with any error. It must end, though: what it waits for has to come or to fail.
local host = require "host"
local root = os.getenv "OOM_ROOT" or "."
package.path = ("%s/lua/?.lua;%s/lua/?/init.lua;%s"):format(root, root, package.path)
local asyncio = require "asyncio"
local testing = require "asyncio.testing"
require "asyncio.console"
for _ in pairs(asyncio) do end -- loads what is loaded when it is first used
for _ in pairs(asyncio.compat) do end
for _ in pairs(asyncio.http) do end
assert(asyncio.redis and asyncio.distributed)
local answers_of_jobs = dofile(root .. "/tools/oom/jobs.lua")

local parts, names = {}, { "load" } -- host.c knows that one: all is loaded, in a state of its own
local begins = {} -- parts in which threads' allocations count only after host.begin()
local sleep, await, create_task = asyncio.sleep, asyncio.await, asyncio.create_task

--- A part as the main task of a run. Users' callbacks here have somebody wait for what they do: when one
-- fails, and there is memory enough to say so, the main task is cancelled.
local function part(name, fn)
  names[#names + 1] = name
  parts[name] = function()
    local runner <close> = asyncio.Runner { cancel_timeout = 0.05, flush_timeout = 0.2, executor_timeout = 0.2 }
    return runner:run(function()
      local loop, main = asyncio.get_running_loop(), asyncio.current_task()
      loop:set_exception_handler(function(_, context)
        if context.exception ~= nil and context.message:find "^a call" then main:cancel() end
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

bare("reuse", function()
  local runner <close> = asyncio.Runner { reuse_coroutines = true }
  runner:run(function()
    for _ = 1, 3 do
      local list = {}
      for i = 1, 5 do list[i] = create_task(sleep, 0, i) end
      create_task(sleep, 0):cancel()
      for i = 1, 5 do assert(await(list[i]) == i) end
      assert(not pcall(await, create_task(error, "failed")))
    end
  end)
end)

bare("channels in channels", function()
  local one, other, itself = asyncio.Channel(), asyncio.Channel(), asyncio.Channel()
  local made <close> = setmetatable({}, { __close = function()
    one:close(true) -- without a table, since there may be no memory for one
    itself:close(true)
  end })
  one:put_nowait { other, made = #made }
  other:put_nowait(one)
  itself:put_nowait { itself, itself }
  local outermost = asyncio.Channel()
  for _ = 1, 5 do
    local channel = asyncio.Channel()
    channel:put_nowait(outermost)
    outermost = channel
  end
end)

part("workers with other paths", function()
  local path = package.path
  local _ <close> = setmetatable({}, { __close = function()
    package.path, package.preload["spec.late"] = path, nil
  end })
  package.preload["spec.late"] = function() return "the plugin" end
  for i = 1, 2 do
    package.path = path .. ";/late/?.lua" .. i
    assert(asyncio.to_thread(function() return package.path end) == package.path)
  end
  assert(asyncio.to_thread(function() return require "spec.late" end) == "the plugin")
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

part("deadlocks", function(loop)
  local function in_vain() asyncio.Event():wait() end
  for _, wait in ipairs {
    in_vain, function() await(create_task { in_vain, name = "in vain" }) end,
    function()
      local group <close> = asyncio.TaskGroup()
      group:create_task(in_vain)
    end,
  } do
    assert(not pcall(wait))
  end
  local remote = loop:remote()
  remote:call_soon_threadsafe(function() end)
  local channel <close> = setmetatable({ asyncio.Channel() }, { __close = function(list) list[1]:close(true) end })
  assert(not pcall(channel[1].get, channel[1]))
end)

part("stuck tasks", function(loop)
  local core = require "asyncio.core"
  local told = 0
  loop:set_exception_handler(function() told = told + 1 end)
  for _ = 1, 3 do create_task(function() asyncio.Event():wait() end) end
  local _ <close> = create_task(function() asyncio.gather(function() asyncio.Event():wait() end) end)
  sleep(0)
  local list, why = core.stuck_tasks(loop, 60)
  assert(list and #list >= 3 or why == "not enough memory" or why == "there are too many objects", why)
  core.seek_stuck(loop, true) -- it idles
  sleep(0.001)
  for _, task in ipairs(asyncio.all_tasks()) do
    if task ~= asyncio.current_task() then task:cancel() end
  end
  sleep(0)
end)

part("rings", function()
  local main, below = asyncio.current_task(), create_task(sleep, 5)
  local shared = below
  for _ = 1, 4 do -- layers: two ways from each to the next
    local inner = below
    below = create_task(function() asyncio.gather(function() await(inner) end, function() await(inner) end) end)
  end
  local refused = create_task(function() return not pcall(asyncio.gather, function() end, main) end)
  assert(await(refused))
  for _ = 1, 12 do sleep(0) end
  local shield = asyncio.shield(shared)
  shield:cancel()
  below:cancel()
  assert(not pcall(await, below))
  pcall(function()
    local group <close> = asyncio.TaskGroup()
    group:create_task(await, main)
    sleep(0)
  end)
  local next_task, _, _, ended = asyncio.as_completed { shared, function() sleep(0) end }
  local _ <close> = ended
  assert(next_task():done())
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

part("shields", function()
  local task = create_task(function()
    do
      local _ <close> = asyncio.shielded()
      sleep(0.001)
      asyncio.move_on_after(0, sleep, 5)
      do
        local _ <close> = asyncio.shielded(0.001)
        sleep(0.002)
      end
      pcall(function()
        local group <close> = asyncio.TaskGroup()
        group:create_task(error, "of the group")
        sleep(5)
      end)
    end
    pcall(sleep, 5)
    pcall(sleep, 5)
    asyncio.shielded() -- forgotten
  end)
  sleep(0)
  task:cancel "one"
  task:cancel "two"
  pcall(await, task)
  pcall(function()
    local _ <close> = asyncio.timeout(0.001)
    local _ <close> = asyncio.shielded()
    sleep(0.002)
  end)
end)

part("deferred", function()
  local n = 0
  local function count() n = n + 1 end
  local ok = pcall(function()
    local _ <close> = asyncio.defer(count)
    local _ <close> = asyncio.defer(function() sleep(0) error "of fn" end)
    error "of the block"
  end)
  assert(not ok)
  pcall(await, create_task(function()
    local _ <close> = asyncio.defer(sleep, 0)
    asyncio.defer(count, 1, 2, 3) -- forgotten
  end))
end)

part("awaited callbacks", function(loop)
  local function call(delay, callback, ...) return loop:call_later(delay, callback, ...) end
  pcall(asyncio.await_callback, call, 0)
  pcall(asyncio.await_callback, { call, 0, nil, 1, n = 4, at = 2 })
  pcall(asyncio.await_callback, function(callback) callback(1, nil, 3) callback(4) end)
  local task = create_task(asyncio.await_callback, call, 60)
  sleep(0)
  task:cancel()
  pcall(await, task)
end)

part("a pool", function()
  local made, gone = 0, 0
  local pool <close> = asyncio.Pool {
    max = 2, idle_timeout = 60,
    create = function()
      sleep(0)
      made = made + 1
      return {}
    end,
    check = function() return made % 3 > 0 end,
    destroy = function()
      gone = gone + 1
      sleep(0)
    end,
  }
  local tasks = {}
  for i = 1, 6 do
    tasks[i] = create_task(function()
      local lease <close> = pool:acquire()
      sleep(0)
      if i == 2 then lease:discard() end
      if i == 3 then error "left by an error" end
    end)
  end
  tasks[6]:cancel()
  for i = 1, 6 do pcall(await, tasks[i]) end
  local stats = pool:stats()
  assert(stats.created <= made and stats.destroyed <= stats.created)
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

part("ending", function(loop)
  local function cleaner(fn)
    return create_task(function()
      local _ <close> = setmetatable({}, { __close = fn or function() sleep(0) end })
      sleep(5)
    end)
  end
  do
    local _ <close> = cleaner()
    local _ <close> = create_task(sleep, 0)
    sleep(0)
  end
  assert(not pcall(function()
    local _ <close> = cleaner(function() error "bad" end)
    sleep(0)
  end))
  local stopped = cleaner()
  sleep(0)
  local waiter = create_task(function() stopped:stop() end)
  sleep(0)
  waiter:cancel()
  pcall(await, waiter)
  local function work(x) sleep(0.0005) return x, x end
  local future = loop:create_future()
  loop:call_later(0.01, future.cancel, future)
  assert(select("#", asyncio.race(function() return work(1) end, cleaner(), future)) == 2)
  assert(not pcall(asyncio.race, function() error "bad" end, function() sleep(0) error { "worse" } end))
  local race = create_task(asyncio.race, cleaner(), cleaner())
  sleep(0)
  sleep(0)
  race:cancel()
  assert(not pcall(await, race))
  assert(asyncio.map(work, { 1, 2, 3 })[3] == 3)
  assert(asyncio.map(work, { 1, 2, 3, 4 }, { max_concurrent = 2 }).n == 4)
  assert(not pcall(asyncio.map, function(x) if x == 2 then error "bad" end work(x) end, { 1, 2, 3 }))
end)

part("starting", function()
  local group <close> = asyncio.TaskGroup()
  assert(group:start(function(started, x) sleep(0) started(x) sleep(0) end, 7) == 7)
  assert(group:start { function(started, x) started(x) end, 7, name = "named" } == 7)
  assert(not pcall(group.start, group, function() sleep(0) error "bad" end))
  assert(not pcall(group.start, group, sleep, 0))
  local starter = create_task(group.start, group, function() sleep(5) end)
  sleep(0)
  sleep(0)
  starter:cancel()
  assert(not pcall(await, starter))
  local scope <close> = asyncio.timeout(5)
  scope:extend(1)
  assert(asyncio.type(scope) == "Timeout" and asyncio.type(asyncio.LifoQueue()) == "LifoQueue")
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

part("tasks of vim_async", function(loop)
  local vim_async = asyncio.compat.vim_async
  local semaphore = vim_async.semaphore(1)
  local function work(x)
    semaphore:with(function() vim_async.sleep(0) end)
    return vim_async.await(2, function(y, callback)
      loop:call_soon(callback, y)
      return { close = function(_, closed) closed() end }
    end, x)
  end
  local ended = asyncio.Event()
  local task = vim_async.run("root", function()
    local list = { vim_async.run(work, 1), vim_async.run(work, 2) }
    for child in vim_async.iter(list) do vim_async.pawait(child) end
    vim_async.pawait(vim_async.run(vim_async.timeout, 1, vim_async.run(vim_async.sleep, 60000)))
    vim_async.run(error, "failed", 0)
    vim_async.await(create_task(sleep, 0))
  end)
  task:on_complete(function() ended:set() end)
  local _ <close> = asyncio.timeout(5)
  task:pwait(50)
  task:close()
  task:traceback "words"
  pcall(await, task)
end)

part("threads of copas", function()
  local copas = asyncio.compat.copas
  copas.seterrorhandler(function() end, true)
  local _ <close> = asyncio.timeout(2)
  copas.loop(function()
    local lock, semaphore, queue = copas.lock.new(0.01), copas.semaphore.new(2, 1, 0.01), copas.queue.new()
    queue:add_worker(function() copas.pause() end)
    for i = 1, 2 do
      copas.addnamedthread("thread " .. i, function()
        if lock:get() then lock:release() end
        if semaphore:take() then semaphore:give() end
        queue:push(i)
      end)
    end
    copas.removethread(copas.addthread(copas.pauseforever))
    local future = copas.future.addthread(copas.pause, 0)
    copas.timer.new { delay = 0.001, callback = function() future:cancel() end }
    copas.timeout(0.001, copas.wakeup)
    future:get()
    copas.status()
    queue:finish(0.01)
  end)
end)

part("modules for other libraries", function()
  local path = os.tmpname()
  local _ <close> = asyncio.defer(os.remove, path)
  local file <close> = assert(io.open(path, "w"))
  file:write "if type(...) == 'function' then (...)(0) end return require 'coroutine', load 'return 1'"
  file:close()
  assert(asyncio.compat.dofile(path, sleep) == asyncio.coroutine)
  local kept = package.path
  local _ <close> = asyncio.defer(function() package.path = kept end)
  package.path = path:match "^.*/" .. "?;" .. kept
  asyncio.gather(create_task(asyncio.compat.require, path:match "[^/]*$"), create_task(sleep, 0))
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

--- Who tries again has all lines, and what was left at the end.
--- A server that has room for two, and three clients, who have asked, and asked in part, or nothing.
local function with_asked(opts, fn)
  local function answer(reader, writer)
    for line in reader:lines() do writer:send(line, "\n") end
  end
  local server <close> = asyncio.start_server(answer, "127.0.0.1", 0, opts)
  local port, tasks = server:sockets()[1].port, {}
  local _ <close> = setmetatable({}, { __close = function()
    for _, task in ipairs(tasks) do task:cancel() end
    server:abort_clients()
  end })
  for i, text in ipairs { "one\n", "one\ntwo", "" } do
    tasks[i] = create_task(function()
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", port)
      writer:send(text)
      while reader:readline() do end
    end)
  end
  sleep(0.005)
  fn(server)
  pcall(server.shutdown, server, 0)
end

part("shutting down", function()
  with_asked({ max_connections = 2 }, function(server)
    local forever = create_task(server.serve_forever, server)
    local given_up = create_task(server.shutdown, server, 0.02)
    sleep(0)
    given_up:cancel()
    local n = server:shutdown(0.02)
    assert(n == server:stats().aborted and not server:is_serving())
    await(forever)
  end)
end)

part("stopping", function()
  with_asked({ max_connections = 2, stop_grace = 0.02 }, function(server)
    local forever = create_task(server.serve_forever, server)
    sleep(0)
    forever:cancel()
    sleep(0.001)
    forever:cancel()
    asyncio.wait { forever }
  end)
end)

part("lines", function()
  local server <close> = asyncio.start_server(function(_, writer)
    writer:write "line 1\nline 2\nline 3\nline 4\nthe rest"
  end, "127.0.0.1", 0, { close_timeout = 0.5 })
  local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
  local next_line, n = reader:lines(), 0
  for _ = 1, 10 do
    if n == 4 then break end
    local ok, line = pcall(next_line, reader)
    if ok and not line then return end
    if ok then n = n + 1 end
    if ok and line ~= "line " .. n then host.wrong "a line is missing" end
  end
  for _ = 1, 10 do
    local err = select(2, pcall(reader.readexactly, reader, 100))
    if asyncio.isinstance(err, asyncio.IncompleteReadError) then
      if err.partial ~= "the rest" then host.wrong "the rest is missing" end
      break
    end
  end
  writer:write "thanks"
end)

--- Who tries again has all of it, whatever was looked at before.
part("peeking", function()
  local text = ("a piece\r\n"):rep(100)
  local server <close> = asyncio.start_server(function(_, writer) writer:write(text) end, "127.0.0.1", 0,
    { close_timeout = 0.5 })
  local reader, _ <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port, { limit = 10 })
  local got = {}
  for _ = 1, 10 do
    local ok, seen = pcall(reader.peek, reader, 1000, 20)
    if ok and seen and seen ~= text:sub(1, #seen) then host.wrong "peek has taken something" end
    if ok then break end
  end
  for _ = 1, 10 do
    local ok, line = pcall(reader:lines "\r\n")
    if ok then
      if line and line ~= "a piece" then host.wrong "a line is not whole" end
      got[1] = line and line .. "\r\n"
      break
    end
  end
  local next_piece, failures = reader:blocks(300), 0
  while failures < 10 do
    local ok, piece = pcall(next_piece)
    if ok and not piece then break end
    if ok then got[#got + 1] = piece else failures = failures + 1 end
  end
  local all = table.concat(got)
  if failures < 10 and all ~= text and all ~= "" then host.wrong "a piece is missing" end -- "": it was never written
end)

--- The end of the one is behind what nobody reads, that of the other isn't.
part("the end", function()
  local server <close> = asyncio.start_server(function(reader, writer)
    writer:write(("x"):rep(5000))
    writer:write_eof()
    reader:wait_eof()
  end, "127.0.0.1", 0, { close_timeout = 0.5 })
  for _, limit in ipairs { 10, 65536 } do
    local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port, { limit = limit })
    local _ <close> = writer
    local other = create_task(reader.wait_eof, reader)
    local cancelled = create_task(reader.wait_eof, reader)
    sleep(0)
    cancelled:cancel()
    pcall(await, cancelled)
    reader:wait_eof()
    pcall(await, other)
    assert(#(reader:read() or "") <= 5000)
  end
end)

part("processes", function()
  local opts = { stdin = "pipe", stdout = "pipe", process_group = 0 }
  local ok, process = pcall(asyncio.create_subprocess_exec, "cat", opts)
  if ok then
    local begun, task = pcall(create_task, process.communicate, process, ("x"):rep(3000))
    if not begun then task = nil end
    local made, waiter = pcall(create_task, process.wait, process)
    local talked, out = pcall(await, task)
    pcall(getmetatable(process).__close, process)
    pcall(process.kill, process)
    process:_close_pipes()
    if made then pcall(await, waiter) end
    if talked then assert(#out == 3000 and process:returncode() == 0) end
    process:_wait()
    process:_release()
  end
  pcall(asyncio.create_subprocess_exec, "/no/such/program", { stdout = "pipe", env = { A = 1 } })
  local ran, result = pcall(asyncio.run_process, 'cat; echo "$1" >&2',
    { input = "hello", capture = true, args = { "x" }, extra_env = { A = "b" }, timeout = 60 })
  if ran then assert(result.stdout == "hello" and result.stderr == "x\n") end
end)

local FILE = os.tmpname()

part("files off the loop", function()
  local path = FILE
  local ok, file = pcall(asyncio.open, path, "w+")
  if ok then
    local wrote = pcall(file.write, file, "one\n", 2, "\n", ("x"):rep(70000), "\n")
    local begun, task = pcall(create_task, file.read, file, "a")
    local other, waits = pcall(create_task, file.seek, file, "end", 3)
    if begun then pcall(await, task) end
    if other then pcall(await, waits) end
    if pcall(file.seek, file, "set") then
      local read, a, b, c = pcall(file.read, file, "l", "n", "a")
      if wrote and read then assert(a == "one" and b == 2 and #c == 70002) end
      pcall(file.truncate, file, 100000)
      pcall(file.flush, file)
    end
    pcall(file.close, file)
    assert(not pcall(file.read, file))
  end
  pcall(function()
    for a, b in asyncio.lines(path, 3, "l") do assert(#a <= 3 or not b) end
  end)
  pcall(asyncio.open, "/no/such/file")
  pcall(function() asyncio.open("/dev/full", "w"):write "lost" end)
  local hangs, opening = pcall(create_task, asyncio.open, path, "a+")
  if hangs then
    pcall(sleep, 0)
    opening:cancel()
    pcall(await, opening)
  end
  os.remove(path)
end)

part("traces", function()
  local path = os.tmpname()
  local name = path .. ".json"
  for _, most in ipairs { 1000000, 20 } do
    local ok, trace = pcall(asyncio.trace, { path = name, max_events = most })
    local lock = asyncio.Lock()
    local function hold()
      local _ <close> = lock:acquire()
      sleep(0)
    end
    pcall(function()
      local tasks = {}
      for i = 1, 5 do tasks[i] = create_task { hold, name = "task " .. i } end
      tasks[5]:cancel()
      for i = 1, 5 do pcall(await, tasks[i]) end
      pcall(await, create_task(error, "failed"))
      asyncio.to_thread(math.abs, -1)
    end)
    if ok then
      pcall(tostring, trace)
      pcall(trace.close, trace)
      trace:close()
    end
  end
  local runner_made, runner = pcall(asyncio.Runner, { trace = name })
  if runner_made then pcall(runner.close, runner) end
  os.remove(name)
  os.remove(path)
end)

part("watches", function()
  local folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir -p " .. folder .. "/a/b")
  for i, opts in ipairs { { recursive = true }, { debounce = 0.001 } } do
    local ok, watch = pcall(asyncio.fs.watch, folder, opts)
    if ok then
      local made, task = pcall(create_task, watch)
      os.execute(("cd %s && mkdir -p a/b/c%d/d && : > a/f && mv a/f a/b/g && mv a/b/g h%d"):format(folder, i, i))
      if made then pcall(await, task) end
      pcall(asyncio.move_on_after, 0.02, function()
        for _ = 1, 20 do
          if not watch() then break end
        end
      end)
      pcall(tostring, watch)
      pcall(watch.close, watch)
    end
  end
  pcall(asyncio.fs.watch, folder .. "/nothing")
  os.execute("rm -r " .. folder)
end)

part("datagrams", function()
  local path = os.tmpname()
  os.remove(path)
  local here = { host = "127.0.0.1", port = 0 }
  local server <close> = asyncio.create_datagram_endpoint { local_addr = here, max_queue = 40 }
  local at = server:get_extra_info "sockname"
  local client <close> = asyncio.create_datagram_endpoint { remote_addr = at }
  local other <close> = asyncio.create_datagram_endpoint { local_addr = here, icmp_errors = true }
  create_task(function()
    for data, address in server:iter() do server:send(data, address) end
  end)
  local function soon(...) return asyncio.move_on_after(0.05, ...) end -- what there is no memory for is dropped
  for i = 1, 3 do
    client:send(("x"):rep(10 ^ i | 0))
    soon(function() assert(#client:receive() == 10 ^ i) end)
  end
  local list = {}
  for i = 1, 70 do list[i] = { ("%05d"):format(i), at } end
  assert(other:send_many(list) == 70)
  local got = 0
  pcall(soon, function()
    while got < 30 do got = got + #other:receive_many(20) end
  end)
  pcall(other.send, other, "x", { host = "127.0.0.1", port = 9 })
  pcall(soon, other.receive, other)
  pcall(other.send, other, ("x"):rep(70000), at)
  pcall(other.join_group, other, "239.77.3.1", "lo")
  pcall(asyncio.create_datagram_endpoint, { local_addr = at })
  pcall(tostring, server)
  pcall(server.stats, server)
  local of_path <close> = asyncio.create_datagram_endpoint { path = path }
  local nameless <close> = asyncio.create_datagram_endpoint { family = "unix" }
  local n = 0
  while nameless:send_nowait("fill", { path = path }) do n = n + 1 end
  local late = create_task(nameless.send, nameless, "late", { path = path })
  for _ = 1, n + 1 do
    if not soon(of_path.receive, of_path) then break end
  end
  pcall(soon, await, late)
  nameless:close()
  pcall(await, late)
end)

part("pairs", function()
  asyncio.stream_pair()
  local reader, writer, far_reader, far_writer = asyncio.stream_pair { limit = 100 }
  local function ask()
    local got = 0
    for n = 1, 3 do
      writer:send("line ", n, ("x"):rep(n * 20), "\n")
      got = got + #(reader:readexactly(2006 + n * 20) or "")
    end
    writer:write_eof()
    assert(not reader:read(1) and got == 6138)
  end
  local server = create_task(function()
    for line in far_reader:lines() do far_writer:send(line, ("y"):rep(2000)) end
    far_writer:close()
  end)
  local client = create_task(ask)
  local waited = pcall(asyncio.wait, { client, server }, { return_when = asyncio.FIRST_COMPLETED })
  if not waited or not server:done() then writer:abort() end
  local served = pcall(await, server)
  far_writer:abort()
  local asked, err = pcall(await, client)
  local sender = create_task(writer.send, writer, ("z"):rep(5000))
  far_writer:wait_closed()
  pcall(await, sender)
  writer:close()
  if waited and served and not asked then error(err, 0) end
end)

part("fed readers", function()
  asyncio.StreamReader():feed "dropped"
  local reader, n = asyncio.StreamReader { limit = 20 }, 0
  local feeder = create_task(function()
    for i = 1, 5 do
      if not reader:feed(("x"):rep(i * 4) .. "\n" .. "\n") then reader:drain() end
    end
    reader:feed_eof "the end"
  end)
  local reading = create_task(function()
    for line in reader:lines() do n = n + #line end
  end)
  local waited = pcall(asyncio.wait, { feeder, reading }, { return_when = asyncio.FIRST_COMPLETED })
  if not waited or not feeder:done() then reader:feed_eof() end
  local fed, failure = pcall(await, feeder)
  if not fed then reader:feed_eof() end
  local well, err = pcall(await, reading)
  if fed and err == "the end" then assert(not well and n == 60) end
  if not fed then error(failure, 0) end
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

part("limits of time", function()
  local server <close> = asyncio.start_server(function(reader, writer)
    pcall(reader.read, reader)
    writer:write "bye"
  end, "127.0.0.1", 0, { close_timeout = 0.2, read_timeout = 0.002 })
  local port = server:sockets()[1].port
  local reader, writer <close> = asyncio.open_connection { host = "127.0.0.1", port = port, connect_timeout = 5,
    write_timeout = 0.01, read_timeout = 0.2, keepalive = { idle = 9 } }
  for _ = 1, 3 do pcall(reader.readline, reader) end
  writer:abort()
  local _, other <close> = asyncio.open_connection("127.0.0.1", port, { write_timeout = 0.002 })
  local big = ("x"):rep(1000000)
  for _ = 1, 9 do pcall(other.send, other, big) end
  other:close()
  pcall(other.wait_closed, other)
  other:abort()
  pcall(asyncio.open_connection, "localhost", port, { connect_timeout = 1e-9 })
end)

--- A socket that the host has made is the script's until somebody has taken it without an error.
local function with_socket(kind, fn)
  local fd
  local _ <close> = setmetatable({}, { __close = function()
    if fd then host.close(fd) end
  end })
  local arguments = { fd = false, read_timeout = 0.2 }
  fd = host.socket(kind)
  arguments.fd = fd
  local reader, writer = fn(arguments)
  fd = nil
  return reader, writer
end

part("sockets made elsewhere", function()
  local server <close> = with_socket("listening", function(arguments) return asyncio.start_server(print, arguments) end)
  server:close()
  local _, writer <close> = with_socket("connected", asyncio.open_connection)
  writer:write "hello"
  if not writer:get_extra_info "peercred".uid then host.wrong "nobody is at the other end" end
  local _, other <close> = with_socket("connected", asyncio.open_unix_connection)
  other:abort()
end)

part("pieces", function()
  local server <close> = asyncio.start_server(function(reader, writer)
    writer:writelines { reader:readuntil { "--", "\r\n" } or "nothing", ("z"):rep(2000), "end" }
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

--- Who tries again has moved all of it.
part("copies", function()
  local size = 300000
  local server <close> = asyncio.start_server(function(reader, writer)
    local ok, err
    repeat ok, err = pcall(asyncio.copy, reader, writer, { max_bytes = 1 << 40 })
    until ok or asyncio.isinstance(err, asyncio.Error)
    writer:write_eof()
  end, "127.0.0.1", 0, { close_timeout = 0.5 })
  local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
  for _ = 1, size // 30000 do writer:write(("x"):rep(30000)) end
  writer:write_eof()
  local total = 0
  for piece in function() return reader:read(100000) end do total = total + #piece end
  if total > size then host.wrong "bytes came twice" end
  assert(total == size, "it was cut short")
end)

part("detaching", function()
  local server <close> = asyncio.start_server(function(reader, writer)
    writer:write "hello"
    reader:read()
    writer:write "bye"
  end, "127.0.0.1", 0, { close_timeout = 0.5 })
  local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
  reader:readexactly(1)
  local owner <close> = setmetatable({ fd = false }, { __close = function(self)
    if self.fd then host.close(self.fd) end
  end })
  local unread
  owner.fd, unread = writer:detach()
  local again_reader, again <close> = asyncio.open_fd(owner.fd)
  owner.fd = false
  if unread ~= ("ello"):sub(1, #unread) then host.wrong "what was unread has changed" end
  again:write_eof()
  again_reader:read()
end)

part("a descriptor whose peer takes nothing", function()
  local name = os.tmpname()
  os.remove(name)
  local _ <close> = setmetatable({}, { __close = function() os.remove(name) end })
  local _ <close> = asyncio.start_unix_server(function(reader) reader:wait_eof() end, name,
    { close_timeout = 0.1, limit = 1 })
  local _, writer <close> = asyncio.open_unix_connection(name)
  local owner <close> = setmetatable({ fd = false }, { __close = function(self)
    if self.fd then host.close(self.fd) end
  end })
  owner.fd = writer:detach()
  local _, again <close> = asyncio.open_fd(owner.fd, { write_timeout = 0.02 })
  local fd = owner.fd
  owner.fd = false
  if again:get_extra_info("socket").fd ~= fd then host.wrong "it is another's socket" end
  again:get_extra_info "peercred"
  again:get_extra_info "sockname"
  again:write(("x"):rep(1000000))
end)

part("open files", function()
  local name = os.tmpname()
  local _ <close> = setmetatable({}, { __close = function() os.remove(name) end })
  local file <close> = io.open(name, "w+")
  if not file then return end
  local reader, writer <close> = asyncio.open_fd(file)
  writer:send "line\n"
  if file:seek "set" == 0 then reader:readline() end
end)

local TREE = os.tmpname()
local REMOVE_TREE = ("rm -rf '%s' '%s-'*"):format(TREE, TREE)

part("files by their paths", function()
  local fs = asyncio.fs
  os.execute(REMOVE_TREE)
  local _ <close> = setmetatable({}, { __close = function() os.execute(REMOVE_TREE) end })
  pcall(fs.makedirs, TREE .. "/a/b", "700")
  pcall(fs.write_file, TREE .. "/a/f", "content")
  pcall(fs.write_file, TREE .. "/a/f", "other content", { atomic = true, mode = "600" })
  local read, text = pcall(fs.read_file, TREE .. "/a/f")
  if read then assert(text == "content" or text == "other content" or text == "") end
  pcall(fs.copy_file, TREE .. "/a/f", TREE .. "/a/g")
  pcall(fs.symlink, "f", TREE .. "/a/l")
  pcall(fs.read_link, TREE .. "/a/l")
  pcall(fs.real_path, TREE .. "/a/l")
  local told, stat = pcall(fs.stat, TREE .. "/a/f")
  if told then assert(stat.type == "file") end
  pcall(fs.rename, TREE .. "/none", TREE .. "/none2")
  pcall(fs.utime, TREE, 0)
  pcall(function()
    for entry in fs.scan_dir(TREE .. "/a") do assert(entry.name ~= "") end
  end)
  pcall(function()
    for _, _, files in fs.walk(TREE) do assert(#files <= 3) end
  end)
  pcall(fs.mkdtemp, { dir = TREE, prefix = "p" })
  local opened, file = pcall(fs.mkstemp, { dir = TREE })
  if opened then pcall(file.close, file) end
  local begun, task = pcall(create_task, fs.remove_tree, TREE)
  if not begun then return end
  sleep(0)
  task:cancel()
  pcall(await, task)
  if pcall(fs.remove_tree, TREE) then assert(not os.rename(TREE, TREE)) end
end)

part("failing handlers", function()
  local server = asyncio.start_server(function(reader, writer)
    writer:write("hello", ("x"):rep(100000))
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
  for _ = 1, 2 do
    local _, leaving = asyncio.open_connection("127.0.0.1", port, { limit = 1 })
    sleep(0.002)
    leaving:abort() -- the kernel has bytes that nobody has read: that is a reset
  end
  for _ = 1, 100 do
    if server:stats().connections == 0 then break end
    sleep(0.001)
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

bare("a host's turns", function()
  local loop <close> = asyncio.new_event_loop()
  local task = loop:create_task(function()
    sleep(0.0001)
    return "slept"
  end)
  while loop:run_once(1) do assert(loop:backend_fd() and (loop:backend_timeout() or 0) >= 0) end
  assert(task:result() == "slept")
end)

part("line editing", function()
  local editor = require "asyncio.editor"
  assert(not editor.open(function() end))
  assert(not editor.append_private("/nonexistent/file", "text"))
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

--- A main that fails for lack of memory before it is told of a SIGINT leaves that to who had it before, and here
--- nobody had: so what it needs to wait is there before, a timer and room for calls.
local function prepare_to_wait(depth)
  if depth > 0 then return (prepare_to_wait(depth - 1)) end
  sleep(1e-6)
end

part("interrupted", function()
  prepare_to_wait(4)
  host.raise(host.SIGINT)
  sleep(5)
end)

part("interrupted again", function()
  prepare_to_wait(4)
  host.raise(host.SIGINT)
  pcall(sleep, 5)
  host.raise(host.SIGINT)
  pcall(sleep, 5)
  sleep(5)
end)

--- The runner takes the signal as Ctrl-C, or fails before it has begun; SIGWINCH does no harm by default.
bare("stopped", function()
  local runner <close> = asyncio.Runner { stop_signals = { host.SIGWINCH, "SIGTERM" }, cancel_timeout = 0.05 }
  local ok, err = pcall(runner.run, runner, function()
    prepare_to_wait(4)
    host.raise(host.SIGWINCH)
    sleep(0.2)
    error "it was not stopped"
  end)
  assert(not ok)
  if not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end
  assert(err.signal == "SIGWINCH")
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
  local _, again = asyncio.xpcall(await, asyncio.traceback, create_task(function()
    local _ <close> = asyncio.timeout(0.0001)
    await(create_task(function() asyncio.move_on_after(1, error, setmetatable({}, { __tostring = error })) end))
  end))
  local failing = create_task(error, again)
  pcall(await, failing)
  assert(failing:traceback() or true)
  pcall(asyncio.get_running_loop().default_exception_handler, asyncio.get_running_loop(), {
    message = "of a scenario", exception = again, task = failing, source_traceback = "here" })
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
  local channel, full, event, handed = asyncio.Channel(), asyncio.Channel(1), asyncio.Event(), asyncio.Lock()
  local condition = asyncio.Condition()
  full:put(0)
  handed:acquire()
  create_task(channel.get, channel)
  create_task(full.put, full, 1)
  create_task(event.wait, event)
  create_task(handed.acquire, handed)
  create_task(function()
    local _ <close> = condition:acquire()
    condition:wait()
  end)
  create_task(function() for _ in queue:iter() do sleep(5) end end)
  create_task(asyncio.open_connection, "127.0.0.1", server:sockets()[1].port)
  create_task(asyncio.open_unix_connection, "\0no such name")
  local from = host.pipe()
  create_task(asyncio.wait_readable, from)
  -- not print: where the loop runs on because memory ran out, that waits for somebody who reads stdout
  loop:add_writer(asyncio.stdout():get_extra_info "socket" or from, function() end)
  local pool = asyncio.ThreadPoolExecutor(1)
  await(pool:submit(function() require "asyncio" end))
  host.begin()
  pool:submit(function()
    require "asyncio".run(function() require "asyncio".sleep(60) end)
  end)
  pool:submit(math.abs, -1)
  local remote = loop:remote()
  sleep(0.002)
  queue:put(1)
  channel:put "for a task that never runs"
  event:set()
  handed:release()
  remote:call_soon_threadsafe(print)
  do
    local _ <close> = condition:acquire()
    condition:notify()
  end
end

begins["left open"], begins["exit in task"] = true, true

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

--- A stream that is to be freed in the loop's next turn, which never comes.
bare("exit before a stream is freed", function()
  asyncio.run(function()
    local server = asyncio.start_server(function(_, writer)
      writer:write(("x"):rep(20000000)) -- more than the kernel takes
    end, "127.0.0.1", 0, { close_timeout = 0.01 })
    local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    sleep(0.001)
    server:close()
    local waiter, till = create_task(server.wait_closed, server), asyncio.get_running_loop():time() + 1
    -- without memory there is perhaps no client, or nobody who notices that it takes nothing
    while not (tostring(waiter):find ": ready" or waiter:done() or asyncio.get_running_loop():time() > till) do
      sleep(0)
    end
    os.exit(writer and 0, true)
  end)
end)

--- Tables of options that are right, and errors of arguments: of C, of the Lua layer, of a constructor.
part("arguments", function(loop)
  assert(asyncio.Queue { maxsize = 2 }:maxsize() == 2)
  assert(#loop:getaddrinfo("127.0.0.1", 80, { family = "inet" }) == 1)
  local task = create_task { sleep, 0, name = "named" }
  local done = asyncio.wait({ task }, { timeout = 60, return_when = asyncio.FIRST_COMPLETED })
  assert(#done == 1)
  for _, call in ipairs {
    { asyncio.Queue, { maxsise = 1 } }, { asyncio.Queue, { 10 } }, { asyncio.Barrier }, { asyncio.Lock, 5 },
    { asyncio.open_connection, "127.0.0.1", 1, { local_addr = { host = 5 } } }, { asyncio.gather, { 5 } },
    { asyncio.wait, {}, { return_when = "LAST" } }, { create_task, 5 }, { loop.call_soon, loop },
    { asyncio.TaskGroup, 5 }, { asyncio.ContextVar, 5 }, { loop.time, 5 }, { asyncio.Runner, { debg = true } },
  } do
    assert(not pcall(table.unpack(call)))
  end
end)

--- The calls that only ask, and a word from each object.
part("words", function(loop)
  local function each(object, ...)
    assert(tostring(object))
    for _, name in ipairs { ... } do object[name](object) end
  end
  local lock = asyncio.Lock()
  each(lock, "locked", "acquire", "release")
  await(create_task(lock.acquire, lock))
  assert(not pcall(lock.release, lock))
  assert(not loop:create_future():traceback())
  each(asyncio.Event(), "is_set", "set", "is_set", "clear")
  each(asyncio.Semaphore(1), "locked", "acquire", "release")
  each(asyncio.BoundedSemaphore(2), "locked", "acquire", "release")
  assert(not pcall(asyncio.BoundedSemaphore(1).release, asyncio.BoundedSemaphore(1)))
  each(asyncio.Condition(), "locked", "acquire", "notify", "release")
  each(asyncio.Barrier(1), "parties", "n_waiting", "broken", "wait", "reset")
  local queue = asyncio.Queue(1)
  each(queue, "qsize", "maxsize", "empty", "full")
  queue:put_nowait "an item"
  assert(not pcall(queue.put_nowait, queue, "another"))
  local joined = create_task(queue.join, queue)
  sleep(0)
  assert(queue:get_nowait() == "an item" and not pcall(queue.get_nowait, queue))
  queue:task_done()
  await(joined)
  each(loop, "is_running", "is_closed", "get_debug", "time", "get_exception_handler")
  assert(asyncio.get_event_loop() == loop and asyncio.isfuture(joined) and tostring(asyncio.Error))
  each(loop:call_later(60, print), "cancelled", "when", "cancel")
  each(joined, "get_name", "cancelling", "done", "cancelled", "exception", "traceback")
  assert(asyncio.coroutine.status(asyncio.coroutine.create(print)) == "suspended")
  assert(not asyncio.thread_cancelled())
  loop:default_exception_handler { message = "for people", task = joined, exception = "an error" }
  local channel = asyncio.Channel()
  assert(channel == channel and channel ~= asyncio.Channel())
  assert(not pcall(require "asyncio.core".codec_decode, "\1\255", false))
  for _ = 1, 2 do pcall(await, 5) end
  local done = create_task(function() return 1, 2 end)
  for _ = 1, 140 do await(done) end -- gives way once
  local standard = coroutine.wrap(function() return pcall(sleep, 1) end)
  assert(not standard())
end)

--- Tasks whose coroutine somebody closes when they have been handed what they waited for.
part("strangers", function()
  local lock, semaphore, event, barrier = asyncio.Lock(), asyncio.Semaphore(0), asyncio.Event(), asyncio.Barrier(2)
  local condition, queue, other, channel = asyncio.Condition(), asyncio.Queue(), asyncio.Queue(), asyncio.Channel()
  lock:acquire()
  for _, case in ipairs {
    { function() lock:acquire() end, function() lock:release() end },
    { function() semaphore:acquire() end, function() semaphore:release() end },
    { function() event:wait() end, function() event:set() end },
    { function() barrier:wait() end, function() return barrier:n_waiting() == 1 and barrier:wait() end },
    { function()
      local _ <close> = condition:acquire()
      condition:wait()
    end, function()
      condition:acquire()
      condition:notify_all()
      condition:release()
    end },
    { function() queue:get() end, function() queue:put(1) end },
    { function() for _ in other:iter() do sleep(0) end end, function() other:put(1) other:put(2) end },
    { function() channel:get() end, function() channel:put(1) end },
  } do
    local task = create_task(case[1])
    sleep(0)
    local co = task:get_coro()
    case[2]()
    coroutine.close(co)
    assert(not pcall(await, task))
  end
  assert(queue:get_nowait() == 1)
  local resumed = create_task(sleep, 0.001)
  sleep(0)
  coroutine.resume(resumed:get_coro())
  assert(not pcall(await, resumed))
  local notified = create_task(function()
    local _ <close> = condition:acquire()
    condition:wait()
  end)
  sleep(0)
  do
    local _ <close> = condition:acquire()
    condition:notify()
    sleep(0)
    notified:cancel()
    sleep(0)
  end
  pcall(await, notified)
end)

--- Connections that are not accepted, and one that is cancelled.
part("pending", function()
  local server <close> = asyncio.start_server(print, "127.0.0.1", 0, { backlog = 1, start_serving = false })
  local held, port = {}, server:sockets()[1].port
  for i = 1, 2 do held[i] = select(2, asyncio.open_connection("127.0.0.1", port)) end
  local task = create_task(asyncio.open_connection, "127.0.0.1", port)
  sleep(0.001)
  task:cancel()
  pcall(await, task)
  for i = 1, 2 do held[i]:abort() end
  local forever = create_task(server.serve_forever, server)
  sleep(0)
  server:close()
  await(forever)
end)

--- Peers that take nothing, or go away in the middle.
part("slow peers", function()
  local path, blob = host.path(), ("x"):rep(300000)
  local server <close> = asyncio.start_unix_server(function(reader, writer)
    writer:set_write_buffer_limits { high = 1000, low = 500 }
    for _ = 1, 3 do writer:write(blob, "small") end
    writer:drain()
    writer:write(blob)
    reader:read(1)
  end, path, { close_timeout = 0.1 })
  do
    local reader, writer <close> = asyncio.open_unix_connection(path)
    assert(tostring(reader) and tostring(writer) and writer:can_write_eof() and not writer:is_closing())
    assert(not reader:at_eof() and writer:get_extra_info "socket":getfd())
    sleep(0.001)
    assert(#reader:readexactly(3 * 300005) == 900015 and writer:_buffer() == 0)
  end
  for _ = 1, 2 do -- its output is lost
    local _, writer = asyncio.open_unix_connection(path)
    sleep(0.001)
    writer:abort()
  end
  local reader, writer = asyncio.open_unix_connection(path)
  local reading = create_task(reader.readexactly, reader, 10000000)
  sleep(0.001)
  pcall(reader.read, reader, 1) -- the other is reading
  reading:cancel()
  pcall(await, reading)
  for _ = 1, 3 do writer:write(blob) end
  local draining = create_task(writer.drain, writer)
  sleep(0.001)
  writer:close()
  local closing = create_task(writer.wait_closed, writer)
  sleep(0)
  closing:cancel()
  pcall(await, closing)
  server:abort_clients()
  pcall(await, draining)
  assert(not pcall(writer.write, writer, "x"))
  local _, left = asyncio.open_unix_connection(path)
  server:close()
  assert(not server:is_serving())
  left:abort()
  server:wait_closed()
end)

--- A peer that sends what nobody reads, while what it was sent is on its way; a reset.
part("lingering", function()
  local server <close> = asyncio.start_server(function(_, writer)
    writer:write(("x"):rep(8000000))
  end, "127.0.0.1", 0, { close_timeout = 0.01 })
  local port = server:sockets()[1].port
  for _ = 1, 2 do
    local reader, writer = asyncio.open_connection("127.0.0.1", port)
    writer:write(("y"):rep(100000))
    sleep(0.002)
    pcall(reader.read, reader, 1)
    sleep(0.02)
    pcall(reader.read, reader)
    writer:abort()
  end
  local small <close> = asyncio.start_server(function(reader, writer)
    reader:read(1)
    writer:write(("x"):rep(1000000))
  end, "127.0.0.1", 0, { close_timeout = 0.05 })
  local reader, writer = asyncio.open_connection("127.0.0.1", small:sockets()[1].port)
  writer:write(("y"):rep(50000))
  sleep(0.02)
  pcall(reader.read, reader)
  writer:close()
end)

part("no descriptors", function()
  local server <close> = asyncio.start_server(function(reader, writer) writer:write(reader:readline()) end,
    "127.0.0.1", 0, { close_timeout = 0.5 })
  local port = server:sockets()[1].port
  host.descriptors(2)
  local ok, reader, writer = pcall(asyncio.open_connection, "127.0.0.1", port)
  if ok then
    sleep(0.001)
    assert(not pcall(asyncio.open_connection, "127.0.0.1", port))
    assert(not pcall(asyncio.start_server, print, "127.0.0.1", 0))
  end
  host.descriptors()
  if ok then
    writer:write "x\n"
    pcall(reader.readline, reader)
    writer:close()
  end
end)

part("interrupted twice", function()
  prepare_to_wait(4)
  host.raise(host.SIGINT)
  host.raise(host.SIGINT)
  for _ = 1, 1000000 do math.abs(1) end
  sleep(1)
end)

begins.loop = true

bare("loop", function()
  local loop <close> = asyncio.new_event_loop()
  assert(tostring(loop))
  loop:call_soon(loop.stop, loop)
  loop:run_forever()
  loop.slow_callback_duration = 5
  local task = loop:create_task(sleep, 0)
  task:add_done_callback(function() loop:stop() end)
  loop:run_forever()
  local pool = asyncio.ThreadPoolExecutor(1)
  loop:run_until_complete(function() await(pool:submit(math.abs, -1)) end)
  host.begin()
  pool:shutdown() -- blocks
  loop:close()
  assert(tostring(loop) and not pcall(loop.call_soon, loop, print))
end)

-- Threads. What a worker waits for comes from a task that may fail: so an executor of theirs is not closed by a
-- scope, which would wait for the worker, but collected.

--- A part whose worker is ready, and has loaded all, before its allocations count.
local function warm_part(name, fn)
  part(name, function(loop)
    local pool = asyncio.ThreadPoolExecutor(1)
    await(pool:submit(function() require "asyncio" end))
    host.begin()
    return fn(loop, pool)
  end)
  begins[name] = true
end

part("workers", function()
  do
    local base = 3
    local pool <close> = asyncio.ThreadPoolExecutor {
      max_workers = 1, thread_name_prefix = "oom", initializer = function() package.loaded.ready = { base } end,
    }
    assert(await(pool:submit(function(n) return package.loaded.ready[1] + n end, 1)) == 4)
    assert(tostring(pool):find "1 of 1")
  end
  package.preload["a C module"] = math.abs
  package.preload["a Lua module"] = function() return 1 end
  local broken = asyncio.ThreadPoolExecutor { max_workers = 1, initializer = function() error "no" end }
  assert(not pcall(await, broken:submit(math.abs, -1)))
  assert(not pcall(await, broken:submit(math.abs, -1)))
end)

warm_part("jobs", function(loop, pool)
  local function double(n) return 2 * n end
  local doubled = pool:map(double, { 1, 2, 3, 4, 5, 6, 7, 8, 9 })
  assert(doubled.n == 9 and doubled[4] == 8)
  for _, raise in ipairs {
    function() error "a string" end,
    function() error(require "asyncio".Error "an object") end,
    function() error(coroutine.create(print)) end,
    function()
      error(setmetatable({ x = coroutine.create(print) }, { __tostring = function() error "in turn" end }))
    end,
    function() return coroutine.create(print) end,
    function() local name = unknown_global return name.x end, -- luacheck: ignore
    function() unknown_function() end, -- luacheck: ignore
  } do
    local ok, err = pcall(await, loop:run_in_executor(pool, raise))
    assert(not ok and tostring(err))
  end
  assert(not pcall(pool.submit, pool, coroutine.create(print)))
  assert(not pcall(pool.submit, pool, print, { x = { coroutine.create(print) } }))
  local blocked, waiting = pool:submit(asyncio.blocking_sleep, 0.002), pool:submit(double, 1)
  waiting:cancel()
  pcall(await, waiting)
  blocked:cancel()
  pcall(await, blocked)
  assert(await(pool:submit(os.execute)))
  pool:submit(asyncio.thread_cancelled)
  pool:shutdown { cancel_futures = true }
  assert(not pcall(pool.submit, pool, double, 1))
end)

warm_part("threads", function(loop, pool)
  loop:set_default_executor(pool)
  local var = asyncio.ContextVar("var", 1)
  var:set { "its value" }
  assert(asyncio.to_thread(function(same) return same:get() end, var)[1] == "its value")
  local function run_a_loop(seconds)
    local inner = require "asyncio"
    return inner.run(function()
      local task = inner.create_task(inner.sleep, seconds)
      inner.await(task)
      return "slept"
    end)
  end
  assert(asyncio.to_thread(run_a_loop, 0) == "slept")
  local endless = loop:run_in_executor(nil, run_a_loop, 60)
  sleep(0.003)
  endless:cancel()
  pcall(await, endless)
end)

warm_part("codec", function(_, pool)
  local function trip(...) return await(pool:submit(function(...) return ... end, ...)) end
  local n, shared = 0, { "shared", ("long"):rep(30) }
  local cycle = { shared, shared, [1.5] = -7, [true] = 1 << 40, list = { 1, 2, 3, nil, 5 } }
  cycle.self = cycle
  local function count(by)
    n = n + (by or 1)
    return n, cycle, count, print
  end
  local copy, again, counter = trip(cycle, shared, count)
  assert(copy.self == copy and copy[1] == copy[2] and copy[1] == again)
  local _, inner, itself = counter(5)
  assert(inner == copy and itself == counter)
  local Mine = asyncio.TimeoutError:subclass "Mine"
  local err = trip(asyncio.ExceptionGroup("several", { Mine "one", asyncio.OSError { code = "EIO", message = "two" } }))
  assert(asyncio.isinstance(err.errors[1], Mine))
  assert(trip(io.read, string, asyncio) == io.read)
  local one, two = trip(function() n = n + 1 return n end, function() return n end)
  assert(one() == two())
  local global = function() return tostring(asyncio) end
  assert(await(pool:submit(global)))
  for i = 1, 3 do assert(await(pool:submit(function(k) return k end, i)) == i) end
  package.loaded["a new module"] = { f = function() return n end }
  pcall(trip, package.loaded["a new module"].f)
  package.loaded["a new module"] = nil
end)

part("channel", function()
  local channel = asyncio.Channel { maxsize = 2 }
  assert(tostring(channel) and not pcall(channel.get_nowait, channel))
  asyncio.gather(function()
    for i = 1, 6 do channel:put { i, "an item" } end
    channel:close()
  end, function()
    for n, item in channel:iter() do assert(n == item[1]) end
  end)
  assert(not pcall(channel.put, channel, 1))
  local other = asyncio.Channel(1)
  other:put_nowait(1)
  assert(not pcall(other.put_nowait, other, 2) and other:qsize() == 1)
  local putter = create_task(other.put, other, { 2 })
  sleep(0)
  putter:cancel()
  pcall(await, putter)
  assert(other:get() == 1)
  local getters = { create_task(other.get, other), create_task(other.get, other) }
  sleep(0)
  other:put "for the first"
  getters[2]:cancel()
  pcall(await, getters[2])
  assert(await(getters[1]) == "for the first")
  assert(not pcall(other.put, other, coroutine.create(print)))
end)

warm_part("channel to threads", function(_, pool)
  local to, from = asyncio.Channel(1), asyncio.Channel(1)
  local job = pool:submit(function(input, output)
    for _, item in input:iter() do output:put { item, item } end
    output:close()
  end, to, from)
  job:add_done_callback(function() from:close() end)
  asyncio.gather(function()
    for i = 1, 4 do to:put("item " .. i) end
    to:close()
  end, function()
    for n, item in from:iter() do assert(item[2] == "item " .. n) end
  end, job)
  local stuck = pool:submit(function(channel) return channel:get() end, asyncio.Channel())
  sleep(0.002)
  stuck:cancel()
  pcall(await, stuck)
end)

warm_part("remote", function(loop, pool)
  local remote = loop:remote()
  local channel = asyncio.Channel()
  remote:call_soon_threadsafe(function(to) to:put_nowait "from here" end, channel)
  channel:get()
  await(pool:submit(function(there, to)
    there:call_soon_threadsafe(function(text) to:put_nowait(text) end, "from there")
  end, remote, channel))
  local ok, text = pcall(asyncio.wait_for, function() return channel:get() end, 0.2)
  assert(not ok or text == "from there")
end)

part("http server", function()
  local http, path = asyncio.http, host.path()
  local function pieces()
    local i = 0
    return function()
      i = i + 1
      return i < 3 and "piece" or nil
    end
  end
  local server <close> = http.serve(function(request)
    if request.path == "/file" then return http.file(request, path:match "[^/]*$", path:match "^(.*)/") end
    if request.path == "/abort" then http.abort(404, "none", { ["X-A"] = "b" }) end
    if request.path == "/pieces" then return { status = 201, headers = { A = "b" }, body = pieces() } end
    if request.path == "/form" then return request:form().a[2] .. request.query.b end
    if request.path == "/up" then
      local reader, writer = request:upgrade "tea"
      return writer:send(reader:readline())
    end
    request:respond(200, { { "A", "b" } }):send("read", (request:read()))
  end, "127.0.0.1", 0, {
    close_timeout = 0.5, header_timeout = 0.5, idle_timeout = 0.5, body_timeout = 0.5, server_header = "oom",
    access_log = function(entry) assert(entry.status) end,
  })
  local made <close> = assert(io.open(path, "w"))
  made:write "content"
  made:close()
  for _, text in ipairs {
    "GET / HTTP/1.1\nHost: h\n\nGET /pieces HTTP/1.1\nHost: h\n\nGET /abort HTTP/1.0\n\n",
    "POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n2\nab\n0\nT: x\n\nnonsense\n\n",
    "POST /form?b=c HTTP/1.0\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 7\n\na=1&a=2",
    "GET /file HTTP/1.1\nHost: h\nRange: bytes=1-3\n\nGET /none HTTP/1.0\n\n",
    "GET /up HTTP/1.1\nHost: h\nConnection: upgrade\nUpgrade: tea\n\nline\n",
  } do
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    writer:send((text:gsub("\n", "\r\n")))
    reader:read()
  end
  server:shutdown(0.2)
end)

part("websocket", function()
  local http = asyncio.http
  local server <close> = http.serve(function(request)
    local ws = request:websocket { protocols = { "tea" }, close_timeout = 0.3, ping_interval = 0.05 }
    for data, kind in ws:iter() do
      if kind == "text" then ws:send(data) else ws:send_binary(data) end
    end
  end, "127.0.0.1", 0, { close_timeout = 0.5 })
  local ws <close> = http.websocket(("ws://127.0.0.1:%d/"):format(server:sockets()[1].port), {
    protocols = { "tea" }, close_timeout = 0.3, timeout = 0.5,
  })
  ws:send "text"
  ws:send_binary(("x"):rep(20000))
  asyncio.wait_for(function() return ws:receive() end, 0.3)
  asyncio.wait_for(function() return ws:receive() end, 0.3)
  ws:send "text"
  for data in ws:iter() do
    if data == "text" then ws:send_binary "binary" else break end
  end
  asyncio.wait_for(function() return ws:ping() end, 0.3)
  ws:close(4000, "enough")
  server:shutdown(0.2)
end)

part("unix sockets", function()
  local path = host.path()
  local function echo(reader, writer)
    for line in reader:lines() do writer:send(line, "\n") end
  end
  asyncio.start_unix_server(echo, path, { cleanup_socket = false }):close()
  do
    local server <close> = asyncio.start_unix_server(echo, path, { close_timeout = 0.5 })
    assert(server:sockets()[1].path == path and tostring(server))
    assert(not pcall(asyncio.start_unix_server, echo, path))
    for _ = 1, 2 do
      local reader, writer <close> = asyncio.open_unix_connection(path)
      writer:write "a line\n"
      assert(reader:readline() == "a line\n")
      assert(writer:get_extra_info "peername".path == path)
    end
  end
  assert(not pcall(asyncio.open_unix_connection, path))
  assert(not pcall(asyncio.open_unix_connection, ("x"):rep(200)))
  local _ <close> = asyncio.start_unix_server(echo, path, { backlog = 1, start_serving = false })
  local held = {}
  for i = 1, 2 do held[i] = select(2, asyncio.open_unix_connection(path)) end
  pcall(asyncio.wait_for, function() return asyncio.open_unix_connection(path) end, 0.002)
  for i = 1, 2 do held[i]:abort() end
end)

part("readiness", function()
  local from, to = host.pipe()
  local source = { getfd = function() return from end }
  asyncio.wait_writable(to)
  local waiting = create_task(asyncio.wait_readable, source)
  sleep(0)
  pcall(asyncio.wait_for, function() asyncio.wait_readable(from) end, 0.001)
  host.write(to, "x")
  await(waiting)
  asyncio.wait_readable(source)
  host.read(from)
  local cancelled = create_task(asyncio.wait_readable, from)
  sleep(0)
  cancelled:cancel()
  pcall(await, cancelled)
  assert(not pcall(asyncio.wait_readable, 9999))
  assert(not pcall(asyncio.wait_readable, {}))
end)

part("contexts", function(loop)
  local var, other = asyncio.ContextVar "var", asyncio.ContextVar("other", 1)
  assert(not pcall(var.get, var) and var:get(2) == 2 and tostring(var))
  local token = var:set "outer"
  local task = create_task(function()
    var:set "inner"
    local _ <close> = other:set(3)
    sleep(0)
    return var:get()
  end)
  local seen = loop:create_future()
  loop:call_soon(function() seen:set_result(var:get()) end)
  assert(await(task) == "inner" and await(seen) == "outer" and other:get() == 1)
  var:reset(token)
  assert(not pcall(var.reset, var, token))
end)

bare("virtual clock", function()
  local virtual = { clock = "virtual", timeout = 5 }
  testing.async(function()
    local loop = asyncio.get_running_loop()
    local began = loop:time()
    local task = create_task(sleep, 86400)
    testing.wait_all_tasks_blocked()
    await(task)
    assert(loop:time() - began >= 86400)
    pcall(asyncio.wait_for, function() sleep(100) end, 50)
  end, virtual)()
  for _, fails in ipairs {
    function() asyncio.Event():wait() end,
    function() create_task { sleep, 5, name = "left" } sleep(0) end,
    function() create_task(error, "lost") sleep(1) end,
    function() return asyncio.start_server(print, "127.0.0.1", 0) end,
  } do
    assert(not pcall(testing.async(fails, virtual)))
  end
  assert(not pcall(testing.async(function() sleep(5) end, { timeout = 0.001 })))
end)

bare("patience", function()
  testing.async(function()
    asyncio.get_running_loop():set_exception_handler(function() end)
    local server = asyncio.start_server(function(reader)
      assert(asyncio.current_task():get_name():find "^connection from")
      reader:readline()
    end, "127.0.0.1", 0)
    local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    server:close()
    pcall(asyncio.wait_for, function() server:wait_closed() end, 6)
    writer:abort()
    server:abort_clients()
    pcall(server.wait_closed, server)
  end, { clock = "virtual", timeout = 5 })()
end)

--- What debug mode notes, and the call graph.
part("debug mode", function(loop)
  loop:set_debug(true)
  loop.slow_callback_duration = 0.0005
  local lock, done = asyncio.Lock(), loop:create_future()
  local function busy()
    local till = os.clock() + 0.001
    while os.clock() < till do asyncio.coroutine.wrap(function() return till end)() end
  end
  loop:call_soon(busy)
  await(create_task(busy))
  local swallows = create_task(function() pcall(sleep, 5) end)
  create_task(function()
    local _ <close> = lock:acquire()
    await(done)
  end)
  local tasks = { create_task(lock.acquire, lock), create_task(asyncio.gather, done, function() sleep(5) end) }
  tasks[3] = create_task(await, tasks[1])
  create_task(coroutine.create(function() await(coroutine.create(function() sleep(5) end)) end))
  sleep(0)
  sleep(0)
  assert(asyncio.stats_text():find "asyncio_tasks")
  local graph = asyncio.format_call_graph "all"
  assert(graph:find "holds" and asyncio.format_call_graph(tasks[1]):find "awaited by")
  assert(asyncio.format_call_graph())
  swallows:cancel()
  await(swallows)
  create_task(error, "lost")
  await(create_task(function()
    asyncio.timeout(1) -- never closed
    lock:locked()
  end))
  local server <close> = asyncio.start_server(function() end, "127.0.0.1", 0, { close_timeout = 0.5 })
  await(create_task(function() asyncio.open_connection("127.0.0.1", server:sockets()[1].port) end))
  collectgarbage()
  collectgarbage()
  sleep(0)
  done:set_result()
end)

part("monitor", function(loop)
  local path = os.tmpname()
  os.remove(path)
  local monitor <close> = asyncio.monitor { path = path }
  loop:measure_tasks(true)
  create_task { sleep, 5, name = "sleeper" }
  sleep(0)
  assert(asyncio.current_task():stats().steps >= 0)
  local reader, writer <close> = asyncio.open_unix_connection(monitor:get_path())
  for _, question in ipairs { "loops", "stats 1", "top 1 5", "tree 1" } do
    writer:send("asyncio-monitor/1 ", question, "\n")
    local head = reader:readline()
    if not head then break end -- its thread had no memory
    local n = tonumber(head:match "ok (%d+)")
    if n and n > 0 then reader:readexactly(n) end
  end
  loop:measure_tasks(false)
end)

part("debug streams", function(loop)
  loop:set_debug(true)
  local server <close> = asyncio.start_server(function() end, "127.0.0.1", 0, { close_timeout = 0.5 })
  local _, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
  writer:send "x"
end)

--- The REPL on a terminal that can be edited on. Ctrl-D ends it; without memory for an editor the lines are plain,
-- and Ctrl-D is but a letter of a terminal that is raw: then it is the line behind it that ends them.
bare("terminal", function()
  host.terminal(table.concat({
    "1 + 1", "assert", "asser\t(tr\t)", "for i = 1, 2 do", "print(i) end", "error 'no'",
    "asyncio.create_task(function() for _ = 1, 3 do asyncio.sleep(0) io.write 'above' end end)",
    "host = require 'host'", "host.raise(host.SIGWINCH)", "host.raise(host.SIGCONT)", "asyncio.sleep(0)", "\4",
    "host.hang_up()", "",
  }, "\n"), "xterm")
  require "asyncio.console".run()
end)

bare("plain terminal", function()
  host.terminal("1 + 1\nasyncio.sleep(0)\nerror {}\n\4", "dumb")
  require "asyncio.console".run()
end)

--- ... and without one.
bare("console", function()
  require "asyncio.console".run()
end)

-- TLS: OpenSSL's own allocations fail, too, in parts whose names begin with "tls" (host.c)

local identity = dofile(root .. "/spec/identity.lua")

local function tls_contexts(sni)
  local ssl = asyncio.ssl
  local server = ssl.create_server_context { certfile = identity.cert, keyfile = identity.key, sni = sni }
  return ssl.create_default_context { cadata = identity.cert }, server
end

local function tls_pair(client, server, name)
  local reader, writer, peer_reader, peer_writer = asyncio.stream_pair()
  local group <close> = asyncio.TaskGroup()
  group:create_task(writer.start_tls, writer, client, { server_hostname = name or "localhost" })
  group:create_task(peer_writer.start_tls, peer_writer, server, { server_side = true })
  return reader, writer, peer_reader, peer_writer
end

bare("tls contexts", function()
  local ssl = asyncio.ssl
  local client, server = tls_contexts(function() end)
  server:set_alpn_protocols { "h2", "http/1.1" }
  client:set_alpn_protocols { "h2" }
  client:set_ciphers "ECDHE+AESGCM"
  client:set_ciphersuites "TLS_AES_128_GCM_SHA256"
  assert(not pcall(client.set_ciphersuites, client, "NONE_SUCH"))
  assert(not pcall(server.load_cert_chain, server, "no certificate"))
  assert(not pcall(ssl.create_server_context, { certfile = "/no/such/file" }))
  assert(not pcall(ssl.SSLContext, { purpose = "server", certfile = identity.cert, keyfile = identity.cert }))
  ssl.SSLContext { purpose = "client", minimum_version = "TLSv1.3", num_tickets = 1 }
end)

--- Both are ended by force: who closes an end waits until the other has read, and that may have had no memory for it.
local function tls_talk(reader, writer, peer_reader, peer_writer)
  writer:send(("x"):rep(20000), "\n")
  assert(#peer_reader:readline() == 20001)
  peer_writer:send "back"
  assert(reader:readexactly(4) == "back")
  assert(writer:get_extra_info "peercert" and writer:get_extra_info "cipher")
  writer:close()
  assert(not peer_reader:read(1))
end

part("tls of a pair", function()
  local client, server = tls_contexts()
  for _ = 1, 2 do
    local reader, writer, peer_reader, peer_writer = tls_pair(client, server)
    local ok, err = asyncio.pcall(tls_talk, reader, writer, peer_reader, peer_writer)
    writer:abort()
    peer_writer:abort()
    if not ok then error(err, 0) end
  end
end)

part("tls of sockets", function()
  local client, server_context = tls_contexts()
  local server <close> = asyncio.start_server(function(reader, writer)
    for line in reader:lines() do writer:send(line, "\n") end
  end, "127.0.0.1", 0, { ssl = server_context, close_timeout = 0.5, ssl_handshake_timeout = 1 })
  local port = server:sockets()[1].port
  server:set_ssl_context(server_context)
  for _ = 1, 2 do -- the second one resumes
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", port,
      { ssl = client, server_hostname = "localhost", ssl_handshake_timeout = 1 })
    writer:send "there and back\n"
    assert(reader:readline() == "there and back\n")
  end
end)

part("tls refused", function(loop)
  loop:set_debug(true)
  local client, server = tls_contexts()
  assert(not asyncio.pcall(tls_pair, client, server, "other.example"))
  assert(not asyncio.pcall(tls_pair, asyncio.ssl.create_default_context { cadata = identity.cert },
    select(2, tls_contexts(function() error "nobody is known" end))))
  local _, named = tls_contexts(function(name) return name == "localhost" and server or nil end)
  local reader, writer, _, peer_writer = tls_pair(client, named)
  local _ <close> = writer
  peer_writer:abort()
  assert(not pcall(reader.read, reader))
end)

part("tls cut off", function()
  local client, server = tls_contexts()
  local _, writer, peer_reader, peer_writer = tls_pair(client, server)
  writer:send "some"
  assert(peer_reader:read(4) == "some")
  writer:abort()
  assert(not pcall(peer_reader.read, peer_reader, 1))
  peer_writer:abort()
  local _, other, raw, raw_writer = asyncio.stream_pair()
  assert(not asyncio.pcall(function()
    local group <close> = asyncio.TaskGroup() -- who could not even begin is no peer to wait for
    group:create_task(function()
      local _ <close> = other
      other:start_tls(client, { server_hostname = "localhost" })
    end)
    assert(raw:read(5))
    raw_writer:send "HTTP/1.1 400 Bad Request\r\n\r\n"
  end))
  raw_writer:abort()
end)

-- LuaSocket's interface

--- Two sockets that are connected; no call of theirs waits long.
local function socket_pair()
  local server = assert(asyncio.socket.bind("127.0.0.1", 0))
  local client = assert(asyncio.socket.connect("127.0.0.1", (select(2, server:getsockname()))))
  server:settimeout(0.2)
  local peer = assert(server:accept())
  server:close()
  client:settimeout(0.2)
  peer:settimeout(0.2)
  return client, peer
end

local function talk()
  local client, peer = socket_pair()
  peer:send "one\r\nt\rwo\nthree"
  assert(client:receive() == "one")
  assert(client:receive("*l", "the ") == "the two")
  assert(client:receive(5, "12") == "12thr")
  peer:send(("x"):rep(100000))
  peer:shutdown "send"
  assert(#assert(client:receive "*a") == 100002)
  assert(select(2, client:receive()) == "closed")
  client:close()
  peer:close()
end

part("luasocket", talk)
bare("luasocket without a loop", talk)

part("luasocket waits", function()
  local socket = asyncio.socket
  local client, peer = socket_pair()
  local reads = create_task(function() return client:receive() end)
  local selects = create_task(function() return #socket.select({ client }, nil, 0.2) end)
  sleep(0)
  peer:send "line\n"
  await(reads)
  await(selects)
  client:settimeout(0.001)
  client:receive()
  socket.sleep(0.001)
  reads = create_task(function() return client:receive() end)
  sleep(0)
  client:close()
  await(reads)
  peer:close()
end)

part("luasocket names", function()
  local socket = asyncio.socket
  socket.dns.toip "localhost"
  socket.dns.getaddrinfo "localhost"
  socket.dns.getnameinfo("127.0.0.1", "80")
  socket.connect("localhost", 1)
  local server = socket.bind("localhost", 0)
  if server then server:close() end
end)

part("luasocket datagrams", function()
  local socket = asyncio.socket
  local a, b = socket.udp(), socket.udp()
  a:setsockname("127.0.0.1", 0)
  local ip, port = a:getsockname()
  a:settimeout(0.01)
  b:sendto("hello", ip, port)
  a:receivefrom(9000)
  a:receive()
  b:setpeername(ip, port)
  b:send "hello"
  b:getpeername()
end)

part("luasocket errors", function()
  local socket = asyncio.socket
  assert(select(2, socket.protect(function() socket.newtry(function() end)(nil, "failed") end)()) == "failed")
  local client, peer = socket_pair()
  local sink, source = socket.sink("close-when-done", peer), socket.source("until-closed", client)
  sink "hello"
  sink(nil)
  assert(source() == "hello")
  client:getoption "linger"
  tostring(client)
end)

-- LuaSec's interface

local IDENTITY = os.tmpname() -- a certificate and its key

--- Both sides' contexts.
local function luasec_contexts()
  local ssl = asyncio.compat.ssl
  local file <close> = assert(io.open(IDENTITY, "w"))
  file:write(identity.cert, identity.key)
  file:close()
  local client = assert(ssl.newcontext { mode = "client", protocol = "any", verify = "peer", cafile = IDENTITY,
    options = "all", alpn = { "x", "y" }, verifyext = "lsec_continue" })
  local server = assert(ssl.newcontext { mode = "server", protocol = "any", certificate = IDENTITY, key = IDENTITY,
    curve = "P-256", ciphers = "HIGH", alpn = function() return "y" end })
  return client, server
end

bare("tls luasec contexts", function()
  local ssl = asyncio.compat.ssl
  tostring(luasec_contexts())
  assert(not ssl.newcontext { mode = "client", protocol = "any", cafile = "/no/such/file" })
  assert(not ssl.newcontext { mode = "client", protocol = "any", ciphers = "NONE" })
  assert(ssl.newcontext { mode = "client", protocol = "tlsv1_2", curveslist = "X25519:P-256", depth = 3,
    dane = { "no_ee_namechecks" }, ciphersuites = "TLS_AES_128_GCM_SHA256" })
end)

bare("tls luasec certificates", function()
  local ssl = asyncio.compat.ssl
  local certificate = assert(ssl.loadcertificate(identity.cert))
  certificate:setencode "utf8"
  for _, name in ipairs { "digest", "extensions", "getsignaturename", "issuer", "notafter", "notbefore", "pem",
    "pubkey", "serial", "subject" } do
    assert(certificate[name](certificate))
  end
  assert(certificate:issued(certificate))
  assert(not ssl.loadcertificate "rubbish")
end)

local function luasec_talk(client, peer)
  client:sni "localhost"
  peer:sni({ elsewhere = select(2, luasec_contexts()) })
  client:settimeout(0)
  client:dohandshake()
  client:settimeout(1)
  peer:settimeout(1)
  local served = create_task(peer.dohandshake, peer)
  local shaken, why = client:dohandshake()
  local also, because = await(served)
  if not (shaken and also) then error(why == "not enough memory" and why or because or why, 0) end
  assert(client:getalpn() == "y" and client:info "protocol" and client:getpeercertificate():digest())
  assert(#client:getpeerchain() == 1 and client:getfinished() and peer:getpeerfinished())
  client:getpeerverification()
  assert(client:exportkeyingmaterial("EXPORTER-x", 16))
  assert(peer:send(("x"):rep(20000) .. "\n"))
  local line, err = client:receive()
  assert(line and #line == 20000, err)
end

part("tls luasec", function()
  local client, peer = socket_pair()
  local near, far = luasec_contexts()
  local a, b = assert(asyncio.compat.ssl.wrap(client, near)), assert(asyncio.compat.ssl.wrap(peer, far))
  local ok, err = asyncio.pcall(luasec_talk, a, b)
  a:close()
  b:close()
  if not ok then error(err, 0) end
end)

bare("http parser", function()
  local parsers = asyncio.parsers
  local server, client = parsers.http { role = "server" }, parsers.http { role = "client" }
  local fields = parsers.headers { { "A", ("b"):rep(1500) }, { "Set-Cookie", "c" }, { "Set-Cookie", "d" } }
  for _ = 1, 2 do
    local head = client:request("POST", "/%61?b=c", "Tea.example:80", fields, true)
    local text, got = head .. client:data "hello" .. client:data(("x"):rep(100)) .. client:last { Sum = 7 }, {}
    for i = 1, #text, 700 do
      local event, value = server:feed(text:sub(i, i + 699))
      while event and event ~= "paused" do
        got[#got + 1] = event == "data" and #value or value
        event, value = server:next()
      end
    end
    assert(got[1].path == "/a" and got[1].headers.a and #got[1].headers:all "set-cookie" == 2)
    assert(got[#got].sum == "7" and #tostring(server) > 10)
    for name, value in pairs(got[1].headers) do assert(name and value) end
    local answer, body = server:response(200, { X = "y", Z = { 1, 2 } }, ("z"):rep(20000), parsers.date(0))
    assert(client:feed(answer) == "response" and client:feed(body) == "data" and client:next() == "end")
    assert(server:next_cycle() and client:next_cycle())
  end
end)

bare("http words", function()
  local parsers = asyncio.parsers
  local url = assert(parsers.url "http://u%41:p@Host:8080/a/../b?c=%20#d")
  assert(url.user == "uA" and url.authority == "host:8080" and url.target == "/a/../b?c=%20")
  assert(parsers.join_url("http://h/a/b", "../" .. ("c"):rep(1500)))
  local form = assert(parsers.decode_form("a=1&a=2&a=3&b=" .. ("%41"):rep(500)))
  assert(form.a[3] == "3" and parsers.encode_form(form):find("^a=1&a=2&a=3&b=AA"))
  assert(parsers.encode_form { { "x", true }, { "y", { 1, "&" } } } == "x=true&y=1&y=%26")
  assert(parsers.decode(parsers.encode "a b") == "a b" and parsers.parse_date(parsers.date(5)) == 5)
  assert(not parsers.url "http:/" and parsers.parse_authority "[::1]:80" == "::1")
end)

bare("MessagePack", function()
  local pack, unpack = asyncio.parsers.pack, asyncio.parsers.unpack
  local value = { "a", 1.5, { name = ("x"):rep(5000), [2] = true, { {}, "\xff" } } }
  local packed = pack(value)
  local back, next = unpack(packed .. "\xc0", 1)
  assert(next == #packed + 1 and back[3].name == value[3].name and back[3][1][2] == "\xff" and #pack(back) == #packed)
  local list = unpack(pack({ nil, 2, n = 3 }, { list = true }), 1, { list = true })
  assert(list.n == 3 and list[2] == 2)
  assert(not pcall(pack, { list = { print } }) and not pcall(unpack, packed, 1, { max_size = 100 }))
  assert(not pcall(unpack, "\x82\x01\x01\x01"))
end)

bare("redis protocol", function()
  local grammar = require "asyncio.grammar"
  local parser, list = grammar.resp(), {}
  local text = "*2\r\n%1\r\n+k\r\n*1\r\n,1.5\r\n|1\r\n+a\r\n+b\r\n-ERR no\r\n$3\r\nabc\r\n"
  for i = 1, #text do
    parser:feed(text:sub(i, i))
    if parser:fill(list, #list + 1, 2) > 2 then break end
  end
  if list[2] ~= "abc" then error "not enough memory" end -- the parser has said so
  assert(list[1][1].k[1] == 1.5 and list[1][2].code == "ERR" and list[2] == "abc" and tostring(parser))
  assert(#grammar.resp_encode("SET", "k", ("x"):rep(600), 1.5) == 637)
  assert(#grammar.resp_encode_all { { "GET", "k" }, { "GET", 1 } } == 40)
end)

bare("websocket frames", function()
  local grammar = require "asyncio.grammar"
  local client, server = grammar.websocket { role = "client" }, grammar.websocket { role = "server" }
  local long = ("long"):rep(5000)
  local text = client:frame("text", "short") .. client:frame("ping", "p") .. client:frame("binary", long) ..
    client:close(1000, "bye")
  local got, size = {}, #text // 3
  for at = 1, #text, size do
    local kind, a, b = server:feed(text:sub(at, at + size - 1))
    while kind do
      got[#got + 1] = tostring(a) .. tostring(b)
      kind, a, b = server:next()
    end
  end
  assert(#got == 4 and got[1] == "shortnil" and got[3] == long .. "nil" and got[4] == "1000bye", got[1])
  assert(client:feed(table.concat { server:frame("text", long) }) == "text" and tostring(client))
  assert(grammar.websocket_accept(grammar.websocket_key()))
end)

--- Calls fn(url, stop) while a server answers; what is called "chunked" in pieces, what is called "moved" elsewhere.
local function http_site(fn)
  local server <close> = asyncio.start_server(function(reader, writer)
    while true do
      local head = reader:readuntil "\r\n\r\n"
      if not head then return end
      local body = reader:readexactly(tonumber(head:match "Length: (%d+)" or 0))
      if head:find "chunked" then
        writer:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
      elseif head:find "moved" then
        writer:send "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /there\r\n\r\n"
      else
        writer:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
      end
    end
  end, "127.0.0.1", 0)
  fn("http://" .. tostring(server:sockets()[1]))
  server:abort_clients()
end

part("http client", function()
  http_site(function(url)
    local client <close> = asyncio.http.Client { base_url = url, max_connections = 2, timeout = 0.5 }
    local function ask(path, opts) return client:request(path, opts):read() end
    local pieces = { "two", "one" }
    local a, b, c, d = asyncio.gather(
      function() return ask "/chunked" end,
      function() return ask("/moved", { headers = { ["X-Tea"] = "green" } }) end,
      function() return ask("/echo", { method = "POST", body = "tea", auth = { "user", "password" } }) end,
      function()
        return ask("/chunked", { method = "PUT", headers = { ["Content-Length"] = 6 },
          body = function() return table.remove(pieces) end })
      end)
    assert(a == "hello" and b == "" and c == "tea" and d == "hello")
    assert(tostring(client):find "0 in use, 0 waiting")
  end)
end)

part("http client, alone", function()
  http_site(function(url)
    local lines = asyncio.http.get(url .. "/chunked", { timeout = 0.5 }):lines()
    assert(lines() == "hello" and lines() == nil)
    asyncio.http.post(url, { form = { a = 1 }, query = { b = "2" }, timeout = 0.5 }):close()
    local unread = asyncio.http.get(url .. "/chunked", { timeout = 0.5 })
    assert(unread:read(2) == "he" and tostring(unread))
    assert(not pcall(asyncio.http.get, "http://127.1/"))
  end)
end)

--- A server of Redis in memory, which answers as many commands as it is told to, and then ends.
local function serve_redis(reader, writer, most, answer)
  local parser = require "asyncio.grammar".resp()
  for _ = 1, most do
    local kind, command = parser:next()
    while not kind do
      local data = reader:read(65536)
      if not data then return writer:close() end
      parser:feed(data)
      kind, command = parser:next()
    end
    local name = command and command[1]
    if kind ~= "reply" or not name then break end
    if answer then
      writer:write(answer(command))
    elseif name == "EXEC" then
      writer:write "*1\r\n+OK\r\n"
    elseif name == "SUBSCRIBE" then
      writer:write ">3\r\n+subscribe\r\n+c\r\n:1\r\n>3\r\n+message\r\n+c\r\n+text\r\n"
    elseif name == "LPUSH" then
      writer:write "-WRONGTYPE no\r\n"
    else
      writer:write "+OK\r\n"
    end
  end
  writer:close()
end

local function on_redis(most, fn, answer)
  local opening = require "asyncio.redis.opening"
  local former, tasks = opening.stream, {}
  local _ <close> = asyncio.defer(function()
    opening.stream = former
    for _, task in ipairs(tasks) do task:cancel() end
  end)
  opening.stream = function()
    local reader, writer, its_reader, its_writer = asyncio.stream_pair()
    local ok, task = pcall(create_task, serve_redis, its_reader, its_writer, most, answer)
    if not ok then
      writer:abort()
      its_writer:abort()
      error(task, 0)
    end
    tasks[#tasks + 1] = task
    return reader, writer
  end
  local client <close> = asyncio.redis.connect { connect_timeout = 0.2, timeout = 0.2 }
  return fn(client)
end

part("redis", function()
  on_redis(100, function(client)
    local tasks = {}
    for i = 1, 4 do tasks[i] = create_task(client.get, client, i) end
    tasks[2]:cancel()
    asyncio.wait(tasks)
    for i = 1, 4 do
      local ok, value = pcall(tasks[i].result, tasks[i])
      if ok then assert(value == "OK") end
    end
    local replies = client:pipeline(function(p) p:get "a" p:lpush("a", 1) end)
    assert(replies[1] == "OK" and replies[2].code == "WRONGTYPE")
    assert(client:transaction(function(p) p:set("a", 1) end, { watch = { "a" } })[1] == "OK")
    assert(client:script "return 1" { "k" } == "OK")
    assert(client:blpop("q", 1) == "OK")
  end)
end)

part("redis lost", function()
  on_redis(3, function(client)
    for _ = 1, 3 do
      local tasks = {}
      for i = 1, 3 do tasks[i] = create_task(client.get, client, i) end
      asyncio.wait(tasks)
      for i = 1, 3 do pcall(tasks[i].result, tasks[i]) end
    end
  end)
end)

part("redis subscription", function()
  on_redis(2, function(client)
    local messages <close> = client:subscribe { channels = { "c" } }
    assert(select(3, messages()) == "text")
    assert(messages() == "reconnected")
    assert(select(3, messages()) == "text")
  end)
end)

part("distributed", function()
  local answer = answers_of_jobs()
  on_redis(1000, function()
    local executor = asyncio.distributed.DistributedExecutor { url = "redis://x", connect_timeout = 0.2 }
    local _ <close> = asyncio.defer(function() executor:shutdown { wait = false } end)
    local future = executor:submit("m.f", 1, { "x" })
    assert(future.job_id and await(future) == 1)
    local list = {}
    for i = 1, 2 do list[i] = create_task(executor.submit, executor, "m.f", i) end
    asyncio.wait(list)
    assert(await(list[1]:result()) == 1)
    assert(not pcall(await, list[2]:result()))
    assert(executor:stats().done == 1)
  end, answer)
end)

if not package.preload["asyncio.openssl"] then -- it was built without
  for i = #names, 1, -1 do
    if names[i]:find "^tls" then table.remove(names, i) end
  end
end

local scenario = { names = names, begins = begins }

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
