-- race and map: the first result of several, and a function called with each value of a list.
local t = require "helper"

local asyncio = t.asyncio
local sleep, create_task, race, map = asyncio.sleep, asyncio.create_task, asyncio.race, asyncio.map

local function after(seconds, ...)
  local values = table.pack(...)
  return function()
    sleep(seconds)
    return table.unpack(values, 1, values.n)
  end
end

local function failing(seconds, err)
  return function()
    sleep(seconds)
    error(err, 0)
  end
end

--- Notes in `log` when it has ended, which takes a second after it was cancelled; then fails, if it is to.
local function slow_to_end(log, err)
  return function()
    local _ <close> = setmetatable({}, { __close = function()
      sleep(1)
      log[#log + 1] = "ended"
      if err then error(err, 0) end
    end })
    sleep(3600)
  end
end

TestRace = {}

function TestRace:test_gives_all_results_of_the_first()
  t.run(function()
    t.assertEquals(table.pack(race(after(2, "b"), after(1, "a", nil, nil))), { "a", n = 3 })
    t.assertEquals(table.pack(race { after(1), after(2, "b") }), { n = 0 })
  end)
end

function TestRace:test_takes_what_can_be_awaited()
  t.run(function()
    local future = asyncio.get_running_loop():create_future()
    future:set_result(7)
    t.assertEquals(race(after(1), future), 7)
    t.assertEquals(race(create_task(sleep, 2, "task"), coroutine.create(after(1, "coroutine"))), "coroutine")
    t.assertEquals(race(setmetatable({}, { __await = after(1, "awaitable") }), create_task(sleep, 2)), "awaitable")
    t.assertEquals(race(after(1, "alone")), "alone")
  end)
end

function TestRace:test_the_others_have_ended_when_it_returns()
  t.run(function()
    local log = {}
    local other = create_task(slow_to_end(log))
    t.assertEquals(race(after(1, "won"), slow_to_end(log), other), "won")
    t.assertEquals(log, { "ended", "ended" })
    t.assertTrue(other:cancelled())
  end)
end

function TestRace:test_their_errors_are_dropped()
  t.run(function()
    t.assertEquals(race(failing(1, "early"), after(2, "won"), slow_to_end({}, "late")), "won")
    t.collect()
    sleep(10)
  end)
end

function TestRace:test_the_first_of_the_arguments_wins_where_several_have_a_result_in_one_turn()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local one, two = loop:create_future(), loop:create_future()
    loop:call_later(1, function()
      two:set_result "two"
      one:set_result "one"
    end)
    t.assertEquals(race(one, two), "one")
  end)
end

function TestRace:test_what_has_not_begun_never_runs_where_one_has_a_result_already()
  t.run(function()
    local ran = false
    t.assertEquals(race(function() ran = true end, create_task(sleep, 1, "x"), asyncio.shield(function() end)), nil)
    t.assertTrue(ran)
    ran = false
    local done = create_task(sleep, 1, "done")
    asyncio.await(done)
    t.assertEquals(race(function() ran = true end, done), "done")
    t.assertFalse(ran)
  end)
end

function TestRace:test_one_that_fails_is_out()
  t.run(function() t.assertEquals(race(failing(1, "bad"), after(2, "good")), "good") end)
end

function TestRace:test_one_that_somebody_else_cancels_is_out()
  t.run(function()
    local task = create_task(sleep, 1, "first")
    asyncio.get_running_loop():call_later(0.5, task.cancel, task)
    t.assertEquals(race(task, after(2, "second")), "second")
  end)
end

