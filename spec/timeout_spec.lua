-- timeout, timeout_at, wait_for, move_on_after: deadlines that know their own cancellation.
local t = require "helper"
local asyncio = t.asyncio

TestTimeout = {}
TestReschedule = {}
TestNestedTimeouts = {}
TestWaitFor = {}
TestMoveOnAfter = {}

local function now() return asyncio.get_running_loop():time() end

--- A moment of the virtual clock. What is due then comes in one turn, in the order in which it was set.
local function soon() return now() + 1 end

--- Nothing is left of a scope: the task can wait, and nobody asked it to stop.
local function assert_undisturbed()
  asyncio.sleep(0)
  asyncio.sleep(0.001)
  t.assertEquals(asyncio.current_task():cancelling(), 0)
end

local function within(delay, fn, ...)
  local scope <close> = asyncio.timeout(delay)
  return fn(scope, ...)
end

local function sleep_long() asyncio.sleep(1000) end

local function on_close(fn) return setmetatable({}, { __close = fn }) end

--- A task that runs fn and has begun to.
local function started(fn, ...)
  local task = asyncio.create_task(fn, ...)
  asyncio.sleep(0)
  return task
end

-- timeout

function TestTimeout:test_raises_TimeoutError_when_the_time_is_up()
  t.run(function()
    local start = now()
    local err = t.assert_raises(asyncio.TimeoutError, within, 2, sleep_long)
    t.assertEquals(now() - start, 2)
    t.assertFalse(asyncio.isinstance(err, asyncio.CancelledError))
    assert_undisturbed()
  end)
end

function TestTimeout:test_does_nothing_to_a_block_that_ends_in_time()
  t.run(function()
    local result = within(0.02, function()
      asyncio.sleep(0)
      return "x"
    end)
    t.assertEquals(result, "x")
    asyncio.sleep(0.03) -- also when the time would have been up
    assert_undisturbed()
  end)
end

function TestTimeout:test_nil_means_no_limit()
  t.run(function()
    within(nil, function(scope)
      t.assertNil(scope:when())
      asyncio.sleep(0.005)
      t.assertFalse(scope:expired())
    end)
  end)
end

function TestTimeout:test_of_zero_or_less_ends_the_first_wait()
  t.run(function()
    for _, delay in ipairs { 0, -5 } do
      local reached = false
      t.assert_raises(asyncio.TimeoutError, within, delay, function()
        reached = true
        sleep_long()
      end)
      t.assertTrue(reached)
      assert_undisturbed()
    end
  end)
end

function TestTimeout:test_that_is_over_before_the_block_waits_raises_nothing_when_it_never_does()
  t.real(function()
    t.assertEquals(within(0.002, function()
      local over = now() + 0.01
      while now() < over do end
      return "x"
    end), "x")
    assert_undisturbed()
  end)
end

function TestTimeout:test_at_a_moment_of_the_loops_clock()
  t.run(function()
    local when = now() + 0.01
    t.assert_raises(asyncio.TimeoutError, function()
      local scope <close> = asyncio.timeout_at(when)
      t.assertEquals(scope:when(), when)
      sleep_long()
    end)
    t.assertTrue(now() >= when)
    t.assert_raises(asyncio.TimeoutError, function()
      local _ <close> = asyncio.timeout_at(now() - 100)
      sleep_long()
    end)
    local never <close> = asyncio.timeout_at(nil)
    t.assertNil(never:when())
  end)
end

function TestTimeout:test_says_when()
  t.run(function()
    local before = now()
    local scope <close> = asyncio.timeout(10)
    t.assertTrue(scope:when() >= before + 10 and scope:when() <= now() + 10)
  end)
end

function TestTimeout:test_says_whether_it_expired()
  t.run(function()
    local scope
    t.assert_raises(asyncio.TimeoutError, within, 0.001, function(s)
      scope = s
      t.assertFalse(s:expired())
      sleep_long()
    end)
    t.assertTrue(scope:expired())
    within(10, function(s) scope = s end)
    t.assertFalse(scope:expired())
  end)
end

function TestTimeout:test_raises_CancelledError_inside_the_block()
  t.run(function()
    local seen
    t.assert_raises(asyncio.TimeoutError, within, 0.001, function()
      local _ <close> = on_close(function(_, err) seen = err end)
      sleep_long()
    end)
    t.assert_isinstance(seen, asyncio.CancelledError)
  end)
end

