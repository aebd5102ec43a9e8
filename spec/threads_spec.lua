-- threads_spec.lua - ThreadPoolExecutor, run_in_executor, to_thread, thread_cancelled, blocking_sleep.
-- Tests without an assertion say what must not hang, or crash.
local t = require "helper"

local asyncio = t.asyncio
local await, to_thread = asyncio.await, asyncio.to_thread

local function loop() return asyncio.get_running_loop() end

local function add(a, b) return a + b end

--- A file that is not there yet, for threads to tell each other something without a channel.
local function flag()
  local name = os.tmpname()
  os.remove(name)
  return name
end

-- What runs in workers -----------------------------------------------------------------------------

local function wait_for_file(name)
  local sleep = require "asyncio".blocking_sleep
  while true do
    local file = io.open(name)
    if file then
      file:close()
      return name
    end
    sleep(0.001)
  end
end

local function make_file(name) assert(io.open(name, "w")):close() end

local function wait_until_cancelled(started)
  assert(io.open(started, "w")):close()
  while not asyncio.thread_cancelled() do asyncio.blocking_sleep(0.001) end
  os.remove(started)
end

--- Suspends until the file is there, or with `gone` no longer is.
local function await_file(name, gone)
  t.wait_until(function()
    local file = io.open(name)
    if file then file:close() end
    return (file == nil) == (gone or false)
  end)
end

TestRunInExecutor = {}

function TestRunInExecutor:test_gives_the_results_as_a_future()
  t.real(function()
    local future = loop():run_in_executor(nil, add, 1, 2)
    t.assertTrue(asyncio.isfuture(future))
    t.assertFalse(future:done())
    t.assertEquals(await(future), 3)
    t.assertEquals(future:result(), 3)
  end)
end

function TestRunInExecutor:test_gives_all_results_nil_included()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local function several() return nil, 1, nil, "x", nil end
    local results = table.pack(await(pool:submit(several)))
    t.assertEquals(results.n, 5)
    t.assertEquals({ results[2], results[4] }, { 1, "x" })
    t.assertEquals(select("#", await(pool:submit(function() end))), 0)
  end)
end

function TestRunInExecutor:test_has_started_when_the_call_returns()
  t.real(function()
    local name = flag()
    local future = loop():run_in_executor(nil, make_file, name)
    wait_for_file(name) -- blocks this thread: the loop does not turn
    t.assertFalse(future:done())
    await(future)
    os.remove(name)
  end)
end

function TestRunInExecutor:test_runs_as_many_at_once_as_there_are_threads()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(3)
    local names, futures = { flag(), flag(), flag() }, {}
    for i = 1, 3 do -- each needs the others to be under way
      futures[i] = pool:submit(function(mine, others)
        assert(io.open(mine, "w")):close()
        for _, name in ipairs(others) do wait_for_file(name) end
      end, names[i], names)
    end
    for _, future in ipairs(futures) do await(future) end
    for _, name in ipairs(names) do os.remove(name) end
    t.assertStrContains(tostring(pool), "3 of 3 threads")
  end)
end

function TestRunInExecutor:test_starts_all_threads_in_one_step_that_then_blocks()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(4)
    local names = {}
    await(pool:submit(add, 1, 2)) -- one thread is there, and idle
    for i = 1, 4 do names[i] = flag() end
    local futures = {}
    for i = 1, 4 do
      futures[i] = pool:submit(function(mine, all)
        assert(io.open(mine, "w")):close()
        for _, name in ipairs(all) do wait_for_file(name) end
      end, names[i], names)
    end
    for _, name in ipairs(names) do wait_for_file(name) end
    for i = 1, 4 do await(futures[i]) end
    for _, name in ipairs(names) do os.remove(name) end
  end)
end

function TestRunInExecutor:test_begins_jobs_in_the_order_of_their_calls()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local channel, futures = asyncio.Channel(), {}
    for i = 1, 50 do futures[i] = pool:submit(function(out, n) out:put(n) end, channel, i) end
    for i = 1, 50 do
      await(futures[i])
      t.assertEquals(channel:get_nowait(), i)
    end
  end)
end

function TestRunInExecutor:test_starts_threads_on_demand_only()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(8)
    t.assertStrContains(tostring(pool), "0 of 8 threads")
    for i = 1, 20 do t.assertEquals(await(pool:submit(add, i, 1)), i + 1) end
    local threads = tonumber(tostring(pool):match "(%d+) of 8")
    t.assertTrue(threads >= 1 and threads <= 2, tostring(pool)) -- a slow thread may not be idle again yet
  end)
end

function TestRunInExecutor:test_calls_c_functions_by_name()
  t.real(function()
    t.assertEquals(await(loop():run_in_executor(nil, math.max, 3, 9, 4)), 9)
    t.assertEquals(to_thread(string.format, "%05.1f", 3.14159), "003.1")
    t.assertEquals(to_thread(tostring, 12), "12")
  end)
end

function TestRunInExecutor:test_calls_a_function_again_and_again_with_fresh_upvalues()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local count = 0
    local function counter()
      count = count + 1
      return count
    end
    local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
    for i = 1, 5 do
      t.assertEquals(await(pool:submit(counter)), count + 1)
      t.assertEquals(await(pool:submit(fib, 10)), 55)
      count = i * 10
    end
    t.assertEquals(count, 50)
  end)
