-- asyncio.await: of each kind of thing, and where it cannot be done.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

local function new_future() return asyncio.get_running_loop():create_future() end

local function done_future(...)
  local future = new_future()
  future:set_result(...)
  return future
end

TestAwaitFuture = {}

function TestAwaitFuture:test_returns_all_the_values_it_is_set_to()
  t.run(function()
    for _, values in ipairs {
      table.pack(), table.pack(nil), table.pack(false), table.pack(1, nil, 3, nil),
    } do
      local future = new_future()
      asyncio.get_running_loop():call_soon(function()
        future:set_result(table.unpack(values, 1, values.n))
      end)
      t.assertEquals(table.pack(await(future)), values)
      t.assertEquals(table.pack(await(future)), values)
    end
  end)
end

function TestAwaitFuture:test_raises_the_error_it_is_set_to()
  t.run(function()
    local future, err = new_future(), {}
    asyncio.get_running_loop():call_soon(future.set_exception, future, err)
    t.assertIs(t.error_of(await, future), err)
    t.assertIs(t.error_of(await, future), err)
  end)
end

function TestAwaitFuture:test_of_one_that_is_cancelled_raises_and_leaves_the_task_uncancelled()
  t.run(function()
    local future = new_future()
    asyncio.get_running_loop():call_soon(future.cancel, future, "given up")
    local err = t.assert_raises(asyncio.CancelledError, await, future)
    t.assertEquals(err.message, "given up")
    t.assertEquals(asyncio.current_task():cancelling(), 0)
    sleep(0)
  end)
end