function TestTimeout:test_lets_the_block_clean_up_and_wait()
  t.run(function()
    local cleaned = false
    t.assert_raises(asyncio.TimeoutError, within, 0.001, function()
      local _ <close> = on_close(function()
        asyncio.sleep(0.01)
        cleaned = true
      end)
      sleep_long()
    end)
    t.assertTrue(cleaned)
  end)
end

function TestTimeout:test_whose_cancellation_was_swallowed_raises_nothing_and_is_expired()
  t.run(function()
    local scope
    local result = within(0.001, function(s)
      scope = s
      pcall(sleep_long)
      return "swallowed"
    end)
    t.assertEquals(result, "swallowed")
    t.assertTrue(scope:expired())
    assert_undisturbed()
  end)
end

function TestTimeout:test_cancels_once()
  t.run(function()
    within(0.001, function()
      t.assert_raises(asyncio.CancelledError, sleep_long)
      asyncio.sleep(0)
      asyncio.sleep(0.002)
    end)
  end)
end

function TestTimeout:test_passes_an_error_of_the_block_on()
  t.run(function()
    local boom = {}
    t.assertIs(t.error_of(within, 10, function() error(boom) end), boom)
    t.assertIs(t.error_of(within, 0.001, function() -- and one that came of the cancellation
      local _ <close> = on_close(function() error(boom) end)
      sleep_long()
    end), boom)
    assert_undisturbed()
  end)
end

function TestTimeout:test_passes_a_cancellation_from_outside_on()
  t.run(function()
    local scope
    local task = started(function()
      within(1000, function(s)
        scope = s
        sleep_long()
      end)
    end)
    task:cancel "outside"
    t.assertEquals(t.assert_raises(asyncio.CancelledError, asyncio.await, task).message, "outside")
    t.assertTrue(task:cancelled())
    t.assertFalse(scope:expired())
  end)
end

function TestTimeout:test_in_the_turn_of_a_cancellation_from_outside_that_came_first_passes_that_on()
  t.run(function()
    local err, task
    asyncio.get_running_loop():call_later(1, function() task:cancel "outside" end)
    task = started(function()
      err = t.error_of(within, 1, sleep_long)
      asyncio.sleep(0) -- and nothing follows
      asyncio.sleep(0.001)
      return "end"
    end)
    t.assertEquals(asyncio.await(task), "end")
    t.assertEquals(t.assert_isinstance(err, asyncio.CancelledError).message, "outside")
    t.assertEquals(task:cancelling(), 1)
  end)
end

function TestTimeout:test_in_the_turn_of_a_cancellation_from_outside_that_came_later_loses_neither()
  t.run(function()
    local first, second
    local task = started(function()
      first = t.error_of(within, 1, sleep_long)
      second = t.error_of(asyncio.sleep, 0)
      asyncio.sleep(0)
      return "end"
    end)
    asyncio.get_running_loop():call_at(soon(), function() task:cancel "outside" end)
    t.assertEquals(asyncio.await(task), "end")
    t.assert_isinstance(first, asyncio.TimeoutError)
    t.assertEquals(t.assert_isinstance(second, asyncio.CancelledError).message, "outside")
  end)
end

function TestTimeout:test_whose_request_is_not_delivered_yet_takes_it_back()
  t.run(function()
    local loop, scope = asyncio.get_running_loop(), nil
    local future = loop:create_future()
    loop:call_later(1, function() future:set_result "in time" end)
    local result = within(1, function(s) -- due in the same turn, after the result
      scope = s
      return asyncio.await(future)
    end)
    t.assertEquals(result, "in time")
    t.assertTrue(scope:expired())
    assert_undisturbed()
  end)
end

function TestTimeout:test_cancels_what_the_block_awaits()
  t.run(function()
    local task = started(sleep_long)
    t.assert_raises(asyncio.TimeoutError, within, 0.001, function() asyncio.await(task) end)
    t.assertTrue(task:cancelled())
  end)
end

function TestTimeout:test_ends_a_gather_and_a_task_group()
  t.run(function()
    local ended = 0
    local function child()
      local _ <close> = on_close(function() ended = ended + 1 end)
      sleep_long()
    end
    t.assert_raises(asyncio.TimeoutError, within, 0.002, function() asyncio.gather(child, child) end)
    t.assert_raises(asyncio.TimeoutError, within, 0.002, function()
      local group <close> = asyncio.TaskGroup()
      group:create_task(child)
      group:create_task(child)
    end)
    t.assertEquals(ended, 4)
    assert_undisturbed()
  end)
end