end

function TestRunInExecutor:test_of_a_kept_function_forgets_what_it_did_to_its_upvalues()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local function spoil(n)
      if n == 0 then return type(print) end
      _ENV = { type = type }
      return "spoilt"
    end
    for _ = 1, 4 do
      t.assertEquals(await(pool:submit(spoil, 0)), "function")
      t.assertEquals(await(pool:submit(spoil, 1)), "spoilt")
    end
    local itself
    function itself(n)
      if n == 0 then return "called" end
      local me = itself
      itself = 5
      return me(0)
    end
    for _ = 1, 4 do t.assertEquals(await(pool:submit(itself, 1)), "called") end
    t.assertEquals(type(itself), "function")
  end)
end

function TestRunInExecutor:test_keeps_no_more_functions_than_it_has_use_for()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    for i = 1, t.count(600) do -- each is new, and kept from its second call on
      local fn = load("return function(x) return x + " .. i .. " end")()
      for k = 1, 3 do t.assertEquals(await(pool:submit(fn, k)), k + i) end
    end
    local function first(x) return x end
    for k = 1, 3 do t.assertEquals(await(pool:submit(first, k)), k) end
    t.assertEquals(await(pool:submit(function() return collectgarbage "count" < 20000 end)), true)
  end)
end

function TestRunInExecutor:test_refuses_what_cannot_be_sent_before_anything_runs()
  t.real(function()
    local co = coroutine.create(print)
    t.assertErrorMsgContains("cannot send a coroutine at argument 1.cb.x", to_thread, add, { cb = { x = co } })
    t.assertErrorMsgContains("cannot send a coroutine at argument 2", to_thread, add, 1, co)
    t.assertErrorMsgContains('cannot send a coroutine at upvalue "co"', to_thread, function() return co end)
    t.assertErrorMsgContains("cannot send a coroutine at result 1.deep", to_thread, function()
      return { deep = coroutine.create(print) }
    end)
    for _ = 1, 3 do -- kept functions, too
      t.assertErrorMsgContains("cannot send a coroutine at argument 1", to_thread, add, co)
      t.assertEquals(to_thread(add, 1, 1), 2)
    end
  end)
end

function TestRunInExecutor:test_checks_its_arguments()
  t.real(function()
    t.assertErrorMsgContains("ThreadPoolExecutor expected", loop().run_in_executor, loop(), {}, add)
    t.assertErrorMsgContains("function expected", loop().run_in_executor, loop(), nil, 5)
    t.assertErrorMsgContains("function expected", to_thread, "add")
    t.assertErrorMsgContains("integer from 1 to 1000000 expected", asyncio.ThreadPoolExecutor, 0)
    t.assertErrorMsgContains("integer from 1 to 1000000 expected", asyncio.ThreadPoolExecutor, "many")
    t.assertErrorMsgContains("'initializer': function expected", asyncio.ThreadPoolExecutor, { initializer = 5 })
    t.assertErrorMsgContains("'thread_name_prefix': string expected", asyncio.ThreadPoolExecutor,
      { thread_name_prefix = {} })
    t.assertErrorMsgContains("cannot send a coroutine", asyncio.ThreadPoolExecutor, {
      initializer = (function(co) return function() return co end end)(coroutine.create(print)),
    })
  end)
end

--- What is small goes another way than the rest, from a function's second call on.
function TestRunInExecutor:test_sends_small_values_as_exactly_as_large_ones()
  local function same(...) return ... end
  t.real(function()
    local values = { 0, -1, math.maxinteger, math.mininteger, 0.0, -0.0, 1.5, 1 / 0, -1 / 0, 2 ^ 53, true, false, "",
      "a\0b", ("x"):rep(63), ("x"):rep(64), ("x"):rep(65), ("x"):rep(96), ("x"):rep(5000), { 1 }, print }
    for round = 1, 3 do
      for i, value in ipairs(values) do
        local got = await(loop():run_in_executor(nil, same, value))
        t.assertEquals(got, value, "value " .. i .. ", round " .. round)
        t.assertEquals(math.type(got), math.type(value))
        if value == 0 then t.assertEquals(1 / got, 1 / value) end
      end
      local nan = await(loop():run_in_executor(nil, same, 0 / 0))
      t.assertTrue(nan ~= nan)
      for length = 28, 64 do -- up to more than the room that is there at first
        local a, b, c = ("a"):rep(length), ("b"):rep(length), ("c"):rep(length)
        t.assertEquals({ await(loop():run_in_executor(nil, same, a, b, c)) }, { a, b, c })
      end
      for _, n in ipairs { 0, 1, 2, 7, 8, 9, 10, 11, 31, 32, 33, 34, 100 } do
        local sent = table.pack(table.unpack({}, 1, n))
        for i = 2, n, 2 do sent[i] = i % 3 == 0 and i or ("%d"):format(i) end
        t.assertEquals(table.pack(await(loop():run_in_executor(nil, same, table.unpack(sent, 1, n)))), sent)
      end
    end
  end)
end

function TestRunInExecutor:test_serves_one_loop_after_the_other()
  local pool = asyncio.ThreadPoolExecutor { max_workers = 2 }
  for round = 1, 4 do
    t.real(function()
      for i = 1, 5 do t.assertEquals(await(loop():run_in_executor(pool, add, round, i)), round + i) end
      local futures = {}
      for i = 1, 5 do futures[i] = loop():run_in_executor(pool, add, i, i) end
      t.assertEquals({ asyncio.gather(table.unpack(futures)) }, { 2, 4, 6, 8, 10 })
    end)
  end
  pool:shutdown()
