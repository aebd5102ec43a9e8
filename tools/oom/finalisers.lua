-- finalisers.lua - what host.c runs while a finaliser runs at some allocation: each public call, with each thing
-- that a finaliser may do to the objects of that call.
--
-- A finaliser is a stranger's code that runs in the middle of ours, wherever Lua allocates. What it did there
-- must hold afterwards, and what the call does must hold, too: nothing is lost, nothing is done twice, errors
-- are of a kind that says something.
local host = require "host"
local root = os.getenv "OOM_ROOT" or "."
package.path = ("%s/lua/?.lua;%s/lua/?/init.lua;%s"):format(root, root, package.path)
local asyncio = require "asyncio"
local testing = require "asyncio.testing"
for _ in pairs(asyncio) do end -- loads what is loaded when it is first used
for _ in pairs(asyncio.compat) do end
for _ in pairs(asyncio.http) do end
assert(asyncio.distributed)
local answers_of_jobs = dofile(root .. "/tools/oom/jobs.lua")

local sleep, await, create_task = asyncio.sleep, asyncio.await, asyncio.create_task
local kind_of -- object → the name of its class

--- What there is

local function nothing() end
local function forever() sleep(3600) end

--- Objects that every case finds: of each kind some in the states in which they can be.
local function base(loop)
  local o = { loop = loop, list = {} }
  local function keep(name, object)
    o[name] = object
    o.list[#o.list + 1] = object
    return object
  end
  o.keep = keep
  keep("future", loop:create_future())
  keep("result", loop:create_future()):set_result(1, 2)
  keep("failed", loop:create_future()):set_exception "an error"
  o.failed:exception()
  keep("lock", asyncio.Lock())
  keep("event", asyncio.Event())
  keep("condition", asyncio.Condition())
  keep("semaphore", asyncio.Semaphore(1))
  keep("barrier", asyncio.Barrier(2))
  keep("queue", asyncio.Queue(1))
  keep("stack", asyncio.LifoQueue())
  keep("heap", asyncio.PriorityQueue())
  keep("handle", loop:call_later(3600, nothing))
  o.var = o.var or asyncio.ContextVar("var", 0)
  return o
end

--- ... and tasks, where there is a loop that runs.
local function with_tasks(o)
  o.keep("sleeper", o.loop:create_task(forever))
  o.keep("waiter", o.loop:create_task(await, o.future))
  o.keep("new", o.loop:create_task { function(...) return ... end, 1, 2, name = "new" })
  return o
end

local function with_streams(o)
  o.served = 0
  o.keep("server", asyncio.start_server(function(reader, writer)
    o.served = o.served + 1
    while true do
      local bytes = reader:read(100)
      if not bytes then break end
      writer:write(bytes)
    end
  end, "127.0.0.1", 0, { close_timeout = 0.05 }))
  o.port = o.server:sockets()[1].port
  o.reader, o.writer = asyncio.open_connection("127.0.0.1", o.port)
  o.keep("reader", o.reader)
  o.keep("writer", o.writer)
  return o
end

local function with_pipe(o)
  o.from, o.to = host.pipe()
  return o
end

local function with_threads(o)
  o.keep("executor", asyncio.ThreadPoolExecutor(1))
  o.keep("channel", asyncio.Channel(1))
  o.keep("remote", o.loop:remote())
  return o
end

--- What a finaliser may do

local function each(o, kinds, fn)
  for _, object in ipairs(o.list) do
    if kinds[kind_of(object)] then pcall(fn, object) end
  end
end

local FUTURES = { Task = true, Future = true }
local WRITER, SERVER, HANDLE = { StreamWriter = true }, { Server = true }, { Handle = true }
local ENDPOINT = { DatagramEndpoint = true }
local actions = {}

function actions.cancel(o)
  each(o, FUTURES, function(future) future:cancel "by a finaliser" end)
  each(o, HANDLE, o.handle.cancel)
end

function actions.settle(o)
  each(o, FUTURES, function(future) future:set_result "of a finaliser" end)
end

--- Sockets of LuaSocket's kind, at which a call may be right now.
function actions.receive(o)
  if not o.client then return end
  pcall(function()
    o.client:settimeout(0)
    o.client:receive(1)
    o.client:settimeout(0.01)
  end)
end

--- An HTTP connection's object, in which a method may be right now.
function actions.parse(o)
  local c = o.parser
  if not c then return end
  pcall(c.feed, c, "POST /of/a/finaliser HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nokGET")
  for _ = 1, 3 do c:next() end
  pcall(c.response, c, 200, nil, "of a finaliser")
  pcall(c.next_cycle, c)
end

function actions.rest(o)
  if o.parser then o.parser:rest() end
end

--- A WebSocket, at whose messages its owner may be right now.
function actions.frames(o)
  local ws = o.ws
  if not ws then return end
  pcall(ws.send, ws, "of a finaliser")
  pcall(ws._frames.feed, ws._frames, "\x81\1x")
  pcall(ws._reader.read, ws._reader, 1)
end

function actions.close_socket(o)
  if o.client then o.client:close() end
end

function actions.close_redis(o)
  if o.redis then o.redis:close() end
  if o.messages then o.messages:close() end
end

function actions.fail(o)
  each(o, FUTURES, function(future) future:set_exception { "of a finaliser" } end)
  each(o, FUTURES, function(future) future:exception() end)
end

--- Each must be called once, if its future is done at the end.
function actions.callbacks(o)
  o.called = {}
  each(o, FUTURES, function(future)
    local entry = { future = future, n = 0 }
    future:add_done_callback(function() entry.n = entry.n + 1 end)
    o.called[#o.called + 1] = entry
  end)
end

function actions.uncallback(o)
  each(o, FUTURES, function(future) future:remove_done_callback(o.callback or nothing) end)
end

function actions.name(o)
  o.renamed = {}
  each(o, { Task = true }, function(task)
    task:set_name "renamed"
    o.renamed[task] = true
  end)
end

function actions.uncancel(o)
  each(o, { Task = true }, function(task)
    task:cancel()
    while task:uncancel() > 0 do end
  end)
  local task = asyncio.current_task()
  while task and task:cancelling() > 0 do task:uncancel() end
end

--- The task that makes the call is asked to stop.
function actions.interrupt()
  local task = asyncio.current_task()
  if task then task:cancel "the caller, by a finaliser" end
end

function actions.scope()
  pcall(function()
    local _ <close> = asyncio.timeout(3600)
    local limit = asyncio.timeout(3600) -- forgotten
    limit:reschedule(limit:when() + 1)
    local _ <close> = asyncio.TaskGroup()
    local _ <close> = asyncio.shielded()
    local _ <close> = asyncio.defer(nothing)
  end)
end

function actions.use(o)
  pcall(o.queue.put_nowait, o.queue, "a finaliser's")
  pcall(o.stack.put_nowait, o.stack, 1)
  pcall(o.heap.put_nowait, o.heap, 1)
  pcall(o.event.set, o.event)
  pcall(o.semaphore.release, o.semaphore)
  each(o, WRITER, function(writer) writer:write("finaliser ", ("x"):rep(2000)) end)
  if o.channel then pcall(o.channel.put_nowait, o.channel, 1) end
  if o.to_server then pcall(o.client.send_nowait, o.client, "a finaliser's") end
  if o.group then pcall(o.group.create_task, o.group, nothing) end
end

function actions.take(o)
  pcall(o.queue.get_nowait, o.queue)
  pcall(o.stack.get_nowait, o.stack)
  pcall(o.heap.get_nowait, o.heap)
  pcall(o.event.clear, o.event)
  pcall(o.lock.release, o.lock)
  pcall(o.barrier.reset, o.barrier)
  if o.reader then pcall(function() return o.reader:read(4) end) end
  if o.channel then pcall(o.channel.get_nowait, o.channel) end
  each(o, ENDPOINT, function(endpoint)
    local _, address = endpoint:receive_nowait()
    if address then address.port = 9 end
  end)
end

function actions.close(o)
  each(o, WRITER, function(writer) writer:close() end)
  each(o, { File = true }, function(file) file:close() end)
  each(o, SERVER, function(server) server:close() end)
  each(o, ENDPOINT, function(endpoint) endpoint:close() end)
  pcall(o.queue.shutdown, o.queue)
  pcall(o.barrier.abort, o.barrier)
  if o.group then pcall(getmetatable(o.group).__close, o.group) end
  if o.executor then pcall(o.executor.shutdown, o.executor, { wait = false }) end
  if o.channel then pcall(o.channel.close, o.channel) end
  pcall(o.loop.close, o.loop)
end

function actions.abort(o)
  each(o, WRITER, function(writer) writer:abort() end)
  each(o, SERVER, function(server) server:abort_clients() end)
  pcall(o.queue.shutdown, o.queue, true)
  if o.executor then pcall(o.executor.shutdown, o.executor, { wait = false, cancel_futures = true }) end
  if o.group then pcall(o.group.cancel, o.group) end
end

--- Slots, coroutines and numbers that the call may have in mind.
function actions.new(o)
  for _ = 1, 3 do
    pcall(function() o.list[#o.list + 1] = o.loop:create_task(forever) end)
    pcall(function() o.list[#o.list + 1] = o.loop:create_future() end)
    pcall(function() o.list[#o.list + 1] = o.loop:call_soon(nothing) end)
  end
  for i = #o.list - 2, #o.list do
    if kind_of(o.list[i]) == "Handle" then o.list[i]:cancel() end
  end
end

function actions.watch(o)
  if not o.from then with_pipe(o) end
  pcall(o.loop.add_reader, o.loop, o.from, nothing)
  pcall(o.loop.add_writer, o.loop, o.to, nothing)
  pcall(o.loop.remove_writer, o.loop, o.to)
  pcall(o.loop.add_signal_handler, o.loop, host.SIGUSR1, nothing)
  pcall(o.loop.add_signal_handler, o.loop, host.SIGWINCH, nothing)
  pcall(o.loop.remove_signal_handler, o.loop, host.SIGWINCH)
end

function actions.debug(o)
  o.loop:set_debug(not o.loop:get_debug())
end

function actions.context(o)
  o.var:set "a finaliser's"
  o.var_set = true
end

function actions.jobs(o)
  pcall(o.loop.run_in_executor, o.loop, nil, o.job or nothing)
  if o.executor then pcall(function() o.executor:submit(o.job or nothing) end) end
end

function actions.report(o)
  o.loop:call_exception_handler { message = "of a finaliser" }
  o.loop:set_exception_handler(function() end)
end

--- Another run, or the loop's own, where none is under way.
function actions.run(o)
  pcall(asyncio.run, function() sleep(0) end)
  pcall(o.loop.run_until_complete, o.loop, sleep, 0)
end

--- The very same call, in its own middle.
function actions.same(o, call)
  pcall(call, o)
end

local ROUNDS = 300 -- in one call: what a finaliser adds there must come to an end
local ACTIONS = {}
for name in pairs(actions) do ACTIONS[#ACTIONS + 1] = name end
table.sort(ACTIONS)

--- Calls

local cases, order = {}, {}

--- A case: `prepare(o)` may add objects; `call(o)` is what finalisers run in; `check(o, action)`.
local function case(name, case_)
  case_.name = name
  cases[name] = case_
  order[#order + 1] = name
end

--- One for each entry `name = fn(o)`, of calls that need nothing special.
local function simple(group, with, calls)
  local names = {}
  for name in pairs(calls) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do case(group .. " " .. name, { with = with, call = calls[name] }) end
end

simple("task", {}, {
  cancel = function(o) o.sleeper:cancel() end,
  cancel_waiter = function(o) o.waiter:cancel "message" end,
  cancel_new = function(o) o.new:cancel(12) end,
  cancel_self = function() asyncio.current_task():cancel() sleep(0) end,
  uncancel = function(o) o.sleeper:cancel() o.sleeper:uncancel() end,
  create = function(o) o.keep("made", create_task(forever)) end,
  create_named = function() await(create_task { function(...) return ... end, 1, nil, name = "x" }) end,
  create_of_coroutine = function() await(create_task(coroutine.create(function(...) return ... end), 1, 2)) end,
  name = function(o) o.new:set_name "other" assert(o.new:get_name()) end,
  tostring = function(o) return tostring(o.sleeper) .. tostring(o.new) .. tostring(o.waiter) end,
  traceback = function(o) return o.sleeper:traceback(), o.new:traceback() end,
  coroutine = function(o) return o.sleeper:get_coro() end,
  all = function() return asyncio.all_tasks() end,
  graph = function() return asyncio.format_call_graph "all" end,
  stats = function() return asyncio.get_running_loop():stats() end,
  monitor = function(o)
    o.path = o.path or os.tmpname()
    os.remove(o.path)
    local ok, monitor = pcall(asyncio.monitor, { path = o.path })
    sleep(0)
    if ok then monitor:close() end
  end,
  measured = function(o)
    local loop = asyncio.get_running_loop()
    loop:measure_tasks(true)
    sleep(0)
    local stats = o.sleeper:stats()
    loop:measure_tasks(false)
    return stats
  end,
  await_new = function(o) await(o.new) end,
  await_failing = function() pcall(await, create_task(function() sleep(0) error {} end)) end,
  traceback_of_several = function()
    local function fail() asyncio.gather(function() sleep(0) error(asyncio.Error "far away") end) end
    local ok, err, text = asyncio.xpcall(await, asyncio.traceback, create_task(fail))
    assert(not ok and err.traceback and text and tostring(err) == "far away")
    local task = create_task(error, err)
    pcall(await, task)
    assert(task:traceback())
  end,
  lost = function() create_task(error, "lost") sleep(0) sleep(0) end,
  lost_future = function(o) o.loop:create_future():set_exception {} collectgarbage() sleep(0) end,
  many_results = function() return await(create_task(table.unpack, { 1, 2, 3 })) end,
  stray_yield = function() pcall(await, create_task(coroutine.yield)) end,
  killed = function(o)
    local co = o.sleeper:get_coro()
    pcall(coroutine.close, co)
    o.sleeper:cancel()
    sleep(0)
  end,
  sleep = function() sleep(0) sleep(0.00001) end,
  forgotten_lock = function(o) await(create_task(o.lock.acquire, o.lock)) end,
  forgotten_scope = function() await(create_task(asyncio.timeout, 3600)) end,
})

simple("traces", {}, {
  trace = function()
    local path = os.tmpname()
    local ok, trace = pcall(asyncio.trace, path .. ".json")
    if ok then
      await(create_task { function() sleep(0) sleep(0.00001) end, name = "traced" })
      pcall(await, create_task(error, "failed"))
      tostring(trace)
      trace:close()
      os.remove(path .. ".json")
    end
    os.remove(path)
  end,
  trace_and_runner = function()
    pcall(function() asyncio.Runner({ trace = "/no/such/trace.json" }):close() end)
    pcall(asyncio.trace, "/no/such/trace.json")
  end,
})

simple("several", {}, {
  gather = function() return asyncio.gather(function() sleep(0) end, create_task(sleep, 0)) end,
  gather_list = function(o) return asyncio.gather { o.result, o.failed, return_exceptions = true } end,
  gather_failing = function() pcall(asyncio.gather, function() sleep(0) error {} end, sleep) end,
  gather_cancelled = function()
    local task = create_task(asyncio.gather, create_task(forever), create_task(forever))
    sleep(0)
    task:cancel()
    pcall(await, task)
  end,
  wait = function(o) asyncio.wait({ o.result, create_task(sleep, 0) }, { timeout = 0.001 }) end,
  wait_first = function(o) asyncio.wait({ o.new, o.sleeper }, { return_when = "FIRST_COMPLETED" }) end,
  as_completed = function(o) for task in asyncio.as_completed { o.new, o.result } do await(task) end end,
  shield = function(o) await(asyncio.shield(o.new)) asyncio.shield(o.sleeper):cancel() end,
  group = function()
    local group <close> = asyncio.TaskGroup()
    group:create_task(sleep, 0)
    group:create_task(sleep, 0)
  end,
  group_known = function(o)
    pcall(function()
      local group <close> = asyncio.TaskGroup()
      o.group = group
      group:create_task(sleep, 0)
      group:create_task { sleep, 0, name = "named" }
      pcall(group.start, group, function(started) sleep(0) started() end)
    end)
  end,
  group_known_failing = function(o)
    pcall(function()
      local group <close> = asyncio.TaskGroup()
      o.group = group
      group:create_task(error, {})
      group:create_task(forever)
      forever()
    end)
  end,
  group_failing = function()
    pcall(function()
      local group <close> = asyncio.TaskGroup()
      group:create_task(error, {})
      group:create_task(forever)
      forever()
    end)
  end,
})

simple("ending", {}, {
  stop = function() create_task(forever):stop() end,
  stop_sleeper = function(o) o.sleeper:stop() end,
  stop_failed = function()
    local task = create_task(function() sleep(0) error {} end)
    for _ = 1, 3 do sleep(0) end
    pcall(task.stop, task)
  end,
  leave_task = function()
    local _ <close> = create_task(forever)
    sleep(0)
  end,
  stop_cancelled = function(o)
    local task = create_task(function() o.sleeper:stop() end)
    sleep(0)
    task:cancel()
    pcall(await, task)
  end,
  race = function() return asyncio.race(function() sleep(0) return 1 end, forever) end,
  race_of = function(o) return asyncio.race(o.new, o.sleeper, o.future) end,
  race_failing = function() pcall(asyncio.race, function() sleep(0) error {} end, error) end,
  race_cancelled = function()
    local task = create_task(asyncio.race, forever, forever)
    sleep(0)
    task:cancel()
    pcall(await, task)
  end,
  map = function() return asyncio.map(function(x) sleep(0) return x end, { 1, 2, 3 }, { max_concurrent = 2 }) end,
  map_failing = function()
    pcall(asyncio.map, function(x) if x == 2 then error {} end forever() end, { 1, 2, 3 })
  end,
  group_start = function()
    local group <close> = asyncio.TaskGroup()
    return group:start(function(started) sleep(0) started(1, 2) sleep(0) end)
  end,
  group_start_failing = function()
    local group <close> = asyncio.TaskGroup()
    pcall(group.start, group, function() sleep(0) error {} end)
    pcall(group.start, group, sleep, 0)
  end,
  group_start_cancelled = function()
    local task = create_task(function()
      local group <close> = asyncio.TaskGroup()
      group:start(forever)
    end)
    sleep(0)
    task:cancel()
    pcall(await, task)
  end,
  type = function(o) return asyncio.type(o.stack), asyncio.type(asyncio.Error "x"), asyncio.time() end,
})

simple("limit", {}, {
  timeout = function() local _ <close> = asyncio.timeout(60) sleep(0) end,
  expired = function() pcall(function() local _ <close> = asyncio.timeout(0) forever() end) end,
  rescheduled = function(o)
    local limit <close> = asyncio.timeout(nil)
    limit:reschedule(o.loop:time() + 60)
    limit:extend(60)
  end,
  wait_for = function() return asyncio.wait_for(function() sleep(0) end, 60) end,
  wait_for_late = function(o) pcall(asyncio.wait_for, o.sleeper, 0) end,
  move_on_after = function() return asyncio.move_on_after(0.0001, forever), asyncio.move_on_after(9, sleep, 0) end,
})

simple("future", {}, {
  create = function(o) o.keep("made", o.loop:create_future()) end,
  set_result = function(o) o.future:set_result(1, 2, 3) end,
  set_exception = function(o) o.future:set_exception {} end,
  cancel = function(o) o.future:cancel "message" end,
  result = function(o) return o.result:result() end,
  exception = function(o) return o.failed:exception() end,
  await_failed = function(o) pcall(await, o.failed) end,
  tostring = function(o) return tostring(o.future) .. tostring(o.result) .. tostring(o.failed) end,
  await = function(o)
    o.loop:call_soon(function() pcall(o.future.set_result, o.future, 1) end)
    await(o.future)
  end,
})

--- Who is told of what
local function counted(o)
  local entry = { future = o.future, n = 0 }
  o.expected = o.expected or {}
  o.callback = function() entry.n = entry.n + 1 end
  return entry
end

case("future add_done_callback", {
  call = function(o)
    local entry = counted(o)
    o.future:add_done_callback(o.callback)
    table.insert(o.expected, entry)
  end,
})

case("future with callbacks", {
  prepare = function(o)
    local entry = counted(o)
    o.future:add_done_callback(o.callback)
    table.insert(o.expected, entry)
  end,
  call = function(o) o.future:set_exception {} end,
})

case("task with callbacks", {
  prepare = function(o)
    local entry = { future = o.new, n = 0 }
    o.expected = { entry }
    o.callback = function() entry.n = entry.n + 1 end
    o.new:add_done_callback(o.callback)
  end,
  call = function(o) await(o.new) sleep(0) end,
})

case("future remove_done_callback", {
  prepare = function(o)
    counted(o)
    o.future:add_done_callback(o.callback)
  end,
  call = function(o) o.future:remove_done_callback(o.callback) end,
})

simple("loop", {}, {
  call_soon = function(o) o.loop:call_soon(nothing):cancel() end,
  call_later = function(o) o.keep("made", o.loop:call_later(3600, nothing, 1, 2)) end,
  call_at = function(o) o.keep("made", o.loop:call_at(o.loop:time() + 60, nothing)) end,
  handle = function(o) return tostring(o.handle), o.handle:when(), o.handle:cancelled() end,
  failing_callback = function(o) o.loop:call_soon(error, {}) sleep(0) end,
  handlers = function(o)
    o.loop:set_exception_handler(nothing)
    o.loop:get_exception_handler()
    o.loop:set_exception_handler(nil)
    o.loop:call_exception_handler { message = "message", exception = {}, task = o.sleeper, future = o.failed }
  end,
  tostring = function(o) return tostring(o.loop) end,
  addresses = function(o)
    local list = o.loop:getaddrinfo("127.0.0.1", 80)
    return tostring(list[1]), o.loop:getnameinfo(list[1], { numeric = true })
  end,
  another = function() asyncio.new_event_loop():close() end,
  remote = function(o) return tostring(o.loop:remote()) end,
})

case("loop add_reader", {
  with = { with_pipe },
  call = function(o)
    o.loop:add_reader(o.from, function() o.read = host.read(o.from) end)
  end,
  check = function(o, action) -- the last who asked is told
    if action == "close" then return end
    host.write(o.to, "news")
    for _ = 1, 200 do
      if o.read then break end
      sleep(0.001)
      if action == "watch" or action == "same" then break end
    end
    if not o.read and action ~= "watch" and action ~= "same" then host.wrong "a reader was lost" end
    o.loop:remove_reader(o.from)
  end,
})

simple("watch", { with_pipe }, {
  add_writer = function(o) o.loop:add_writer(o.to, nothing) o.loop:remove_writer(o.to) end,
  replaced = function(o)
    o.loop:add_reader(o.from, nothing)
    o.loop:add_reader(o.from, error)
    o.loop:remove_reader(o.from)
  end,
  wait_writable = function(o) pcall(asyncio.wait_writable, o.to) end,
  wait_readable = function(o)
    host.write(o.to, "x")
    pcall(asyncio.wait_readable, o.from)
  end,
})

case("loop add_signal_handler", {
  call = function(o) o.loop:add_signal_handler("SIGUSR1", function() o.got = true end) end,
  check = function(o, action)
    if action == "watch" or action == "same" then return o.loop:remove_signal_handler "SIGUSR1" end
    host.raise(host.SIGUSR1)
    for _ = 1, 200 do
      if o.got then break end
      sleep(0.001)
    end
    if not o.got then host.wrong "a signal's handler was lost" end
    o.loop:remove_signal_handler "SIGUSR1"
  end,
})

simple("signal", {}, {
  remove = function(o)
    o.loop:add_signal_handler("SIGUSR1", nothing)
    o.loop:remove_signal_handler "SIGUSR1"
  end,
})

simple("scopes", {}, {
  shielded = function(o)
    local task = create_task(function()
      do
        local _ <close> = asyncio.shielded(3600)
        sleep(0.001)
      end
      sleep(0)
    end)
    sleep(0)
    task:cancel()
    o.lock:locked()
    return pcall(await, task)
  end,
  shielded_timeout = function()
    return pcall(function()
      local _ <close> = asyncio.timeout(0.001)
      local _ <close> = asyncio.shielded(0.002)
      asyncio.move_on_after(0, sleep, 1)
      sleep(0.003)
    end)
  end,
  defer = function()
    local n = 0
    pcall(function()
      local _ <close> = asyncio.defer(function() n = n + 1 end)
      local _ <close> = asyncio.defer(sleep, 0)
      error "of the block"
    end)
  end,
  await_callback = function(o)
    pcall(asyncio.await_callback, { o.loop.call_later, o.loop, 0, 1, 2, at = 3 })
    local callback
    local task = create_task(asyncio.await_callback, function(cb) callback = cb end)
    sleep(0)
    if callback then callback {} end
    return pcall(await, task)
  end,
  pool = function()
    local pool = asyncio.Pool { create = function() return {} end, max = 1, destroy = nothing }
    local function use() local _ <close> = pool:acquire() sleep(0) end
    local one, two = create_task(use), create_task(use)
    pcall(await, one)
    pcall(await, two)
    local lease = pool:acquire()
    local waiter = create_task(use)
    sleep(0)
    lease:discard()
    pcall(await, waiter)
    pool:shutdown()
    local s = pool:stats()
    assert(s.created - s.destroyed == s.idle + s.in_use)
  end,
})

--- A server that answers each request at once, some with a body that comes later than its head.
local function with_site(o)
  o.keep("site", asyncio.start_server(function(reader, writer)
    while true do
      local head = reader:readuntil "\r\n\r\n"
      if not head then return end
      writer:send "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
      if head:find "slow" then sleep(0.01) end
      writer:send "tea"
    end
  end, "127.0.0.1", 0))
  o.url = "http://" .. tostring(o.site:sockets()[1])
  return o
end

local function nothing_lent(client)
  collectgarbage()
  sleep(0.01)
  assert(tostring(client):find "0 in use, 0 waiting", tostring(client))
end

simple("http", { with_site }, {
  get = function(o) assert(asyncio.http.get(o.url, { timeout = 0.5 }):read() == "tea") end,
  client = function(o)
    local client <close> = asyncio.http.Client { base_url = o.url, max_connections = 1, timeout = 0.5 }
    local function use() return client:get("/slow"):read() end
    local one, two = create_task(use), create_task(use)
    pcall(await, one)
    pcall(await, two)
    nothing_lent(client)
    assert(client:post("/", { body = "x" }):read() == "tea")
  end,
  forgotten = function(o)
    local client <close> = asyncio.http.Client { base_url = o.url, timeout = 0.5 }
    pcall(function() client:get "/slow" end)
    pcall(function() client:get("/slow"):close() end)
    nothing_lent(client)
  end,
})

local function with_sockets(o)
  local server = assert(asyncio.socket.bind("127.0.0.1", 0))
  o.client = assert(asyncio.socket.connect("127.0.0.1", (select(2, server:getsockname()))))
  o.peer = assert(server:accept())
  o.socket_server = server
  for _, s in ipairs { o.client, o.peer, server } do s:settimeout(0.01) end
  return o
end

simple("luasocket", { with_sockets }, {
  receive = function(o)
    o.peer:send "one\r\nt\rwo\nrest"
    local got = {}
    for i, pattern in ipairs { "*l", "*l", 4 } do
      local bytes, _, partial = o.client:receive(pattern)
      got[i] = bytes or partial
    end
    assert(("one|two|rest"):find(table.concat(got, "|"), 1, true))
  end,
  receive_late = function(o) return o.client:receive() end,
  send = function(o)
    return o.client:send(("x"):rep(3000000))
  end,
  accept = function(o) return o.socket_server:accept() end,
  connect = function(o)
    local _, port = o.socket_server:getsockname()
    local client = asyncio.socket.tcp()
    o.client = client
    client:connect("localhost", port)
    return client:close()
  end,
  close = function(o)
    o.keep("reads", create_task(function() return o.client:receive() end))
    sleep(0)
    o.client:close()
    return pcall(await, o.reads)
  end,
  select = function(o)
    o.peer:send "x"
    asyncio.socket.select({ o.client, o.socket_server }, { o.peer }, 0.01)
    asyncio.socket.select({ o.socket_server }, nil, 0.001)
  end,
  udp = function()
    local a, b = asyncio.socket.udp4(), asyncio.socket.udp4()
    a:setsockname("127.0.0.1", 0)
    local ip, port = a:getsockname()
    a:settimeout(0.01)
    b:sendto("hello", ip, port)
    a:receivefrom(9000)
    return a:receive()
  end,
  names = function() return asyncio.socket.dns.toip "localhost", asyncio.socket.dns.getnameinfo("127.0.0.1", "80") end,
})

simple("other libraries", {}, {
  vim_async = function(o)
    local vim_async = asyncio.compat.vim_async
    local semaphore, callback = vim_async.semaphore(1), nil
    local task = vim_async.run("root", function()
      local child = vim_async.run(function()
        semaphore:with(function() vim_async.sleep(0) end)
        return 1
      end)
      for ended in vim_async.iter { child } do vim_async.pawait(ended) end
      return vim_async.await(function(cb)
        callback = cb
        return { close = function(_, closed) closed() end }
      end)
    end)
    o.keep("vim_task", task)
    sleep(0.001)
    if callback then callback {} end
    local ok, result = task:pwait(10)
    assert(ok or type(result) ~= "nil")
    task:close()
    return pcall(await, task)
  end,
  vim_async_fails = function()
    local vim_async = asyncio.compat.vim_async
    local task = vim_async.run(function()
      vim_async.run(function()
        vim_async.sleep(0)
        error("failed", 0)
      end)
      vim_async.timeout(60000, vim_async.run(vim_async.sleep, 60000))
    end)
    return task:pwait(100)
  end,
  copas = function()
    local copas = asyncio.compat.copas
    copas.seterrorhandler(nothing, true)
    local task = create_task(copas.loop, function()
      local lock, queue = copas.lock.new(0.01), copas.queue.new()
      queue:add_worker(function() copas.pause() end)
      for i = 1, 2 do
        copas.addthread(function()
          if lock:get() then
            copas.pause()
            lock:release()
          end
          queue:push(i)
        end)
      end
      copas.future.addthread(copas.pause, 0):get()
      queue:finish(0.01)
    end)
    sleep(0.05)
    task:cancel()
    pcall(await, task)
    copas.cancelall()
  end,
  modules = function()
    local path = os.tmpname()
    local file <close> = assert(io.open(path, "w"))
    file:write "local wait = ...; wait(0); return require 'coroutine'"
    file:close()
    local ok, result = pcall(asyncio.compat.dofile, path, sleep)
    os.remove(path)
    assert(not ok or result == asyncio.coroutine)
  end,
})

local TREE = os.tmpname()
os.remove(TREE)

simple("files by their paths", {}, {
  content = function()
    local fs = asyncio.fs
    os.execute(("mkdir -p '%s'"):format(TREE))
    fs.write_file(TREE .. "/f", "content", { atomic = true, mode = "600" })
    assert(fs.read_file(TREE .. "/f") == "content" and fs.stat(TREE .. "/f").size == 7)
    fs.copy_file(TREE .. "/f", TREE .. "/g")
    local ok, err = pcall(fs.rename, TREE .. "/none", TREE .. "/h")
    assert(not ok and err.path2 == TREE .. "/h")
  end,
  folders = function()
    local fs = asyncio.fs
    fs.makedirs(TREE .. "/a/b")
    fs.mkdtemp { dir = TREE .. "/a" }
    for entry in fs.scan_dir(TREE .. "/a") do assert(entry.type == "directory") end
    for _, dirs in fs.walk(TREE .. "/a") do assert(#dirs <= 2) end
    assert(#fs.list_dir(TREE .. "/a") == 2)
    fs.remove_tree(TREE)
  end,
  temporary = function()
    local file <close>, path = asyncio.fs.mkstemp()
    os.remove(path)
    file:write "x"
  end,
})

simple("processes", {}, {
  run_process = function()
    local result = asyncio.run_process({ "cat" }, { input = "hello", capture = true })
    assert(result.stdout == "hello" and result.returncode == 0)
  end,
  process = function()
    local opts = { stdin = "pipe", stdout = "pipe", process_group = 0 }
    local process <close> = asyncio.create_subprocess_exec("sleep", 60, opts)
    local task = create_task(process.wait, process)
    sleep(0)
    process:terminate()
    assert(await(task) == -15 and process:returncode() == -15)
    return tostring(process), process.pid, process.stdin, process.args
  end,
  no_program = function()
    pcall(asyncio.run_process, { "/no/such/program" }, { capture = true, extra_env = { A = 1 } })
  end,
})

local FILE = os.tmpname()

simple("files off the loop", {}, {
  file = function(o)
    local path = FILE
    local file <close> = o.keep("file", asyncio.open(path, "w+"))
    pcall(function()
      file:write("one\n", 2, "\n", ("x"):rep(70000), "\n")
      local task = create_task(file.flush, file)
      assert(file:seek "set" == 0)
      local a, b, c = file:read("l", "n", "a")
      assert(a == "one" and b == 2 and #c == 70002)
      pcall(await, task)
      file:truncate(10)
      local next_line = file:lines "L"
      return tostring(file) .. next_line()
    end)
    os.remove(path)
  end,
  lines = function()
    local path, n = FILE, 0
    local file <close> = io.open(path, "w")
    file:write "1\n2\n3\n"
    file:flush()
    for line in asyncio.lines(path) do n = n + line end
    os.remove(path)
    assert(n == 6)
  end,
  no_file = function() pcall(asyncio.open, "/no/such/file") end,
})

local function with_folder(fn)
  return function()
    local folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
    local _ <close> = setmetatable({}, { __close = function() os.execute("rm -r " .. folder) end })
    return fn(folder)
  end
end

local function make_file(path) assert(io.open(path, "w")):close() end

simple("watches", {}, {
  next = with_folder(function(folder)
    local watch <close> = asyncio.fs.watch(folder, { recursive = true })
    local task = create_task(watch)
    sleep(0)
    make_file(folder .. "/f")
    assert(os.rename(folder .. "/f", folder .. "/g"))
    local event = await(task)
    assert(event.kind == "created" and event.path == folder .. "/f")
    event = watch()
    assert(event.kind == "renamed" and event.from == folder .. "/f" and tostring(watch))
  end),
  debounced = with_folder(function(folder)
    local watch, _, _, closing = asyncio.fs.watch(folder .. "/.", { debounce = 0.001 })
    make_file(folder .. "/f")
    for event in watch, nil, nil, closing do
      if event.kind == "created" then break end
    end
  end),
  closed = with_folder(function(folder)
    local watch = asyncio.fs.watch(folder)
    local task = create_task(watch)
    sleep(0)
    watch:close()
    assert(await(task) == nil and watch() == nil)
  end),
  nothing = function() pcall(asyncio.fs.watch, "/no/such/file") end,
})

simple("sync", {}, {
  lock = function(o) o.lock:acquire() o.lock:release() end,
  lock_waited = function(o)
    local task = create_task(function() local _ <close> = o.lock:acquire() sleep(0) end)
    sleep(0)
    local _ <close> = o.lock:acquire()
    await(task)
  end,
  lock_cancelled = function(o)
    o.lock:acquire()
    local task = create_task(o.lock.acquire, o.lock)
    sleep(0)
    task:cancel()
    o.lock:release()
    sleep(0)
  end,
  lock_tostring = function(o) o.lock:acquire() return tostring(o.lock), o.lock:release() end,
  event = function(o)
    local task = create_task(o.event.wait, o.event)
    sleep(0)
    o.event:set()
    await(task)
    return tostring(o.event)
  end,
  semaphore = function(o) local _ <close> = o.semaphore:acquire() return tostring(o.semaphore) end,
  barrier = function(o)
    local task = create_task(o.barrier.wait, o.barrier)
    pcall(o.barrier.wait, o.barrier)
    return pcall(await, task), tostring(o.barrier)
  end,
  condition = function(o)
    local task = create_task(function()
      local _ <close> = o.condition:acquire()
      asyncio.move_on_after(0.001, o.condition.wait, o.condition)
    end)
    sleep(0)
    do
      local _ <close> = o.condition:acquire()
      o.condition:notify_all()
    end
    return pcall(await, task), tostring(o.condition)
  end,
  queue = function(o)
    local task = create_task(function() for i = 1, 2 do o.queue:put(i) end end)
    sleep(0)
    o.queue:get()
    task:cancel()
    return tostring(o.queue)
  end,
  queue_get = function(o)
    local task = create_task(o.queue.get, o.queue)
    sleep(0)
    pcall(o.queue.put_nowait, o.queue, {})
    task:cancel()
    sleep(0)
  end,
  queue_grows = function(o) for i = 1, 9 do o.stack:put_nowait(i) o.heap:put_nowait(10 - i) end end,
  queue_new = function() for i = 1, 9 do asyncio.Queue():put_nowait(i) end end,
  queue_shutdown = function(o) o.queue:shutdown(true) end,
})

case("queue ring", {
  prepare = function(o) o.ring = o.keep("ring", asyncio.Queue()) end,
  call = function(o) for i = 1, 20 do o.ring:put_nowait(i) end end,
  check = function(o)
    for i = 1, 20 do
      if o.ring:get_nowait() ~= i then host.wrong "an item was lost" end
    end
  end,
  leave_out = { same = true },
})

case("context", {
  call = function(o)
    o.other = asyncio.ContextVar("other", 0)
    o.other:set(1)
  end,
  check = function(o)
    if o.other:get() ~= 1 then host.wrong "a context's value was lost" end
    if o.var_set and o.var:get() ~= "a finaliser's" then host.wrong "a finaliser's context value was lost" end
  end,
})

simple("coroutines", {}, {
  wrap = function()
    local next_one = asyncio.coroutine.wrap(function() sleep(0) asyncio.coroutine.yield(1) end)
    return next_one(), next_one()
  end,
  await = function() return await(coroutine.create(function() sleep(0) return 1 end)) end,
  close = function()
    local co = asyncio.coroutine.create(function() asyncio.coroutine.yield() end)
    asyncio.coroutine.resume(co)
    return asyncio.coroutine.close(co), asyncio.coroutine.status(co)
  end,
  failing = function() pcall(await, coroutine.create(function() sleep(0) error {} end)) end,
})

local identity = dofile(root .. "/spec/identity.lua")

local function tls_contexts(o)
  o.trusting = asyncio.ssl.create_default_context { cadata = identity.cert }
  o.certified = asyncio.ssl.create_server_context {
    certfile = identity.cert, keyfile = identity.key, sni = function(name) return name == "" and o.certified or nil end,
  }
  return o
end

local IDENTITY = os.tmpname() -- a certificate and its key

local function luasec_connections(o)
  local ssl = asyncio.compat.ssl
  local file <close> = assert(io.open(IDENTITY, "w"))
  file:write(identity.cert, identity.key)
  file:close()
  local cfg = { mode = "client", protocol = "any", cafile = IDENTITY, verify = "peer", alpn = "x" }
  o.near = assert(ssl.wrap(o.client, cfg))
  o.client = o.near -- what finalisers receive from, and close
  o.far_context = assert(ssl.newcontext { mode = "server", protocol = "any", certificate = IDENTITY, key = IDENTITY,
    alpn = function() return "x" end })
  o.far = assert(ssl.wrap(o.peer, o.far_context))
  for _, s in ipairs { o.near, o.far } do s:settimeout(0.05) end
  return o
end

simple("tls luasec", { with_sockets, luasec_connections }, {
  talk = function(o)
    local near, far = o.near, o.far
    local served = create_task(far.dohandshake, far)
    near:sni "localhost"
    far:sni { elsewhere = o.far_context }
    near:dohandshake()
    pcall(await, served)
    far:send "one\r\nt\rwo\nrest"
    near:receive()
    near:receive(4)
    near:getpeerchain()
    near:getpeerverification()
    near:getfinished()
    near:info()
    local certificate = near:getpeercertificate()
    if certificate then
      certificate:subject()
      certificate:extensions()
      certificate:pem()
      certificate:issued(certificate)
    end
    near:exportkeyingmaterial("x", 16)
    near:close()
    far:receive "*a"
  end,
  close = function(o)
    o.keep("shakes", create_task(function() return o.near:dohandshake() end))
    sleep(0)
    o.near:close()
    return pcall(await, o.shakes)
  end,
})

simple("tls", { with_streams, tls_contexts }, {
  pair = function(o)
    local reader, writer, peer_reader, peer_writer = asyncio.stream_pair()
    o.keep("writer2", writer)
    o.keep("writer3", peer_writer)
    local task = create_task(function()
      asyncio.pcall(peer_writer.start_tls, peer_writer, o.certified, { server_side = true })
      pcall(peer_writer.send, peer_writer, "back")
    end)
    if asyncio.pcall(writer.start_tls, writer, o.trusting, { server_hostname = "localhost" }) then
      pcall(writer.send, writer, "there")
      pcall(reader.read, reader, 4)
      pcall(peer_reader.read, peer_reader, 5)
      pcall(writer.get_extra_info, writer, "peercert")
      pcall(writer.get_extra_info, writer, "ssl_context")
    end
    writer:abort()
    asyncio.wait { task }
    peer_writer:abort()
  end,
  server = function(o)
    local server = asyncio.start_server(function(reader, writer) writer:write(reader:read(5)) end, "127.0.0.1", 0,
      { ssl = o.certified, close_timeout = 0.05, ssl_handshake_timeout = 0.2 })
    o.keep("server2", server)
    local address = server:sockets()[1]
    if not address then return end -- a finaliser has closed it
    local ok, reader, writer = asyncio.pcall(asyncio.open_connection, "127.0.0.1", address.port,
      { ssl = o.trusting, server_hostname = "localhost", ssl_handshake_timeout = 0.2 })
    if ok then
      pcall(writer.send, writer, "there")
      pcall(reader.read, reader, 5)
      writer:abort()
    end
    server:close()
    server:abort_clients()
  end,
})

--- A request to a server of HTTP's, whose handler is this; what comes back is read to its end.
local function ask(o, handler, text)
  local server = asyncio.http.serve(handler, "127.0.0.1", 0, { close_timeout = 0.05, header_timeout = 0.2 })
  o.keep("server2", server)
  local address = server:sockets()[1]
  if not address then return end -- a finaliser has closed it
  local ok, reader, writer = asyncio.pcall(asyncio.open_connection, "127.0.0.1", address.port)
  if ok then
    pcall(writer.send, writer, (text:gsub("\n", "\r\n")))
    pcall(reader.read, reader)
    writer:abort()
  end
  server:close()
  server:abort_clients()
end

simple("http", {}, {
  string = function(o) ask(o, function(request) return request.path end, "GET /x HTTP/1.0\n\n") end,
  pieces = function(o)
    ask(o, function(request)
      local body <close> = request:respond(200, { A = "b" })
      for piece in request:blocks(2) do body:send(piece) end
    end, "POST / HTTP/1.1\nHost: h\nConnection: close\nContent-Length: 5\n\nhello")
  end,
  abort = function(o) ask(o, function() asyncio.http.abort(404, "none") end, "GET /x HTTP/1.0\n\n") end,
  file = function(o)
    ask(o, function(request) return asyncio.http.file(request, "passwd", "/etc") end, "GET / HTTP/1.0\n\n")
  end,
  upgrade = function(o)
    ask(o, function(request)
      local reader, writer = request:upgrade "tea"
      writer:send(reader:readline())
    end, "GET / HTTP/1.1\nHost: h\nConnection: upgrade\nUpgrade: tea\n\nline\n")
  end,
})

--- A WebSocket of each side.
local function with_websocket(o)
  local server = asyncio.http.serve(function(request)
    local ws = request:websocket { close_timeout = 0.05 }
    for data, kind in ws:iter() do
      if kind == "text" then ws:send(data) else ws:send_binary(data) end
    end
  end, "127.0.0.1", 0, { close_timeout = 0.05 })
  o.keep("server2", server)
  o.ws = asyncio.http.websocket(("ws://127.0.0.1:%d/"):format(server:sockets()[1].port), {
    close_timeout = 0.05, ping_interval = math.huge,
  })
  o.keep("socket_reader", o.ws._reader)
  o.keep("socket_writer", o.ws._writer)
  return o
end

simple("websocket", { with_websocket }, {
  echo = function(o)
    for _, data in ipairs { "tea", ("x"):rep(3000), ("y"):rep(20000) } do
      pcall(o.ws.send, o.ws, data)
      pcall(o.ws.send_binary, o.ws, data)
    end
    pcall(asyncio.wait_for, function() for _ in o.ws:iter() do end end, 0.05)
  end,
  ping = function(o) pcall(asyncio.wait_for, function() o.ws:ping() end, 0.05) end,
  close = function(o)
    pcall(o.ws.send, o.ws, "tea")
    pcall(o.ws.close, o.ws, 4000, "enough")
    assert(o.ws.close_code)
  end,
})

local function with_parser(o)
  o.parser = asyncio.parsers.http { role = "server" }
  o.fields = asyncio.parsers.headers { A = ("b"):rep(2000) }
end

local POST = "POST /%61?b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"

simple("parser", { with_parser }, {
  whole = function(o)
    local event = o.parser:feed(POST)
    for _ = 1, 5 do event = event and o.parser:next() end
    pcall(o.parser.response, o.parser, 200, o.fields, ("x"):rep(3000))
    pcall(o.parser.next_cycle, o.parser)
    return o.parser:rest(), tostring(o.parser)
  end,
  pieces = function(o)
    for i = 1, #POST do o.parser:feed(POST:sub(i, i)) end
    return o.parser:pending()
  end,
  ahead = function(o)
    for _ = 1, 3 do o.parser:feed(POST) end
    return o.parser:states()
  end,
  sent = function(o)
    o.parser:feed(POST)
    pcall(function()
      o.parser:response(200, { A = ("a"):rep(3000), B = { "c", "d" } }, true)
      o.parser:data(("x"):rep(100))
      o.parser:data(("x"):rep(5000))
      o.parser:last { A = ("a"):rep(2000) }
    end)
  end,
  headers = function(o)
    local _, request = o.parser:feed(POST)
    local headers = type(request) == "table" and request.headers or o.fields
    for name in pairs(headers) do assert(headers:get(name) and headers:all(name)[1]) end
  end,
  words = function()
    local parsers = asyncio.parsers
    parsers.url "http://u:p@Host:1/%41?b#c"
    parsers.join_url("http://h/a/b", "../" .. ("c"):rep(2000))
    parsers.encode_form(parsers.decode_form("a=1&a=2&b=" .. ("%41"):rep(1000)))
    parsers.parse_date(parsers.date(0))
  end,
  packed = function(o)
    local list = { ("x"):rep(5000), { name = "\xff", list = { 1, 2, 3 } } }
    o.list = o.list or list -- a finaliser changes what another packs
    o.list[#o.list + 1] = #o.list < 20 and list or nil
    local ok, bytes = pcall(asyncio.parsers.pack, o.list)
    if ok then asyncio.parsers.unpack(bytes) end
  end,
})

simple("stream", { with_streams }, {
  open = function(o)
    local reader, writer = asyncio.open_connection("127.0.0.1", o.port)
    o.keep("reader2", reader)
    o.keep("writer2", writer)
  end,
  server = function(o) o.keep("server2", asyncio.start_server(nothing, "127.0.0.1", 0)) end,
  server_methods = function(o) return tostring(o.server), o.server:sockets(), o.server:is_serving() end,
  server_stats = function(o) return o.server:stats().accepted end,
  server_waits_for_itself = function(o)
    local server
    server = asyncio.start_server(function(_, writer)
      pcall(server.wait_closed, server)
      writer:write(asyncio.current_task():get_name())
    end, "127.0.0.1", 0)
    o.keep("server2", server)
    local address = server:sockets()[1]
    if not address then return end -- a finaliser has closed it
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", address.port)
    pcall(reader.read, reader)
    writer:close()
    server:close()
  end,
  limited = function(o)
    local reader, writer = asyncio.open_connection { host = "127.0.0.1", port = o.port, connect_timeout = 5,
      read_timeout = 0.001, write_timeout = 0.001 }
    o.keep("reader2", reader)
    o.keep("writer2", writer)
    pcall(reader.read, reader, 5)
    pcall(writer.send, writer, ("x"):rep(10000))
    pcall(asyncio.open_connection, "127.0.0.1", o.port, { connect_timeout = 1e-9 })
  end,
  made_elsewhere = function(o)
    local fd = host.socket "connected"
    local ok, reader, writer = pcall(asyncio.open_connection, { fd = fd })
    if not ok then return host.close(fd) end
    o.keep("reader2", reader)
    o.keep("writer2", writer)
    return writer:get_extra_info "peercred"
  end,
  listens_elsewhere = function(o)
    local fd = host.socket "listening"
    local ok, server = pcall(asyncio.start_server, nothing, { fd = fd })
    if not ok then return host.close(fd) end
    o.keep("server2", server)
  end,
  handler_reset = function(o)
    local _, writer = asyncio.open_connection("127.0.0.1", o.port, { limit = 1 })
    writer:write(("x"):rep(100000))
    sleep(0.002)
    writer:abort() -- the kernel has bytes that nobody has read: that is a reset
    for _ = 1, 20 do sleep(0) end
  end,
  wait_graph = function(o)
    local task = create_task(o.reader.readline, o.reader)
    sleep(0)
    local text = tostring(task) .. asyncio.format_call_graph "all"
    task:cancel()
    pcall(await, task)
    return text
  end,
  serve_forever = function(o)
    local task = create_task(o.server.serve_forever, o.server)
    sleep(0)
    task:cancel()
    pcall(await, task)
  end,
  server_closed = function(o) o.server:close() o.server:close_clients() end,
  server_shut_down = function(o)
    o.writer:write "half"
    sleep(0)
    local task = create_task(o.server.shutdown, o.server, 0.01)
    sleep(0)
    task:cancel()
    pcall(await, task)
    return o.server:shutdown(0.01)
  end,
  server_stopped = function(o)
    local server = asyncio.start_server(function(reader) reader:readline() end, "127.0.0.1", 0,
      { max_connections = 1, stop_grace = 0.01 })
    o.keep("server2", server)
    local task = create_task(server.serve_forever, server)
    local address = server:sockets()[1]
    if not address then return pcall(await, task) end -- a finaliser has closed it
    local _, writer = asyncio.open_connection("127.0.0.1", address.port)
    o.keep("writer2", writer)
    task:cancel()
    pcall(await, task)
  end,
  send = function(o) o.writer:send("small", ("x"):rep(3000)) end,
  writelines = function(o) o.writer:writelines { "a", 1, ("x"):rep(3000) } end,
  numbers = function(o) o.writer:write(1, 2.5) end,
  echo = function(o) o.writer:write "line\n" return o.reader:readline() end,
  copy = function(o)
    o.writer:write "some"
    o.writer:write_eof()
    return asyncio.copy(o.reader, o.writer2 or o.writer, { max_bytes = 0 }), o.reader:read()
  end,
  detach = function(o)
    local reader, writer = asyncio.open_connection("127.0.0.1", o.port)
    o.keep("writer2", writer)
    writer:write "echo"
    pcall(reader.readexactly, reader, 1)
    local holder = { fd = false }
    local ok, err = pcall(function() holder.fd = writer:detach() end)
    if not ok then error(err, 0) end
    local opened, _, again = pcall(asyncio.open_fd, holder.fd)
    if not opened then host.close(holder.fd) else again:abort() end
  end,
  open_fd = function(o)
    local file <close> = io.tmpfile()
    local reader, writer <close> = asyncio.open_fd(file)
    o.keep("writer2", writer)
    writer:write "some"
    return tostring(reader)
  end,
  copying = function(o)
    local _, writer = asyncio.open_connection("127.0.0.1", o.port)
    o.keep("writer2", writer)
    o.writer:write(("x"):rep(3000))
    local task = create_task(asyncio.copy, o.reader, writer)
    for _ = 1, 5 do sleep(0) end
    local text = tostring(task)
    task:cancel()
    pcall(await, task)
    return text
  end,
  read = function(o) o.writer:write "some" return o.reader:read(100) end,
  read_all = function(o) o.writer:write "some" o.writer:write_eof() return o.reader:read() end,
  read_exactly = function(o) o.writer:write "0123456789" return o.reader:readexactly(10) end,
  read_cut = function(o) o.writer:write "0123" o.writer:write_eof() pcall(o.reader.readexactly, o.reader, 10) end,
  read_until = function(o) o.writer:write "a;b;" return o.reader:readuntil { ";", "b" } end,
  lines = function(o)
    o.writer:write "a\nb\n"
    o.writer:write_eof()
    for _ in o.reader:lines() do sleep(0) end
  end,
  next_line = function(o) o.writer:write "a\n" return o.reader:lines()() end,
  lines_crlf = function(o) o.writer:write "a\r\n" return o.reader:lines "\r\n"() end,
  blocks = function(o) o.writer:write "some" return o.reader:blocks(3)() end,
  peek = function(o)
    o.writer:write "some"
    return o.reader:peek(), o.reader:peek(10, 4)
  end,
  wait_eof = function(o)
    local task = create_task(o.reader.wait_eof, o.reader)
    sleep(0)
    o.writer:write_eof()
    o.reader:wait_eof()
    return await(task)
  end,
  wait_eof_cancelled = function(o)
    local task = create_task(o.reader.wait_eof, o.reader)
    sleep(0)
    task:cancel()
    pcall(await, task)
  end,
  read_end = function(o) o.writer:write_eof() return o.reader:readuntil ";", o.reader:readexactly(3) end,
  read_cancelled = function(o)
    local task = create_task(o.reader.read, o.reader, 10)
    sleep(0)
    task:cancel()
    pcall(await, task)
  end,
  busy = function(o)
    local task = create_task(o.reader.read, o.reader, 10)
    sleep(0)
    pcall(o.reader.read, o.reader)
    task:cancel()
    pcall(await, task)
  end,
  drain = function(o)
    o.writer:set_write_buffer_limits { high = 10 }
    o.writer:write(("x"):rep(100))
    o.writer:drain()
  end,
  info = function(o)
    return tostring(o.writer:get_extra_info "peername"), tostring(o.writer:get_extra_info "sockname"),
      o.writer:get_extra_info "socket", tostring(o.reader), tostring(o.writer)
  end,
  close = function(o) o.writer:close() o.writer:wait_closed() end,
  abort = function(o) o.writer:abort() o.writer:wait_closed() end,
})

--- Two ends in memory, and a reader that is fed.
local function with_pair(o)
  o.reader, o.writer, o.far_reader, o.far_writer = asyncio.stream_pair { limit = 100 }
  o.fed = asyncio.StreamReader(100)
  for _, name in ipairs { "reader", "writer", "far_reader", "far_writer", "fed" } do o.keep(name, o[name]) end
  return o
end

simple("pair", { with_pair }, {
  made = function()
    local _, writer, _, far_writer = asyncio.stream_pair()
    writer:close()
    far_writer:close()
  end,
  dropped = function()
    local writer = select(2, asyncio.stream_pair())
    writer:write "never read"
  end,
  send = function(o) o.writer:send("small", ("x"):rep(3000)) return o.far_reader:readexactly(3005) end,
  there_and_back = function(o)
    o.writer:write "line\n"
    o.far_writer:write(o.far_reader:readline())
    return o.reader:readline()
  end,
  full = function(o)
    o.writer:set_write_buffer_limits { high = 10 }
    local sender = create_task(o.writer.send, o.writer, ("x"):rep(1000))
    pcall(o.far_reader.readexactly, o.far_reader, 1000)
    pcall(await, sender)
  end,
  ends = function(o)
    o.writer:write "the last"
    o.writer:write_eof()
    assert(o.far_reader:read() == "the last")
    o.far_writer:close()
    o.far_writer:wait_closed()
    assert(not o.reader:read(1))
  end,
  abort = function(o)
    local reading = create_task(o.far_reader.read, o.far_reader, 10)
    sleep(0)
    o.writer:abort()
    pcall(await, reading)
  end,
  info = function(o) return tostring(o.reader), tostring(o.writer), o.writer:get_extra_info "peername" end,
})

--- A server's endpoint and one that is connected to it; another of no peer.
local function with_datagrams(o)
  local here = { host = "127.0.0.1", port = 0 }
  o.endpoint = o.keep("endpoint", asyncio.create_datagram_endpoint { local_addr = here })
  o.to_server = o.endpoint:get_extra_info "sockname"
  o.client = o.keep("client", asyncio.create_datagram_endpoint { remote_addr = o.to_server })
  o.nobodys = o.keep("nobodys", asyncio.create_datagram_endpoint { local_addr = here, icmp_errors = true })
  o.client:send "first"
  o.nobodys:send(("x"):rep(100), o.to_server)
  return o
end

simple("datagrams", { with_datagrams }, {
  open = function()
    local path = os.tmpname()
    os.remove(path)
    asyncio.create_datagram_endpoint({ path = path, max_queue = 1 }):close()
    asyncio.create_datagram_endpoint({ local_addr = { host = "127.0.0.1" }, multicast_interface = "lo" }):close()
    pcall(asyncio.create_datagram_endpoint, { path = "/no/such/folder/socket" })
    pcall(asyncio.create_datagram_endpoint, { local_addr = { host = "192.0.2.1", port = 5 } })
  end,
  dropped = function(o) asyncio.create_datagram_endpoint({ remote_addr = o.to_server }):send "of nobody" end,
  receive = function(o) return o.endpoint:receive() end,
  receive_many = function(o) return o.endpoint:receive_many() end,
  receive_nowait = function(o) return o.endpoint:receive_nowait() end,
  iter = function(o)
    for data, address in o.endpoint:iter() do
      if #data > 50 then return data, address end
    end
  end,
  wait = function(o)
    o.endpoint:receive_many(10)
    local one, many = create_task(o.endpoint.receive, o.endpoint), create_task(o.endpoint.receive_many, o.endpoint)
    sleep(0)
    pcall(function()
      o.client:send "one"
      o.nobodys:send("two", o.to_server)
      o.nobodys:send("three", { host = o.to_server.host, port = o.to_server.port })
    end)
    asyncio.pcall(await, one)
    asyncio.pcall(await, many)
  end,
  answer = function(o)
    local _, address = o.endpoint:receive()
    o.endpoint:send("answer", address)
    return o.client:receive()
  end,
  send_many = function(o)
    local list = { { "a", o.to_server }, { "b", o.to_server }, { "long", o.to_server } }
    for i = 4, 70 do list[i] = list[1] end
    return o.nobodys:send_many(list), o.nobodys:send_many(list, 60), o.client:send_many { "a", { "b" } }
  end,
  refused = function(o)
    o.nobodys:send("x", { host = "127.0.0.1", port = 9 })
    pcall(o.nobodys.receive, o.nobodys)
    pcall(o.nobodys.send, o.nobodys, ("x"):rep(70000), o.to_server)
    pcall(o.nobodys.send, o.nobodys, "x", { host = "::1", port = 9 })
  end,
  groups = function(o)
    pcall(o.endpoint.join_group, o.endpoint, "239.77.2.1", "lo")
    pcall(o.endpoint.leave_group, o.endpoint, "239.77.2.1", "lo")
    pcall(o.endpoint.join_group, o.endpoint, "239.77.2.1", "nothing0")
  end,
  looks = function(o)
    return o.endpoint:stats(), tostring(o.client), o.client:get_extra_info "peername", o.endpoint:is_closing(),
      o.endpoint:get_extra_info "socket"
  end,
  close = function(o)
    local receiver, closer = create_task(o.client.receive, o.client), create_task(o.client.wait_closed, o.client)
    sleep(0)
    o.client:close()
    asyncio.pcall(await, receiver)
    asyncio.pcall(await, closer)
  end,
})

simple("fed", { with_pair }, {
  made = function() return asyncio.StreamReader { limit = 5 } end,
  feed = function(o) o.fed:feed "a line\n" return o.fed:readline() end,
  drain = function(o)
    if o.fed:feed(("x"):rep(300)) then return end
    local drain = create_task(o.fed.drain, o.fed)
    sleep(0)
    o.fed:read(300)
    pcall(await, drain)
  end,
  ends = function(o)
    o.fed:feed "half"
    o.fed:feed_eof {}
    pcall(o.fed.readline, o.fed)
    pcall(o.fed.lines(o.fed))
  end,
  wrong = function(o) pcall(o.fed.feed, o.fed) pcall(o.reader.feed, o.reader, "x") end,
})

simple("stream", {}, {
  unix = function()
    local path = "\0asyncio-" .. host.path()
    local _ <close> = asyncio.start_unix_server(function(_, writer) writer:send "hello" end, path)
    local reader, writer <close> = asyncio.open_unix_connection(path)
    assert(reader:read())
    writer:close()
  end,
  refused = function() pcall(asyncio.open_connection, "127.0.0.1", 1) end,
  standard = function() asyncio.stdout():send "x" end,
})

case("stream dropped", {
  with = { with_streams },
  call = function(o)
    for i = #o.list, 1, -1 do
      if o.list[i] == o.reader or o.list[i] == o.writer then table.remove(o.list, i) end
    end
    o.reader, o.writer = nil, nil
    collectgarbage()
    sleep(0)
    sleep(0)
  end,
})

simple("thread", { with_threads }, {
  submit = function(o) return await(o.executor:submit(math.max, 1, 2)) end,
  submit_again = function(o)
    o.job = o.job or function(n) return n end
    for i = 1, 3 do await(o.executor:submit(o.job, i)) end
  end,
  submit_cancelled = function(o) o.executor:submit(asyncio.blocking_sleep, 0.001):cancel() end,
  map = function(o) return o.executor:map(math.abs, { -1, 2 }) end,
  default = function() return asyncio.to_thread(math.max, 1, 2) end,
  failing = function() pcall(asyncio.to_thread, error, { 1 }) end,
  renewed = function()
    local path = package.path
    local _ <close> = setmetatable({}, { __close = function() package.path = path end })
    asyncio.to_thread(math.max, 1, 2)
    package.path = path .. ";/late/?.lua"
    local there = asyncio.to_thread(function() return package.path end)
    if there ~= package.path then host.wrong "a worker has an old path" end
  end,
  shutdown = function(o) o.executor:shutdown() end,
  executor = function() local _ <close> = asyncio.ThreadPoolExecutor(1) end,
  executor_tostring = function(o) return tostring(o.executor) end,
  channel = function(o) o.channel:put { 1 } return o.channel:get() end,
  channel_waited = function(o)
    local task = create_task(o.channel.get, o.channel)
    sleep(0)
    pcall(o.channel.put_nowait, o.channel, 1)
    return pcall(await, task)
  end,
  channel_emptied = function()
    local channel = asyncio.Channel()
    channel:put { channel, {} }
    channel:close(true)
  end,
  channel_tostring = function(o) return tostring(o.channel) end,
  remote = function(o) o.remote:call_soon_threadsafe(function() end) sleep(0) end,
})

--- A server of Redis in memory: it answers OK to everything, and "GET" with the key; or what `answer` says.
local function serve_redis(reader, writer, answer)
  local parser = require "asyncio.grammar".resp()
  while true do
    local kind, command = parser:next()
    if not kind then
      local data = reader:read(65536)
      if not data then break end
      parser:feed(data)
    elseif answer then
      writer:write(answer(command))
    elseif command[1] == "GET" then
      writer:write("+", command[2], "\r\n")
    elseif command[1] == "SUBSCRIBE" then
      writer:write ">3\r\n+subscribe\r\n+c\r\n:1\r\n>3\r\n+message\r\n+c\r\n+text\r\n"
    elseif command[1] == "QUIT" then
      break
    else
      writer:write "+OK\r\n"
    end
  end
  writer:abort()
end

--- From now on connections come to such a server, until the block ends.
local function redis_there(answer)
  local opening = require "asyncio.redis.opening"
  local former = opening.stream
  opening.stream = function()
    local reader, writer, its_reader, its_writer = asyncio.stream_pair()
    create_task(pcall, serve_redis, its_reader, its_writer, answer)
    return reader, writer
  end
  return asyncio.defer(function() opening.stream = former end)
end

local function on_redis(o, fn)
  local _ <close> = redis_there()
  local client <close> = asyncio.redis.connect { connect_timeout = 0.5, timeout = 0.5 }
  o.redis = client
  local _ <close> = asyncio.defer(function() o.redis, o.messages = nil, nil end)
  return fn(client)
end

--- A reply that is there is that of the call.
local function check_reply(ok, value, key)
  if ok and value ~= key then host.wrong("a reply of redis is another's: " .. tostring(value)) end
end

simple("redis", {}, {
  gets = function(o)
    on_redis(o, function(client)
      local tasks = {}
      for i = 1, 3 do tasks[i] = create_task(pcall, client.get, client, i) end
      asyncio.wait(tasks)
      for i = 1, 3 do
        if not tasks[i]:cancelled() then
          local ok, value = tasks[i]:result()
          check_reply(ok, value, tostring(i))
        end
      end
    end)
  end,
  pipeline = function(o)
    on_redis(o, function(client)
      local ok, list = pcall(client.pipeline, client, function(p) p:get "a" p:get "b" end)
      check_reply(ok, ok and list[1] .. list[2], "ab")
    end)
  end,
  blocking = function(o)
    on_redis(o, function(client) check_reply(true, client:blpop("q", 1), "OK") end)
  end,
  subscription = function(o)
    on_redis(o, function(client)
      o.messages = client:subscribe { channels = { "c" } }
      local messages <close> = o.messages
      check_reply(messages() == "message", "text", "text")
    end)
  end,
  lost = function(o)
    on_redis(o, function(client)
      pcall(client.call, client, "PING")
      create_task(pcall, client[1].exchange, client[1], function(conn) return conn:ask "*1\r\n$4\r\nQUIT\r\n" end)
      sleep(0)
      for i = 1, 2 do
        local ok, value = pcall(client.get, client, i)
        check_reply(ok, value, tostring(i))
      end
    end)
  end,
})

--- Calls fn(executor), an executor of asyncio.distributed whose jobs have ended as soon as they are stored.
local function on_jobs(o, fn)
  local _ <close> = redis_there(answers_of_jobs())
  local executor = asyncio.distributed.DistributedExecutor { url = "redis://x", connect_timeout = 0.2 }
  o.executor = executor
  local _ <close> = asyncio.defer(function()
    o.executor = nil
    executor:shutdown { wait = false }
  end)
  return fn(executor)
end

--- What a job has returned, or how it has failed, is what the server said.
local function check_job(ok, value)
  if ok and value ~= 1 then host.wrong("a job has another's result: " .. tostring(value)) end
end

simple("distributed", {}, {
  submit = function(o)
    on_jobs(o, function(executor)
      local future = executor:submit("m.f", { "x", { 1, 2.5 } })
      o.keep("job", future)
      check_job(pcall(await, future))
    end)
  end,
  submits = function(o)
    on_jobs(o, function(executor)
      local tasks = {}
      for i = 1, 3 do
        tasks[i] = create_task(pcall, function() return await(executor:submit { "m.f", i, priority = "high" }) end)
      end
      asyncio.wait(tasks)
      for i = 1, 3 do
        if not tasks[i]:cancelled() then check_job(tasks[i]:result()) end
      end
    end)
  end,
  map = function(o)
    on_jobs(o, function(executor)
      local ok, list = pcall(executor.map, executor, "m.f", { 1 })
      check_job(ok, ok and list[1])
    end)
  end,
  cancel = function(o)
    on_jobs(o, function(executor)
      local future = executor:submit("m.f", 1)
      future:cancel()
      sleep(0)
      return tostring(executor)
    end)
  end,
  stats = function(o)
    on_jobs(o, function(executor)
      if executor:stats().done ~= 1 then host.wrong "numbers are others'" end
    end)
  end,
  shutdown = function(o)
    on_jobs(o, function(executor)
      local task = create_task(pcall, executor.submit, executor, "m.f", 1)
      sleep(0)
      executor:shutdown { cancel_futures = true }
      asyncio.wait { task }
    end)
  end,
  garbage = function(o) -- with what it was to store
    on_jobs(o, function(executor)
      for _ = 1, 2 do create_task(pcall, executor.submit, executor, "m.f") end
      sleep(0)
    end)
    collectgarbage "step"
  end,
})

simple("debug", {}, {
  switched = function(o)
    o.loop:set_debug(true)
    o.sleeper:cancel()
    await(create_task(function() pcall(sleep, 0) end))
    create_task(error, "lost")
    sleep(0)
    return o.sleeper:traceback()
  end,
})

simple("debug stream", { function(o) o.loop:set_debug(true) end, with_streams }, {
  echo = function(o) o.writer:write "line\n" return o.reader:readline() end,
  open = function(o)
    local reader, writer = asyncio.open_connection("127.0.0.1", o.port)
    o.keep("reader2", reader)
    o.keep("writer2", writer)
  end,
})

--- Outside of a run

--- A case whose call is made while no loop runs; o has no tasks then.
local function outside(name, call, prepare)
  case("outside " .. name, { outside = true, call = call, prepare = prepare })
end

outside("call_soon", function(o) o.loop:call_soon(nothing):cancel() end)
outside("call_later", function(o) o.loop:call_later(60, nothing) end)
outside("create_task", function(o) o.loop:create_task(forever) end)
outside("create_future", function(o) o.loop:create_future() end)
outside("set_result", function(o) o.future:set_result(1, 2) end)
outside("set_exception", function(o) o.future:set_exception {} end)
outside("add_done_callback", function(o) o.future:add_done_callback(nothing) end)
outside("cancel", function(o) o.task:cancel() end, function(o)
  o.task = o.keep("task", o.loop:create_task(forever))
  o.loop:run_until_complete(sleep, 0)
end)
outside("cancel awaiting", function(o) o.task:cancel() end, function(o)
  o.inner = o.keep("inner", o.loop:create_task(sleep, 0))
  o.task = o.keep("task", o.loop:create_task(await, o.inner))
  o.loop:run_until_complete(sleep, 0)
end)
outside("set_name", function(o) o.task:set_name(1) end, function(o)
  o.task = o.keep("task", o.loop:create_task(forever))
end)
outside("add_reader", function(o) o.loop:add_reader(o.from, nothing) end, with_pipe)
outside("add_signal_handler", function(o) o.loop:add_signal_handler("SIGUSR1", nothing) end)
outside("exception handler", function(o)
  o.loop:set_exception_handler(nothing)
  o.loop:call_exception_handler { message = "message" }
end)
outside("run_in_executor", function(o) o.loop:run_in_executor(nil, nothing) end)
outside("remote", function(o) o.loop:remote() end)
outside("run_until_complete", function(o) o.loop:run_until_complete(function() sleep(0) end) end)
outside("run_once", function(o) o.loop:run_once(0.0001) end, function(o)
  o.task = o.keep("task", o.loop:create_task(sleep, 0))
end)
outside("backend", function(o) return o.loop:backend_fd() and o.loop:backend_timeout() end)
outside("close", function(o) o.loop:close() end)
outside("close with tasks", function(o) o.loop:close() end, function(o)
  o.task = o.keep("task", o.loop:create_task(forever))
  o.getter = o.keep("getter", o.loop:create_task(o.queue.get, o.queue))
  o.loop:run_until_complete(sleep, 0)
end)
simple("stuck tasks", {}, {
  stuck = function(o)
    local core = require "asyncio.core"
    local task = create_task(function() asyncio.Event():wait() end)
    sleep(0)
    local list = core.stuck_tasks(o.loop, 60)
    core.seek_stuck(o.loop, true)
    sleep(0)
    task:cancel()
    return list and #list
  end,
})
outside("deadlock", function() -- on the virtual clock: what a finaliser has begun there may have a timer
  pcall(testing.async(function()
    pcall(await, create_task(function() asyncio.Event():wait() end))
    asyncio.Queue():get()
  end, { clock = "virtual" }))
end)
outside("run", function() asyncio.run(function() sleep(0) return 1 end) end)
outside("runner", function(o)
  local runner <close> = o.runner or asyncio.Runner {}
  runner:run(sleep, 0)
end)
outside("runner with stop signals", function()
  local runner <close> = asyncio.Runner { stop_signals = { "SIGUSR1", "SIGTERM" } }
  runner:run(sleep, 0)
end)
outside("runner's loop", function(o) return o.runner:get_loop() end, function(o)
  o.runner = asyncio.Runner {}
end)
outside("testing", function()
  testing.async(function() sleep(1) end, { clock = "virtual" })()
end)
outside("new loop", function() asyncio.new_event_loop():close() end)
outside("all_tasks", function(o) return asyncio.all_tasks(o.loop) end)
outside("signal of a closed loop", function(o) pcall(o.loop.remove_signal_handler, o.loop, "SIGUSR1") end)

--- Running one

function kind_of(object)
  local meta = getmetatable(object)
  return type(meta) == "table" and type(meta.__name) == "string" and meta.__name:match "^asyncio%.(.*)" or type(object)
end

--- Errors that nobody should meet: of our own code, or none at all.
local function judge_error(err)
  if err == nil then host.wrong "an error was lost: it is nil" end
  local text = type(err) == "string" and err or ""
  if text:find "attempt to " or text:find "%.lua:%d+: bad argument" and text:find "asyncio/" then
    host.wrong("an error of our own: " .. text)
  end
end

--- What came of it all.
local function judge_ends(o)
  for _, object in ipairs(o.list) do
    if FUTURES[kind_of(object)] and object:done() and not object:cancelled() then
      local err, failed = object:exception()
      if failed then judge_error(err) end
    end
  end
  for _, list in ipairs { o.called or {}, o.expected or {} } do
    for _, entry in ipairs(list) do
      if entry.n > 1 then host.wrong "a callback was called more than once" end
      if entry.n == 0 and entry.due and not o.uncallback then host.wrong "a callback was lost" end
    end
  end
  for task in pairs(o.renamed or {}) do
    local name = task:get_name()
    if name:find "^Task%-" then host.wrong "a name was lost" end
  end
end

--- Leaves something whose finaliser acts, and makes the call. Nothing is collected but at the n-th allocation.
local function make_call(o, case_, action)
  local repeated
  local rounds, over = 0, false
  local function act()
    if over then return end -- it was left when the call had ended
    rounds = rounds + 1
    actions[action](o, case_.call)
    if rounds < ROUNDS then return repeated() end -- for finaliser-rest
    host.finish()
  end
  function repeated() setmetatable({}, { __gc = act }) end
  collectgarbage()
  collectgarbage("incremental", 1000, 1000, 63) -- a step is a whole cycle
  collectgarbage "stop"
  repeated()
  host.begin()
  local ok, err = pcall(case_.call, o)
  host.finish()
  collectgarbage("incremental", 200, 100, 13)
  collectgarbage "restart"
  over = true
  o.uncallback = action == "uncallback"
  if not ok then judge_error(err) end
end

--- Everything comes to its end: what was asked of a task or future is delivered.
local function end_all(o)
  for _, object in ipairs(o.list) do
    if FUTURES[kind_of(object)] then pcall(object.cancel, object) end
  end
  for _ = 1, 4 do asyncio.pcall(sleep, 0) end
  for _, list in ipairs { o.called or {}, o.expected or {} } do
    for _, entry in ipairs(list) do entry.due = entry.future:done() end
  end
  for _ = 1, 2 do asyncio.pcall(sleep, 0) end
end

local function prepare(o, case_)
  for _, with in ipairs(case_.with or {}) do with(o) end
  if case_.prepare then case_.prepare(o) end
end

local function drop(o)
  if o.server then o.server:close() o.server:abort_clients() end
  for _, name in ipairs { "server2", "writer", "writer2" } do
    if o[name] then pcall(o[name].close, o[name]) end
  end
  each(o, ENDPOINT, function(endpoint) endpoint:close() end)
  if o.from then o.loop:remove_reader(o.from) o.loop:remove_writer(o.to) end
  if o.executor then o.executor:shutdown { wait = false, cancel_futures = true } end
  o.loop:remove_signal_handler "SIGUSR1"
end

--- An undelivered cancellation of the main task is not the checks' business.
local function calm()
  local task = asyncio.current_task()
  for _ = 1, 8 do
    if task:cancelling() == 0 then return end
    pcall(sleep, 0)
    task:uncancel()
  end
end

local function run_inside(case_, action)
  local runner <close> = asyncio.Runner { cancel_timeout = 0.05, flush_timeout = 0.1, executor_timeout = 1 }
  runner:get_loop():set_exception_handler(function() end)
  runner:run(function()
    local o = with_tasks(base(asyncio.get_running_loop()))
    prepare(o, case_)
    sleep(0)
    local main = asyncio.current_task() -- a finaliser may have taken what it waits for
    local limit = o.loop:call_later(0.3, function() main:cancel "the call waits in vain" end)
    make_call(o, case_, action)
    limit:cancel()
    calm()
    if case_.check and not (case_.leave_out and case_.leave_out[action]) then case_.check(o, action) end
    end_all(o)
    judge_ends(o)
    drop(o)
  end)
end

local function run_outside(case_, action)
  local loop <close> = asyncio.new_event_loop()
  loop:set_exception_handler(function() end)
  local o = base(loop)
  prepare(o, case_)
  make_call(o, case_, action)
  if loop:is_closed() then return end
  loop:run_until_complete(function() end_all(o) drop(o) end)
  judge_ends(o)
end

local scenario = { names = {}, begins = {}, finalisers = true }

for _, name in ipairs(order) do
  for _, action in ipairs(ACTIONS) do scenario.names[#scenario.names + 1] = name .. " + " .. action end
end

function scenario.run(name)
  local case_, action = name:match "^(.*) %+ (.*)$"
  case_ = cases[case_];
  (case_.outside and run_outside or run_inside)(case_, action)
end

--- The state is as good as new.
function scenario.healthy()
  local result = asyncio.run(function()
    local queue = asyncio.Queue(1)
    create_task(function() for i = 1, 3 do queue:put(i) end end)
    return queue:get() + queue:get() + queue:get() + asyncio.gather(function() return 1 end)
  end)
  if result ~= 7 then host.wrong "the state is ill" end
end

return scenario