function TestTimeout:test_inside_a_task_group_leaves_the_group_alone()
  t.run(function()
    local done = false
    do
      local group <close> = asyncio.TaskGroup()
      group:create_task(function()
        asyncio.sleep(0.01)
        done = true
      end)
      t.assert_raises(asyncio.TimeoutError, within, 0.001, sleep_long)
    end
    t.assertTrue(done)
  end)
end

function TestTimeout:test_works_inside_an_asyncio_coroutine()
  t.run(function()
    local generator = asyncio.coroutine.wrap(function()
      asyncio.coroutine.yield(pcall(within, 0.001, sleep_long))
      asyncio.coroutine.yield "next"
    end)
    local ok, err = generator()
    t.assertFalse(ok)
    t.assert_isinstance(err, asyncio.TimeoutError)
    t.assertEquals(generator(), "next")
  end)
end

function TestTimeout:test_a_hundred_times_in_a_row()
  t.run(function()
    for _ = 1, 100 do t.assert_raises(asyncio.TimeoutError, within, 0, sleep_long) end
    assert_undisturbed()
  end)
end

function TestTimeout:test_outside_of_a_task_raises()
  t.assertFalse((pcall(asyncio.timeout, 1)))
  t.assertFalse((pcall(asyncio.timeout_at, 1)))
end

function TestTimeout:test_with_a_wrong_argument_is_an_argument_error()
  t.run(function()
    for _, value in ipairs { "x", {}, true, 0 / 0 } do
      t.assertStrContains(t.error_of(asyncio.timeout, value), "bad argument #1 to 'timeout'")
      t.assertStrContains(t.error_of(asyncio.timeout_at, value), "bad argument #1 to 'timeout_at'")
    end
  end)
end

-- reschedule

function TestReschedule:test_to_later_gives_more_time()
  t.run(function()
    within(0.005, function(scope)
      local when = now() + 1000
      scope:reschedule(when)
      t.assertEquals(scope:when(), when)
      asyncio.sleep(0.02)
      t.assertFalse(scope:expired())
    end)
  end)
end

function TestReschedule:test_to_earlier_gives_less_time()
  t.run(function()
    t.assert_raises(asyncio.TimeoutError, within, 1000, function(scope)
      scope:reschedule(now() + 0.002)
      sleep_long()
    end)
  end)
end

function TestReschedule:test_to_the_past_ends_the_next_wait()
  t.run(function()
    t.assert_raises(asyncio.TimeoutError, within, 1000, function(scope)
      scope:reschedule(now() - 1)
      sleep_long()
    end)
  end)
end

function TestReschedule:test_sets_a_limit_where_there_was_none_and_takes_it_away()
  t.run(function()
    t.assert_raises(asyncio.TimeoutError, within, nil, function(scope)
      scope:reschedule(now() + 0.002)
      sleep_long()
    end)
    within(0.002, function(scope)
      scope:reschedule(nil)
      t.assertNil(scope:when())
      asyncio.sleep(0.01)
    end)
  end)
end

function TestReschedule:test_by_another_task()
  t.run(function()
    t.assert_raises(asyncio.TimeoutError, within, 1000, function(scope)
      asyncio.get_running_loop():call_soon(function() scope:reschedule(now()) end)
      sleep_long()
    end)
  end)
end

function TestReschedule:test_after_it_expired_or_ended_raises_InvalidStateError()
  t.run(function()
    local scope
    within(0.001, function(s)
      scope = s
      pcall(sleep_long)
      t.assert_raises(asyncio.InvalidStateError, s.reschedule, s, now() + 10)
    end)
    t.assert_raises(asyncio.InvalidStateError, scope.reschedule, scope, nil)
    within(10, function(s) scope = s end)
    t.assert_raises(asyncio.InvalidStateError, scope.reschedule, scope, now() + 10)
  end)
end

function TestReschedule:test_in_the_turn_in_which_it_is_due_still_counts()
  t.run(function()
    local when, scope = soon(), nil
    asyncio.get_running_loop():call_at(when, function() scope:reschedule(when + 10) end)
    within(when - now(), function(s)
      scope = s
      asyncio.sleep(5)
      t.assertFalse(s:expired())
    end)
    assert_undisturbed()
  end)
end

