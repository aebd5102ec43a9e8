-- Lock, Event, Condition, Semaphore, Barrier: what each promises, in short.
local t = require "helper"
local asyncio = t.asyncio

local create_task, await, sleep = asyncio.create_task, asyncio.await, asyncio.sleep

TestLock = {}

function TestLock:test_is_handed_over_in_the_order_of_asking()
  t.run(function()
    local lock, order = asyncio.Lock(), {}
    local function work(n)
      local _ <close> = lock:acquire()
      order[#order + 1] = n
      sleep(0)
    end
    asyncio.gather(function() work(1) end, function() work(2) end, function() work(3) end)
    t.assertEquals(order, { 1, 2, 3 })
    t.assertFalse(lock:locked())
  end)
end

function TestLock:test_cannot_be_overtaken_by_who_released_it()
  t.run(function()
    local lock, order = asyncio.Lock(), {}
    lock:acquire()
    local other = create_task(function()
      lock:acquire()
      order[#order + 1] = "other"
      lock:release()
    end)
    sleep(0)
    lock:release()
    lock:acquire()
    order[#order + 1] = "mine"
    lock:release()
    await(other)
    t.assertEquals(order, { "other", "mine" })
  end)
end

function TestLock:test_goes_past_a_waiter_that_was_cancelled()
  t.run(function()
    local lock = asyncio.Lock()
    lock:acquire()
    local first = create_task(function() lock:acquire() end)
    local second = create_task(function() lock:acquire() lock:release() return "got it" end)
    sleep(0)
    first:cancel()
    lock:release()
    t.assertEquals(await(second), "got it")
    t.assertTrue(first:cancelled())
  end)
end

function TestLock:test_that_came_before_the_cancellation_is_held()
  t.run(function()
    local lock, held = asyncio.Lock(), nil
    lock:acquire()
    local task = create_task(function()
      local _ <close> = lock:acquire()
      held = lock:locked()
      sleep(1)
    end)
    sleep(0)
    lock:release() -- the task owns it now
    task:cancel()
    t.assert_raises(asyncio.CancelledError, await, task)
    t.assertTrue(held)
    t.assertFalse(lock:locked())
  end)
end

function TestLock:test_refuses_releases_that_are_not_the_holders()
  t.run(function()
    local lock = asyncio.Lock()
    t.assert_raises(asyncio.InvalidStateError, lock.release, lock)
    local holder = create_task(function() lock:acquire() sleep(0) lock:release() end)
    sleep(0)
    t.assert_raises(asyncio.InvalidStateError, lock.release, lock)
    await(holder)
  end)
end

TestEvent = {}

function TestEvent:test_lets_all_go_on_that_wait()
  t.run(function()
    local event = asyncio.Event()
    local a, b = create_task(event.wait, event), create_task(event.wait, event)
    sleep(0)
    event:set()
    t.assertEquals({ await(a), await(b), event:wait() }, { true, true, true })
    event:clear()
    t.assertFalse(event:is_set())
  end)
end

TestCondition = {}

function TestCondition:test_wakes_who_waits_with_the_lock_held()
  t.run(function()
    local condition, ready = asyncio.Condition(), false
    local task = create_task(function()
      local _ <close> = condition:acquire()
      condition:wait_for(function() return ready end)
      return condition:locked()
    end)
    sleep(0)
    do
      local _ <close> = condition:acquire()
      condition:notify() -- not yet: it waits again
    end
    sleep(0)
    do
      local _ <close> = condition:acquire()
      ready = true
      condition:notify_all()
    end
    t.assertTrue(await(task))
    t.assertFalse(condition:locked())
  end)
end

function TestCondition:test_cancelled_while_it_waits_has_the_lock_again_before_the_error()
  t.run(function()
    local condition, locked = asyncio.Condition(), nil
    local task = create_task(function()
      local _ <close> = condition:acquire()
      local ok, err = pcall(condition.wait, condition)
      locked = condition:locked()
      if not ok then error(err, 0) end
    end)
    sleep(0)
    condition:acquire()
    task:cancel()
    sleep(0)
    t.assertNil(locked) -- it waits for the lock
    condition:release()
    t.assert_raises(asyncio.CancelledError, await, task)
    t.assertTrue(locked)
    t.assertFalse(condition:locked())
  end)
end

function TestCondition:test_acquired_is_itself_and_released_by_the_end_of_the_block()
  t.run(function()
    local lock = asyncio.Lock()
    local condition = asyncio.Condition { lock = lock }
    do
      local held <close> = condition:acquire()
      t.assertIs(held, condition)
      t.assertTrue(lock:locked())
      held:notify()
    end
    t.assertFalse(lock:locked())
    do
      local _ <close> = condition:acquire()
      condition:release() -- by hand: the end of the block is no error
    end
    lock:acquire()
    local waiting = create_task(function()
      local held <close> = condition:acquire()
      return held
    end)
    sleep(0)
    lock:release()
    t.assertIs(await(waiting), condition)
  end)
end

function TestCondition:test_a_predicate_may_be_callable()
  t.run(function()
    local condition = asyncio.Condition()
    local _ <close> = condition:acquire()
    t.assertEquals(condition:wait_for(setmetatable({}, { __call = function() return "so" end })), "so")
    t.assertErrorMsgContains("function expected, got table", condition.wait_for, condition, {})
  end)
end

TestSemaphore = {}

function TestSemaphore:test_lets_so_many_in()
  t.run(function()
    local semaphore, inside, most = asyncio.Semaphore(2), 0, 0
    local function work()
      local _ <close> = semaphore:acquire()
      inside = inside + 1
      most = math.max(most, inside)
      sleep(0)
      inside = inside - 1
    end
    asyncio.gather(work, work, work, work, work)
    t.assertEquals(most, 2)
    t.assertFalse(semaphore:locked())
  end)
end

function TestSemaphore:test_bounded_refuses_a_release_too_many()
  local semaphore = asyncio.BoundedSemaphore { value = 1 }
  t.assert_raises(asyncio.InvalidStateError, semaphore.release, semaphore)
end

TestBarrier = {}

function TestBarrier:test_lets_all_go_on_when_the_last_has_come()
  t.run(function()
    local barrier = asyncio.Barrier(3)
    local function wait() return barrier:wait() end
    t.assertEquals({ asyncio.gather(wait, wait, wait) }, { 1, 2, 3 })
    t.assertEquals(barrier:n_waiting(), 0)
  end)
end

function TestBarrier:test_that_is_aborted_raises_in_all_that_wait()
  t.run(function()
    local barrier = asyncio.Barrier { parties = 2 }
    local task = create_task(barrier.wait, barrier)
    sleep(0)
    barrier:abort()
    t.assert_raises(asyncio.BrokenBarrierError, await, task)
    t.assertTrue(barrier:broken())
  end)
end

t.finish()
