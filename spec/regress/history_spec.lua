-- history_spec.lua - what asyncio, or a library like it, has had wrong, each in a sentence and a test.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio
local create_task, sleep = asyncio.create_task, asyncio.sleep

--- A task that has come to its first wait.
local function started(fn, ...)
  local task = create_task(fn, ...)
  sleep(0)
  return task
end

--- Waits for it, but no longer than anything here may take.
local function soon(task) return asyncio.wait_for(task, 20) end

--- The next suspension raises what the task owes.
local function assert_owes_cancellation() t.assert_raises(asyncio.CancelledError, sleep, 0) end

--- Calls fn, which has what it waits for before its task is cancelled: it returns, and the cancellation
-- comes at the next suspension. What `fn` and `after` return.
local function woken_then_cancelled(fn, wake, after)
  local task = started(function()
    local got = table.pack(fn())
    assert_owes_cancellation()
    return got[1], after and after()
  end)
  wake()
  t.assertTrue(task:cancel())
  return soon(task)
end

TestWokenThenCancelled = {}

-- A lock's waiter that was cancelled when it had been woken left the others waiting for ever (bpo-27585).
function TestWokenThenCancelled:test_at_a_lock()
  t.run(function()
    local lock = asyncio.Lock()
    lock:acquire()
    local second
    woken_then_cancelled(function() lock:acquire() end, function()
      second = started(function() lock:acquire() lock:release() return "second" end)
      lock:release()
    end, function() lock:release() end)
    t.assertEquals(soon(second), "second")
    t.assertFalse(lock:locked())
  end)
end