function TestReschedule:test_once_its_loop_is_closed_raises_ClosedError()
  local loop, scope = asyncio.new_event_loop(), nil
  loop:create_task(function()
    scope = asyncio.timeout(1000)
    sleep_long()
  end)
  loop:run_until_complete(asyncio.sleep, 0)
  loop:close()
  t.assert_raises(asyncio.ClosedError, scope.reschedule, scope, 5)
  t.assert_raises(asyncio.ClosedError, scope.extend, scope, 5)
  t.assertEquals(tostring(scope), "asyncio.Timeout: ended")
end

-- A block that goes on for long when its time is up

TestOverdue = {}

--- Cleans up for ten seconds when it is cancelled.
local function sleep_and_tidy()
  local _ <close> = on_close(function() asyncio.sleep(10) end)
  sleep_long()
end

function TestOverdue:test_still_ends_with_TimeoutError()
  t.run(function(reports)
    for _, call in ipairs { asyncio.wait_for, function(fn, seconds) within(seconds, fn) end } do
      t.assert_raises(asyncio.TimeoutError, call, sleep_and_tidy, 1)
      t.take_report(reports, "a block goes on, 5 s after its time was up: it catches cancellations, or cleans up")
      assert_undisturbed()
    end
    t.assertEquals({ asyncio.move_on_after(1, sleep_and_tidy) }, { false })
    t.take_report(reports, "a block goes on")
    assert_undisturbed()
  end)
end

function TestOverdue:test_one_that_nobody_will_ever_leave_is_kept_by_nobody()
  t.run(function(reports)
    local kept = setmetatable({}, { __mode = "k" })
    local task = started(function()
      asyncio.coroutine.wrap(function()
        asyncio.wait_for(function()
          local mine = {}
          kept[mine] = true
          asyncio.coroutine.yield()
          return mine
        end, 1)
      end)() -- and never again
      pcall(sleep_long)
      sleep_long()
    end)
    asyncio.sleep(10)
    t.take_report(reports, "a block goes on")
    t.collect()
    t.assertNil(next(kept))
    task:stop()
  end)
end

-- nested

function TestNestedTimeouts:test_the_inner_one_first()
  t.run(function()
    local outer
    within(1000, function(scope)
      outer = scope
      t.assert_raises(asyncio.TimeoutError, within, 0.001, sleep_long)
      assert_undisturbed()
    end)
    t.assertFalse(outer:expired())
  end)
end

function TestNestedTimeouts:test_the_outer_one_first_passes_through_the_inner_one()
  t.run(function()
    local inner_scope, inner_error
    t.assert_raises(asyncio.TimeoutError, within, 0.001, function()
      local _ <close> = on_close(function(_, err) inner_error = err end)
      within(1000, function(scope)
        inner_scope = scope
        sleep_long()
      end)
    end)
    t.assert_isinstance(inner_error, asyncio.CancelledError)
    t.assertFalse(inner_scope:expired())
    assert_undisturbed()
  end)
end

function TestNestedTimeouts:test_with_the_same_deadline_give_one_TimeoutError_and_leave_nothing()
  t.run(function()
    local when = now() + 0.005
    t.assert_raises(asyncio.TimeoutError, function()
      local _ <close> = asyncio.timeout_at(when)
      local _ <close> = asyncio.timeout_at(when)
      sleep_long()
    end)
    assert_undisturbed()
  end)
end

function TestNestedTimeouts:test_with_the_same_deadline_and_an_inner_one_that_is_caught()
  t.run(function()
    local when, outer = now() + 0.005, nil
    local ok, err = pcall(function()
      local scope <close> = asyncio.timeout_at(when)
      outer = scope
      local inner_ok, inner_err = asyncio.pcall(function()
        local _ <close> = asyncio.timeout_at(when)
        sleep_long()
      end)
      t.assertFalse(inner_ok)
      t.assert_isinstance(inner_err, asyncio.TimeoutError)
      sleep_long() -- the outer one's turn
    end)
    t.assertFalse(ok)
    t.assert_isinstance(err, asyncio.TimeoutError)
    t.assertTrue(outer:expired())
    assert_undisturbed()
  end)
end

function TestNestedTimeouts:test_twenty_deep_with_the_same_deadline()
  t.run(function()
    local when, timeouts = now() + 0.005, 0
    local function nest(depth)
      local _ <close> = asyncio.timeout_at(when)
      if depth == 0 then sleep_long() end
      local ok, err = asyncio.pcall(nest, depth - 1)
      if not ok then
        timeouts = timeouts + 1
        t.assert_isinstance(err, asyncio.TimeoutError)
        sleep_long()
      end
    end
    t.assert_raises(asyncio.TimeoutError, nest, 20)
    assert_undisturbed()
  end)