function TestAwaitFuture:test_wakes_its_awaiters_in_the_order_in_which_they_came()
  t.run(function()
    local future, log = new_future(), {}
    for i = 1, 5 do
      create_task(function()
        await(future)
        log[#log + 1] = i
      end)
    end
    sleep(0)
    future:set_result()
    sleep(0)
    t.assertEquals(log, { 1, 2, 3, 4, 5 })
  end)
end

function TestAwaitFuture:test_that_is_done_returns_without_a_turn_of_the_loop()
  t.run(function()
    local turned = false
    local future = done_future("done")
    local task = create_task(function() turned = true end)
    t.assertEquals(await(future), "done")
    t.assertFalse(turned)
    await(task)
  end)
end

function TestAwaitFuture:test_of_another_loop_raises()
  local other <close> = asyncio.new_event_loop()
  local future = other:create_future()
  t.run(function()
    t.assertStrContains(tostring(t.error_of(await, future)), "another event loop")
  end)
end

function TestAwaitFuture:test_of_a_closed_loop_raises()
  local other = asyncio.new_event_loop()
  local future = other:create_future()
  other:close()
  t.run(function() t.assert_raises(asyncio.ClosedError, await, future) end)
end

TestAwaitTask = {}

function TestAwaitTask:test_returns_all_the_values_of_its_function()
  t.run(function()
    local function two(a) return sleep(0, a, nil) end
    t.assertEquals(table.pack(await(create_task(two, 1))), { n = 2, 1 })
  end)
end

function TestAwaitTask:test_raises_its_error()
  t.run(function()
    t.assertEquals(t.error_of(await, create_task(error, "boom", 0)), "boom")
  end)
end

TestAwaitCoroutine = {}

function TestAwaitCoroutine:test_runs_it_to_its_end_as_part_of_the_current_task()
  t.run(function()
    local self = asyncio.current_task()
    local co = coroutine.create(function(...)
      t.assertEquals(select("#", ...), 0)
      t.assertIs(asyncio.current_task(), self)
      sleep(0.001)
      t.assertIs(asyncio.current_task(), self)
      return 1, nil, sleep(0, "end", nil)
    end)
    t.assertEquals(table.pack(await(co)), { n = 4, 1, nil, "end", nil })
    t.assertEquals(coroutine.status(co), "dead")
    t.assertEquals(#asyncio.all_tasks(), 1)
  end)
end

function TestAwaitCoroutine:test_that_never_waits_needs_no_turn_of_the_loop()
  t.run(function()
    local turned = false
    local task = create_task(function() turned = true end)
    t.assertEquals(await(coroutine.create(function() return "at once" end)), "at once")
    t.assertFalse(turned)
    await(task)
  end)
end

function TestAwaitCoroutine:test_raises_its_error_and_the_traceback_shows_both_levels()
  t.run(function()
    local source = "local sleep = ... return function() sleep(0) error({}, 0) end"
    local fail = assert(load(source, "=inner_chunk"))(sleep)
    local run = assert(load([[
      local await, co = ...
      return function()
        await(coroutine.create(co))
        return 1
      end]], "=outer_chunk"))(await, fail)
    local task = create_task(run)
    t.assertEquals(t.error_of(await, task), {})
    t.assertStrContains(task:traceback(), "inner_chunk:1")
    t.assertStrContains(task:traceback(), "outer_chunk:3")
  end)
end

function TestAwaitCoroutine:test_that_has_failed_is_dead()
  t.run(function()
    local co = coroutine.create(function() error("boom", 0) end)
    t.assertEquals(t.error_of(await, co), "boom")
    t.assertEquals(coroutine.status(co), "dead")
    t.assertEquals({ coroutine.resume(co) }, { false, "cannot resume dead coroutine" })
  end)
end

function TestAwaitCoroutine:test_may_be_nested()
  t.run(function()
    local function nest(depth)
      if depth == 0 then return sleep(0.001, "bottom") end
      return await(coroutine.create(function() return nest(depth - 1) end))
    end
    t.assertEquals(nest(50), "bottom")
  end)
end

function TestAwaitCoroutine:test_nested_too_deep_is_an_error()
  t.run(function()
    local function nest(depth)
      if depth == 0 then return sleep(0) end
      return await(coroutine.create(function() return nest(depth - 1) end))
    end
    t.assertStrContains(tostring(t.error_of(nest, 1000)), "C stack overflow")
    t.assertEquals(sleep(0, "well"), "well")
  end)
end

function TestAwaitCoroutine:test_may_await_while_it_unwinds()
  t.run(function()
    local log = {}
    local err = t.error_of(await, coroutine.create(function()
      local _ <close> = setmetatable({}, {
        __close = function(_, e)
          sleep(0.001)
          log[#log + 1] = e
        end,
      })
      error("boom", 0)
    end))
    t.assertEquals(err, "boom")
    t.assertEquals(log, { "boom" })
  end)
end

function TestAwaitCoroutine:test_that_yields_is_an_error_which_says_so()
  t.run(function()
    local co = coroutine.create(function() coroutine.yield(1) end)
    t.assertStrContains(tostring(t.error_of(await, co)), "yielded")
    t.assertEquals(coroutine.status(co), "dead")
  end)
end

function TestAwaitCoroutine:test_that_has_ended_or_runs_is_an_error_which_says_so()
  t.run(function()
    local co = coroutine.create(function() end)
    await(co)
    t.assertStrContains(tostring(t.error_of(await, co)), "ended")
    t.assertStrContains(tostring(t.error_of(await, (coroutine.running()))), "running")
  end)
end

function TestAwaitCoroutine:test_that_waits_for_another_task_is_an_error()
  t.run(function()
    local co = coroutine.create(function() return sleep(0.002, "value") end)
    local task = create_task(await, co)
    sleep(0)
    t.error_of(await, co)
    t.assertEquals(await(task), "value")
  end)
end

function TestAwaitCoroutine:test_outside_of_a_task_raises_and_does_not_run_it()
  local ran = false
  local co = coroutine.create(function() ran = true end)
  t.assertStrContains(tostring(t.error_of(await, co)), "outside of a task")
  t.assertFalse(ran)
end

TestAwaitMetamethod = {}

local function awaitable(fn) return setmetatable({ tag = "it" }, { __await = fn }) end

function TestAwaitMetamethod:test_is_called_with_the_value_and_its_results_are_the_results()
  t.run(function()
    local value = awaitable(function(...) return select("#", ...), (...).tag, nil end)
    t.assertEquals(table.pack(await(value)), { n = 3, 1, "it" })
  end)
end

function TestAwaitMetamethod:test_may_suspend()
  t.run(function()
    t.assertEquals(await(awaitable(function(self) return sleep(0.001, self.tag) end)), "it")
  end)
end

function TestAwaitMetamethod:test_raises_its_error()
  t.run(function()
    t.assertEquals(t.error_of(await, awaitable(function()
      sleep(0)
      error("boom", 0)
    end)), "boom")
  end)
end

function TestAwaitMetamethod:test_what_it_returns_is_not_awaited_again()
  t.run(function()
    local future = new_future()
    t.assertIs(await(awaitable(function() return future end)), future)
  end)
end

function TestAwaitMetamethod:test_works_for_gather_wait_and_wait_for()
  t.run(function()
    local value = awaitable(function(self) return sleep(0.001, self.tag) end)
    t.assertEquals({ asyncio.gather(value, value) }, { "it", "it" })
    local done = asyncio.wait { value }
    t.assertEquals(done[1]:result(), "it")
    t.assertEquals(asyncio.wait_for(value, 10), "it")
  end)
end

TestAwaitWrongArguments = {}

function TestAwaitWrongArguments:test_are_named()
  t.run(function()
    for _, case in ipairs { { 42, "number" }, { "text", "string" }, { false, "boolean" }, { {}, "table" },
      { setmetatable({}, {}), "table" }, { print, "function" }, { io.stdout, "FILE*" },
      { asyncio.get_running_loop(), "asyncio.Loop" } } do
      local err = tostring(t.error_of(await, case[1]))
      t.assertStrContains(err, "bad argument #1 to")
      t.assertStrContains(err, "await'")
      t.assertStrContains(err, "got " .. case[2])
    end
    t.assertStrContains(tostring(t.error_of(await, nil)), "got nil")
    t.assertStrMatches(tostring(t.error_of(await)), "bad argument #1 to '.*await' %(.*got n.*")
  end)
end

function TestAwaitWrongArguments:test_for_a_function_the_remedy_is_named()
  t.run(function() t.assertStrContains(tostring(t.error_of(await, sleep)), "call") end)
end

function TestAwaitWrongArguments:test_are_named_outside_of_a_task_too()
  t.assertStrContains(tostring(t.error_of(await, 42)), "got number")
end

-- Lua can yield here, so an await may stand here.
TestAwaitEverywhere = {}

function TestAwaitEverywhere:test_in_pcall_and_xpcall()
  t.run(function()
    t.assertEquals({ pcall(sleep, 0.001, 1, 2) }, { true, 1, 2 })
    t.assertEquals({ xpcall(sleep, debug.traceback, 0.001, 1, 2) }, { true, 1, 2 })
    local ok, err = xpcall(function()
      sleep(0)
      error("boom", 0)
    end, function(e) return "handled " .. e end)
    t.assertEquals({ ok, err }, { false, "handled boom" })
  end)
end

function TestAwaitEverywhere:test_in_metamethods()
  t.run(function()
    local meta = {}
    for _, event in ipairs { "add", "concat", "unm", "len", "index", "call", "idiv", "band" } do
      meta["__" .. event] = function() return sleep(0, event) end
    end
    meta.__eq = function() return sleep(0, true) end
    meta.__lt = function() return sleep(0, true) end
    meta.__le = function() return sleep(0, false) end
    local written
    meta.__newindex = function(_, k) written = sleep(0, k) end
    local a, b = setmetatable({}, meta), setmetatable({}, meta)
    t.assertEquals({ a + b, a .. b, -a, #a, a.x, a(), a // b, a & b },
      { "add", "concat", "unm", "len", "index", "call", "idiv", "band" })
    t.assertEquals({ a == b, a < b, a <= b }, { true, true, false })
    a.key = 1
    t.assertEquals(written, "key")
  end)
end

function TestAwaitEverywhere:test_in_for_iterators_and_pairs()
  t.run(function()
    local seen = {}
    for i in function(_, i) return sleep(0, i < 3 and i + 1 or nil) end, nil, 0 do seen[#seen + 1] = i end
    t.assertEquals(seen, { 1, 2, 3 })
    local object = setmetatable({}, { __pairs = function() return sleep(0, next), { x = 1 }, nil end })
    for k, v in pairs(object) do t.assertEquals({ k, v }, { "x", 1 }) end
  end)
end

function TestAwaitEverywhere:test_in_dofile()
  t.run(function()
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    file:write "return (require 'asyncio').sleep(0, 'from the file')"
    file:close()
    local ok, result = pcall(dofile, name)
    os.remove(name)
    t.assertTrue(ok, result)
    t.assertEquals(result, "from the file")
  end)
end

-- Where Lua cannot yield: an error at once, which names the call, the place and the remedy.
TestAwaitImpossible = {}

-- Each wait, with its name.
local function waits()
  local future, task = new_future(), nil
  task = create_task(function() await(future) end)
  return {
    ["asyncio.sleep"] = function() sleep(60) end,
    ["asyncio.await"] = function() await(future) end,
    ["asyncio.await "] = function() await(task) end,
  }, function()
    future:set_result()
    await(task)
  end
end

-- `place(wait)` calls wait at an impossible place and returns the error it got there.
local function check_place(place, name, remedy)
  t.run(function()
    local loop = asyncio.get_running_loop()
    local all, finish = waits()
    for call, wait in pairs(all) do
      local before = loop:time()
      local err = place(wait)
      t.assertEquals(loop:time(), before)
      t.assert_isinstance(err, asyncio.Error)
      t.assertStrMatches(err.message, "[^\n]*await_spec.lua:%d+: .*")
      t.assertStrContains(err.message, (call:gsub(" ", "")))
      t.assertStrContains(err.message, name)
      t.assertStrContains(err.message, remedy)
    end
    finish()
  end)
end

function TestAwaitImpossible:test_inside_a_sort()
  check_place(function(wait)
    return t.error_of(table.sort, { 3, 2, 1 }, wait)
  end, "table.sort", "before or after")
end

function TestAwaitImpossible:test_inside_gsub()
  check_place(function(wait)
    return t.error_of(string.gsub, "abc", "%w", wait)
  end, "string.gsub", "before or after")
end

function TestAwaitImpossible:test_inside_require()
  check_place(function(wait)
    package.preload.await_spec_module = wait
    local err = t.error_of(require, "await_spec_module")
    package.preload.await_spec_module = nil
    return err
  end, "require", "before or after")
end

function TestAwaitImpossible:test_inside_tostring()
  check_place(function(wait)
    return t.error_of(tostring, setmetatable({}, { __tostring = wait }))
  end, "tostring", "before or after")
end

function TestAwaitImpossible:test_inside_load()
  check_place(function(wait)
    local _, err = load(wait)
    return err
  end, "load", "before or after")
end

function TestAwaitImpossible:test_inside_a_finaliser()
  check_place(function(wait)
    local err
    setmetatable({}, { __gc = function() err = t.error_of(wait) end })
    t.collect()
    return err
  end, "finaliser", "before or after")
end

function TestAwaitImpossible:test_inside_table_functions_with_metamethods()
  check_place(function(wait)
    return t.error_of(table.concat, setmetatable({}, { __index = wait, __len = function() return 1 end }))
  end, "table.concat", "before or after")
end

function TestAwaitImpossible:test_the_innermost_obstacle_is_named()
  check_place(function(wait)
    return t.error_of(table.sort, { 2, 1 }, function()
      string.gsub("abc", "%w", function() pcall(error) wait() end)
    end)
  end, "string.gsub", "before or after")
end

function TestAwaitImpossible:test_inside_a_callback_of_the_loop()
  check_place(function(wait)
    local future = new_future()
    asyncio.get_running_loop():call_soon(function() future:set_result(t.error_of(wait)) end)
    return await(future)
  end, "outside of a task", "asyncio.create_task")
end

function TestAwaitImpossible:test_inside_a_done_callback()
  check_place(function(wait)
    local future, got = done_future(), new_future()
    future:add_done_callback(function() got:set_result(t.error_of(wait)) end)
    return await(got)
  end, "outside of a task", "asyncio.create_task")
end

function TestAwaitImpossible:test_inside_a_standard_coroutine()
  check_place(function(wait)
    local ok, err = coroutine.resume(coroutine.create(wait))
    t.assertFalse(ok)
    return err
  end, "standard coroutine library", "asyncio.coroutine")
end

function TestAwaitImpossible:test_inside_a_standard_generator()
  check_place(function(wait)
    local generator = coroutine.wrap(function()
      coroutine.yield(1)
      coroutine.yield(t.error_of(wait))
    end)
    generator()
    return generator()
  end, "standard coroutine library", "asyncio.coroutine")
end

function TestAwaitImpossible:test_inside_a_standard_coroutine_within_one_of_ours()
  check_place(function(wait)
    return asyncio.coroutine.wrap(function()
      local _, err = coroutine.resume(coroutine.create(wait))
      return err
    end)()
  end, "standard coroutine library", "asyncio.coroutine")
end

function TestAwaitImpossible:test_inside_one_of_ours_within_a_standard_one()
  check_place(function(wait)
    return coroutine.wrap(function()
      local _, err = asyncio.coroutine.resume(coroutine.create(wait))
      return err
    end)()
  end, "standard coroutine library", "asyncio.coroutine")
end

function TestAwaitImpossible:test_inside_a_sort_within_one_of_our_coroutines()
  check_place(function(wait)
    return asyncio.coroutine.wrap(function()
      return t.error_of(table.sort, { 2, 1 }, wait)
    end)()
  end, "table.sort", "before or after")
end

function TestAwaitImpossible:test_inside_one_of_our_coroutines_within_a_sort()
  check_place(function(wait)
    return t.error_of(table.sort, { 2, 1 }, function() asyncio.coroutine.wrap(wait)() end)
  end, "table.sort", "before or after")
end

function TestAwaitImpossible:test_of_a_coroutine_inside_a_sort_does_not_begin_it()
  t.run(function()
    local ran = false
    local err = t.error_of(table.sort, { 2, 1 }, function()
      await(coroutine.create(function() ran = true end))
    end)
    t.assertStrContains(t.assert_isinstance(err, asyncio.Error).message, "table.sort")
    t.assertFalse(ran)
  end)
end

function TestAwaitImpossible:test_outside_of_a_task()
  local loop <close> = asyncio.new_event_loop()
  local future = loop:create_future()
  for call, wait in pairs {
    ["asyncio.sleep"] = function() sleep(60) end,
    ["asyncio.await"] = function() await(future) end,
  } do
    local err = t.assert_isinstance(t.error_of(wait), asyncio.Error)
    t.assertStrMatches(err.message, "[^\n]*await_spec.lua:%d+: .*")
    t.assertStrContains(err.message, call)
    t.assertStrContains(err.message, "outside of a task")
    t.assertStrContains(err.message, "asyncio.run")
  end
end

function TestAwaitImpossible:test_stream_methods_say_so_too()
  t.real(function()
    local server = asyncio.start_server(function(reader) reader:read(-1) end, "127.0.0.1", 0)
    local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    for _, wait in ipairs {
      function() reader:readline() end,
      function() reader:readexactly(1) end,
      function() server:serve_forever() end,
      function() asyncio.get_running_loop():getaddrinfo("localhost", 1) end,
      function() asyncio.open_connection("localhost", 1) end,
    } do
      local err = t.assert_isinstance(t.error_of(table.sort, { 2, 1 }, wait), asyncio.Error)
      t.assertStrContains(err.message, "table.sort")
      local _, other = coroutine.resume(coroutine.create(wait))
      t.assertStrContains(t.assert_isinstance(other, asyncio.Error).message, "asyncio.coroutine")
    end
    writer:write "still of use\n"
    writer:close()
    server:close()
    server:wait_closed()
  end)
end

function TestAwaitImpossible:test_leaves_nothing_armed()
  t.run(function()
    local future = new_future()
    t.error_of(table.sort, { 2, 1 }, function() await(future) end)
    t.error_of(table.sort, { 2, 1 }, function() sleep(0.001) end)
    future:set_result()
    sleep(0.005) -- would be woken too often, or too early
    t.assertEquals(sleep(0.001, "well"), "well")
  end)
end

-- A done future needs no suspension: its result can be had anywhere.
TestAwaitDone = {}

local function check_done(place)
  t.run(function()
    local done, failed = done_future(1, nil, 3), new_future()
    failed:set_exception("boom")
    local ended = create_task(function() return "of a task" end)
    await(ended)
    place(function()
      t.assertEquals(table.pack(await(done)), { n = 3, 1, nil, 3 })
      t.assertEquals(await(ended), "of a task")
      t.assertEquals(t.error_of(await, failed), "boom")
    end)
  end)
end

function TestAwaitDone:test_inside_a_sort()
  check_done(function(get)
    table.sort({ 2, 1 }, function(a, b)
      get()
      return a < b
    end)
  end)
end

function TestAwaitDone:test_inside_gsub_and_tostring()
  check_done(function(get)
    string.gsub("abc", "%w", function() get() end)
    tostring(setmetatable({}, {
      __tostring = function()
        get()
        return ""
      end,
    }))
  end)
end

function TestAwaitDone:test_inside_a_finaliser()
  check_done(function(get)
    local ok, err
    setmetatable({}, { __gc = function() ok, err = pcall(get) end })
    t.collect()
    t.assertTrue(ok, err)
  end)
end

function TestAwaitDone:test_inside_a_callback()
  check_done(function(get)
    local future = new_future()
    asyncio.get_running_loop():call_soon(function() future:set_result(pcall(get)) end)
    t.assertTrue(await(future))
  end)
end

function TestAwaitDone:test_inside_standard_and_our_coroutines()
  check_done(function(get)
    coroutine.wrap(get)()
    asyncio.coroutine.wrap(get)()
    coroutine.wrap(function() asyncio.coroutine.wrap(get)() end)()
  end)
end

function TestAwaitDone:test_outside_of_the_loop()
  local loop <close> = asyncio.new_event_loop()
  local future = loop:create_future()
  future:set_result(1, 2)
  t.assertEquals({ await(future) }, { 1, 2 })
end

function TestAwaitDone:test_after_its_loop_is_closed()
  local loop = asyncio.new_event_loop()
  local future = loop:create_future()
  future:set_result(1, 2)
  loop:close()
  t.assertEquals({ await(future) }, { 1, 2 })
  t.run(function() t.assertEquals({ await(future) }, { 1, 2 }) end)
end

t.finish()