-- A lock whose only waiters were cancelled, but had not run, strands who asks for it next (anyio#1145).
function TestWokenThenCancelled:test_waiters_of_a_lock_strand_no_newcomer()
  t.run(function()
    local lock = asyncio.Lock()
    lock:acquire()
    local waiter = started(lock.acquire, lock)
    waiter:cancel()
    lock:release()
    soon(create_task(function() lock:acquire() lock:release() end))
    t.assertTrue(waiter:cancelled())
  end)
end

-- The same at a semaphore, which then was locked for good (python/cpython#90155, python/asyncio#270).
function TestWokenThenCancelled:test_at_a_semaphore()
  t.run(function()
    local semaphore = asyncio.Semaphore(1)
    semaphore:acquire()
    local second
    woken_then_cancelled(function() semaphore:acquire() end, function()
      second = started(function() semaphore:acquire() return "second" end)
      semaphore:release()
    end, function() semaphore:release() end)
    t.assertEquals(soon(second), "second")
  end)
end

-- A notification was lost when the task that it had woken was cancelled (python/cpython#112202).
function TestWokenThenCancelled:test_at_a_condition()
  t.run(function()
    local condition = asyncio.Condition()
    local got = woken_then_cancelled(function()
      local _ <close> = condition:acquire()
      return condition:wait()
    end, function()
      local _ <close> = condition:acquire()
      condition:notify()
    end)
    t.assertTrue(got)
    t.assertFalse(condition:locked())
  end)
end

-- An item was lost when the task that had been woken for it was cancelled (bpo-23812, python/asyncio#256).
function TestWokenThenCancelled:test_at_a_get()
  t.run(function()
    local queue = asyncio.Queue()
    local got = woken_then_cancelled(function() return queue:get() end, function() queue:put_nowait "item" end)
    t.assertEquals({ got, queue:qsize() }, { "item", 0 })
  end)
end

-- A putter that was cancelled when it had been woken woke no other, though there was room
-- (python/cpython#108042).
function TestWokenThenCancelled:test_at_a_put()
  t.run(function()
    local queue = asyncio.Queue(1)
    queue:put(1)
    local second
    woken_then_cancelled(function() queue:put(2) end, function()
      second = started(queue.put, queue, 3)
      t.assertEquals(queue:get_nowait(), 1)
    end)
    t.assertEquals(queue:get(), 2)
    soon(second)
    t.assertEquals({ queue:get(), queue:qsize() }, { 3, 0 })
  end)
end

TestTimeout = {}

-- wait_for hid a cancellation from outside that came in the turn in which its task ended
-- (python/cpython#86296).
function TestTimeout:test_wait_for_passes_on_a_cancellation_of_the_same_turn()
  t.run(function()
    local future = asyncio.get_running_loop():create_future()
    local task = started(function()
      local got = asyncio.wait_for(future, 1000)
      assert_owes_cancellation()
      return got
    end)
    future:set_result "result"
    sleep(0) -- the waiter is woken
    task:cancel()
    t.assertEquals(soon(task), "result")
  end)
end

-- When time was up in the turn of a cancellation from outside, one of the two was lost (python/cpython#86296).
function TestTimeout:test_wait_for_keeps_its_deadline_and_a_cancellation_of_the_same_turn_apart()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local function both(cancelled_first)
      local task
      local function cancel_later() loop:call_later(1, function() task:cancel() end) end
      task = started(function()
        if cancelled_first then cancel_later() end
        local err = t.error_of(asyncio.wait_for, function()
          if not cancelled_first then cancel_later() end
          sleep(1000)
        end, 1) -- both are due in one turn, in the order in which they were set
        return err, (pcall(sleep, 0))
      end)
      return soon(task)
    end
    local err, undisturbed = both(true)
    t.assert_isinstance(err, asyncio.CancelledError)
    t.assertTrue(undisturbed) -- the deadline took its request back
    err, undisturbed = both(false)
    t.assert_isinstance(err, asyncio.TimeoutError)
    t.assertFalse(undisturbed)
  end)
end

-- Items vanished when `get` timed out in the turn in which they came (python/asyncio#201, #343).
function TestTimeout:test_get_under_a_deadline_loses_no_item()
  t.run(function()
    local queue, n, got = asyncio.Queue(), t.count(200), {}
    local consumer = create_task(function()
      while #got < n do
        local ok, item = pcall(asyncio.wait_for, function() return queue:get() end, 0)
        if ok then
          got[#got + 1] = item
        elseif not asyncio.isinstance(item, asyncio.TimeoutError) then
          error(item, 0)
        end
      end
    end)
    for i = 1, n do
      queue:put_nowait(i)
      for _ = 1, i % 4 do sleep(0) end
    end
    soon(consumer)
    for i = 1, n do t.assertEquals(got[i], i) end
    t.assertTrue(queue:empty())
  end)
end

TestDrain = {}

-- Two tasks that drained the same stream made it fail (python/cpython#74116).
function TestDrain:test_two_at_a_time_both_end()
  t.real(function()
    peers.bare(function(_, writer, peer)
      writer:set_write_buffer_limits { high = 1000, low = 0 }
      writer:write(("x"):rep(1 << 24))
      local first, second = create_task(writer.drain, writer), create_task(writer.drain, writer)
      sleep(0)
      local third = started(writer.drain, writer)
      t.assertEquals({ first:done(), second:done(), third:done() }, { false, false, false })
      third:cancel()
      local length = 0
      while length < 1 << 24 do
        local data = peers.take(peer, 1 << 20)
        length = length + #data
        if data == "" then sleep(0.001) end
      end
      soon(first)
      soon(second)
      t.assertTrue(third:cancelled())
    end)
  end)
end

TestCondition = {}

-- A task cancelled while it took the lock again came back without it (bpo-22970, python/cpython#77022).
function TestCondition:test_cancelled_while_it_takes_the_lock_again_has_it_all_the_same()
  t.run(function()
    local condition, held = asyncio.Condition(), nil
    local task = started(function()
      local _ <close> = condition:acquire()
      local woken = condition:wait()
      held = condition:locked()
      assert_owes_cancellation()
      return woken
    end)
    condition:acquire()
    condition:notify()
    task:cancel()
    sleep(0)
    t.assertNil(held) -- it waits for the lock, which is ours
    condition:release()
    t.assertTrue(soon(task))
    t.assertTrue(held)
    t.assertFalse(condition:locked())
  end)
end

-- Two cancellations of it became one, and the wrong one (python/cpython#111693).
function TestCondition:test_cancelled_twice_raises_each_request()
  t.run(function()
    local condition = asyncio.Condition()
    local task = started(function()
      local _ <close> = condition:acquire()
      local err = t.error_of(condition.wait, condition)
      return tostring(err), tostring(t.error_of(sleep, 0))
    end)
    condition:acquire()
    task:cancel "one"
    sleep(0)
    task:cancel "two"
    condition:release()
    local one, two = soon(task)
    t.assertStrContains(one, "one")
    t.assertStrContains(two, "two")
  end)
end

-- A notification that nobody waits for is gone: the next to wait waits.
function TestCondition:test_notified_while_nobody_waits_wakes_nobody_later()
  t.run(function()
    local condition = asyncio.Condition()
    do
      local _ <close> = condition:acquire()
      condition:notify()
      condition:notify_all()
      condition:notify(5)
    end
    local task = started(function()
      local _ <close> = condition:acquire()
      return condition:wait()
    end)
    for _ = 1, 5 do sleep(0) end
    t.assertFalse(task:done())
    do
      local _ <close> = condition:acquire()
      condition:notify()
    end
    t.assertTrue(soon(task))
  end)
end

TestFairness = {}

-- A newcomer took the semaphore before the one that had been woken for it (bpo-45997, python/cpython#90155).
function TestFairness:test_at_a_semaphore_no_newcomer_overtakes()
  t.run(function()
    local semaphore, order = asyncio.Semaphore(1), {}
    local function enter(name)
      semaphore:acquire()
      order[#order + 1] = name
      semaphore:release()
    end
    semaphore:acquire()
    local first, second = started(enter, "first"), started(enter, "second")
    semaphore:release()
    t.assertTrue(semaphore:locked()) -- it is the first's
    enter "newcomer"
    soon(first)
    soon(second)
    t.assertEquals(order, { "first", "second", "newcomer" })
  end)
end

-- A put overtook those that waited when a place became free (python/cpython#83055).
function TestFairness:test_at_a_queue_no_newcomer_overtakes()
  t.run(function()
    local queue = asyncio.Queue(1)
    queue:put(1)
    local first = started(queue.put, queue, 2)
    t.assertEquals(queue:get_nowait(), 1)
    t.assert_raises(asyncio.QueueFull, queue.put_nowait, queue, 3)
    t.assertEquals(queue:get_nowait(), 2)
    soon(first)
  end)
end

TestBarrier = {}

-- A party that was cancelled stayed counted, or its index was given twice (python/cpython#155233).
function TestBarrier:test_whose_party_is_cancelled_waits_for_another()
  t.run(function()
    local barrier = asyncio.Barrier(3)
    local first, second = started(barrier.wait, barrier), started(barrier.wait, barrier)
    first:cancel()
    t.assertEquals(barrier:n_waiting(), 1)
    local third = started(barrier.wait, barrier)
    t.assertFalse(second:done())
    t.assertEquals({ barrier:wait(), soon(second), soon(third) }, { 3, 1, 2 })
    t.assertTrue(first:cancelled())
    t.assertFalse(barrier:broken())
  end)
end

TestGroup = {}

-- A group swallowed the cancellation from outside when a task failed meanwhile (python/cpython#95289, #116720).
function TestGroup:test_cancelled_from_outside_while_a_task_fails_owes_the_cancellation()
  t.run(function()
    local task = started(function()
      local err = t.error_of(function()
        local group <close> = asyncio.TaskGroup()
        group:create_task(function()
          local _ <close> = setmetatable({}, { __close = function() error("failed", 0) end })
          sleep(1000)
        end)
        sleep(0)
        sleep(1000)
      end)
      assert_owes_cancellation()
      return err
    end)
    sleep(0)
    task:cancel()
    local err = t.assert_isinstance(soon(task), asyncio.ExceptionGroup)
    t.assertEquals(err.errors[1], "failed")
  end)
end

-- The same in a group within a group: the inner one's failure leaves both, and the cancellation is left over.
function TestGroup:test_within_a_group_passes_the_cancellation_on()
  t.run(function()
    local task = started(function()
      local err = t.error_of(function()
        local outer <close> = asyncio.TaskGroup()
        outer:create_task(sleep, 1000)
        do
          local inner <close> = asyncio.TaskGroup()
          inner:create_task(function()
            pcall(sleep, 1000)
            error("failed", 0)
          end)
        end
      end)
      assert_owes_cancellation()
      return err
    end)
    sleep(0)
    task:cancel()
    t.assert_isinstance(soon(task), asyncio.ExceptionGroup)
  end)
end

-- A task that was started while the group closed was not waited for.
function TestGroup:test_waits_for_a_task_that_starts_while_it_closes()
  t.run(function()
    local log = {}
    do
      local group <close> = asyncio.TaskGroup()
      group:create_task(function()
        sleep(0.001) -- the block has been left
        group:create_task(function()
          sleep(0.001)
          group:create_task(function() log[#log + 1] = "grandchild" end)
          log[#log + 1] = "child"
        end)
      end)
    end
    t.assertEquals(log, { "child", "grandchild" })
  end)
end

-- One that was started when the others had been cancelled was never cancelled itself (python/cpython#94398).
function TestGroup:test_refuses_a_task_when_it_is_being_cancelled()
  t.run(function()
    local refused
    t.assert_raises(asyncio.ExceptionGroup, function()
      local group <close> = asyncio.TaskGroup()
      group:create_task(function()
        pcall(sleep, 1000)
        refused = t.error_of(group.create_task, group, sleep, 0)
      end)
      group:create_task(function() error("failed", 0) end)
    end)
    t.assert_isinstance(refused, asyncio.InvalidStateError)
  end)
end

TestLock = {}

-- The block of a lock that is left by its holder's error, or cancellation, gives the lock on.
function TestLock:test_is_released_by_its_holders_error()
  t.run(function()
    local lock = asyncio.Lock()
    local function hold(fail)
      local _ <close> = lock:acquire()
      sleep(0)
      if fail then error("failed", 0) end
      sleep(1000)
    end
    local failing, cancelled = create_task(hold, true), create_task(hold)
    local third = create_task(function()
      local _ <close> = lock:acquire()
      return "third"
    end)
    t.assertEquals(t.error_of(soon, failing), "failed")
    sleep(0)
    cancelled:cancel()
    t.assertEquals(soon(third), "third")
    t.assertTrue(cancelled:cancelled())
    t.assertFalse(lock:locked())
  end)
end

TestShutdown = {}

-- Those who wait in a queue that is shut down wait for ever.
function TestShutdown:test_ends_all_that_wait_to_get_or_put()
  t.run(function()
    for _, immediate in ipairs { false, true } do
      local empty, full, tasks = asyncio.Queue(), asyncio.Queue(1), {}
      full:put(1)
      for i = 1, 3 do
        tasks[i], tasks[i + 3] = started(empty.get, empty), started(full.put, full, 2)
      end
      local iterator = started(function()
        for _ in empty:iter() do t.fail "an item from nowhere" end
        return "ended"
      end)
      empty:shutdown(immediate)
      full:shutdown(immediate)
      for i = 1, 6 do t.assert_raises(asyncio.QueueShutDown, soon, tasks[i]) end
      t.assertEquals(soon(iterator), "ended")
      t.assertEquals(full:qsize(), immediate and 0 or 1)
    end
  end)
end

-- An immediate shutdown lets `join` go on, unless items are being dealt with: those come first
-- (python/cpython#137088).
function TestShutdown:test_at_once_ends_join_when_all_that_was_got_is_done()
  t.run(function()
    local queue = asyncio.Queue()
    for i = 1, 3 do queue:put(i) end
    local joiner = started(queue.join, queue)
    queue:shutdown(true)
    soon(joiner)

    queue = asyncio.Queue()
    for i = 1, 3 do queue:put(i) end
    queue:get()
    joiner = started(queue.join, queue)
    queue:shutdown(true)
    sleep(0)
    t.assertFalse(joiner:done())
    queue:task_done()
    soon(joiner)
  end)
end

t.finish()
