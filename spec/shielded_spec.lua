-- shielded: requests from outside wait until the block is left. What Ctrl-C does there is in interrupt_spec.lua.
local t = require "helper"
local asyncio = t.asyncio
local sleep, create_task, shielded = asyncio.sleep, asyncio.create_task, asyncio.shielded

TestShielded = {}

local function now() return asyncio.get_running_loop():time() end

--- The messages of the cancellations that the calls raise, one after the other; "" for none.
local function messages(n)
  local list = {}
  for i = 1, n do
    local ok, err = pcall(sleep, 1)
    list[i] = ok and "" or err.message
  end
  return list
end

function TestShielded:test_a_request_waits_until_the_block_has_been_left()
  t.run(function()
    local log = {}
    local task = create_task(function()
      do
        local _ <close> = shielded()
        sleep(1)
        log[#log + 1] = "inside"
      end
      log[#log + 1] = "after"
      sleep(1)
      log[#log + 1] = "never"
    end)
    sleep(0.5)
    t.assertTrue(task:cancel())
    asyncio.wait { task }
    t.assertEquals(log, { "inside", "after" })
    t.assertTrue(task:cancelled())
  end)
end

function TestShielded:test_what_waited_is_delivered_one_after_the_other_each_once()
  t.run(function()
    local task = create_task(function()
      do
        local _ <close> = shielded()
        sleep(1)
      end
      return messages(4)
    end)
    sleep(0.1)
    for _, message in ipairs { "a", "b", "c" } do task:cancel(message) end
    t.assertEquals(asyncio.await(task), { "a", "b", "c", "" })
  end)
end

function TestShielded:test_it_counts_at_once()
  t.run(function()
    local task = create_task(function()
      local _ <close> = shielded()
      sleep(1)
      return asyncio.current_task():cancelling()
    end)
    sleep(0.5)
    task:cancel()
    task:cancel()
    t.assertEquals(task:cancelling(), 2)
    t.assertEquals(asyncio.await(task), 2)
  end)
end

function TestShielded:test_uncancel_takes_back_what_waits()
  t.run(function()
    local task = create_task(function()
      do
        local _ <close> = shielded()
        sleep(1)
        asyncio.current_task():uncancel()
      end
      sleep(1)
      return "went on"
    end)
    sleep(0.5)
    task:cancel()
    t.assertEquals(asyncio.await(task), "went on")
  end)
end

function TestShielded:test_a_task_that_never_waits_again_is_not_cancelled()
  t.run(function()
    local task = create_task(function()
      local _ <close> = shielded()
      sleep(1)
      return "done"
    end)
    sleep(0.5)
    task:cancel()
    t.assertEquals(asyncio.await(task), "done")
  end)
end

function TestShielded:test_ones_own_request_waits_too()
  t.run(function()
    local task = create_task(function()
      do
        local _ <close> = shielded()
        asyncio.current_task():cancel "my own"
        sleep(1)
      end
      return messages(2)
    end)
    t.assertEquals(asyncio.await(task), { "my own", "" })
  end)
end

function TestShielded:test_a_timeout_around_it_waits()
  t.run(function()
    local inside
    local ok, err = pcall(function()
      local _ <close> = asyncio.timeout(1)
      do
        local _ <close> = shielded()
        sleep(3)
        inside = now()
      end
      sleep(10)
    end)
    t.assertFalse(ok)
    t.assert_isinstance(err, asyncio.TimeoutError)
    t.assertAlmostEquals(now() - inside, 0, 0.001)
  end)
end

function TestShielded:test_a_timeout_around_it_whose_block_ends_with_it_takes_its_request_back()
  t.run(function()
    local scope = asyncio.timeout(1)
    do
      local _ <close> = scope
      local _ <close> = shielded()
      sleep(3)
    end
    t.assertTrue(scope:expired())
    t.assertEquals(asyncio.current_task():cancelling(), 0)
    sleep(1)
  end)
end

function TestShielded:test_scopes_inside_work()
  t.run(function()
    local _ <close> = shielded()
    local began = now()
    t.assert_raises(asyncio.TimeoutError, function()
      local _ <close> = asyncio.timeout(1)
      sleep(10)
    end)
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, create_task(sleep, 10), 1)
    t.assertFalse(asyncio.move_on_after(1, sleep, 10))
    t.assert_raises(asyncio.ExceptionGroup, function()
      local group <close> = asyncio.TaskGroup()
      group:create_task(error, "of the group")
      sleep(10)
    end)
    t.assertAlmostEquals(now() - began, 3, 0.001)
  end)
end

function TestShielded:test_scopes_inside_work_while_a_request_from_outside_waits()
  t.run(function()
    local task = create_task(function()
      local expired
      do
        local _ <close> = shielded()
        expired = not asyncio.move_on_after(2, sleep, 10)
        expired = expired and not asyncio.move_on_after(1, asyncio.await, create_task(sleep, 10))
      end
      return expired, messages(2)
    end)
    sleep(1)
    task:cancel "outside"
    local expired, list = asyncio.await(task)
    t.assertTrue(expired)
    t.assertEquals(list, { "outside", "" })
  end)
end

function TestShielded:test_a_group_around_it_waits_for_it()
  t.run(function()
    local log = {}
    local ok = pcall(function()
      local group <close> = asyncio.TaskGroup()
      group:create_task(function()
        do
          local _ <close> = shielded()
          sleep(2)
          log[#log + 1] = "child"
        end
        sleep(1)
        log[#log + 1] = "never"
      end)
      group:create_task(function()
        sleep(1)
        error "failed"
      end)
      local _ <close> = shielded()
      sleep(3)
      log[#log + 1] = "body"
    end)
    t.assertFalse(ok)
    t.assertEquals(log, { "child", "body" })
  end)
end

function TestShielded:test_a_request_is_not_passed_on_to_what_is_awaited_inside()
  t.run(function()
    local inner = create_task(sleep, 2, "result")
    local task = create_task(function()
      local _ <close> = shielded()
      return asyncio.await(inner), asyncio.gather(inner), (asyncio.wait { inner })[1]:result()
    end)
    sleep(1)
    task:cancel()
    t.assertEquals({ asyncio.await(task) }, { "result", "result", "result" })
    t.assertEquals(inner:cancelling(), 0)
  end)
end

function TestShielded:test_what_is_awaited_inside_and_was_cancelled_raises_its_own_error()
  t.run(function()
    local inner = create_task(sleep, 2)
    local task = create_task(function()
      do
        local _ <close> = shielded()
        local _, err = pcall(asyncio.await, inner)
        t.assertEquals(err.message, "of inner")
      end
      return messages(2)
    end)
    sleep(0)
    task:cancel "of task"
    inner:cancel "of inner"
    t.assertEquals(asyncio.await(task), { "of task", "" })
  end)
end

function TestShielded:test_who_awaits_it_goes_on_waiting_and_its_request_arrives_afterwards()
  t.run(function()
    local log = {}
    local task = create_task(function()
      do
        local _ <close> = shielded()
        sleep(2)
        log[#log + 1] = "inside"
      end
      sleep(10)
    end)
    local waiter = create_task(asyncio.await, task)
    sleep(1)
    waiter:cancel()
    waiter:cancel()
    local began = now()
    asyncio.wait { waiter }
    t.assertTrue(waiter:cancelled() and task:cancelled())
    t.assertAlmostEquals(now() - began, 1, 0.001)
    t.assertEquals(log, { "inside" })
  end)
end

function TestShielded:test_nested_ones_hold_until_the_last_has_been_left()
  t.run(function()
    local task = create_task(function()
      local log = {}
      do
        local _ <close> = shielded()
        do
          local _ <close> = shielded()
          sleep(1)
        end
        log[1] = pcall(sleep, 1)
      end
      log[2] = pcall(sleep, 1)
      return log
    end)
    sleep(0.5)
    task:cancel()
    t.assertEquals(asyncio.await(task), { true, false })
  end)
end

function TestShielded:test_the_inner_of_two_holds_back_a_timeout_between_them()
  t.run(function()
    local log = {}
    local task = create_task(function()
      local _ <close> = shielded()
      log[1] = pcall(function()
        local _ <close> = asyncio.timeout(1)
        do
          local _ <close> = shielded()
          log[2] = pcall(sleep, 3)
        end
        log[3] = pcall(sleep, 1)
        sleep(1)
      end)
      log[4] = pcall(sleep, 1)
    end)
    sleep(0.5)
    task:cancel() -- before the timeout's in the queue, and due after it
    asyncio.wait { task }
    t.assertEquals(log, { true, true, false, true })
  end)
end

function TestShielded:test_a_timeout_made_before_one_is_outside_of_all_that_come_later()
  t.run(function()
    local before = asyncio.timeout(1)
    local first = shielded()
    first:__close() -- in any order
    local second <close> = shielded()
    sleep(2)
    t.assertTrue(before:expired())
    local task = asyncio.current_task()
    t.assertEquals(task:cancelling(), 1)
    getmetatable(before).__close(before)
    t.assertEquals(task:cancelling(), 0)
    t.assertStrContains(tostring(second), "cancellations wait")
  end)
end

function TestShielded:test_closed_in_another_order_the_open_ones_still_hold()
  t.run(function()
    local task = create_task(function()
      local outer, inner = shielded(), shielded()
      sleep(1)
      getmetatable(outer).__close(outer)
      local held = pcall(sleep, 1)
      getmetatable(inner).__close(inner)
      return held, (pcall(sleep, 1))
    end)
    sleep(0.5)
    task:cancel()
    t.assertEquals({ asyncio.await(task) }, { true, false })
  end)
end

function TestShielded:test_after_so_many_seconds_what_waits_is_delivered_inside()
  t.run(function()
    local task = create_task(function()
      local _ <close> = shielded(2)
      sleep(10)
    end)
    sleep(0.5)
    local began = now()
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    t.assertAlmostEquals(now() - began, 1.5, 0.001)
  end)
end

function TestShielded:test_what_comes_after_these_seconds_is_delivered_at_once()
  t.run(function()
    local task = create_task(function()
      local _ <close> = shielded(1)
      sleep(10)
    end)
    sleep(2)
    local began = now()
    task:cancel()
    asyncio.wait { task }
    t.assertAlmostEquals(now() - began, 0, 0.001)
  end)
end

function TestShielded:test_after_these_seconds_it_is_passed_on_to_what_is_awaited()
  t.run(function()
    local inner = create_task(sleep, 100)
    local task = create_task(function()
      local _ <close> = shielded(2)
      asyncio.await(inner)
    end)
    sleep(1)
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(inner:cancelled())
  end)
end

function TestShielded:test_its_timer_goes_with_the_block()
  t.run(function()
    local scope = shielded(1)
    getmetatable(scope).__close(scope)
    t.assertEquals(tostring(scope), "asyncio.Shielded: ended")
    getmetatable(scope).__close(scope) -- again
    sleep(5)
  end)
end

function TestShielded:test_another_task_may_leave_it()
  t.run(function()
    local scope
    local task = create_task(function()
      scope = shielded()
      sleep(10)
    end)
    sleep(1)
    task:cancel()
    local began = now()
    getmetatable(scope).__close(scope)
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    t.assertAlmostEquals(now() - began, 0, 0.001)
  end)
end

function TestShielded:test_a_forgotten_one_is_reported_with_where_it_was_made()
  t.run(function(reports)
    local line
    asyncio.await(create_task(function() line = debug.getinfo(1, "l").currentline shielded(60) end))
    local report = t.take_report(reports, "never closed.*asyncio.Shielded")
    t.assertStrContains(report.source_traceback, "shielded_spec.lua:" .. line)
    sleep(100)
  end)
end

function TestShielded:test_one_that_a_collected_coroutine_left_open_holds_until_the_task_ends()
  t.run(function(reports)
    local task = create_task(function()
      coroutine.wrap(function() shielded() end)()
      t.collect()
      sleep(1)
      return "to its end"
    end)
    sleep(0.5)
    task:cancel()
    t.assertEquals(asyncio.await(task), "to its end")
    t.take_report(reports, "never closed")
  end)
end

function TestShielded:test_outside_of_a_task_it_is_an_error()
  t.assertStrContains(tostring(t.error_of(shielded)), "a shield can only be used inside a task: make it in ")
  t.run(function()
    t.assertStrContains(t.error_of(shielded, "1"), "bad argument #1 to 'shielded' (number of seconds or nil expected")
    t.assertStrContains(t.error_of(shielded, 0 / 0), "bad argument #1 to 'shielded'")
  end)
end

function TestShielded:test_a_condition_is_waited_for_and_its_lock_retaken()
  t.run(function()
    local condition = asyncio.Condition()
    local task = create_task(function()
      do
        local _ <close> = shielded()
        local _ <close> = condition:acquire()
        condition:wait()
      end
      return messages(2)
    end)
    sleep(0)
    task:cancel "held"
    sleep(1)
    do
      local _ <close> = condition:acquire()
      condition:notify()
    end
    t.assertEquals(asyncio.await(task), { "held", "" })
  end)
end

function TestShielded:test_the_end_of_run_waits_for_it()
  local log = {}
  asyncio.run(function()
    create_task(function()
      do
        local _ <close> = shielded()
        sleep(0.05)
        log[#log + 1] = "inside"
      end
      sleep(10)
      log[#log + 1] = "never"
    end)
    sleep(0)
  end)
  t.assertEquals(log, { "inside" })
end

function TestShielded:test_the_end_of_run_gives_one_up_that_takes_too_long()
  local reports
  local runner <close> = asyncio.Runner { cancel_timeout = 0.01 }
  runner:run(function()
    reports = t.reports_of(asyncio.get_running_loop())
    create_task(function()
      local _ <close> = shielded()
      sleep(100)
    end)
    sleep(0)
  end)
  runner:close()
  t.take_report(reports, "is abandoned")
end

function TestShielded:test_debug_mode_has_nothing_to_say_of_it()
  t.run(function()
    asyncio.get_running_loop():set_debug(true)
    local task = create_task(function()
      local _ <close> = shielded()
      sleep(1)
      return "done"
    end)
    sleep(0.5)
    task:cancel()
    t.assertEquals(asyncio.await(task), "done")
    pcall(function()
      local _ <close> = asyncio.timeout(1)
      local _ <close> = shielded()
      sleep(2)
    end)
  end)
end

TestNegative = {}

function TestNegative:test_less_than_no_time_is_an_argument_error()
  t.run(function()
    t.assertStrContains(tostring(t.error_of(t.asyncio.shielded, -1)), "0 or more, expected, got -1")
    local _ <close> = t.asyncio.shielded(0)
  end)
end

t.finish()