end

function TestNestedTimeouts:test_two_scopes_at_once_are_both_delivered_one_after_the_other()
  t.run(function()
    local when = now() + 0.005
    local a <close> = asyncio.timeout_at(when)
    local b <close> = asyncio.timeout_at(when)
    local first = t.assert_raises(asyncio.CancelledError, sleep_long)
    local second = t.assert_raises(asyncio.CancelledError, sleep_long)
    t.assertNotIs(first, second)
    asyncio.sleep(0)
    asyncio.sleep(0.001)
    t.assertTrue(a:expired() and b:expired())
  end)
end

function TestNestedTimeouts:test_an_inner_TimeoutError_is_not_the_outer_ones()
  t.run(function()
    local err = asyncio.TimeoutError "mine"
    t.assertIs(t.error_of(within, 1000, function()
      within(1000, function() error(err) end)
    end), err)
  end)
end

function TestNestedTimeouts:test_one_that_expires_while_the_block_of_the_other_cleans_up()
  t.run(function()
    local outer_scope, inner_error
    t.assert_raises(asyncio.TimeoutError, within, 0.005, function(scope)
      outer_scope = scope
      within(0.001, function()
        local _ <close> = on_close(function(_, err)
          inner_error = err
          sleep_long() -- until the outer one's time is up
        end)
        sleep_long()
      end)
    end)
    t.assert_isinstance(inner_error, asyncio.CancelledError)
    t.assertTrue(outer_scope:expired())
    assert_undisturbed()
  end)
end

-- wait_for

function TestWaitFor:test_gives_all_results_of_whatever_ends_in_time()
  t.run(function()
    local function fn()
      asyncio.sleep(0)
      return nil, 2, false, nil
    end
    local awaitable = setmetatable({}, { __await = fn })
    for _, aw in ipairs { fn, asyncio.create_task(fn), coroutine.create(fn), awaitable } do
      t.assertEquals(table.pack(asyncio.wait_for(aw, 10)), { nil, 2, false, nil, n = 4 })
    end
    local future = asyncio.get_running_loop():create_future()
    asyncio.get_running_loop():call_soon(future.set_result, future, 1, 2)
    t.assertEquals({ asyncio.wait_for(future, 10) }, { 1, 2 })
  end)
end

function TestWaitFor:test_raises_TimeoutError_and_cancels_when_the_time_is_up()
  t.run(function()
    local start = now()
    local task = asyncio.create_task(sleep_long)
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, task, 2)
    t.assertEquals(now() - start, 2)
    t.assertTrue(task:cancelled())
    local future = asyncio.get_running_loop():create_future()
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, future, 0.001)
    t.assertTrue(future:cancelled())
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, sleep_long, 0.001)
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, coroutine.create(sleep_long), 0.001)
    assert_undisturbed()
  end)
end

function TestWaitFor:test_waits_until_what_it_cancelled_has_ended()
  t.run(function()
    local ended = false
    local task = asyncio.create_task(function()
      local _ <close> = on_close(function()
        asyncio.sleep(0.01)
        ended = true
      end)
      sleep_long()
    end)
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, task, 0.001)
    t.assertTrue(ended)
  end)
end

function TestWaitFor:test_runs_a_function_in_the_callers_own_task()
  t.run(function()
    t.assertEquals(asyncio.wait_for(asyncio.current_task, 1), asyncio.current_task())
  end)
end

function TestWaitFor:test_without_a_limit_waits()
  t.run(function()
    t.assertEquals(asyncio.wait_for(function()
      asyncio.sleep(0.002)
      return "x"
    end), "x")
    t.assertEquals(asyncio.wait_for(asyncio.create_task(function() return "x" end), nil), "x")
  end)
end

function TestWaitFor:test_with_zero_gives_what_is_done_and_cancels_what_is_not()
  t.run(function()
    local future = asyncio.get_running_loop():create_future()
    future:set_result "x"
    t.assertEquals(asyncio.wait_for(future, 0), "x")
    t.assertEquals(asyncio.wait_for(future, -1), "x")
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, sleep_long, 0)
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, asyncio.create_task(sleep_long), -1)
    assert_undisturbed()
  end)
end

function TestWaitFor:test_passes_errors_on()
  t.run(function()
    local boom = {}
    t.assertIs(t.error_of(asyncio.wait_for, function() error(boom) end, 1), boom)
    t.assertIs(t.error_of(asyncio.wait_for, asyncio.create_task(function() error(boom) end), 1), boom)
  end)
