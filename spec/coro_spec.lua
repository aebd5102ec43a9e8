-- asyncio.coroutine: the standard table's drop-in, in whose coroutines an await suspends the task.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep
local co = asyncio.coroutine

local function new_future() return asyncio.get_running_loop():create_future() end

local function closing(fn) return setmetatable({}, { __close = fn }) end

TestGenerator = {}

function TestGenerator:test_may_await_between_its_items()
  t.run(function()
    local generator = co.wrap(function()
      for i = 1, 3 do
        sleep(0.001)
        co.yield(i)
      end
    end)
    local seen = {}
    for i in generator do seen[#seen + 1] = i end
    t.assertEquals(seen, { 1, 2, 3 })
  end)
end

function TestGenerator:test_suspends_the_whole_task_and_lets_others_run()
  t.run(function()
    local log = {}
    local other = create_task(function()
      for i = 1, 3 do
        log[#log + 1] = "other " .. i
        sleep(0)
      end
    end)
    local generator = co.wrap(function()
      for i = 1, 3 do
        sleep(0)
        log[#log + 1] = "item " .. i
        co.yield()
      end
    end)
    for _ = 1, 3 do generator() end
    await(other)
    t.assertEquals(log, { "other 1", "item 1", "other 2", "item 2", "other 3", "item 3" })
  end)
end

function TestGenerator:test_takes_and_gives_any_values_around_an_await()
  t.run(function()
    local thread = co.create(function(...)
      local args = table.pack(...)
      sleep(0)
      local got = table.pack(co.yield(nil, 1, nil))
      sleep(0)
      return args.n, got.n, sleep(0, nil, "end")
    end)
    t.assertEquals(table.pack(co.resume(thread, 1, nil)), { n = 4, true, nil, 1, nil })
    t.assertEquals(table.pack(co.resume(thread, nil, nil, nil)), { n = 5, true, 2, 3, nil, "end" })
    t.assertEquals({ co.resume(thread) }, { false, "cannot resume dead coroutine" })
  end)
end

function TestGenerator:test_nested_three_deep()
  t.run(function()
    local function level(depth)
      return co.wrap(function()
        for i = 1, 2 do
          sleep(0)
          if depth == 1 then
            co.yield(i)
          else
            for x in level(depth - 1) do
              sleep(0.0005)
              co.yield(i * 10 ^ (depth - 1) // 1 + x)
            end
          end
        end
      end)
    end
    local seen = {}
    for x in level(3) do seen[#seen + 1] = math.tointeger(x) end
    t.assertEquals(seen, { 111, 112, 121, 122, 211, 212, 221, 222 })
  end)
end

function TestGenerator:test_nested_fifty_deep()
  t.run(function()
    local function level(depth)
      if depth == 0 then return function() return sleep(0, "bottom") end end
      local inner = co.wrap(level(depth - 1))
      return function() return inner() end
    end
    t.assertEquals(level(50)(), "bottom")
  end)
end

function TestGenerator:test_nested_too_deep_is_an_error()
  t.run(function()
    local function level(depth)
      if depth == 0 then return function() return sleep(0, "bottom") end end
      local inner = co.wrap(level(depth - 1))
      return function() return inner() end
    end
    t.assertStrContains(tostring(t.error_of(level(1000))), "C stack overflow")
    t.assertEquals(sleep(0, "well"), "well")
  end)
end

function TestGenerator:test_is_the_same_task_inside()
  t.run(function()
    local self = asyncio.current_task()
    t.assertIs(co.wrap(function()
      sleep(0)
      return asyncio.current_task()
    end)(), self)
  end)
end

function TestGenerator:test_goes_on_in_another_task()
  t.run(function()
    local generator = co.wrap(function()
      for i = 1, 3 do
        sleep(0.001)
        co.yield(i, asyncio.current_task())
      end
    end)
    for i = 1, 3 do
      local task = create_task(generator)
      local number, inside = await(task)
      t.assertEquals(number, i)
      t.assertIs(inside, task)
    end
  end)
end

function TestGenerator:test_may_be_made_outside_of_the_loop()
  local generator = co.wrap(function()
    co.yield "outside"
    sleep(0)
    return "inside"
  end)
  t.assertEquals(generator(), "outside")
  t.run(function() t.assertEquals(generator(), "inside") end)
end

function TestGenerator:test_an_await_outside_of_a_task_raises_in_it()
  local generator = co.wrap(function()
    local ok, err = pcall(sleep, 0)
    return ok, tostring(err)
  end)
  local ok, err = generator()
  t.assertFalse(ok)
  t.assertStrContains(err, "outside of a task")
end

function TestGenerator:test_started_by_the_standard_table_may_await_once_ours_resumes_it()
  t.run(function()
    local thread = coroutine.create(function()
      coroutine.yield "standard"
      return sleep(0, "ours")
    end)
    t.assertEquals({ coroutine.resume(thread) }, { true, "standard" })
    t.assertEquals({ co.resume(thread) }, { true, "ours" })
  end)
end

function TestGenerator:test_the_standard_yield_gives_to_the_consumer_too()
  t.run(function()
    local generator = co.wrap(function()
      sleep(0)
      coroutine.yield(1)
      sleep(0)
      coroutine.yield(2)
    end)
    t.assertEquals(generator(), 1)
    t.assertEquals(generator(), 2)
  end)
end

function TestGenerator:test_timeouts_reach_into_it()
  t.run(function()
    local unwound = false
    t.assert_raises(asyncio.TimeoutError, function()
      local _ <close> = asyncio.timeout(0.005)
      for _ in co.wrap(function()
        local _ <close> = closing(function()
          sleep(0)
          unwound = true
        end)
        while true do
          sleep(0.001)
          co.yield(1)
        end
      end) do end
    end)
    -- the time may run out in the consumer's turn as well as in the generator's: this one never waits
    t.assertTrue(unwound)
  end)
end

TestGeneratorError = {}

function TestGeneratorError:test_passes_through_wrap_as_the_same_value()
  t.run(function()
    local err = {}
    local generator = co.wrap(function()
      sleep(0)
      error(err)
    end)
    t.assertIs(t.error_of(generator), err)
  end)
end

function TestGeneratorError:test_is_a_result_of_resume()
  t.run(function()
    local thread = co.create(function()
      sleep(0)
      error("boom", 0)
    end)
    t.assertEquals({ co.resume(thread) }, { false, "boom" })
    t.assertEquals(co.status(thread), "dead")
    t.assertEquals({ co.resume(thread) }, { false, "cannot resume dead coroutine" })
  end)
end

function TestGeneratorError:test_passes_through_three_levels()
  t.run(function()
    local function level(depth)
      return co.wrap(function()
        sleep(0)
        if depth == 1 then error({ "deep" }, 0) end
        co.yield(level(depth - 1)())
      end)
    end
    t.assertEquals(t.error_of(level(3)), { "deep" })
  end)
end

-- Each level in a chunk of its own, so that the traceback can be told apart.
local function chunk(name, source, ...) return assert(load(source, "=" .. name))(...) end

function TestGeneratorError:test_has_a_traceback_that_shows_both_levels()
  t.run(function()
    local inner = chunk("inner_chunk", [[
      local sleep = ...
      return function()
        sleep(0)
        error "boom"
      end]], sleep)
    local outer = chunk("outer_chunk", [[
      local wrap, inner = ...
      return function()
        local generator = wrap(inner)
        generator()
        return 1
      end]], co.wrap, inner)
    local task = create_task(outer)
    t.assertEquals(t.error_of(await, task), "inner_chunk:4: boom")
    local text = task:traceback()
    local inner_at, outer_at = text:find("inner_chunk:4", 1, true), text:find("outer_chunk:4", 1, true)
    t.assertNotNil(inner_at, text)
    t.assertNotNil(outer_at, text)
    t.assertTrue(inner_at < outer_at)
  end)
end

function TestGeneratorError:test_has_a_traceback_that_shows_all_of_three_levels()
  t.run(function()
    local fn = chunk("level_0", "local sleep = ... return function() sleep(0) error({}) end", sleep)
    for i = 1, 3 do
      fn = chunk("level_" .. i, "local wrap, f = ... return function() wrap(f)() return 1 end", co.wrap, fn)
    end
    local task = create_task(fn)
    t.assertEquals(t.error_of(await, task), {})
    for i = 0, 3 do t.assertStrContains(task:traceback(), "level_" .. i .. ":1") end
  end)
end

function TestGeneratorError:test_an_older_error_leaves_no_trace_in_it()
  t.run(function()
    local fail = chunk("older_chunk", "return function() error({}) end")
    local task = create_task(function()
      pcall(co.wrap(fail))
      sleep(0)
      error({}, 0)
    end)
    pcall(await, task)
    t.assertNil(task:traceback():find("older_chunk", 1, true))
  end)
end

function TestGeneratorError:test_may_await_while_it_unwinds()
  t.run(function()
    local log = {}
    local thread = co.create(function()
      local _ <close> = closing(function(_, err)
        sleep(0.001)
        log[#log + 1] = err
      end)
      co.yield(1)
      error("boom", 0)
    end)
    t.assertEquals({ co.resume(thread) }, { true, 1 })
    t.assertEquals({ co.resume(thread) }, { false, "boom" })
    t.assertEquals(log, { "boom" })
  end)
end

-- A generator that is closed half-way.
TestGeneratorClose = {}

function TestGeneratorClose:test_runs_its_closes_which_may_await()
  t.run(function()
    local log = {}
    local thread = co.create(function()
      local _ <close> = closing(function()
        sleep(0.001)
        log[#log + 1] = "outer"
      end)
      local _ <close> = closing(function()
        sleep(0.001)
        log[#log + 1] = "inner"
      end)
      sleep(0)
      co.yield(1)
      log[#log + 1] = "not this"
    end)
    t.assertEquals({ co.resume(thread) }, { true, 1 })
    t.assertEquals({ co.close(thread) }, { true })
    t.assertEquals(log, { "inner", "outer" })
    t.assertEquals(co.status(thread), "dead")
  end)
end

function TestGeneratorClose:test_an_error_of_a_close_is_its_result()
  t.run(function()
    local thread = co.create(function()
      local _ <close> = closing(function()
        sleep(0)
        error("boom", 0)
      end)
      co.yield()
    end)
    co.resume(thread)
    t.assertEquals({ co.close(thread) }, { false, "boom" })
    t.assertEquals(co.status(thread), "dead")
  end)
end

function TestGeneratorClose:test_that_closes_what_it_consumes_itself()
  t.run(function()
    local log = {}
    local function source()
      local _ <close> = closing(function()
        sleep(0)
        log[#log + 1] = "source"
      end)
      while true do
        sleep(0)
        co.yield(1)
      end
    end
    local thread = co.create(function()
      local inner = co.create(source)
      local _ <close> = closing(function()
        t.assertEquals({ co.close(inner) }, { true })
        log[#log + 1] = "consumer"
      end)
      while true do co.yield(select(2, co.resume(inner))) end
    end)
    t.assertEquals({ co.resume(thread) }, { true, 1 })
    t.assertEquals({ co.close(thread) }, { true })
    t.assertEquals(log, { "source", "consumer" })
  end)
end

function TestGeneratorClose:test_a_pcall_in_it_cannot_keep_it_alive()
  t.run(function()
    local thread = co.create(function()
      while true do pcall(co.yield) end
    end)
    co.resume(thread)
    pcall(co.close, thread)
    t.assertEquals(co.status(thread), "dead")
  end)
end

function TestGeneratorClose:test_asyncio_pcall_in_it_lets_it_go()
  t.run(function()
    local thread = co.create(function()
      while true do co.yield(asyncio.pcall(co.yield)) end
    end)
    co.resume(thread)
    t.assertEquals({ co.close(thread) }, { true })
    t.assertEquals(co.status(thread), "dead")
  end)
end

function TestGeneratorClose:test_one_that_has_not_begun_or_has_ended()
  t.run(function()
    local ran = false
    local thread = co.create(function() ran = true end)
    t.assertEquals({ co.close(thread) }, { true })
    t.assertEquals(co.status(thread), "dead")
    t.assertFalse(ran)
    thread = co.create(function() end)
    co.resume(thread)
    t.assertEquals({ co.close(thread) }, { true })
    t.assertEquals({ co.close(thread) }, { true })
  end)
end

function TestGeneratorClose:test_by_the_standard_close_an_await_in_it_raises_and_names_the_remedy()
  t.run(function()
    local seen
    local thread = co.create(function()
      local _ <close> = closing(function()
        local _
        _, seen = pcall(sleep, 0)
      end)
      co.yield()
    end)
    co.resume(thread)
    t.assertEquals({ coroutine.close(thread) }, { true })
    t.assertStrContains(t.assert_isinstance(seen, asyncio.Error).message, "asyncio.coroutine")
  end)
end

function TestGeneratorClose:test_a_task_that_is_cancelled_meanwhile_unwinds_both()
  t.run(function()
    local log = {}
    local task = create_task(function()
      local _ <close> = closing(function() log[#log + 1] = "task" end)
      local thread = co.create(function()
        local _ <close> = closing(function()
          local _ <close> = closing(function() log[#log + 1] = "generator" end)
          sleep(60)
        end)
        co.yield()
      end)
      co.resume(thread)
      local ok, err = co.close(thread)
      t.assertFalse(ok)
      error(err, 0)
    end)
    sleep(0)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, await, task)
    t.assertEquals(log, { "generator", "task" })
  end)
end

function TestGeneratorClose:test_is_the_same_outside_of_a_task()
  local log = {}
  local thread = co.create(function()
    local _ <close> = closing(function() log[#log + 1] = "closed" end)
    co.yield()
  end)
  co.resume(thread)
  t.assertEquals({ co.close(thread) }, { true })
  t.assertEquals(log, { "closed" })
  t.assertEquals(co.status(thread), "dead")
end

-- While it waits inside its task.
TestGeneratorWaiting = {}

local function waiting()
  local thread = co.create(function() return sleep(0.005, "value") end)
  local task = create_task(co.resume, thread)
  sleep(0)
  return thread, task
end

function TestGeneratorWaiting:test_its_status_is_normal()
  t.run(function()
    local thread, task = waiting()
    t.assertEquals(co.status(thread), "normal")
    t.assertEquals({ await(task) }, { true, "value" })
    t.assertEquals(co.status(thread), "dead")
  end)
end

function TestGeneratorWaiting:test_every_level_is_normal()
  t.run(function()
    local inner = co.create(function() sleep(0.001) end)
    local outer = co.create(function() co.resume(inner) end)
    local task = create_task(co.resume, outer)
    sleep(0)
    t.assertEquals({ co.status(inner), co.status(outer) }, { "normal", "normal" })
    await(task)
  end)
end

function TestGeneratorWaiting:test_resumed_from_elsewhere_it_refuses_and_goes_on()
  t.run(function()
    local thread, task = waiting()
    local ok, err = co.resume(thread)
    t.assertFalse(ok)
    t.assertStrContains(tostring(err), "waits inside its task")
    t.assertEquals({ await(task) }, { true, "value" })
  end)
end

function TestGeneratorWaiting:test_called_from_elsewhere_it_raises_and_goes_on()
  t.run(function()
    local generator = co.wrap(function() return sleep(0.001, "value") end)
    local task = create_task(generator)
    sleep(0)
    t.assertStrContains(tostring(t.error_of(generator)), "waits inside its task")
    t.assertEquals(await(task), "value")
  end)
end

function TestGeneratorWaiting:test_closed_from_elsewhere_it_raises_and_goes_on()
  t.run(function()
    local thread, task = waiting()
    t.assertStrContains(tostring(t.error_of(co.close, thread)), "waits inside its task")
    t.assertEquals({ await(task) }, { true, "value" })
  end)
end

function TestGeneratorWaiting:test_resumed_by_the_standard_table_it_breaks_and_nothing_else()
  t.run(function()
    local thread, task = waiting()
    coroutine.resume(thread)
    local ok, err = await(task)
    t.assertFalse(ok)
    t.assertNotNil(err)
    t.assertEquals(sleep(0.006, "well"), "well")
  end)
end

function TestGeneratorWaiting:test_closed_by_the_standard_table_it_breaks_and_nothing_else()
  t.run(function()
    local thread, task = waiting()
    coroutine.close(thread)
    local ok, err = await(task)
    t.assertFalse(ok)
    t.assertNotNil(err)
    t.assertEquals(sleep(0.006, "well"), "well")
  end)
end

function TestGeneratorWaiting:test_a_middle_level_closed_by_the_standard_table_breaks_its_task_alone()
  t.run(function()
    local inner = co.create(function() sleep(0.002) end)
    local middle = co.create(function() return co.resume(inner) end)
    local task = create_task(co.resume, middle)
    sleep(0)
    coroutine.close(middle)
    local ok = await(task)
    t.assertFalse(ok)
    t.assertEquals(sleep(0.005, "well"), "well")
  end)
end

function TestGeneratorWaiting:test_dropped_with_its_loop_it_can_be_closed()
  local thread = co.create(function() sleep(60) end)
  local loop = asyncio.new_event_loop()
  loop:create_task(co.resume, thread)
  loop:run_until_complete(function() sleep(0) end)
  loop:close()
  t.collect()
  coroutine.close(thread)
  t.assertEquals(coroutine.status(thread), "dead")
end

function TestGeneratorWaiting:test_cancelling_the_task_unwinds_it()
  t.run(function()
    local future, log = new_future(), {}
    local task = create_task(co.wrap(function()
      local _ <close> = closing(function()
        sleep(0)
        log[#log + 1] = "unwound"
      end)
      await(future)
    end))
    sleep(0)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, await, task)
    t.assertEquals(log, { "unwound" })
  end)
end

-- The same scripts with the standard table and with ours, inside a task and outside of one: what
-- they note must be the same. A script gets the table and a function to note values with.
TestDropIn = {}

local scripts = {}

function scripts.a_generator(c, note)
  for i, s in c.wrap(function(a)
    for i = 1, 3 do a = c.yield(i, tostring(a)) end
  end), "first" do note(i, s) end
end

function scripts.values_both_ways(c, note)
  local thread = c.create(function(...)
    note("args", select("#", ...), ...)
    note("got", select("#", c.yield()), c.yield(nil, nil))
    return nil, 1, nil
  end)
  note(c.resume(thread, nil, 2, nil))
  note(c.resume(thread, 1, 2))
  note(c.resume(thread, 3))
  note(c.resume(thread))
end

function scripts.status(c, note)
  local thread, outer
  thread = c.create(function()
    note(c.status(thread), c.status(outer))
    c.yield()
  end)
  outer = c.create(function()
    note(c.resume(thread))
    note(c.status(thread), c.status(outer))
  end)
  note(c.status(thread), c.status(outer))
  note(c.resume(outer))
  note(c.status(thread), c.status(outer))
  note(c.resume(thread))
  note(c.status(thread))
end

function scripts.running_and_isyieldable(c, note)
  local thread
  thread = c.create(function()
    local running, main = c.running()
    note(running == thread, main, c.isyieldable())
  end)
  note(c.resume(thread))
  note(c.isyieldable(thread))
end

function scripts.errors(c, note)
  local object = {}
  for _, value in ipairs { "text", 42, false, object } do
    local thread = c.create(function() error(value, 0) end)
    local ok, err = c.resume(thread)
    note(ok, err == value, c.status(thread))
    note(c.resume(thread))
    local closed, again = c.close(thread)
    note(closed, again == value)
    note(c.close(thread))
  end
  note(c.resume(c.create(function() error() end)))
end

function scripts.errors_with_their_place(c, note)
  note(c.resume(c.create(function() error "boom" end)))
  note(c.resume(c.create(function() error("boom", 2) end)))
  note(c.resume(c.create(function() return nil + 1 end)))
end

function scripts.errors_through_wrap(c, note)
  local ok, err = pcall(c.wrap(function() error({ "object" }) end))
  note(ok, err[1])
  ok, err = pcall(c.wrap(function() error("text", 0) end))
  note(ok, type(err), (err:gsub("^.*text", "text")))
end

function scripts.dead_and_running_ones_cannot_be_resumed(c, note)
  local thread
  thread = c.create(function() note(c.resume(thread)) end)
  note(c.resume(thread))
  note(c.resume(thread))
  note(c.resume((c.running())))
  local wrapped = c.wrap(function() end)
  wrapped()
  local ok, err = pcall(wrapped)
  note(ok, type(err), (tostring(err):gsub("^.*: ", "")))
  wrapped = c.wrap(function() wrapped() end)
  ok, err = pcall(wrapped)
  note(ok, type(err), (tostring(err):gsub("^.*: ", "")))
end

function scripts.close_runs_what_is_pending(c, note)
  local thread = c.create(function()
    local _ <close> = closing(function() note "outer" end)
    local _ <close> = closing(function() note "inner" end)
    c.yield(1)
    note "never"
  end)
  note(c.resume(thread))
  note(c.close(thread))
  note(c.status(thread))
  note(c.close(thread))
  note(c.resume(thread))
end

function scripts.close_with_an_error_in_it(c, note)
  local thread = c.create(function()
    local _ <close> = closing(function(_, err) note("outer", err) end)
    local _ <close> = closing(function() error("in close", 0) end)
    c.yield(1)
  end)
  note(c.resume(thread))
  note(c.close(thread))
  note(c.status(thread))
end

function scripts.what_cannot_be_closed(c, note)
  local thread
  if t.lua55 then return end -- its coroutines can close themselves; ours refuse, as 5.4's do
  thread = c.create(function()
    local ok, err = pcall(c.close, thread)
    note(ok, (tostring(err):gsub("^.*: ", "")))
    local inner = c.create(function()
      ok, err = pcall(c.close, thread)
      note(ok, (tostring(err):gsub("^.*: ", "")))
    end)
    c.resume(inner)
  end)
  note(c.resume(thread))
end

function scripts.an_error_through_wrap_closes_what_is_pending(c, note)
  local wrapped = c.wrap(function()
    local _ <close> = closing(function(_, err) note("closed with", err) end)
    c.yield(1)
    error({ "boom" }, 0)
  end)
  note(wrapped())
  note(pcall(wrapped))
end

function scripts.yield_across_pcall_and_metamethods(c, note)
  local object = setmetatable({}, { __index = function(_, k) return c.yield(k) end })
  local thread = c.create(function()
    note(pcall(c.yield, "in pcall"))
    note(object.key)
    note(pcall(function() error(c.yield "before an error", 0) end))
  end)
  for i = 1, 4 do note(c.resume(thread, i)) end
end

function scripts.yield_where_it_cannot(c, note)
  local thread = c.create(function()
    local ok, err = pcall(table.sort, { 2, 1 }, function() c.yield() end)
    note(ok, err)
  end)
  note(c.resume(thread))
end

function scripts.wrong_arguments(c, note)
  for _, name in ipairs { "create", "resume", "wrap", "status", "close" } do
    for _, value in ipairs { 42, "text", {} } do
      local ok, err = pcall(c[name], value)
      note(name, ok, (err:gsub("'[%w%.]*'", "'?'"):gsub("thread expected", "coroutine expected")))
    end
  end
  note((pcall(c.resume)))
  note((pcall(c.create)))
end

function scripts.many_values(c, note)
  local thread = c.create(function(...) return select("#", c.yield(...)), ... end)
  local list = {}
  for i = 1, 200 do list[i] = i end
  note(c.resume(thread, table.unpack(list)))
  note(c.resume(thread, table.unpack(list)))
end

function scripts.too_many_values_are_an_error(c, note)
  local thread = c.create(function(...) return select("#", ...) end)
  local list = table.pack(pcall(table.unpack, {}, 1, 900000))
  note(list[1])
  if list[1] then note((c.resume(thread, table.unpack(list, 1, list.n)))) end
end

function scripts.recursion(c, note)
  local function permutations(list, n)
    if n == 0 then
      c.yield(table.concat(list))
      return
    end
    for i = 1, n do
      list[n], list[i] = list[i], list[n]
      permutations(list, n - 1)
      list[n], list[i] = list[i], list[n]
    end
  end
  for text in c.wrap(function() permutations({ 1, 2, 3, 4 }, 4) end) do note(text) end
end

function scripts.producer_filter_consumer(c, note)
  local producer = c.create(function() for i = 1, 5 do c.yield(i) end end)
  local filter = c.create(function()
    while true do
      local _, item = c.resume(producer)
      if not item then return end
      if item % 2 == 1 then c.yield("odd " .. item) end
    end
  end)
  for _ = 1, 5 do note(c.resume(filter)) end
end

function scripts.a_for_loop_that_breaks(c, note)
  local generator = c.wrap(function() for i = 1, 10 do c.yield(i) end end)
  for i in generator do
    note(i)
    if i == 3 then break end
  end
  note(generator())
end

function scripts.a_c_function(c, note)
  note(c.resume(c.create(math.max), 1, 3, 2))
  note(c.wrap(tostring)(42))
  note(pcall(c.wrap(error), { 1 }))
end

function scripts.yield_outside(c, note)
  local thread = c.create(c.yield)
  note(c.resume(thread, 1, 2))
  note(c.resume(thread, 3, 4))
  note(c.status(thread))
end

function scripts.debug_sees_it(c, note)
  local thread = c.create(function()
    local mine = 42
    c.yield()
    return mine
  end)
  c.resume(thread)
  note(type(debug.traceback(thread)), debug.getlocal(thread, 1, 1) ~= nil)
  note(c.resume(thread))
end

-- What a value looks like in the notes: the same for equal ones of two runs.
local function shown(value)
  local kind = type(value)
  if kind == "table" and getmetatable(value) == nil then
    local parts = {}
    for i, item in ipairs(value) do parts[i] = shown(item) end
    return "{" .. table.concat(parts, " ") .. "}"
  elseif kind == "table" or kind == "function" or kind == "userdata" or kind == "thread" then
    return kind
  end
  return tostring(value)
end

local function notes_of(script, c)
  local notes = {}
  script(c, function(...)
    local parts = { n = select("#", ...), ... }
    for i = 1, parts.n do parts[i] = shown(parts[i]) end
    notes[#notes + 1] = table.concat(parts, ", ")
  end)
  return notes
end

for name, script in pairs(scripts) do
  TestDropIn["test_in_a_task_" .. name] = function()
    t.run(function() t.assertEquals(notes_of(script, co), notes_of(script, coroutine)) end)
  end
  TestDropIn["test_outside_" .. name] = function()
    t.assertEquals(notes_of(script, co), notes_of(script, coroutine))
  end
end

function TestDropIn:test_has_the_same_names()
  local function names(tab)
    local list = {}
    for name in pairs(tab) do list[#list + 1] = name end
    table.sort(list)
    return list
  end
  t.assertEquals(names(co), names(coroutine))
end

function TestDropIn:test_patches_nothing()
  t.assertFalse(rawequal(co.resume, coroutine.resume))
  t.assertEquals(coroutine.wrap(function() coroutine.yield(1) end)(), 1)
end

function TestDropIn:test_a_task_is_running_and_yieldable()
  t.run(function()
    local thread, main = co.running()
    t.assertIs(thread, asyncio.current_task():get_coro())
    t.assertFalse(main)
    t.assertTrue(co.isyieldable())
  end)
end

function TestDropIn:test_a_dropped_generator_is_garbage()
  t.run(function()
    local weak = setmetatable({}, { __mode = "k" })
    for _ = 1, 10 do
      local thread = co.create(function()
        sleep(0)
        co.yield()
      end)
      co.resume(thread)
      weak[thread] = true
    end
    t.collect()
    t.assertNil(next(weak))
  end)
end

t.finish()
