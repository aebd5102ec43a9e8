-- What a person is told when something fails: where it was raised, and the whole way there; nothing that another
-- value's words hide.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

TestLeavingRun, TestTheWay, TestCaught, TestHidden = {}, {}, {}, {}

--- Functions from chunks of their own, to be told apart in tracebacks: leaf fails, where it is called by branch.
local function chunk(name, source, ...) return assert(load(source, "=" .. name))(...) end

local function failing(err)
  local leaf = chunk("leaf", "local sleep, err = ... return function() sleep(0) error(err, 0) end", sleep, err)
  return chunk("branch", "local leaf = ... return function() leaf() return 1 end", leaf)
end

--- The patterns stand in the text, one behind the other.
local function assert_in_order(text, ...)
  local at = 1
  for _, pattern in ipairs { ... } do
    local first, last = text:find(pattern, at)
    if not first then t.fail(("%q expected behind what came before, in:\n%s"):format(pattern, text)) end
    at = last + 1
  end
end

-- Errors that leave run

local NOBODY_LISTENS = [[
  local asyncio = require "asyncio"
  local function fetch(port)
    local reader = asyncio.open_connection("127.0.0.1", port)
    return reader:readline()
  end
  local function work() local page = fetch(1) return page end
  asyncio.run(work)
]]

function TestLeavingRun:test_an_Error_shows_where_it_comes_from_under_plain_lua()
  local _, errors, code = t.lua(NOBODY_LISTENS)
  t.assertEquals(code, 1)
  assert_in_order(errors, "%[ECONNREFUSED%] connection refused: connect 127%.0%.0%.1:1\n", "stack traceback:\n",
    ":3: in upvalue 'fetch'\n", ":6: in function <")
  t.assertNil(errors:find("runner.lua", 1, true), errors)
end

function TestLeavingRun:test_an_Error_has_its_way_in_words_only_then()
  local err = asyncio.TimeoutError "late"
  t.run(function()
    pcall(await, create_task(failing(err)))
    t.assertEquals(tostring(err), "TimeoutError: late")
  end)
  t.assertIs(t.error_of(asyncio.run, failing(err)), err)
  assert_in_order(tostring(err), "^TimeoutError: late\nstack traceback:\n", "leaf:1", "branch:1")
end

function TestLeavingRun:test_the_traceback_goes_through_awaited_tasks()
  for _, err in ipairs { "boom", asyncio.Error "boom" } do
    local told = tostring(t.error_of(asyncio.run, function()
      await(create_task { failing(err), name = "inner" })
    end))
    assert_in_order(told, "^boom\nstack traceback:\n", "in task 'inner':\n", "\tleaf:1", "\tbranch:1",
      "in task 'Task%-%d+':\n", "'asyncio.await'\n", "words_spec.lua")
  end
end