end

function TestWaitFor:test_passes_on_the_error_with_which_the_task_answers_its_cancellation()
  t.run(function()
    local boom = {}
    local task = asyncio.create_task(function()
      pcall(sleep_long)
      error(boom)
    end)
    t.assertIs(t.error_of(asyncio.wait_for, task, 0.001), boom)
    assert_undisturbed()
  end)
end

function TestWaitFor:test_gives_the_result_with_which_the_task_answers_its_cancellation()
  t.run(function()
    local task = asyncio.create_task(function()
      pcall(sleep_long)
      return "all the same"
    end)
    t.assertEquals(asyncio.wait_for(task, 0.001), "all the same")
    assert_undisturbed()
  end)
end

function TestWaitFor:test_on_a_tie_gives_the_result_that_came_first()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local future = loop:create_future()
    loop:call_later(1, function() future:set_result "won" end)
    t.assertEquals(asyncio.wait_for(future, 1), "won")
    assert_undisturbed()
  end)
end

function TestWaitFor:test_on_a_tie_gives_the_result_of_a_task_that_is_about_to_end()
  t.run(function()
    local when, sleeper = soon(), asyncio.get_running_loop():create_future()
    local task = asyncio.create_task(function()
      asyncio.await(sleeper)
      asyncio.sleep(when - now())
      return "won"
    end)
    asyncio.sleep(0)
    sleeper:set_result() -- it sleeps once the limit is set
    t.assertEquals(asyncio.wait_for(task, when - now()), "won") -- both are due in the same turn
    assert_undisturbed()
  end)
end

function TestWaitFor:test_on_a_tie_with_a_cancellation_from_outside_gives_the_result_and_delivers_that_next()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local future, result, err = loop:create_future(), nil, nil
    local task = started(function()
      result = asyncio.wait_for(future, 1000)
      err = t.error_of(asyncio.sleep, 0)
      asyncio.sleep(0)
    end)
    future:set_result "won"
    task:cancel "outside"
    asyncio.await(task)
    t.assertEquals(result, "won")
    t.assertEquals(t.assert_isinstance(err, asyncio.CancelledError).message, "outside")
  end)
end

function TestWaitFor:test_on_a_tie_of_all_three_loses_nothing()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local future, result, err, task = loop:create_future(), nil, nil, nil
    loop:call_later(1, function() future:set_result "won" end)
    loop:call_later(1, function() task:cancel "outside" end)
    task = started(function()
      result = asyncio.wait_for(future, 1)
      err = t.error_of(asyncio.sleep, 0)
      asyncio.sleep(0)
    end)
    asyncio.await(task)
    t.assertEquals(result, "won")
    t.assertEquals(t.assert_isinstance(err, asyncio.CancelledError).message, "outside")
  end)
end

function TestWaitFor:test_cancelled_from_outside_passes_that_on_to_what_it_waits_for()
  t.run(function()
    local inner = started(sleep_long)
    local task = started(asyncio.wait_for, inner, 1000)
    task:cancel "outside"
    t.assertEquals(t.assert_raises(asyncio.CancelledError, asyncio.await, task).message, "outside")
    t.assertTrue(inner:cancelled() and task:cancelled())
  end)
end

function TestWaitFor:test_cancelled_from_outside_while_it_waits_for_the_end_of_what_it_cancelled()
  t.run(function()
    local gate = asyncio.get_running_loop():create_future()
    local inner = asyncio.create_task(function()
      local _ <close> = on_close(function() asyncio.await(asyncio.shield(gate)) end)
      sleep_long()
    end)
    local outcome
    local task = started(function()
      outcome = t.error_of(asyncio.wait_for, inner, 0.001)
      asyncio.sleep(0)
    end)
    asyncio.sleep(0.01)
    t.assertFalse(task:done())
    task:cancel "outside"
    asyncio.wait({ task }, { timeout = 0.01 })
    if not gate:done() then gate:set_result() end
    asyncio.wait { task }
    -- the time was up first, so TimeoutError, and the cancellation next; or the cancellation alone
    if asyncio.isinstance(outcome, asyncio.TimeoutError) then
      t.assertTrue(task:cancelled())
    else
      t.assertEquals(t.assert_isinstance(outcome, asyncio.CancelledError).message, "outside")
    end
    t.assertTrue(inner:done())
  end)
end