end

--- The loop takes results without a poll, but not for ever.
function TestRunInExecutor:test_leaves_time_for_sockets_however_many_results_come()
  t.real(function()
    local server <close> = asyncio.start_server(function(reader, writer)
      for line in reader:lines() do writer:send(line .. "\n") end
    end, "127.0.0.1", 0)
    local ended, calls = false, 0
    local group <close> = asyncio.TaskGroup()
    for _ = 1, 64 do
      group:create_task(function()
        while not ended do
          await(loop():run_in_executor(nil, add, 1, 2))
          calls = calls + 1
        end
      end)
    end
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    local lines = 0
    repeat
      lines = lines + 1
      writer:send(lines .. "\n")
      t.assertEquals(reader:readline(), lines .. "\n")
    until lines >= 50 and calls >= 500
    ended = true
  end)
end

--- A job's memory is used again: nothing of its past may show.
function TestRunInExecutor:test_goes_on_after_errors_and_cancellations()
  local function fail_on(i, limit)
    if i % limit == 0 then error("number " .. i, 0) end
    return i
  end
  t.real(function()
    for i = 1, 30 do
      local future = loop():run_in_executor(nil, fail_on, i, 3)
      local dropped = loop():run_in_executor(nil, fail_on, i, 2)
      dropped:cancel()
      local ok, got = pcall(await, future)
      t.assertEquals({ ok, got }, i % 3 == 0 and { false, "number " .. i } or { true, i })
      t.assertTrue(dropped:cancelled())
    end
  end)
end

function TestRunInExecutor:test_of_a_loop_that_does_not_run_is_done_when_it_does()
  local other = asyncio.new_event_loop()
  local future = other:run_in_executor(nil, add, 20, 3)
  t.assertEquals(other:run_until_complete(future), 23)
  other:close()
  t.assert_raises(asyncio.ClosedError, other.run_in_executor, other, nil, add, 1, 2)
end

function TestRunInExecutor:test_future_is_settled_by_its_job_alone()
  t.real(function()
    local future = loop():run_in_executor(nil, add, 1, 2)
    t.assert_raises(asyncio.InvalidStateError, future.set_result, future, 5)
    t.assertEquals(await(future), 3)
  end)
end

function TestRunInExecutor:test_goes_on_although_nobody_holds_the_future()
  t.real(function()
    local name = flag()
    loop():run_in_executor(nil, make_file, name)
    t.collect()
    await_file(name)
    os.remove(name)
  end)
end

function TestRunInExecutor:test_under_way_is_no_deadlock_for_a_virtual_clock()
  local channel = asyncio.Channel()
  local run = require "asyncio.testing".async(function()
    local job = loop():run_in_executor(nil, function(to)
      require "asyncio".blocking_sleep(0.02)
      to:put "from afar"
      return "done"
    end, channel)
    t.assertEquals(channel:get(), "from afar")
    t.assertEquals(await(job), "done")
  end, { clock = "virtual" })
  run()
end

TestErrors = {}

function TestErrors:test_come_back_as_they_are()
  t.real(function()
    local err = t.error_of(to_thread, function() error "a text" end)
    t.assertStrMatches(err, ".*threads_spec.lua:%d+: a text")
    t.assertEquals(t.error_of(to_thread, function() error { 1, 2 } end), { 1, 2 })
    t.assertEquals(t.error_of(to_thread, function() error(false) end), false)
    t.assertEquals(t.error_of(to_thread, function() error(nil) end), t.NO_ERROR)
    t.assertEquals(t.error_of(to_thread, function() error(42, 0) end), 42)
  end)
end

function TestErrors:test_keep_their_class()
  t.real(function()
    local err = t.error_of(to_thread, function()
      error(asyncio.TimeoutError "took too long")
    end)
    t.assert_isinstance(err, asyncio.TimeoutError)
    t.assertEquals(err.message, "took too long")
    local MyError = asyncio.Error:subclass "MyError"
    local own = t.error_of(to_thread, function() error(MyError { message = "mine", code = 7 }) end)
    t.assert_isinstance(own, MyError)
    t.assertEquals(own.code, 7)
  end)
end

function TestErrors:test_have_the_traceback_of_the_worker()
  t.real(function()
    local future = loop():run_in_executor(nil, function()
      local function culprit() error "deep" end
      culprit()
    end)
    t.error_of(await, future)
    t.assertStrContains(future:traceback(), "culprit")
    local err = t.error_of(to_thread, function()
      local function offender() error(require "asyncio".Error "deep") end
      offender()
    end)
    t.assertStrContains(err.traceback, "offender")
    local task = asyncio.create_task(to_thread, function()
      local function wrongdoer() error "deep" end
      wrongdoer()
    end)
    t.error_of(await, task)
    t.assertStrContains(task:traceback(), "wrongdoer")
  end)
end