function TestLeavingRun:test_other_values_are_told_by_the_command()
  local command = (arg[0]:match "^(.*)/spec/" or ".") .. "/bin/asyncio"
  local _, errors = t.lua(([[
    local out = io.popen("%s -- - 2>&1 <<'END'\nlocal function leaf() error {} end\nleaf()\nEND", "r")
    io.stderr:write(out:read "a")
  ]]):format((os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4") .. " " .. command))
  assert_in_order(errors, "asyncio: %(error object is a table value%)\n", "stack traceback:\n", "stdin:1: in local",
    "stdin:2: in main chunk")
end

function TestLeavingRun:test_a_group_says_which_task_failed_where_and_where_the_block_was()
  local told = tostring(t.error_of(asyncio.run, function()
    local group <close> = asyncio.TaskGroup()
    group:create_task { failing "boom", name = "one of them" }
    sleep(10)
  end))
  assert_in_order(told, "^ExceptionGroup: [^\n]*\n", "1%. boom\n", "in task 'one of them':\n", "leaf:1", "branch:1",
    "\nstack traceback:\n", "in function 'asyncio.sleep'\n", "words_spec.lua:%d+: in function")
end

function TestLeavingRun:test_a_TimeoutError_says_where_it_was_waited()
  local deep = chunk("deep", "local sleep = ... return function() sleep(10) end", sleep)
  local function limited()
    local _ <close> = asyncio.timeout(0.01)
    deep()
  end
  local function waits()
    asyncio.wait_for(deep, 0.01)
    return 1
  end
  for _, main in ipairs { limited, waits } do
    local told = tostring(t.error_of(asyncio.run, main))
    assert_in_order(told, "^TimeoutError: [^\n]*\nstack traceback:\n", "'asyncio.sleep'\n", "deep:1", "words_spec.lua")
  end
end

-- Through what the way goes

--- The traceback of a task that failed so.
local function traceback_of(fn)
  local task = create_task(fn)
  pcall(await, task)
  return task:traceback()
end

function TestTheWay:test_goes_through_gather_wait_for_shield_and_result()
  t.run(function()
    for name, wait in pairs {
      gather = function(task) asyncio.gather(task, function() return 1 end) end,
      wait_for = function(task) asyncio.wait_for(task, 5) end,
      shield = function(task) await(asyncio.shield(task)) end,
      twice_shielded = function(task) await(asyncio.shield(asyncio.shield(task))) end,
      as_completed = function(task) for done in asyncio.as_completed { task } do done:result() end end,
      result = function(task)
        asyncio.wait { task }
        return task:result(), 1
      end,
      exception = function(task)
        asyncio.wait { task }
        error(task:exception(), 0)
      end,
      move_on_after = function(task) asyncio.move_on_after(5, await, task) end,
      pcall = function(task)
        local _, err = asyncio.pcall(await, task)
        sleep(0)
        error(err, 0)
      end,
      coroutine = function(task)
        local go = asyncio.coroutine.wrap(function() await(task) end)
        go()
      end,
    } do
      local text = traceback_of(function()
        wait(create_task { failing("boom " .. name), name = "inner" })
        return 1
      end)
      assert_in_order(text, "^stack traceback:\nin task 'inner':\n", "leaf:1", "branch:1", "in task 'Task%-%d+':\n",
        "words_spec.lua")
    end
  end)
end

function TestTheWay:test_begins_in_the_worker()
  t.real(function()
    local text = traceback_of(function()
      asyncio.to_thread(function()
        local function offender() error "boom" end
        offender()
        return 1
      end)
    end)
    assert_in_order(text, "^stack traceback:\nin a worker thread:\n", "offender", "in task 'Task%-%d+':\n",
      "'asyncio.to_thread'\n")
  end)
end

function TestTheWay:test_of_one_task_alone_names_none()
  t.run(function()
    local text = traceback_of(failing "boom")
    t.assertNil(text:find("in task", 1, true), text)
  end)
end

function TestTheWay:test_through_many_tasks_is_cut_in_the_middle()
  t.run(function()
    local function chain(n)
      if n == 0 then failing "boom"() end
      await(create_task(chain, n - 1))
      return 1
    end
    local text = traceback_of(function() chain(t.count(2000)) end)
    assert_in_order(text, "leaf:1", "skipping %d+ tasks", "in task")
    t.assertTrue(#text < 10000, #text)
  end)
end

function TestTheWay:test_of_a_callback_that_asks_for_the_result()
  t.run(function(reports)
    local task = create_task { failing "boom", name = "inner" }
    task:add_done_callback(function(done) done:result() end)
    sleep(0.1)
    local report = t.take_report(reports, "a callback failed")
    t.assertEquals(report.exception, "boom") -- as it was raised
    assert_in_order(report.traceback, "in task 'inner':\n", "leaf:1", "in a callback:\n", "words_spec.lua")
  end)
end

-- Caught, and raised again

function TestCaught:test_traceback_keeps_value_and_traceback()
  t.run(function()
    for _, err in ipairs { "boom", asyncio.Error "boom", {}, 42 } do
      local ok, value, text = asyncio.xpcall(failing(err), asyncio.traceback)
      t.assertIs(value, err)
      t.assertFalse(ok)
      assert_in_order(text, "^stack traceback:\n", "leaf:1", "branch:1")
    end
    local ok, err = asyncio.xpcall(failing(asyncio.Error "boom"), asyncio.traceback)
    t.assertFalse(ok)
    t.assertStrContains(err.traceback, "leaf:1")
  end)
end

-- Under pcall the traceback was lost, and what was raised again came from there.
function TestCaught:test_by_pcall_an_Error_has_its_traceback()
  t.run(function()
    for _, protected in ipairs { pcall, asyncio.pcall } do
      local ok, err = protected(failing(asyncio.Error { message = "x" }))
      t.assertEquals({ ok, err.message }, { false, "x" })
      t.assertStrContains(err.traceback, "words_spec.lua")
    end
    local source = "local asyncio = ... return function() error(asyncio.TimeoutError 'x') end"
    local ok, err = pcall(chunk("leaf", source, asyncio))
    t.assertFalse(ok)
    t.assertStrContains(err.traceback, "leaf:1")
    local _, closed = pcall(function() local loop = asyncio.new_event_loop() loop:close() loop:call_soon(print) end)
    t.assert_isinstance(closed, asyncio.ClosedError)
    t.assertStrContains(closed.traceback, "words_spec.lua")
    local _, empty = pcall(asyncio.Queue().get_nowait, asyncio.Queue())
    t.assertNil(empty.traceback)
  end)
end

function TestCaught:test_by_pcall_and_raised_again_it_tells_both_places()
  local fail = chunk("leaf", "local asyncio = ... return function() error(asyncio.Error 'x') end", asyncio)
  local text = t.run(function()
    local task = asyncio.create_task(function()
      local _, err = pcall(fail)
      error(err, 0)
    end)
    pcall(asyncio.await, task)
    return task:traceback()
  end)
  assert_in_order(text, "^stack traceback:\n", "leaf:1", "raised again:\n", "words_spec.lua")
end

function TestCaught:test_an_Error_made_long_before_says_nothing_of_that()
  local err = asyncio.Error "made before"
  local text = t.run(function()
    local task = asyncio.create_task(error, err)
    pcall(asyncio.await, task)
    return task:traceback()
  end)
  t.assertNotStrContains(text, "raised again")
end

function TestCaught:test_outside_of_tasks_too()
  local fail = chunk("leaf", "return function() error 'boom' end")
  local ok, err, text = asyncio.xpcall(fail, asyncio.traceback)
  t.assertEquals({ ok, err }, { false, "leaf:1: boom" })
  t.assertStrContains(text, "leaf:1")
  t.assertEquals({ xpcall(fail, asyncio.traceback) }, { false, "leaf:1: boom" })
  t.assertEquals(table.pack(asyncio.xpcall(function(...) return ... end, asyncio.traceback, 1, nil)),
    { true, 1, nil, n = 3 })
end

function TestCaught:test_one_that_is_raised_again_says_both()
  t.run(function()
    local text = traceback_of(function()
      local _, err = asyncio.xpcall(failing "boom", asyncio.traceback)
      sleep(0)
      error(err, 0)
    end)
    assert_in_order(text, "^stack traceback:\n", "leaf:1", "branch:1", "\nraised again:\n", "'error'", "words_spec.lua")
  end)
end

function TestCaught:test_cancellations_pass_traceback()
  t.run(function()
    local task = create_task(function() return asyncio.xpcall(sleep, asyncio.traceback, 10) end)
    sleep(0)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, await, task)
  end)
end

-- Which limit of time

TestLimits = {}

local function limits()
  return {
    timeout = function()
      local _ <close> = asyncio.timeout(2.5) -- here
      sleep(10)
    end,
    timeout_at = function()
      local _ <close> = asyncio.timeout_at(asyncio.get_running_loop():time() + 2.5) -- here
      sleep(10)
    end,
    rescheduled = function()
      local limit <close> = asyncio.timeout(1) -- here
      limit:reschedule(limit:when() + 1.5)
      sleep(10)
    end,
    extended = function()
      local limit <close> = asyncio.timeout(1) -- here
      limit:extend(1.5)
      sleep(10)
    end,
    nested = function()
      local _ <close> = asyncio.timeout(50)
      asyncio.wait_for(function()
        local _ <close> = asyncio.timeout(2.5) -- here
        return sleep(10), 1
      end, 60)
    end,
    wait_for = function() asyncio.wait_for(create_task(sleep, 10), 2.5) end, -- here
    wait_for_outer = function()
      asyncio.wait_for(function() -- here
        asyncio.wait_for(function() return sleep(10), 1 end, 5)
      end, 2.5)
    end,
    wait_for_in_a_coroutine = function()
      local event = asyncio.Event()
      local go = asyncio.coroutine.wrap(function()
        asyncio.wait_for(function() event:wait() end, 2.5) -- here
      end)
      go()
    end,
  }
end

--- The lines of this file with "-- here", between those two.
local function marked(fn)
  local info = debug.getinfo(fn, "S")
  local n = 0
  for line in io.lines(info.source:sub(2)) do
    n = n + 1
    if n >= info.linedefined and n <= info.lastlinedefined and line:find "%-%- here" then return n end
  end
end

function TestLimits:test_a_TimeoutError_says_after_how_long_and_where_the_limit_was_made()
  t.run(function()
    for name, fn in pairs(limits()) do
      local err = t.assert_raises(asyncio.TimeoutError, await, create_task(fn))
      local line = assert(marked(fn), name)
      local changed = name:find "^rescheduled" and ", as rescheduled" or name:find "^extended" and ", as extended" or ""
      t.assertStrMatches(tostring(err), "TimeoutError: the time is up after 2%.5 s" .. changed
        .. " %([%w_]+ at .*words_spec.lua:" .. line .. "%)")
      t.assertStrContains(tostring(err), name:find "wait_for" and "(wait_for at" or "(timeout at")
    end
  end)
end

function TestLimits:test_of_as_completed_says_within_what()
  t.run(function()
    local list = { create_task(sleep, 10), create_task(sleep, 1) }
    local err = t.assert_raises(asyncio.TimeoutError, function()
      for _ in asyncio.as_completed(list, { timeout = 2.5 }) do end
    end)
    t.assertStrMatches(err.message, "1 of 2 did not end within 2%.5 s %(as_completed at .*words_spec.lua:%d+%)")
    list[1]:cancel()
    asyncio.wait(list)
  end)
end

function TestLimits:test_seconds_that_were_computed_are_rounded()
  t.run(function()
    local function message(seconds)
      return t.assert_raises(asyncio.TimeoutError, function()
        local loop = asyncio.get_running_loop()
        local limit <close> = asyncio.timeout(nil)
        limit:reschedule(loop:time() + seconds)
        sleep(10000)
      end).message:match "after (%S+) s"
    end
    local told = {}
    for _, seconds in ipairs { 0.00999614, 0.5, 0.99996, 2, 2.50000012, 10, 1234.5678 } do
      told[#told + 1] = message(seconds)
    end
    t.assertEquals(told, { "0.01", "0.5", "1", "2", "2.5", "10", "1234.568" })
  end)
end

function TestLimits:test_what_the_stack_does_not_show_is_left_out()
  t.run(function()
    local function down(n)
      if n == 0 then return sleep(10), 1 end
      return down(n - 1), 1
    end
    local err = t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() down(150) end, 1)
    t.assertEquals(err.message, "the time is up after 1 s")
    err = t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() sleep(1) end, -1)
    t.assertStrContains(err.message, "the time is up after 0 s")
  end)
end

-- What hides nothing

local function unspeakable()
  return setmetatable({}, { __tostring = function(self) return "error " .. self.code end })
end

function TestHidden:test_an_error_whose_tostring_fails_hides_none_of_a_group()
  local told = tostring(asyncio.ExceptionGroup("two", { "the disk is full", unspeakable(), "and more" }))
  assert_in_order(told, "1%. the disk is full\n", "2%. table: 0x%x+ %(its __tostring failed: ", "3%. and more")
end

function TestHidden:test_nor_of_a_report()
  local _, errors = t.lua [[
    local asyncio = require "asyncio"
    local bad = setmetatable({}, { __tostring = function() error "cannot say" end })
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      loop:call_exception_handler { message = bad, task = bad, exception = bad, source_traceback = "the last line" }
      loop:set_exception_handler(function() error(bad) end)
      loop:call_exception_handler { message = "and this" }
    end)
  ]]
  assert_in_order(errors, "^asyncio: table: 0x%x+ %(its __tostring failed: ", "\n  task: ", "\n  exception: ",
    "\nmade at:\nthe last line\n", "asyncio: the exception handler failed: table", "asyncio: and this\n$")
end

function TestHidden:test_an_error_with_such_a_message_has_words_all_the_same()
  for _, class in ipairs { asyncio.Error, asyncio.TimeoutError, asyncio.OSError } do
    local err = class { message = unspeakable(), code = "EWHAT" }
    t.assertStrMatches(tostring(err), ".*table: 0x%x+ %(its __tostring failed: .*%)")
  end
end

function TestHidden:test_no_text_ends_at_a_zero()
  t.assertEquals(tostring(asyncio.TimeoutError "a\0b"), "TimeoutError: a\0b")
  t.assertEquals(tostring(asyncio.OSError { code = "E\0X", message = "a\0b" }), "[E\0X] a\0b")
  t.run(function()
    local task = create_task { error, "a\0b", 0, name = "x\0y" }
    pcall(await, task)
    t.assertStrMatches(tostring(task), "asyncio.Task 'x%z?.y': failed, error a%z?.b, .*")
  end)
  local _, errors = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      asyncio.create_task(error, "begin\0end", 0)
      asyncio.sleep(0.01)
    end)
  ]]
  t.assertStrContains(errors, "exception: begin\0end\n")
end

function TestHidden:test_reports_of_several_threads_stand_one_behind_the_other()
  local _, errors = t.lua([[
    local asyncio = require "asyncio"
    local function report(name, n)
      local asyncio = require "asyncio"
      asyncio.run(function()
        local loop = asyncio.get_running_loop()
        for i = 1, n do
          loop:call_exception_handler {
            message = "begin " .. name, exception = "middle " .. name, traceback = "end " .. name,
          }
        end
      end)
    end
    asyncio.run(function()
      local pool <close> = asyncio.ThreadPoolExecutor(4)
      local jobs = {}
      for i = 1, 4 do jobs[i] = pool:submit(report, "thread" .. i, ]] .. t.count(400) .. [[) end
      for i = 1, 4 do asyncio.await(jobs[i]) end
    end)
  ]])
  local n = 0
  local rest = errors:gsub("asyncio: begin (%w+)\n  exception: middle (%w+)\nend (%w+)\n", function(a, b, c)
    t.assertTrue(a == b and b == c)
    n = n + 1
    return ""
  end)
  t.assertEquals({ rest, n }, { "", 4 * t.count(400) })
end

t.finish { sampled = true }