function TestWaitFor:test_of_a_cancelled_task_raises_CancelledError()
  t.run(function()
    local task = started(sleep_long)
    asyncio.get_running_loop():call_soon(task.cancel, task)
    t.assert_raises(asyncio.CancelledError, asyncio.wait_for, task, 1000)
    assert_undisturbed()
  end)
end

function TestWaitFor:test_with_a_wrong_argument_is_an_argument_error()
  t.run(function()
    t.assertStrContains(t.error_of(asyncio.wait_for, sleep_long, "x"), "bad argument #2 to 'wait_for'")
    t.assertStrContains(t.error_of(asyncio.wait_for, sleep_long, 0 / 0), "bad argument #2 to 'wait_for'")
    t.assertStrContains(t.error_of(asyncio.wait_for, 42, 1), "bad argument #1")
  end)
end

-- move_on_after

function TestMoveOnAfter:test_gives_true_and_the_results_in_time()
  t.run(function()
    local results = table.pack(asyncio.move_on_after(10, function(...)
      asyncio.sleep(0)
      return ...
    end, nil, 2, false, nil))
    t.assertEquals(results, { true, nil, 2, false, nil, n = 5 })
  end)
end

function TestMoveOnAfter:test_gives_false_when_the_time_is_up()
  t.run(function()
    local start = now()
    t.assertEquals(table.pack(asyncio.move_on_after(2, asyncio.sleep, 1000)), { false, n = 1 })
    t.assertEquals(now() - start, 2)
    assert_undisturbed()
  end)
end

function TestMoveOnAfter:test_runs_the_function_in_the_current_task()
  t.run(function()
    t.assertEquals({ asyncio.move_on_after(1, asyncio.current_task) }, { true, asyncio.current_task() })
  end)
end

function TestMoveOnAfter:test_raises_the_errors_of_the_function()
  t.run(function()
    local boom, late = {}, asyncio.TimeoutError "its own"
    t.assertIs(t.error_of(asyncio.move_on_after, 10, error, boom), boom)
    t.assertIs(t.error_of(asyncio.move_on_after, 10, error, late), late)
    t.assert_raises(asyncio.TimeoutError, asyncio.move_on_after, 10, asyncio.wait_for, sleep_long, 0.001)
  end)
end

function TestMoveOnAfter:test_passes_a_cancellation_from_outside_on()
  t.run(function()
    local task = started(asyncio.move_on_after, 1000, sleep_long)
    task:cancel "outside"
    t.assertEquals(t.assert_raises(asyncio.CancelledError, asyncio.await, task).message, "outside")
  end)
end

function TestMoveOnAfter:test_nests()
  t.run(function()
    t.assertEquals({ asyncio.move_on_after(1000, asyncio.move_on_after, 0.001, sleep_long) }, { true, false })
    t.assertEquals({ asyncio.move_on_after(0.001, asyncio.move_on_after, 1000, sleep_long) }, { false })
    assert_undisturbed()
  end)
end

function TestMoveOnAfter:test_in_a_coroutine_that_is_closed_cancels_nobody()
  t.run(function()
    local co = asyncio.coroutine.create(function() asyncio.move_on_after(2, asyncio.coroutine.yield, "in it") end)
    t.assertEquals({ asyncio.coroutine.resume(co) }, { true, "in it" })
    t.assertTrue(asyncio.coroutine.close(co))
    asyncio.sleep(5)
    assert_undisturbed()
  end)
end

function TestMoveOnAfter:test_without_a_limit_waits_as_long_as_it_takes()
  t.run(function()
    t.assertEquals({ asyncio.move_on_after(nil, asyncio.wait_for, function() asyncio.sleep(1e6) return 1 end) },
      { true, 1 })
  end)
end

function TestMoveOnAfter:test_gives_way_now_and_then()
  t.run(function()
    local others = 0
    asyncio.get_running_loop():call_soon(function() others = others + 1 end)
    for _ = 1, 1000 do t.assertEquals({ asyncio.move_on_after(5, math.max, 1, 2) }, { true, 2 }) end
    t.assertEquals(others, 1)
  end)
end

function TestMoveOnAfter:test_with_a_wrong_argument_is_an_argument_error()
  t.run(function()
    t.assertStrContains(t.error_of(asyncio.move_on_after, "x", sleep_long), "bad argument #1 to 'move_on_after'")
    t.assertStrContains(t.error_of(asyncio.move_on_after, 1, 42),
      "bad argument #2 to 'move_on_after' (function expected, got number; write move_on_after(delay, f, x), " ..
        "not move_on_after(delay, f(x)))")
  end)
end

-- extend