function TestRace:test_all_that_failed_leave_as_a_group_in_order()
  t.run(function()
    local cancelled = create_task(sleep, 9)
    cancelled:cancel()
    local group = t.assert_raises(asyncio.ExceptionGroup, race, failing(2, "one"), failing(1, "two"), cancelled)
    t.assertEquals(#group.errors, 3)
    t.assertEquals({ group.errors[1], group.errors[2] }, { "one", "two" })
    t.assert_isinstance(group.errors[3], asyncio.CancelledError)
    t.assertStrContains(tostring(group), "race_spec.lua")
  end)
end

function TestRace:test_a_cancellation_from_outside_ends_all_and_is_raised_then()
  t.run(function()
    local log = {}
    local task = create_task(race, slow_to_end(log), slow_to_end(log, "dropped"))
    sleep(1)
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    t.assertEquals(log, { "ended", "ended" })
    t.collect()
    sleep(10)
  end)
end

function TestRace:test_a_result_that_comes_all_the_same_is_not_given_then()
  t.run(function()
    local task = create_task(race, function()
      pcall(sleep, 3600)
      return "swallowed"
    end, after(3600))
    sleep(1)
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
  end)
end

function TestRace:test_a_result_of_the_same_turn_wins_and_the_cancellation_waits()
  t.run(function()
    local future = asyncio.get_running_loop():create_future()
    local got, went_on
    local task = create_task(function()
      got = race(future, after(3600))
      sleep(1)
      went_on = true
    end)
    sleep(1)
    future:set_result "won"
    task:cancel()
    asyncio.wait { task }
    t.assertEquals(got, "won")
    t.assertNil(went_on)
    t.assertTrue(task:cancelled())
  end)
end

function TestRace:test_a_cancellation_while_the_others_end_asks_them_again_and_waits()
  t.run(function()
    local asked, got = 0, nil
    local task = create_task(function()
      got = race(after(1, "won"), function()
        for _ = 1, 2 do
          if not pcall(sleep, 3600) then asked = asked + 1 end
        end
      end)
      sleep(1)
    end)
    sleep(2)
    t.assertEquals(asked, 1)
    task:cancel()
    asyncio.wait { task }
    t.assertEquals({ asked, got }, { 2, "won" })
    t.assertTrue(task:cancelled())
  end)
end

function TestRace:test_one_that_goes_on_is_reported_after_five_seconds()
  t.run(function(reports)
    t.assertEquals(race(after(1, "won"), function()
      pcall(sleep, 3600)
      sleep(6)
    end), "won")
    t.take_report(reports, "goes on, 5 s after it was cancelled")
  end)
end

function TestRace:test_what_a_shield_protects_goes_on()
  t.run(function()
    local task = create_task(sleep, 5, "later")
    t.assertEquals(race(after(1, "won"), asyncio.shield(task)), "won")
    t.assertFalse(task:done())
    t.assertEquals(asyncio.await(task), "later")
  end)
end

function TestRace:test_a_plain_future_that_loses_is_cancelled()
  t.run(function()
    local future = asyncio.get_running_loop():create_future()
    t.assertEquals(race(future, after(1, "won")), "won")
    t.assertTrue(future:cancelled())
  end)
end

function TestRace:test_a_race_in_a_race_ends_both()
  t.run(function()
    local log = {}
    t.assertEquals(race(after(1, "won"), function() return race(slow_to_end(log), slow_to_end(log)) end), "won")
    t.assertEquals(log, { "ended", "ended" })
  end)
end

function TestRace:test_a_deadline_ends_it()
  t.run(function()
    local log = {}
    t.assert_raises(asyncio.TimeoutError, function()
      local _ <close> = asyncio.timeout(1)
      race(slow_to_end(log), slow_to_end(log))
    end)
    t.assertEquals(log, { "ended", "ended" })
  end)
end

function TestRace:test_a_pending_cancellation_starts_nothing_that_runs()
  t.run(function()
    local ran
    local task = create_task(function()
      asyncio.current_task():cancel()
      race(function() ran = true end)
    end)
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    t.assertNil(ran)
  end)
end

function TestRace:test_one_that_waits_for_the_caller_is_refused()
  t.run(function()
    local owner
    owner = create_task(function()
      local waiter = create_task(asyncio.await, owner)
      sleep(0)
      sleep(0)
      local err = t.error_of(race, waiter, after(1))
      return tostring(err), waiter
    end)
    local text, waiter = asyncio.await(owner)
    t.assertStrContains(text, "cannot await a task that waits for this one")
    asyncio.await(waiter)
  end)
end

function TestRace:test_nothing_is_started_where_nothing_can_wait()
  local ran
  t.assertErrorMsgContains("asyncio.race cannot wait outside of a task", race, function() ran = true end)
  t.run(function()
    local err
    asyncio.get_running_loop():call_soon(function() err = t.error_of(race, function() ran = true end) end)
    sleep(1)
    t.assertStrContains(tostring(err), "cannot wait outside of a task")
    t.assertNil(ran)
  end)
end

function TestRace:test_says_what_it_waits_for()
  t.run(function()
    local task = create_task(race, after(1), slow_to_end {})
    sleep(0)
    sleep(0)
    t.assertStrContains(tostring(task), "waits (race)")
    sleep(1.5)
    t.assertStrContains(tostring(task), "waits (race, decided, 1 still to end)")
    asyncio.await(task)
  end)
end

function TestRace:test_gives_way_now_and_then()
  t.run(function()
    local done, turns = create_task(sleep, 0), 0
    asyncio.await(done)
    local _ <close> = create_task(function()
      while true do
        turns = turns + 1
        sleep(0)
      end
    end)
    for _ = 1, 1000 do race(done) end
    t.assertTrue(turns >= 6)
  end)
end

TestMap = {}

function TestMap:test_gives_the_first_result_of_each_call_in_order()
  t.run(function()
    local list = map(function(x, i)
      sleep(1 / i)
      return x * i, "more"
    end, { 10, 20, 30 })
    t.assertEquals(list, { 10, 40, 90, n = 3 })
    t.assertEquals(asyncio.time() <= 1.1, true)
  end)
end

function TestMap:test_an_empty_list_calls_nothing()
  t.run(function() t.assertEquals(map(error, {}), { n = 0 }) end)
end

function TestMap:test_n_is_the_length_where_it_is_there()
  t.run(function()
    local function identity(x, i) return x or i end
    t.assertEquals(map(identity, { "a", nil, nil, n = 3 }), { "a", 2, 3, n = 3 })
    t.assertEquals(map(identity, { "a", "b", "c", n = 1 }), { "a", n = 1 })
    t.assertEquals(map(function() end, { 1, 2 }), { n = 2 })
  end)
end

function TestMap:test_what_is_changed_in_the_list_later_changes_nothing()
  t.run(function()
    local list = { 1, 2, 3 }
    t.assertEquals(map(function(x)
      list[3] = "changed"
      return x
    end, list, { max_concurrent = 1 }), { 1, 2, 3, n = 3 })
  end)
end

function TestMap:test_all_calls_are_under_way_at_once()
  t.run(function()
    local barrier = asyncio.Barrier(50)
    local list = {}
    for i = 1, 50 do list[i] = i end
    map(function() barrier:wait() end, list)
  end)
end

function TestMap:test_so_many_calls_are_under_way_at_a_time()
  t.run(function()
    local now, most, calls = 0, 0, 0
    local list = { n = 20 }
    map(function(_, i)
      now, calls = now + 1, calls + 1
      most = math.max(most, now)
      sleep(i % 3)
      now = now - 1
    end, list, { max_concurrent = 3 })
    t.assertEquals({ most, calls, now }, { 3, 20, 0 })
  end)
end

function TestMap:test_each_call_has_its_own_context()
  for _, opts in ipairs { {}, { max_concurrent = 2 } } do
    t.run(function()
      local var = asyncio.ContextVar("var", 0)
      var:set(5)
      local seen = map(function(x)
        local before = var:get()
        var:set(x)
        sleep(0)
        return before
      end, { 1, 2, 3, 4 }, opts)
      t.assertEquals(seen, { 5, 5, 5, 5, n = 4 })
      t.assertEquals(var:get(), 5)
    end)
  end
end

function TestMap:test_the_first_failure_ends_the_others_and_is_raised_itself()
  t.run(function()
    local log = {}
    local err = t.error_of(map, function(x)
      if x == 2 then failing(1, asyncio.Error "bad")() end
      slow_to_end(log, "dropped")()
    end, { 1, 2, 3 })
    t.assertEquals(err.message, "bad")
    t.assertStrContains(err.traceback, "race_spec.lua")
    t.assertEquals(log, { "ended", "ended" })
    t.collect()
    sleep(10)
  end)
end

function TestMap:test_what_has_not_begun_then_never_does()
  for _, opts in ipairs { {}, { max_concurrent = 2 } } do
    t.run(function()
      local begun = {}
      t.assertErrorMsgEquals("bad", map, function(x)
        begun[#begun + 1] = x
        if x == 1 then error("bad", 0) end
        sleep(1)
      end, { 1, 2, 3, 4, 5 }, opts)
      t.assertEquals(begun, { 1 })
    end)
  end
end

function TestMap:test_a_call_that_is_cancelled_has_failed()
  t.run(function()
    t.assert_raises(asyncio.CancelledError, map, function(x)
      if x == 1 then asyncio.current_task():cancel() end
      sleep(1)
    end, { 1, 2 })
    sleep(1)
  end)
end

function TestMap:test_a_cancellation_from_outside_ends_all_and_is_raised_then()
  t.run(function()
    local log = {}
    local task = create_task(map, slow_to_end(log, "dropped"), { 1, 2, 3 }, { max_concurrent = 2 })
    sleep(1)
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    t.assertEquals(log, { "ended", "ended" })
    t.collect()
    sleep(10)
  end)
end

function TestMap:test_the_last_result_of_the_same_turn_wins_and_the_cancellation_waits()
  t.run(function()
    local future = asyncio.get_running_loop():create_future()
    local got
    local task = create_task(function()
      got = map(function(x) return asyncio.await(x) end, { future })[1]
      sleep(1)
    end)
    sleep(1)
    future:set_result "here"
    sleep(0)
    task:cancel()
    asyncio.wait { task }
    t.assertEquals(got, "here")
    t.assertTrue(task:cancelled())
  end)
end

function TestMap:test_a_function_that_never_waits_lets_others_run()
  t.run(function()
    local turns = 0
    local _ <close> = create_task(function()
      while true do
        turns = turns + 1
        sleep(0)
      end
    end)
    map(function() end, { n = 1000 }, { max_concurrent = 1 })
    t.assertTrue(turns >= 6)
    turns = 0
    for _ = 1, 1000 do map(error, {}) end
    t.assertTrue(turns >= 6)
  end)
end

function TestMap:test_many_values_need_few_tasks()
  t.run(function()
    local most = 0
    map(function()
      if most < 1 then most = #asyncio.all_tasks() end
      sleep(0)
    end, { n = t.count(10000) }, { max_concurrent = 10 })
    t.assertEquals(most, 11)
  end)
end

function TestMap:test_nothing_is_started_where_nothing_can_wait()
  local ran
  t.assertErrorMsgContains("asyncio.map cannot wait outside of a task", map, function() ran = true end, { 1 })
  t.assertNil(ran)
end

function TestMap:test_says_what_it_waits_for()
  t.run(function()
    local task = create_task(map, sleep, { 1, 2 })
    sleep(0)
    sleep(0)
    t.assertStrContains(tostring(task), "waits (map)")
    asyncio.await(task)
  end)
end

TestLongList = {}

function TestLongList:test_a_length_that_no_list_has_is_an_argument_error()
  t.run(function()
    local err = t.error_of(t.asyncio.map, print, { n = math.maxinteger })
    t.assertStrContains(tostring(err), "bad argument #2 to 'map' (its n is no length: 9223372036854775807)")
  end)
end

t.finish()