function TestErrors:test_that_cannot_be_sent_come_as_texts()
  t.real(function()
    local err = t.error_of(to_thread, function()
      error(setmetatable({}, { __tostring = function() return "a stubborn error" end }))
    end)
    t.assertStrContains(err, "a stubborn error")
    t.assertStrContains(err, "cannot send")
    t.assertStrContains(t.error_of(to_thread, function()
      error(setmetatable({}, { __tostring = function() error "worse" end }))
    end), "worse")
  end)
end

function TestErrors:test_of_a_missing_global_name_the_remedy()
  t.real(function()
    local err = t.error_of(to_thread, function() return globals_of_the_script(1) end) -- luacheck: ignore
    t.assertStrContains(err, "a nil value (global 'globals_of_the_script')")
    t.assertStrContains(err, "a worker has globals of its own")
    t.assertStrContains(err, "local function")
    t.assertStrContains(err, "initializer")
    t.assertEquals(to_thread(function() return globals_of_the_script end), nil) -- luacheck: ignore
  end)
end

function TestErrors:test_nobody_looks_at_are_reported()
  t.real(function(reports)
    loop():run_in_executor(nil, function() error "unseen" end)
    t.wait_until(function()
      t.collect()
      return #reports > 0
    end)
    local report = t.take_report(reports, "never looked at")
    t.assertStrContains(report.exception, "unseen")
  end)
end

function TestErrors:test_of_memory_come_back_and_the_worker_lives_on()
  local name = os.tmpname()
  do
    local script <close> = assert(io.open(name, "w"))
    script:write [[
      local asyncio = require "asyncio"
      asyncio.run(function()
        local pool <close> = asyncio.ThreadPoolExecutor(1)
        for _ = 1, 3 do
          print(pcall(asyncio.await, pool:submit(function() return ("x"):rep(1 << 30) end)))
        end
        print(asyncio.await(pool:submit(function() return "alive" end)))
      end)
    ]]
  end
  local lua = os.getenv "LUA" or "lua5.4"
  local pipe <close> = assert(io.popen(("ulimit -v 500000; %s %s 2>&1"):format(lua, name)))
  t.assertEquals(t.unhurried(pipe:read "a"), ("false\tnot enough memory\n"):rep(3) .. "alive\n")
  os.remove(name)
end

function TestErrors:test_of_a_stack_that_overflows_come_back()
  t.real(function()
    local function deep(n) return 1 + deep(n + 1) end
    t.assertStrContains(t.error_of(to_thread, deep, 1), "stack overflow")
    t.assertEquals(to_thread(add, 1, 2), 3)
  end)
end

TestWorker = {}

function TestWorker:test_has_path_and_arg_of_its_parent()
  t.real(function()
    local old, old_c, old_arg = package.path, package.cpath, arg
    package.path, package.cpath = old .. ";/nowhere/?.lua", old_c .. ";/nowhere/?.so"
    _G.arg = { [0] = "script", "one", "two" }
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    package.path, package.cpath = old, old_c
    _G.arg = old_arg
    local path, cpath, args = await(pool:submit(function() return package.path, package.cpath, arg end))
    t.assertEquals(path, old .. ";/nowhere/?.lua")
    t.assertEquals(cpath, old_c .. ";/nowhere/?.so")
    t.assertEquals(args, { [0] = "script", "one", "two" })
  end)
end

function TestWorker:test_has_what_can_be_sent_of_the_preloaded_modules()
  t.real(function()
    local value, co = "an upvalue", coroutine.create(print)
    package.preload["spec.preloaded"] = function(name) return { name = name, value = value } end
    package.preload["spec.c"] = package.loadlib(package.searchpath("asyncio.core", package.cpath),
      "luaopen_asyncio_core")
    package.preload["spec.stuck"] = function() return co end
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    package.preload["spec.preloaded"], package.preload["spec.c"], package.preload["spec.stuck"] = nil, nil, nil
    t.assertEquals(await(pool:submit(function()
      local module = require "spec.preloaded"
      return module.name .. ": " .. module.value
    end)), "spec.preloaded: an upvalue")
    t.assertTrue(await(pool:submit(function() return require "spec.c" == require "asyncio.core" end)))
    t.assertFalse(await(pool:submit(function() return (pcall(require, "spec.stuck")) end)))
  end)
end

function TestWorker:test_finds_functions_of_parts_that_a_module_loads_when_they_are_used()
  t.real(function()
    t.assertEquals(asyncio.to_thread(asyncio.run, asyncio.race, function() return "won" end), "won")
  end)
end

function TestWorker:test_calls_functions_of_modules_by_name()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    package.preload["spec.counter"] = function()
      local module, state = {}, _G
      function module.next()
        if state == _G then state = 0 end
        state = state + 1
        return state
      end
      return module
    end
    pool:shutdown()
    local second <close> = asyncio.ThreadPoolExecutor(1) -- made now that the module can be had
    local counter = require "spec.counter"
    for i = 1, 6 do t.assertEquals(await(second:submit(counter.next)), i) end -- the worker's own state
    t.assertEquals(counter.next(), 1)
    package.preload["spec.counter"], package.loaded["spec.counter"] = nil, nil
  end)
end

function TestWorker:test_is_made_where_globals_are_strict()
  t.real(function()
    local old = arg
    _G.arg = nil
    setmetatable(_G, { __index = function(_, name) error("no global " .. tostring(name), 0) end })
    local ok, pool = pcall(asyncio.ThreadPoolExecutor, 1)
    setmetatable(_G, nil)
    _G.arg = old
    t.assertTrue(ok, pool)
    t.assertEquals(await(pool:submit(add, 1, 2)), 3)
    pool:shutdown()
  end)