function TestReschedule:test_extend_gives_so_much_more_time()
  t.run(function()
    local began = now()
    local err = t.assert_raises(asyncio.TimeoutError, within, 1, function(scope)
      scope:extend(2)
      scope:extend(0)
      t.assertEquals(scope:when(), began + 3)
      sleep_long()
    end)
    t.assertEquals(now(), began + 3)
    t.assertStrContains(err.message, "the time is up after 3 s")
  end)
end

function TestReschedule:test_extend_by_another_task()
  t.run(function()
    within(1, function(scope)
      asyncio.get_running_loop():call_later(0.5, scope.extend, scope, 10)
      asyncio.sleep(5)
    end)
  end)
end

function TestReschedule:test_extend_without_a_deadline_raises_InvalidStateError()
  t.run(function()
    within(nil, function(scope)
      local err = t.assert_raises(asyncio.InvalidStateError, scope.extend, scope, 1)
      t.assertStrContains(err.message, "has no deadline")
    end)
  end)
end

function TestReschedule:test_extend_after_it_expired_or_ended_raises_InvalidStateError()
  t.run(function()
    local scope
    within(0.001, function(s)
      scope = s
      pcall(sleep_long)
      t.assertStrContains(t.assert_raises(asyncio.InvalidStateError, s.extend, s, 1).message, "has expired")
    end)
    t.assertStrContains(t.assert_raises(asyncio.InvalidStateError, scope.extend, scope, 1).message, "has ended")
  end)
end

-- What a TimeoutError says: after how long, and where the limit was made

TestTimeoutWords = {}

--- Fails unless fn raises a TimeoutError after so many seconds, of a limit that was made by `what` in the line of fn.
local function assert_tells(seconds, what, fn)
  local err = t.assert_raises(asyncio.TimeoutError, fn)
  local line = debug.getinfo(fn, "S").linedefined
  t.assertStrContains(err.message, ("%s s (%s at %s:%d)"):format(seconds, what, "spec/timeout_spec.lua", line))
end

function TestTimeoutWords:test_every_limit_tells()
  t.run(function()
    assert_tells(2, "timeout", function() local _ <close> = asyncio.timeout(2) sleep_long() end)
    assert_tells(0, "timeout", function() local _ <close> = asyncio.timeout(-1) sleep_long() end)
    assert_tells(3, "timeout", function() local _ <close> = asyncio.timeout_at(now() + 3) sleep_long() end)
    assert_tells(0.5, "wait_for", function() asyncio.wait_for(sleep_long, 0.5) end)
    assert_tells(1, "wait_for", function() asyncio.wait_for(asyncio.create_task(sleep_long), 1) end)
    local opts, create = { timeout = 1 }, coroutine.create
    assert_tells(2, "wait_for", function() asyncio.await(create(function() asyncio.wait_for(sleep_long, 2) end)) end)
    assert_tells(1, "as_completed", function() for _ in asyncio.as_completed({ sleep_long }, opts) do break end end)
    for _, task in ipairs(asyncio.all_tasks()) do
      if task ~= asyncio.current_task() then task:stop() end
    end
  end)
end

function TestTimeoutWords:test_one_that_was_moved_tells_the_whole_time()
  t.run(function()
    local err = t.assert_raises(asyncio.TimeoutError, within, 1, function(scope)
      asyncio.sleep(0.5)
      scope:reschedule(now() + 2)
      sleep_long()
    end)
    t.assertStrContains(err.message, "after 2.5 s")
  end)
end

function TestTimeoutWords:test_one_that_expires_while_its_task_is_ready_tells()
  t.run(function()
    local future = asyncio.get_running_loop():create_future()
    asyncio.get_running_loop():call_later(1, future.set_result, future)
    local err = t.assert_raises(asyncio.TimeoutError, function()
      asyncio.wait_for(function()
        asyncio.await(future)
        sleep_long()
      end, 1)
    end)
    t.assertStrContains(err.message, "the time is up after 1 s (wait_for at spec/timeout_spec.lua:")
  end)
end

TestNoTime = {}

function TestNoTime:test_what_was_over_at_once_is_told_without_odd_figures()
  t.run(function()
    for _, seconds in ipairs { 1e-9, 3.59e-6, 0, -3 } do
      local err = t.error_of(function()
        local _ <close> = t.asyncio.timeout(seconds)
        t.asyncio.sleep(1)
      end)
      t.assertStrContains(tostring(err), "the time is up after 0 s (")
    end
  end)
end

t.finish()
