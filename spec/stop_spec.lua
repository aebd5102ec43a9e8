-- Tasks as `<close>` variables, and task:stop.
local t = require "helper"

local asyncio = t.asyncio
local sleep, create_task = asyncio.sleep, asyncio.create_task

--- A task that notes in `log` when it has cleaned up, which takes that long.
local function cleaner(log, seconds)
  return create_task(function()
    local _ <close> = setmetatable({}, { __close = function()
      sleep(seconds or 1)
      log[#log + 1] = "clean"
    end })
    sleep(3600)
  end)
end

--- Goes on for so long after its first cancellation.
local function stubborn(seconds)
  return create_task(function()
    pcall(sleep, 3600)
    sleep(seconds)
    return "in the end"
  end)
end

local function guard(fn) return setmetatable({}, { __close = fn }) end

TestClose = {}

function TestClose:test_leaving_the_block_cancels_the_task_and_waits_for_it()
  t.run(function()
    local log, task = {}, nil
    do
      local _ <close> = cleaner(log)
      task = _
      sleep(1)
      log[1] = "left"
    end
    t.assertEquals(log, { "left", "clean" })
    t.assertTrue(task:cancelled())
    t.assertEquals(asyncio.time() >= 2, true)
  end)
end

function TestClose:test_a_task_that_has_ended_costs_nothing()
  t.run(function()
    local task
    do
      local _ <close> = create_task(sleep, 1, "result")
      task = _
      asyncio.await(task)
    end
    t.assertEquals(task:result(), "result")
  end)
end

function TestClose:test_a_task_that_has_not_begun_never_runs()
  t.run(function()
    local ran = false
    do
      local _ <close> = create_task(function() ran = true end)
    end
    t.assertFalse(ran)
  end)
end

function TestClose:test_its_failure_is_raised_where_the_block_is_left_normally()
  t.run(function()
    t.assertErrorMsgEquals("boom", function()
      local _ <close> = create_task(error, "boom")
      sleep(1)
    end)
  end)
end

function TestClose:test_a_failure_while_it_cleans_up_is_raised_too()
  t.run(function()
    t.assertErrorMsgEquals("late", function()
      local _ <close> = create_task(function()
        local _ <close> = guard(function() error("late", 0) end)
        sleep(3600)
      end)
      sleep(1)
    end)
  end)
end

function TestClose:test_a_failure_that_somebody_has_looked_at_is_not_raised_again()
  t.run(function()
    local task <close> = create_task(error, "boom")
    t.assertErrorMsgEquals("boom", asyncio.await, task)
  end)
end

function TestClose:test_its_failure_is_reported_where_an_error_leaves_the_block()
  t.run(function(reports)
    t.assertErrorMsgEquals("mine", function()
      local _ <close> = create_task(error, "boom")
      sleep(1)
      error("mine", 0)
    end)
    t.collect()
    sleep(1)
    t.assertEquals(t.take_report(reports, "never looked at").exception, "boom")
  end)
end

function TestClose:test_a_failure_that_comes_as_it_is_waited_for_is_reported_then()
  t.run(function(reports)
    t.assertErrorMsgEquals("mine", function()
      local _ <close> = create_task(function()
        local _ <close> = guard(function() error("late", 0) end)
        sleep(3600)
      end)
      sleep(1)
      error("mine", 0)
    end)
    sleep(1)
    t.collect()
    sleep(1)
    t.assertEquals(t.take_report(reports, "never looked at").exception, "late")
  end)
end

function TestClose:test_where_it_failed_is_told()
  t.run(function()
    local function deep() error(asyncio.Error "deep") end
    local err = t.error_of(function()
      local _ <close> = create_task(function() sleep(0) deep() end)
      sleep(1)
    end)
    t.assertStrContains(err.traceback, "in upvalue 'deep'")
  end)
end

function TestClose:test_a_task_that_closes_itself_is_an_argument_error()
  t.run(function()
    t.assertErrorMsgContains("a task cannot stop itself", function()
      local _ <close> = asyncio.current_task()
    end)
    t.assertErrorMsgEquals("mine", function()
      local _ <close> = asyncio.current_task()
      error("mine", 0)
    end)
  end)
end

function TestClose:test_a_cancellation_leaves_the_block_when_the_task_has_ended()
  t.run(function()
    local log = {}
    local outer = create_task(function()
      local _ <close> = cleaner(log)
      sleep(3600)
    end)
    sleep(1)
    outer:cancel()
    asyncio.wait { outer }
    t.assertEquals(log, { "clean" })
    t.assertTrue(outer:cancelled())
  end)
end

function TestClose:test_a_timeout_around_the_block_is_told_once_the_task_has_ended()
  t.run(function()
    local task
    local err = t.error_of(function()
      local _ <close> = asyncio.timeout(2)
      local inner <close> = stubborn(1)
      task = inner
      sleep(3600)
    end)
    t.assert_isinstance(err, asyncio.TimeoutError)
    t.assertEquals(task:result(), "in the end")
    t.assertEquals(asyncio.time() >= 3, true)
  end)
end

function TestClose:test_a_request_that_comes_while_an_error_leaves_the_block_waits()
  t.run(function()
    local went_on, task
    task = create_task(function()
      local ok, err = pcall(function()
        local _ <close> = cleaner({}, 2)
        sleep(1)
        error("mine", 0)
      end)
      went_on = not ok and err
      sleep(1)
    end)
    sleep(1.5)
    task:cancel()
    asyncio.wait { task }
    t.assertEquals(went_on, "mine")
    t.assertTrue(task:cancelled())
  end)
end

function TestClose:test_several_end_in_the_reverse_order()
  t.run(function()
    local log = {}
    local function named(name)
      return create_task(function()
        local _ <close> = guard(function() log[#log + 1] = name end)
        sleep(3600)
      end)
    end
    do
      local _ <close> = named "first"
      local _ <close> = named "second"
      sleep(1)
    end
    t.assertEquals(log, { "second", "first" })
  end)
end

function TestClose:test_a_task_of_a_group_may_be_one()
  t.run(function()
    local log = {}
    do
      local group <close> = asyncio.TaskGroup()
      local _ <close> = group:create_task(function()
        local _ <close> = guard(function() log[#log + 1] = "ended" end)
        sleep(3600)
      end)
      group:create_task(function()
        sleep(5)
        log[#log + 1] = "the group's"
      end)
      sleep(1)
    end
    t.assertEquals(log, { "ended", "the group's" })
  end)
end

function TestClose:test_a_group_whose_task_fails_ends_it()
  t.run(function()
    local log = {}
    local err = t.error_of(function()
      local group <close> = asyncio.TaskGroup()
      group:create_task(function() sleep(1) error("bad", 0) end)
      local _ <close> = cleaner(log)
      sleep(3600)
    end)
    t.assertEquals(err.errors, { "bad" })
    t.assertEquals(log, { "clean" })
  end)
end

function TestClose:test_a_handlers_task_ends_with_its_handler()
  t.real(function()
    local ended
    local server <close> = asyncio.start_server(function(reader)
      local _ <close> = create_task(function()
        local _ <close> = guard(function() ended = true end)
        sleep(3600)
      end)
      reader:read()
    end, "127.0.0.1", 0)
    local _, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    t.until_blocked()
    writer:close()
    server:close()
    server:wait_closed()
    t.assertTrue(ended)
  end)
end

function TestClose:test_one_that_a_shield_protects_ends_all_the_same()
  t.run(function()
    local log = {}
    do
      local task <close> = cleaner(log)
      local waiter = create_task(asyncio.await, asyncio.shield(task))
      sleep(1)
      waiter:cancel()
      asyncio.wait { waiter }
      t.assertFalse(task:done())
    end
    t.assertEquals(log, { "clean" })
  end)
end

function TestClose:test_it_is_no_scope_that_must_be_closed()
  t.run(function()
    asyncio.await(create_task(function() create_task(sleep, 1) end))
    sleep(2)
  end)
end

function TestClose:test_debug_mode_reports_one_that_swallows_its_cancellation()
  t.run(function(reports)
    asyncio.get_running_loop():set_debug(true)
    do
      local _ <close> = stubborn(1)
      sleep(1)
    end
    t.take_report(reports, "caught its cancellation and waits again")
  end)
end

function TestClose:test_where_nothing_can_wait_it_is_only_cancelled()
  t.run(function()
    local log, task = {}, nil
    asyncio.get_running_loop():call_soon(function()
      local _ <close> = cleaner(log)
      task = _
    end)
    sleep(1)
    t.assertTrue(task:cancelled())
  end)
end

function TestClose:test_one_whose_loop_is_closed_is_left_in_peace()
  local task
  asyncio.run(function()
    local loop = asyncio.new_event_loop()
    task = loop:create_task(sleep, 1)
    loop:close()
    do
      local _ <close> = task
    end
    t.assert_raises(asyncio.ClosedError, task.stop, task)
  end)
  do
    local _ <close> = task
  end
end

function TestClose:test_the_end_of_a_run_finds_it_ended()
  local out, err = t.lua([[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local _ <close> = asyncio.create_task(function()
        local _ <close> = setmetatable({}, { __close = function()
          asyncio.sleep(0.01)
          print "clean"
        end })
        asyncio.sleep(3600)
      end)
      asyncio.sleep(0.01)
      print "left"
    end)
  ]])
  t.assertEquals(err, "")
  t.assertEquals(out, "left\nclean\n")
end

TestStop = {}

function TestStop:test_cancels_and_waits_and_drops_the_result()
  t.run(function()
    local task = stubborn(2)
    sleep(1)
    t.assertEquals(select("#", task:stop()), 0)
    t.assertEquals(task:result(), "in the end")
    t.assertEquals(asyncio.time() >= 3, true)
  end)
end

function TestStop:test_a_second_time_does_nothing()
  t.run(function()
    local task = create_task(sleep, 3600)
    task:stop()
    task:stop()
    t.assertTrue(task:cancelled())
  end)
end

function TestStop:test_raises_the_failure_once()
  t.run(function()
    local task = create_task(error, "boom")
    sleep(1)
    t.assertErrorMsgEquals("boom", task.stop, task)
    task:stop()
  end)
end

function TestStop:test_a_cancellation_before_it_does_not_break_the_cleaning_up()
  t.run(function()
    local log = {}
    local task = cleaner(log)
    sleep(1)
    task:cancel()
    task:stop()
    t.assertEquals(log, { "clean" })
    t.assertEquals(task:cancelling(), 1)
  end)
end

function TestStop:test_a_request_of_a_timeout_in_the_task_does_not_stand_for_it()
  t.run(function()
    local task = create_task(function()
      asyncio.move_on_after(1, sleep, 3600)
      sleep(3600)
    end)
    create_task(function() -- in the turn in which that time is up
      sleep(1)
      task:stop()
    end)
    asyncio.wait({ task }, { timeout = 100 })
    t.assertTrue(task:cancelled())
  end)
end

function TestStop:test_two_that_stop_one_task_in_a_turn_ask_it_once()
  t.run(function()
    local log = {}
    local task = cleaner(log)
    sleep(1)
    asyncio.gather(function() task:stop() end, function() task:stop() end)
    t.assertEquals(log, { "clean" })
  end)
end

function TestStop:test_cancelling_who_waits_asks_once_more_and_is_raised_at_the_end()
  t.run(function()
    local asked = 0
    local task = create_task(function()
      for _ = 1, 2 do
        if not pcall(sleep, 3600) then asked = asked + 1 end
      end
      sleep(1)
    end)
    local waiter = create_task(function() task:stop() end)
    sleep(1)
    t.assertEquals(asked, 1)
    waiter:cancel()
    asyncio.wait { waiter }
    t.assertEquals(asked, 2)
    t.assertTrue(task:done())
    t.assertTrue(waiter:cancelled())
  end)
end

function TestStop:test_an_older_request_is_raised_when_the_task_has_ended()
  t.run(function()
    local log, waiter = {}, nil
    local task = cleaner(log)
    sleep(1)
    waiter = create_task(function()
      waiter:cancel()
      task:stop()
    end)
    asyncio.wait { waiter }
    t.assertEquals(log, { "clean" })
    t.assertTrue(waiter:cancelled())
  end)
end

function TestStop:test_a_request_that_comes_after_its_end_waits()
  t.run(function()
    local returned
    local task = create_task(sleep, 3600)
    sleep(1)
    local waiter = create_task(function()
      task:stop()
      returned = true
      sleep(1)
    end)
    create_task(function()
      asyncio.wait { task }
      waiter:cancel() -- it is woken already
    end)
    asyncio.wait { waiter }
    t.assertTrue(returned)
    t.assertTrue(waiter:cancelled())
  end)
end

function TestStop:test_what_goes_on_is_reported_after_five_seconds()
  t.run(function(reports)
    local task = stubborn(10)
    sleep(1)
    local began = asyncio.time()
    task:stop()
    t.assertEquals(asyncio.time() - began, 10)
    local report = t.take_report(reports, "goes on, 5 s after it was cancelled")
    t.assertEquals(report.task, task)
    t.assertStrContains(report.source_traceback, "stop_spec.lua")
    t.assertEquals(#reports, 0)
  end)
end

function TestStop:test_tasks_that_stop_each_other_are_refused()
  t.run(function()
    local one, other, refused
    one = create_task(function()
      local _ <close> = guard(function() refused = t.error_of(other.stop, other) end)
      sleep(3600)
    end)
    other = create_task(function() one:stop() end)
    asyncio.wait { other }
    t.assertStrContains(tostring(refused), "cannot stop a task that waits for this one")
    t.assertFalse(other:cancelled())
  end)
end

function TestStop:test_leaving_a_block_whose_task_waits_for_this_one_is_refused()
  t.run(function()
    local waiters = {}
    local function leave_with(err)
      local _ <close> = create_task(asyncio.await, asyncio.current_task())
      waiters[#waiters + 1] = _
      sleep(1)
      if err then error(err, 0) end
    end
    local owner = create_task(function()
      t.assertErrorMsgContains("cannot stop a task that waits for this one", leave_with)
      t.assertErrorMsgEquals("mine", leave_with, "mine")
      return asyncio.current_task():cancelling()
    end)
    t.assertEquals(asyncio.await(owner), 0)
    asyncio.wait(waiters)
  end)
end

function TestStop:test_a_task_of_another_loop_is_refused()
  local loop = asyncio.new_event_loop()
  local task = loop:create_task(sleep, 0)
  t.run(function()
    t.assertErrorMsgContains("cannot stop a task of another event loop", task.stop, task)
  end)
  loop:run_until_complete(task)
  loop:close()
end

function TestStop:test_outside_of_a_task_only_what_has_ended_can_be_stopped()
  local loop = asyncio.new_event_loop()
  local task = loop:create_task(sleep, 0)
  t.assertErrorMsgContains("cannot wait outside of a task", task.stop, task)
  loop:run_until_complete(task)
  task:stop()
  loop:close()
end

function TestStop:test_says_what_it_waits_for()
  t.run(function()
    local task = stubborn(1)
    local waiter = create_task(function() task:stop() end)
    sleep(0)
    sleep(0)
    t.assertStrContains(tostring(waiter), ("waits (stop '%s')"):format(task:get_name()))
    t.assertStrContains(asyncio.format_call_graph(waiter), ("Task '%s' stops"):format(waiter:get_name()))
    waiter:cancel()
    asyncio.wait { waiter }
  end)
end

function TestStop:test_gives_way_now_and_then_where_nothing_need_be_waited_for()
  t.run(function()
    local task, turns = create_task(sleep, 0), 0
    asyncio.await(task)
    local other <close> = create_task(function()
      while true do
        turns = turns + 1
        sleep(0)
      end
    end)
    for _ = 1, 1000 do task:stop() end
    t.assertTrue(turns >= 6)
    t.assertFalse(other:done())
  end)
end

function TestStop:test_the_second_interrupt_ends_the_waiting()
  local out, err = t.lua([[
    local asyncio = require "asyncio"
    local ok, err = pcall(asyncio.run, function()
      local task = asyncio.create_task(function()
        pcall(asyncio.sleep, 3600)
        asyncio.sleep(3600)
      end)
      asyncio.sleep(0)
      local main = asyncio.current_task()
      asyncio.get_running_loop():call_later(0.02, function() main:_break() end)
      task:stop()
    end)
    print(asyncio.type(err))
  ]])
  t.assertEquals(err, "")
  t.assertEquals(out, "KeyboardInterrupt\n")
end

t.finish()