end

function TestWorker:test_keeps_its_globals_from_job_to_job()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    await(pool:submit(function() kept = 5 end)) -- luacheck: ignore
    t.assertEquals(await(pool:submit(function() return kept end)), 5) -- luacheck: ignore
    t.assertNil(rawget(_G, "kept"))
  end)
end

function TestWorker:test_runs_the_initializer_first()
  t.real(function()
    local greeting = "hello"
    local pool <close> = asyncio.ThreadPoolExecutor {
      max_workers = 2,
      initializer = function() greet = function(name) return greeting .. ", " .. name end end, -- luacheck: ignore
    }
    for i = 1, 6 do
      t.assertEquals(await(pool:submit(function(n) return greet(n) end, i)), "hello, " .. i) -- luacheck: ignore
    end
  end)
end

function TestWorker:test_with_a_failing_initializer_fails_every_job()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor {
      max_workers = 2,
      initializer = function() error "no such device" end,
    }
    local futures = {}
    for i = 1, 5 do futures[i] = pool:submit(add, i, 1) end
    for i = 1, 5 do
      local err = t.assert_raises(asyncio.BrokenExecutorError, await, futures[i])
      t.assertStrContains(err.message, "no such device")
    end
    t.assert_raises(asyncio.BrokenExecutorError, await, pool:submit(add, 1, 2))
    t.assertStrContains(tostring(pool), "broken")
  end)
end

function TestWorker:test_runs_a_loop_of_its_own()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(2)
    local function run()
      return asyncio.run(function()
        local tasks = {}
        for i = 1, 10 do tasks[i] = asyncio.create_task(function() asyncio.sleep(0.001) return i end) end
        local sum = 0
        for _, task in ipairs(tasks) do sum = sum + asyncio.await(task) end
        return sum, asyncio.to_thread(function() return "a worker's worker" end)
      end)
    end
    for _ = 1, 3 do
      local sum, text = await(pool:submit(run))
      t.assertEquals({ sum, text }, { 55, "a worker's worker" })
    end
  end)
end

function TestWorker:test_blocks_all_signals_but_not_those_of_the_programs_it_starts()
  t.real(function()
    local file = io.open "/proc/self/status"
    if not file then t.skip "no /proc" end
    file:close()
    local mine, program, executed = to_thread(function()
      local name = os.tmpname()
      local status <close> = io.open "/proc/thread-self/status"
      local pipe <close> = io.popen "cat /proc/self/status"
      local blocked, theirs = status:read "a", pipe:read "a"
      os.execute("cat /proc/self/status >" .. name)
      local out <close> = io.open(name)
      os.remove(name)
      return blocked:match "SigBlk:%s*(%x+)", theirs:match "SigBlk:%s*(%x+)", out:read("a"):match "SigBlk:%s*(%x+)"
    end)
    t.assertEquals(program, ("0"):rep(16))
    t.assertEquals(executed, ("0"):rep(16))
    t.assertTrue(tonumber(mine, 16) & (1 << 1 | 1 << 14) == 1 << 1 | 1 << 14, mine) -- SIGINT, SIGTERM
  end)
end

function TestWorker:test_threads_have_names()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor { max_workers = 1, thread_name_prefix = "spec-thread" }
    local comm = await(pool:submit(function()
      local file <close> = io.open "/proc/thread-self/comm"
      return file and file:read "l"
    end))
    if not comm then t.skip "no /proc" end
    t.assertEquals(comm, "spec-thread-1")
  end)
end

function TestWorker:test_that_calls_os_exit_ends_the_process()
  local out, _, code = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      asyncio.to_thread(function()
        print "going"
        os.exit(7)
      end)
      print "not reached"
    end)
  ]]
  t.assertEquals(out, "going\n")
  t.assertEquals(code, 7)
end

TestCancellation = {}

function TestCancellation:test_of_a_job_not_begun_removes_it()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local go, name, begun = flag(), flag(), flag()
    local first = pool:submit(function()
      make_file(begun)
      wait_for_file(go)
    end)
    await_file(begun)
    local second = pool:submit(make_file, name)
    t.assertTrue(second:cancel())
    t.assertTrue(second:cancelled())
    t.assertFalse(second:cancel())
    t.assertStrContains(tostring(pool), "0 jobs waiting")
    make_file(go)
    await(first)
    await(pool:submit(add, 1, 2))
    t.assertNil(io.open(name))
    os.remove(go)
    os.remove(begun)
    t.assert_raises(asyncio.CancelledError, await, second)
  end)
end

function TestCancellation:test_of_one_under_way_drops_its_result_and_is_seen_there()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local started = flag()
    local future = pool:submit(wait_until_cancelled, started)
    await_file(started)
    t.assertTrue(future:cancel())
    await_file(started, true) -- it has seen it
    t.assertFalse(await(pool:submit(function() return require "asyncio".thread_cancelled() end)))
    t.assertTrue(future:cancelled())
  end)
end

function TestCancellation:test_of_the_task_that_awaits_goes_on_to_the_job()
  t.real(function()
    local started = flag()
    local task = asyncio.create_task(to_thread, wait_until_cancelled, started)
    await_file(started)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, await, task)
    await_file(started, true)
  end)
end

function TestCancellation:test_of_a_job_with_a_loop_cancels_its_main_task()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local started, ended = flag(), flag()
    local future = pool:submit(function(begin, over)
      asyncio.run(function()
        local _ <close> = setmetatable({}, { __close = function()
          asyncio.sleep(0.001) -- unwinding may await
          assert(io.open(over, "w")):close()
        end })
        assert(io.open(begin, "w")):close()
        asyncio.sleep(3600)
      end)
    end, started, ended)
    await_file(started)
    future:cancel()
    await_file(ended)
    os.remove(started)
    os.remove(ended)
  end)
end

function TestCancellation:test_before_its_loop_runs_cancels_the_main_task_all_the_same()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local started, results = flag(), asyncio.Channel()
    local future = pool:submit(function(name, out)
      wait_until_cancelled(name)
      for _ = 1, 2 do -- every loop that runs in it
        local ok, err = pcall(asyncio.run, asyncio.sleep, 3600)
        out:put(not ok and asyncio.isinstance(err, asyncio.CancelledError))
      end
    end, started, results)
    await_file(started)
    future:cancel()
    t.assertTrue(results:get())
    t.assertTrue(results:get())
    t.assertFalse(await(pool:submit(function() -- and no later job's
      return asyncio.run(function()
        asyncio.sleep(0.001)
        return asyncio.thread_cancelled()
      end)
    end)))
  end)
end

function TestCancellation:test_raised_in_a_job_is_one()
  t.real(function()
    local future = loop():run_in_executor(nil, function() error(require "asyncio".CancelledError "enough") end)
    local err = t.assert_raises(asyncio.CancelledError, await, future)
    t.assertEquals(err.message, "enough")
    t.assertTrue(future:cancelled())
  end)
end

function TestCancellation:test_thread_cancelled_is_false_elsewhere()
  t.assertFalse(asyncio.thread_cancelled())
  t.run(function() t.assertFalse(asyncio.thread_cancelled()) end)
end

TestShutdown = {}

function TestShutdown:test_refuses_new_jobs_and_waits_for_the_old_ones()
  t.real(function()
    local pool = asyncio.ThreadPoolExecutor(2)
    local futures = {}
    for i = 1, 20 do futures[i] = pool:submit(add, i, i) end
    pool:shutdown()
    for i = 1, 20 do t.assertEquals(futures[i]:done() and futures[i]:result() or await(futures[i]), 2 * i) end
    t.assertStrContains(tostring(pool), "0 of 2 threads")
    t.assert_raises(asyncio.ClosedError, pool.submit, pool, add, 1, 2)
    pool:shutdown() -- again
    pool:shutdown { wait = false }
  end)
end

function TestShutdown:test_without_waiting_returns_at_once()
  t.real(function()
    local pool, go = asyncio.ThreadPoolExecutor(1), flag()
    local future = pool:submit(wait_for_file, go)
    pool:shutdown { wait = false }
    t.assertFalse(future:done())
    make_file(go)
    await(future)
    os.remove(go)
  end)
end

function TestShutdown:test_can_cancel_what_has_not_begun()
  t.real(function()
    local pool, go, begun = asyncio.ThreadPoolExecutor(1), flag(), flag()
    local first = pool:submit(function()
      make_file(begun)
      wait_for_file(go)
    end)
    await_file(begun)
    local second = pool:submit(add, 1, 2)
    pool:shutdown { wait = false, cancel_futures = true }
    t.assert_raises(asyncio.CancelledError, await, second)
    t.assertTrue(second:cancelled())
    make_file(go)
    await(first)
    os.remove(go)
    os.remove(begun)
  end)
end

function TestShutdown:test_lets_other_tasks_run_while_it_waits()
  t.real(function()
    local pool, go = asyncio.ThreadPoolExecutor(1), flag()
    pool:submit(wait_for_file, go)
    local task = asyncio.create_task(pool.shutdown, pool)
    asyncio.sleep(0.01)
    t.assertFalse(task:done())
    make_file(go)
    await(task)
    os.remove(go)
  end)
end

function TestShutdown:test_can_be_cancelled()
  t.real(function()
    local pool, go = asyncio.ThreadPoolExecutor(1), flag()
    local future = pool:submit(wait_for_file, go)
    local task = asyncio.create_task(pool.shutdown, pool)
    asyncio.sleep(0)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, await, task)
    make_file(go)
    await(future)
    os.remove(go)
  end)
end

function TestShutdown:test_at_the_end_of_a_block_waits_but_not_for_what_was_cancelled()
  t.real(function()
    local never, future = flag(), nil
    do
      local pool <close> = asyncio.ThreadPoolExecutor(2)
      future = pool:submit(wait_for_file, never)
      asyncio.sleep(0)
      future:cancel()
    end
    t.assertTrue(future:cancelled())
    make_file(never) -- its thread ends
    local result
    do
      local pool <close> = asyncio.ThreadPoolExecutor(2)
      result = pool:submit(add, 1, 2)
    end
    t.assertEquals(await(result), 3)
    os.remove(never)
  end)
end

function TestShutdown:test_outside_of_a_task_blocks()
  local pool, name = asyncio.ThreadPoolExecutor(1), flag()
  local other = asyncio.new_event_loop()
  other:run_until_complete(function()
    pool:submit(make_file, name)
    asyncio.sleep(0)
  end)
  pool:shutdown()
  t.assertStrContains(tostring(pool), "0 of 1 threads")
  other:close()
  os.remove(name)
end

function TestShutdown:test_of_an_executor_that_nobody_holds_is_done_by_the_collector()
  t.real(function()
    local future = asyncio.ThreadPoolExecutor(1):submit(add, 1, 2)
    t.collect()
    t.assertEquals(await(future), 3) -- what was submitted is done all the same
  end)
end

function TestShutdown:test_submit_needs_a_running_loop()
  local pool <close> = asyncio.ThreadPoolExecutor(1)
  t.assertErrorMsgContains("no event loop is running", pool.submit, pool, add, 1, 2)
end

TestMap = {}

function TestMap:test_gives_a_list_in_order()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(3)
    local list = pool:map(function(x) return x * x end, { 1, 2, 3, 4, 5 })
    t.assertEquals(list, { 1, 4, 9, 16, 25, n = 5 })
    t.assertEquals(pool:map(add, {}), { n = 0 })
    local kinds = pool:map(type, { 1, nil, "x", n = 4 })
    t.assertEquals(kinds, { "number", "nil", "string", "nil", n = 4 })
    t.assertErrorMsgContains("list expected", pool.map, pool, add, 5)
  end)
end

function TestMap:test_raises_the_first_error_and_drops_what_has_not_begun()
  t.real(function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local items = {}
    for i = 1, 100 do items[i] = i end
    t.assertErrorMsgContains("not 3", pool.map, pool, function(x)
      if x == 3 then error "not 3" end
      return x
    end, items)
    t.assertStrContains(tostring(pool), " 0 jobs waiting")
  end)
end

TestDefaultExecutor = {}

function TestDefaultExecutor:test_is_made_once_for_a_loop()
  t.real(function()
    to_thread(function() mark = (mark or 0) + 1 end) -- luacheck: ignore
    local executor = loop():_get "executor"
    to_thread(add, 1, 2)
    t.assertTrue(loop():_get "executor" == executor)
    local cores = tonumber(tostring(executor):match "of (%d+) threads")
    t.assertTrue(cores >= 5 and cores <= 32, tostring(executor))
  end)
end

function TestDefaultExecutor:test_can_be_set()
  t.real(function()
    local pool = asyncio.ThreadPoolExecutor { max_workers = 1, initializer = function() which = "mine" end } -- luacheck: ignore
    loop():set_default_executor(pool)
    t.assertEquals(to_thread(function() return which end), "mine") -- luacheck: ignore
    t.assertErrorMsgContains("ThreadPoolExecutor expected", loop().set_default_executor, loop(), nil)
  end)
end

function TestDefaultExecutor:test_is_waited_for_at_the_end_of_a_run()
  local name = flag()
  asyncio.run(function()
    loop():run_in_executor(nil, function(file)
      require "asyncio".blocking_sleep(0.05)
      assert(io.open(file, "w")):close()
    end, name)
  end)
  t.assertNotNil(io.open(name))
  os.remove(name)
end

function TestDefaultExecutor:test_is_not_waited_for_longer_than_its_timeout()
  local never = flag()
  local runner = asyncio.Runner { executor_timeout = 0.01 }
  runner:run(function()
    loop():run_in_executor(nil, wait_for_file, never)
    asyncio.sleep(0)
  end)
  runner:close()
  make_file(never)
end

function TestDefaultExecutor:test_is_not_waited_for_where_the_future_was_cancelled()
  local never = flag()
  asyncio.run(function()
    local future = loop():run_in_executor(nil, wait_for_file, never)
    asyncio.sleep(0)
    future:cancel()
  end)
  make_file(never)
end

TestBlockingSleep = {}

function TestBlockingSleep:test_blocks_the_thread_for_no_less_than_it_says()
  t.real(function()
    local turned = false
    loop():call_soon(function() turned = true end)
    local began = loop():time()
    asyncio.blocking_sleep(0.02)
    t.assertTrue(loop():time() - began >= 0.02)
    t.assertFalse(turned)
    asyncio.blocking_sleep(0)
    asyncio.blocking_sleep(-1)
    t.assertErrorMsgContains("NaN", asyncio.blocking_sleep, 0 / 0)
  end)
end

TestEnds = {}

function TestEnds:test_a_worker_that_reads_does_not_keep_the_program_alive()
  local out, err, code = t.lua([[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      local task = asyncio.create_task(function()
        return asyncio.await(loop:run_in_executor(nil, io.read, "L"))
      end)
      asyncio.sleep(0.02)
      task:cancel()
    end)
    print "over"
  ]], "< /dev/zero") -- never a line
  t.assertEquals(err, "")
  t.assertEquals(out, "over\n")
  t.assertEquals(code, 0)
end

local UNDER_WAY = [[
  local asyncio = require "asyncio"
  local function busy() while true do end end
  local pool = asyncio.ThreadPoolExecutor(2)
  local function start()
    for i = 1, 5 do pool:submit(busy) end
    asyncio.sleep(0.01)
  end
]]

function TestEnds:test_a_state_closes_with_jobs_waiting_and_running()
  local endings = {
    "asyncio.run(start)", -- the pool outlives the loop
    "asyncio.run(function() local p <close> = pool start() os.exit(0, true) end)",
    "local p <close> = pool asyncio.run(start) os.exit(0, true)",
    "asyncio.run(function() start() os.exit(0, true) end)",
    "loop = asyncio.new_event_loop() loop:run_until_complete(start)",
    "coroutine.wrap(function() local p <close> = pool asyncio.run(start) os.exit(0, true) end)()",
  }
  for i = 1, t.slow and 3 or #endings do
    local ending = endings[i]
    local out, err, code = t.lua(UNDER_WAY .. ending .. "\nprint 'over'")
    t.assertEquals(err, "", ending)
    t.assertEquals(code, 0, ending)
    t.assertEquals(out, ending:find "exit" and "" or "over\n", ending)
  end
end

function TestEnds:test_finalisers_may_use_what_has_been_collected_before_them()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    local all, alive = {}, asyncio.Channel()
    last = setmetatable({}, { __gc = function() -- the oldest but one: it runs last, when the state closes
      print(pcall(all.pool.submit, all.pool, print))
      print(pcall(all.pool.shutdown, all.pool))
      print(pcall(all.channel.get, all.channel))
      print(pcall(all.remote.call_soon_threadsafe, all.remote, print))
      print(pcall(tostring, all.pool))
      print(pcall(alive.put_nowait, alive, all.channel))
      print(pcall(alive.put_nowait, alive, all.remote))
    end })
    all.pool, all.channel = asyncio.ThreadPoolExecutor(1), asyncio.Channel()
    all.remote = asyncio.new_event_loop():remote()
  ]]
  t.assertEquals(err, "")
  t.assertEquals(code, 0)
  local lines = 0
  for line in out:gmatch "[^\n]+" do
    t.assertStrMatches(line, "false\t.*")
    lines = lines + 1
  end
  t.assertEquals(lines, 7)
end

function TestEnds:test_a_loop_that_closes_takes_its_jobs_with_it()
  local pool, go, name = asyncio.ThreadPoolExecutor(1), flag(), flag()
  local other = asyncio.new_event_loop()
  local future = other:run_in_executor(pool, wait_for_file, go)
  other:run_in_executor(pool, make_file, name)
  other:close()
  t.assertStrContains(tostring(pool), " 0 jobs waiting")
  t.assertFalse(future:cancel())
  make_file(go)
  t.real(function() t.assertEquals(await(pool:submit(add, 1, 2)), 3) end)
  t.assertNil(io.open(name))
  pool:shutdown()
  os.remove(go)
end

function TestEnds:test_results_on_their_way_are_dropped_with_the_loop()
  local pool <close> = asyncio.ThreadPoolExecutor(2)
  for _ = 1, t.count(40) do
    local other = asyncio.new_event_loop()
    for i = 1, 10 do other:run_in_executor(pool, add, i, { i }) end
    for i = 1, 10 do other:run_in_executor(pool, add, i, i) end
    other:close()
  end
  t.assertEquals(asyncio.run(function() return await(loop():run_in_executor(pool, add, 1, 2)) end), 3)
end

TestStorm = {}

-- Many tasks with jobs that end, fail, wait and are cancelled at random, on executors that come and go.
function TestStorm:test_of_jobs_cancellations_and_shutdowns()
  t.real(function()
    local random, MyError = math.random, asyncio.Error:subclass "StormError"
    local pools = {}
    for i = 1, 3 do pools[i] = asyncio.ThreadPoolExecutor(i) end
    local kinds = {
      function(x) return x end,
      function(x) error(MyError { message = "failed", value = x }) end,
      function(x)
        for _ = 1, 20 do
          if asyncio.thread_cancelled() then break end
          asyncio.blocking_sleep(0.0001)
        end
        return x
      end,
      function(x) return (require "asyncio".run(function(y) return y end, x)) end,
    }
    local function submit(kind, i)
      local n = random(3)
      local ok, future = pcall(pools[n].submit, pools[n], kinds[kind], i)
      if ok then return future end
      t.assert_isinstance(future, asyncio.ClosedError)
      pools[n] = asyncio.ThreadPoolExecutor(n)
      return pools[n]:submit(kinds[kind], i)
    end
    local function one(i)
      local kind = random(40) == 1 and 4 or random(3)
      local ok, result = pcall(await, submit(kind, i))
      if ok then
        t.assertEquals(result, i)
      elseif asyncio.isinstance(result, MyError) then
        t.assertEquals({ kind, result.value }, { 2, i })
      else
        t.assert_isinstance(result, asyncio.CancelledError)
      end
    end
    local tasks = {}
    for i = 1, t.count(3000) do
      tasks[i] = asyncio.create_task(one, i)
      if random(4) == 1 then tasks[random(i)]:cancel() end
      if random(8) == 1 then asyncio.sleep(0) end
      if random(100) == 1 then pools[random(3)]:shutdown { wait = false, cancel_futures = random(2) == 1 } end
      if random(200) == 1 then collectgarbage() end
    end
    for _, task in ipairs(tasks) do
      local ok, err = pcall(await, task)
      if not ok then t.assert_isinstance(err, asyncio.CancelledError) end
    end
    for i = 1, 3 do pools[i]:shutdown() end
  end)
end

if os.getenv "SPEC_LUA" then -- the tool takes the memory that is to run out
  t.leave_out(TestErrors, ".", "test_of_memory_come_back_and_the_worker_lives_on")
end
t.finish()
