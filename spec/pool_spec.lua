-- Pool: what is dear to make is lent, and used again.
local t = require "helper"
local program = require "program"
local asyncio = t.asyncio
local sleep, create_task, await, Pool = asyncio.sleep, asyncio.create_task, asyncio.await, asyncio.Pool

--- A pool of numbers, 1 for the first that is made, and what was done to them.
local function pool_of(opts)
  local log, n = {}, 0
  opts = opts or {}
  local create = opts.create
  function opts.create()
    n = n + 1
    if create then return create(n) end
    return n
  end
  opts.destroy = opts.destroy or function(value) log[#log + 1] = value end
  return Pool(opts), log
end

local function assert_stats(pool, idle, in_use, waiting, created, destroyed)
  t.assertEquals(pool:stats(),
    { idle = idle, in_use = in_use, waiting = waiting, created = created, destroyed = destroyed })
end

--- Leaves so many idle.
local function fill(pool, n)
  local leases = {}
  for i = 1, n do leases[i] = pool:acquire() end
  for i = 1, n do leases[i]:release() end
end

local function hold(pool, seconds)
  return create_task(function()
    local lease <close> = pool:acquire()
    sleep(seconds or 1)
    return lease.value
  end)
end

TestLease = {}

function TestLease:test_what_comes_back_is_lent_again()
  t.run(function()
    local pool <close>, log = pool_of()
    for _ = 1, 3 do
      local lease <close> = pool:acquire()
      t.assertEquals(lease.value, 1)
      assert_stats(pool, 0, 1, 0, 1, 0)
    end
    assert_stats(pool, 1, 0, 0, 1, 0)
    t.assertEquals(log, {})
  end)
end

function TestLease:test_the_newest_is_lent_first()
  t.run(function()
    local pool <close> = pool_of()
    fill(pool, 3)
    local a <close> = pool:acquire()
    local b <close> = pool:acquire()
    t.assertEquals({ a.value, b.value }, { 3, 2 })
  end)
end

function TestLease:test_any_value_but_nil_can_be_lent()
  t.run(function()
    local file = io.stdout
    local values = { "text", false, 5, {}, file, print }
    local pool <close> = pool_of { create = function(n) return values[n] end }
    local leases = {}
    for i = 1, 6 do
      leases[i] = pool:acquire()
      t.assertIs(leases[i].value, values[i])
    end
    for i = 1, 6 do leases[i]:release() end
  end)
end

function TestLease:test_left_by_an_error_it_is_destroyed()
  t.run(function()
    local pool <close>, log = pool_of()
    t.assertEquals(t.error_of(function()
      local _ <close> = pool:acquire()
      error("mine", 0)
    end), "mine")
    t.assertEquals(log, { 1 })
    assert_stats(pool, 0, 0, 0, 1, 1)
  end)
end

function TestLease:test_left_by_a_cancellation_it_is_destroyed()
  t.run(function()
    local pool <close>, log = pool_of()
    local task = hold(pool)
    sleep(0.5)
    task:cancel()
    asyncio.wait { task }
    t.assertEquals(log, { 1 })
    assert_stats(pool, 0, 0, 0, 1, 1)
  end)
end

function TestLease:test_discard_destroys_it_at_once()
  t.run(function()
    local pool <close>, log = pool_of()
    local lease <close> = pool:acquire()
    lease:discard()
    t.assertEquals(log, { 1 })
    assert_stats(pool, 0, 0, 0, 1, 1)
    lease:discard()
    lease:release()
    assert_stats(pool, 0, 0, 0, 1, 1)
  end)
end

function TestLease:test_release_gives_it_back_once()
  t.run(function()
    local pool <close> = pool_of()
    local lease <close> = pool:acquire()
    lease:release()
    assert_stats(pool, 1, 0, 0, 1, 0)
    lease:release()
    lease:discard()
    assert_stats(pool, 1, 0, 0, 1, 0)
    t.assertNil(lease.value)
  end)
end

function TestLease:test_may_be_given_back_by_another_task()
  t.run(function()
    local pool <close> = pool_of()
    local lease = await(create_task(function() return pool:acquire() end))
    t.assertEquals(lease.value, 1)
    await(create_task(function() lease:release() end))
    assert_stats(pool, 1, 0, 0, 1, 0)
  end)
end

function TestLease:test_a_forgotten_one_is_reported_and_destroyed()
  t.run(function(reports)
    local pool <close>, log = pool_of()
    create_task(function() pool:acquire() end)
    sleep(1)
    if not os.getenv "SPEC_GC" then assert_stats(pool, 0, 1, 0, 1, 0) end -- a restless collector may have found it
    t.collect()
    t.take_report(reports, "a pool's lease was never given back")
    sleep(0)
    t.assertEquals(log, { 1 })
    assert_stats(pool, 0, 0, 0, 1, 1)
  end)
end

function TestLease:test_debug_mode_says_where_a_forgotten_one_was_acquired()
  t.run(function(reports)
    asyncio.get_running_loop():set_debug(true)
    local pool <close> = pool_of()
    local line
    create_task(function() line = debug.getinfo(1, "l").currentline pool:acquire() end)
    sleep(1)
    t.collect()
    t.assertStrContains(t.take_report(reports, "never given back").source_traceback, "pool_spec.lua:" .. line)
  end)
end

function TestLease:test_a_forgotten_one_is_looked_for_where_somebody_waits_in_vain()
  t.run(function(reports)
    collectgarbage "stop"
    local pool <close> = pool_of { max = 1 }
    create_task(function() pool:acquire() end)
    sleep(0)
    local lease <close> = pool:acquire()
    collectgarbage "restart"
    t.assertEquals(lease.value, 2)
    t.take_report(reports, "never given back")
  end)
end

function TestLease:test_an_idle_pool_that_is_garbage_is_no_report()
  t.run(function()
    fill(pool_of(), 3)
    t.collect()
  end)
end

function TestLease:test_tells_its_state()
  t.run(function()
    local pool <close> = pool_of()
    local lease = pool:acquire()
    t.assertStrContains(tostring(lease), "asyncio.Lease: lent")
    lease:release()
    t.assertStrContains(tostring(lease), "asyncio.Lease: given back")
    t.assertNil(lease.no_such_field)
  end)
end

TestAcquire = {}

function TestAcquire:test_there_are_never_more_than_max_and_who_waits_is_served_in_order()
  t.run(function()
    local pool <close> = pool_of { max = 2 }
    local order, most, out = {}, 0, 0
    local tasks = {}
    for i = 1, 7 do
      tasks[i] = create_task(function()
        local _ <close> = pool:acquire()
        order[#order + 1] = i
        out = out + 1
        most = math.max(most, out)
        sleep(1)
        out = out - 1
      end)
    end
    asyncio.gather(tasks)
    t.assertEquals(order, { 1, 2, 3, 4, 5, 6, 7 })
    t.assertEquals(most, 2)
    assert_stats(pool, 2, 0, 0, 2, 0)
  end)
end

function TestAcquire:test_ten_is_the_default()
  t.run(function()
    local pool <close> = pool_of()
    local tasks = {}
    for i = 1, 12 do tasks[i] = hold(pool) end
    sleep(0.5)
    assert_stats(pool, 0, 10, 2, 10, 0)
    asyncio.gather(tasks)
  end)
end

function TestAcquire:test_nobody_overtakes_who_was_handed_one()
  t.run(function()
    local pool <close> = pool_of { max = 1 }
    local lease, log = pool:acquire(), {}
    local waiter = create_task(function()
      local _ <close> = pool:acquire()
      log[#log + 1] = "first"
    end)
    sleep(0)
    lease:release()
    assert_stats(pool, 0, 1, 0, 1, 0) -- the waiter's
    local _ <close> = pool:acquire()
    log[#log + 1] = "second"
    await(waiter)
    t.assertEquals(log, { "first", "second" })
  end)
end

function TestAcquire:test_cancelled_while_it_waits_it_has_taken_nothing()
  t.run(function()
    local pool <close> = pool_of { max = 1 }
    local lease = pool:acquire()
    local a, b = hold(pool), hold(pool)
    sleep(0)
    a:cancel()
    lease:release()
    t.assertEquals(await(b), 1)
    t.assertTrue(a:cancelled())
    assert_stats(pool, 1, 0, 0, 1, 0)
  end)
end

function TestAcquire:test_handed_one_in_the_turn_of_a_cancellation_it_has_it()
  t.run(function()
    local pool <close>, log = pool_of { max = 1 }
    local lease, got = pool:acquire(), nil
    local task = create_task(function()
      local mine <close> = pool:acquire()
      got = mine.value
      sleep(1)
    end)
    sleep(0)
    lease:release()
    task:cancel()
    asyncio.wait { task }
    t.assertEquals(got, 1)
    t.assertTrue(task:cancelled())
    t.assertEquals(log, { 1 })
  end)
end

function TestAcquire:test_a_place_that_becomes_free_goes_to_the_first_in_the_line()
  t.run(function()
    local pool <close> = pool_of { max = 1 }
    local lease = pool:acquire()
    local task = hold(pool)
    sleep(0)
    lease:discard()
    t.assertEquals(await(task), 2)
    assert_stats(pool, 1, 0, 0, 2, 1)
  end)
end

function TestAcquire:test_while_one_is_made_its_place_is_taken()
  t.run(function()
    local pool <close> = pool_of { max = 1, create = function(n)
      sleep(1)
      return n
    end }
    local tasks = { hold(pool), hold(pool) }
    sleep(0.5)
    assert_stats(pool, 0, 0, 1, 0, 0)
    t.assertEquals({ asyncio.gather(table.unpack(tasks)) }, { 1, 1 })
  end)
end

function TestAcquire:test_what_create_raises_is_raised_and_the_next_tries()
  t.run(function()
    local boom = {}
    local pool <close> = pool_of { max = 1, create = function(n)
      sleep(1)
      if n == 1 then error(boom) end
      return n
    end }
    local a, b = hold(pool), hold(pool)
    t.assertIs(t.error_of(await, a), boom)
    t.assertEquals(await(b), 2)
    assert_stats(pool, 1, 0, 0, 1, 0)
  end)
end

function TestAcquire:test_where_create_failed_stands_in_the_traceback()
  t.run(function()
    local line
    local function fail() line = debug.getinfo(1, "l").currentline return nil + 1 end
    local pool <close> = Pool { create = function() return (fail()) end }
    local _, _, traceback = asyncio.xpcall(pool.acquire, asyncio.traceback, pool)
    t.assertStrContains(traceback, ("pool_spec.lua:%d:"):format(line))
  end)
end

function TestAcquire:test_cancelled_while_one_is_made_the_place_goes_to_the_next()
  t.run(function()
    local pool <close> = pool_of { max = 1, create = function(n)
      sleep(1)
      return n
    end }
    local a, b = hold(pool), hold(pool)
    sleep(0.5)
    a:cancel()
    t.assertEquals(await(b), 2)
    t.assertTrue(a:cancelled())
    assert_stats(pool, 1, 0, 0, 1, 0)
  end)
end

function TestAcquire:test_a_create_that_gives_nil_is_an_error_and_its_place_is_free()
  t.run(function()
    local pool <close> = pool_of { max = 1, create = function() end }
    for _ = 1, 2 do
      t.assertStrContains(tostring(t.error_of(pool.acquire, pool)), "the pool's create has returned nil")
    end
    assert_stats(pool, 0, 0, 0, 0, 0)
  end)
end

function TestAcquire:test_calls_that_need_not_wait_give_way()
  t.run(function()
    local pool <close> = pool_of()
    local turns, done = 0, false
    local other = create_task(function()
      while not done do
        turns = turns + 1
        sleep(0)
      end
    end)
    for _ = 1, 1000 do
      local _ <close> = pool:acquire()
    end
    done = true
    await(other)
    t.assertTrue(turns > 3)
    assert_stats(pool, 1, 0, 0, 1, 0)
  end)
end

function TestAcquire:test_who_waits_says_so()
  t.run(function()
    local pool <close> = pool_of { max = 1 }
    local lease = pool:acquire()
    local tasks = { hold(pool), hold(pool) }
    sleep(0)
    for _, task in ipairs(tasks) do t.assertStrContains(tostring(task), "waits (pool)") end
    t.assertEquals(tostring(pool), "asyncio.Pool: 0 idle, 1 in use, 2 waiting")
    lease:release()
    asyncio.gather(tasks)
  end)
end

function TestAcquire:test_a_task_whose_coroutine_was_closed_passes_on_what_it_was_handed()
  t.run(function()
    local pool <close> = pool_of { max = 1 }
    local lease = pool:acquire()
    local a, b = hold(pool), hold(pool)
    sleep(0)
    lease:release()
    coroutine.close(a:get_coro())
    t.assertEquals(await(b), 1)
    t.assert_raises(asyncio.Error, await, a)
    lease = pool:acquire()
    a, b = hold(pool), hold(pool)
    sleep(0)
    lease:discard() -- a place
    coroutine.close(a:get_coro())
    t.assertEquals(await(b), 2)
    t.assert_raises(asyncio.Error, await, a)
    assert_stats(pool, 1, 0, 0, 2, 1)
  end)
end

function TestAcquire:test_outside_of_a_task_it_is_an_error()
  local pool = pool_of()
  t.assert_raises(asyncio.Error, pool.acquire, pool)
  pool:shutdown()
end

function TestAcquire:test_a_pool_may_be_used_in_one_loop_after_the_other()
  local pool, log = pool_of { max = 1 }
  local kept
  asyncio.run(function()
    fill(pool, 1)
    kept = pool:acquire()
    asyncio.get_running_loop():set_exception_handler(function() end)
  end)
  t.assertEquals(log, { 1 })
  asyncio.run(function()
    local lease <close> = pool:acquire()
    t.assertEquals(lease.value, 2)
    kept:release() -- of a loop that is closed: nobody's
    assert_stats(pool, 0, 1, 0, 2, 1)
  end)
  t.assertEquals(log, { 1, 2 })
end

TestCheck = {}

function TestCheck:test_what_fails_it_is_destroyed_and_the_next_is_tried()
  t.run(function()
    local bad = {}
    local pool <close>, log = pool_of { check = function(value) return not bad[value] end }
    fill(pool, 3)
    bad[3], bad[2] = true, true
    local lease <close> = pool:acquire()
    t.assertEquals(lease.value, 1)
    t.assertEquals(log, { 3, 2 })
    assert_stats(pool, 0, 1, 0, 3, 2)
  end)
end

function TestCheck:test_where_none_passes_a_new_one_is_made()
  t.run(function()
    local pool <close>, log = pool_of { max = 2, check = function() return false end }
    fill(pool, 2)
    local lease <close> = pool:acquire()
    t.assertEquals(lease.value, 3)
    t.assertEquals(log, { 2, 1 })
  end)
end

function TestCheck:test_an_error_counts_as_false()
  t.run(function()
    local pool <close>, log = pool_of { check = function() error "gone" end }
    fill(pool, 1)
    local lease <close> = pool:acquire()
    t.assertEquals(lease.value, 2)
    t.assertEquals(log, { 1 })
  end)
end

function TestCheck:test_it_may_wait_and_a_new_one_is_not_checked()
  t.run(function()
    local n = 0
    local pool <close> = pool_of { check = function()
      sleep(1)
      n = n + 1
      return true
    end }
    fill(pool, 1)
    t.assertEquals(n, 0)
    fill(pool, 1)
    t.assertEquals(n, 1)
  end)
end

function TestCheck:test_who_waited_has_it_checked_too()
  t.run(function()
    local pool <close>, log = pool_of { max = 1, check = function(value) return value > 1 end }
    local lease = pool:acquire()
    local task = hold(pool)
    sleep(0)
    lease:release()
    t.assertEquals(await(task), 2)
    t.assertEquals(log, { 1 })
  end)
end

function TestCheck:test_cancelled_meanwhile_the_value_is_destroyed()
  t.run(function()
    local pool <close>, log = pool_of { max = 1, check = function() return sleep(1, true) end }
    fill(pool, 1)
    local a, b = hold(pool), hold(pool)
    sleep(0.5)
    a:cancel()
    t.assertEquals(await(b), 2)
    t.assertEquals(log, { 1 })
    t.assertTrue(a:cancelled())
  end)
end

TestDestroy = {}

function TestDestroy:test_runs_before_the_block_has_been_left_and_may_wait()
  t.run(function()
    local pool <close> = pool_of { max = 1, destroy = function() sleep(2) end }
    local loop = asyncio.get_running_loop()
    local began = loop:time()
    local waiter
    pcall(function()
      local _ <close> = pool:acquire()
      waiter = hold(pool, 0)
      error "mine"
    end)
    t.assertAlmostEquals(loop:time() - began, 2, 0.001)
    t.assertEquals(await(waiter), 2) -- its place was not free before
  end)
end

function TestDestroy:test_a_cancellation_waits_for_it_and_comes_next()
  t.run(function()
    local destroyed, first, second
    local pool <close> = pool_of { destroy = function()
      sleep(2)
      destroyed = true
    end }
    local task = create_task(function()
      first = t.error_of(function()
        local _ <close> = pool:acquire()
        error("mine", 0)
      end)
      second = t.error_of(sleep, 1)
    end)
    sleep(1)
    task:cancel "asked meanwhile"
    asyncio.wait { task }
    t.assertTrue(destroyed)
    t.assertEquals(first, "mine")
    t.assertEquals(second.message, "asked meanwhile")
  end)
end

function TestDestroy:test_one_that_takes_too_long_is_broken_off_by_it()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local pool <close> = pool_of { destroy = function() sleep(1000) end }
    local task = create_task(function()
      pool:acquire():discard()
      sleep(1000)
    end)
    sleep(1)
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    t.assertAlmostEquals(loop:time() % 1000, loop:time(), 500)
    assert_stats(pool, 0, 0, 0, 1, 1)
  end)
end

function TestDestroy:test_its_errors_are_reported_and_its_place_is_free()
  t.run(function(reports)
    local pool <close> = pool_of { max = 1, destroy = function() error("no way", 0) end }
    t.assertEquals(t.error_of(function()
      local _ <close> = pool:acquire()
      error("mine", 0)
    end), "mine")
    t.assertEquals(t.take_report(reports, "a pool could not destroy what it had").exception, "no way")
    assert_stats(pool, 0, 0, 0, 1, 1)
    pool:acquire():discard()
    t.take_report(reports, "could not destroy")
  end)
end

function TestDestroy:test_where_nothing_can_wait_a_task_does_it()
  t.run(function()
    local pool <close>, log = pool_of { max = 1 }
    local lease = pool:acquire()
    local task = hold(pool, 0)
    sleep(0)
    asyncio.get_running_loop():call_soon(function() lease:discard() end)
    t.assertEquals(await(task), 2)
    t.assertEquals(log, { 1 })
  end)
end

function TestDestroy:test_there_need_be_none()
  t.run(function()
    local pool <close> = Pool { create = function() return {} end, max = 1, check = function() return false end }
    pool:acquire():discard()
    fill(pool, 1)
    fill(pool, 1)
    assert_stats(pool, 1, 0, 0, 3, 2)
  end)
end

TestIdle = {}

function TestIdle:test_no_more_than_max_idle_are_kept()
  t.run(function()
    local pool <close>, log = pool_of { max_idle = 1 }
    fill(pool, 3)
    t.assertEquals(log, { 2, 3 })
    assert_stats(pool, 1, 0, 0, 3, 2)
  end)
end

function TestIdle:test_with_none_kept_who_waits_gets_it_all_the_same()
  t.run(function()
    local pool <close>, log = pool_of { max_idle = 0, max = 1 }
    local task, other = hold(pool), hold(pool)
    t.assertEquals({ asyncio.gather(task, other) }, { 1, 1 })
    t.assertEquals(log, { 1 })
    assert_stats(pool, 0, 0, 0, 1, 1)
  end)
end

function TestIdle:test_after_the_idle_timeout_they_are_destroyed_the_oldest_first()
  t.run(function()
    local pool <close>, log = pool_of { idle_timeout = 10 }
    local a, b = pool:acquire(), pool:acquire()
    a:release()
    sleep(5)
    b:release()
    sleep(6)
    t.assertEquals(log, { 1 })
    assert_stats(pool, 1, 0, 0, 2, 1)
    sleep(5)
    t.assertEquals(log, { 1, 2 })
    assert_stats(pool, 0, 0, 0, 2, 2)
  end)
end

function TestIdle:test_use_makes_it_young_again()
  t.run(function()
    local pool <close>, log = pool_of { idle_timeout = 10 }
    for _ = 1, 10 do
      fill(pool, 1)
      sleep(6)
    end
    t.assertEquals(log, {})
    sleep(5)
    t.assertEquals(log, { 1 })
  end)
end

function TestIdle:test_the_timer_holds_up_no_end()
  local log
  asyncio.run(function()
    local pool
    pool, log = pool_of { idle_timeout = 1000 }
    fill(pool, 2)
  end)
  t.assertEquals(log, { 2, 1 })
end

TestShutdown = {}

function TestShutdown:test_what_is_idle_is_destroyed_all_at_once()
  t.run(function()
    local loop, log = asyncio.get_running_loop(), {}
    local pool = pool_of { destroy = function(value)
      sleep(2)
      log[#log + 1] = value
    end }
    fill(pool, 3)
    local began = loop:time()
    pool:shutdown()
    table.sort(log)
    t.assertEquals(log, { 1, 2, 3 })
    t.assertAlmostEquals(loop:time() - began, 2, 0.001)
    assert_stats(pool, 0, 0, 0, 3, 3)
  end)
end

function TestShutdown:test_those_who_wait_get_ClosedError()
  t.run(function()
    local pool = pool_of { max = 1 }
    local lease = pool:acquire()
    local waiter = hold(pool)
    sleep(0)
    pool:shutdown()
    t.assert_raises(asyncio.ClosedError, await, waiter)
    t.assert_raises(asyncio.ClosedError, pool.acquire, pool)
    lease:release()
  end)
end

function TestShutdown:test_leases_are_destroyed_as_they_come_back()
  t.run(function()
    local pool, log = pool_of()
    local lease = pool:acquire()
    pool:shutdown()
    t.assertEquals(lease.value, 1)
    assert_stats(pool, 0, 1, 0, 1, 0)
    lease:release()
    t.assertEquals(log, { 1 })
    assert_stats(pool, 0, 0, 0, 1, 1)
    pool:shutdown()
  end)
end

function TestShutdown:test_one_that_is_being_made_is_destroyed()
  t.run(function()
    local pool, log = pool_of { create = function(n) return sleep(1, n) end }
    local task = hold(pool)
    sleep(0.5)
    pool:shutdown()
    t.assert_raises(asyncio.ClosedError, await, task)
    t.assertEquals(log, { 1 })
  end)
end

function TestShutdown:test_one_that_is_being_checked_too()
  t.run(function()
    local pool, log = pool_of { check = function() return sleep(1, true) end }
    fill(pool, 1)
    local task = hold(pool)
    sleep(0.5)
    pool:shutdown()
    t.assert_raises(asyncio.ClosedError, await, task)
    t.assertEquals(log, { 1 })
  end)
end

function TestShutdown:test_one_that_was_handed_over_too()
  t.run(function()
    local pool, log = pool_of { max = 1 }
    local lease = pool:acquire()
    local task = hold(pool)
    sleep(0)
    lease:release()
    pool:shutdown()
    t.assert_raises(asyncio.ClosedError, await, task)
    t.assertEquals(log, { 1 })
    assert_stats(pool, 0, 0, 0, 1, 1)
  end)
end

function TestShutdown:test_a_place_that_was_handed_over_makes_nothing()
  t.run(function()
    local pool = pool_of { max = 1 }
    local lease = pool:acquire()
    local task = hold(pool)
    sleep(0)
    lease:discard()
    pool:shutdown()
    t.assert_raises(asyncio.ClosedError, await, task)
    assert_stats(pool, 0, 0, 0, 1, 1)
  end)
end

function TestShutdown:test_cancelled_it_destroys_all_the_same()
  t.run(function()
    local pool, log = pool_of()
    fill(pool, 3)
    local task = create_task(function()
      asyncio.current_task():cancel()
      pool:shutdown()
      sleep(0)
    end)
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    t.assertEquals(#log, 3)
  end)
end

function TestShutdown:test_leaving_the_block_waits_for_leases()
  t.run(function()
    local log, task
    local loop = asyncio.get_running_loop()
    local began = loop:time()
    do
      local pool <close>, destroyed = pool_of()
      log = destroyed
      task = hold(pool, 3)
      sleep(1)
    end
    t.assertAlmostEquals(loop:time() - began, 3, 0.001)
    t.assertTrue(task:done())
    t.assertEquals(log, { 1 })
  end)
end

function TestShutdown:test_leaving_the_block_does_not_wait_for_what_was_forgotten()
  t.run(function(reports)
    do
      local pool <close> = pool_of()
      create_task(function() pool:acquire() end)
      sleep(1)
    end
    t.take_report(reports, "never given back")
  end)
end

function TestShutdown:test_leaving_the_block_reports_leases_that_stay_out_too_long()
  t.run(function(reports)
    do
      local pool <close> = pool_of()
      hold(pool, 8)
      sleep(1)
    end
    t.take_report(reports, "a pool waits for 1 lease, 5 s after it was shut down")
  end)
end

function TestShutdown:test_leaving_the_block_can_be_cancelled()
  t.run(function()
    local pool
    local holder
    local task = create_task(function()
      pool = pool_of()
      local _ <close> = pool
      holder = hold(pool, 100)
      sleep(1)
    end)
    sleep(2)
    t.assertStrContains(tostring(task), "waits (pool's end)")
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    await(holder)
    assert_stats(pool, 0, 0, 0, 1, 1)
  end)
end

function TestShutdown:test_outside_of_a_loop_it_works_too()
  local pool, log = pool_of()
  do
    local _ <close> = pool
  end
  t.assertEquals(log, {})
  t.assertEquals(tostring(pool), "asyncio.Pool: shut down, 0 idle, 0 in use, 0 waiting")
end

TestEndOfRun = {}

--- Runs it with a pool, whose log it gives, and what was reported.
local function run_with_pool(fn, opts)
  local reports, pool, log = {}, pool_of(opts)
  asyncio.run(function()
    asyncio.get_running_loop():set_exception_handler(function(_, context)
      reports[#reports + 1] = tostring(context.message):match "^[^(]*%a"
    end)
    fn(pool)
  end)
  return log, reports, pool
end

local FORGOTTEN = { "a pool's lease was never given back" }

local LAST_MOMENT = {
  in_a_callback = function(pool)
    local lease = pool:acquire()
    asyncio.get_running_loop():call_soon(lease.discard, lease)
    sleep(0)
  end,
  in_a_standard_coroutine = function(pool)
    local lease = pool:acquire()
    coroutine.wrap(pcall)(function()
      local _ <close> = lease
      error "mine"
    end)
  end,
  of_the_last_turn = function(pool)
    local lease = pool:acquire()
    asyncio.get_running_loop():call_soon(lease.discard, lease)
  end,
  after_the_idle_timeout = function(pool)
    fill(pool, 1)
    sleep(0.02)
  end,
}

for name, fn in pairs(LAST_MOMENT) do
  TestEndOfRun["test_what_is_given_up_in_the_last_moment_is_destroyed_" .. name] = function()
    local log, _, pool = run_with_pool(fn, { idle_timeout = 0.01 })
    t.assertEquals(log, { 1 })
    assert_stats(pool, 0, 0, 0, 1, 1)
  end
end

function TestEndOfRun:test_a_cancelled_task_that_destroys_runs_its_destroy_to_the_end()
  t.run(function()
    local pool, log = pool_of()
    local lease = pool:acquire()
    asyncio.get_running_loop():call_soon(function()
      lease:discard()
      for _, task in ipairs(asyncio.all_tasks()) do
        if task:get_name() == "pool" then task:cancel() end
      end
    end)
    sleep(1)
    t.assertEquals(log, { 1 })
  end)
end

function TestEndOfRun:test_a_forgotten_lease_that_was_collected_just_before_is_destroyed()
  local log, reports = run_with_pool(function(pool)
    await(create_task(function() pool:acquire() end))
    t.collect()
  end)
  t.assertEquals({ log, reports }, { { 1 }, FORGOTTEN })
end

function TestEndOfRun:test_leases_that_are_out_are_reported_and_destroyed()
  local kept
  local log, reports, pool = run_with_pool(function(pool)
    pool:acquire():release()
    kept = { pool:acquire(), pool:acquire() } -- else the collector may come first
  end)
  t.assertEquals({ log, reports }, { { 1, 2 }, { FORGOTTEN[1], FORGOTTEN[1] } })
  for _, lease in ipairs(kept) do lease:release() end -- too late
  t.collect()
  t.assertEquals(log, { 1, 2 })
  assert_stats(pool, 0, 0, 0, 2, 2)
end

function TestEndOfRun:test_a_pool_that_is_garbage_then_has_its_leases_reported_too()
  local kept
  local _, reports = run_with_pool(function()
    kept = Pool { create = function() return {} end }:acquire()
  end)
  t.assertEquals({ reports, type(kept) }, { FORGOTTEN, "userdata" })
end

function TestEndOfRun:test_what_is_idle_is_destroyed_and_its_destroy_may_wait()
  local log = {}
  local _, reports = run_with_pool(function(pool) fill(pool, 2) end, { destroy = function(value)
    sleep(0.01)
    log[#log + 1] = value
  end })
  table.sort(log)
  t.assertEquals({ log, reports }, { { 1, 2 }, {} })
end

function TestEndOfRun:test_a_destroy_that_takes_too_long_is_cancelled()
  local seconds
  local function virtual_loop()
    local loop = asyncio.new_event_loop()
    require "asyncio.core".testing.set_virtual(loop)
    return loop
  end
  local runner = asyncio.Runner { loop_factory = virtual_loop }
  local pool -- one that is garbage loses what is idle
  runner:run(function()
    pool = pool_of { destroy = function()
      local began = asyncio.time()
      local _ <close> = asyncio.defer(function() seconds = asyncio.time() - began end)
      sleep(3600)
    end }
    fill(pool, 1)
  end)
  runner:close()
  t.assertAlmostEquals(seconds, 5, 0.001)
end

function TestEndOfRun:test_a_test_that_leaves_a_lease_fails()
  local lease
  local test = require "asyncio.testing".async(function() lease = pool_of():acquire() end, { clock = "virtual" })
  t.assertStrContains(tostring(t.error_of(test)), FORGOTTEN[1])
  t.assertEquals(type(lease), "userdata")
end

function TestEndOfRun:test_a_loop_that_is_closed_by_hand_has_them_destroyed_where_nothing_can_wait()
  local loop, messages, lease = asyncio.new_event_loop(), {}, nil
  local pool, log = pool_of()
  loop:set_exception_handler(function(_, context) messages[#messages + 1] = context.message:match "^[^(]*%a" end)
  loop:run_until_complete(loop:create_task(function()
    fill(pool, 2)
    lease = pool:acquire()
    local other = pool:acquire()
    loop:call_soon(other.discard, other)
    sleep(0)
  end))
  loop:close()
  table.sort(log)
  t.assertEquals({ log, messages }, { { 1, 2 }, FORGOTTEN })
  lease:release()
  assert_stats(pool, 0, 0, 0, 2, 2)
end

function TestEndOfRun:test_a_state_that_is_closed_by_os_exit_accuses_nobody()
  local file = program.file_with [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local pool <close> = asyncio.Pool { create = function() return {} end, destroy = print }
      asyncio.create_task(function()
        local lease <close> = pool:acquire()
        asyncio.sleep(5)
      end)
      local lease <close> = pool:acquire()
      asyncio.sleep(0)
      os.exit(0, true)
    end)
  ]]
  local out = program.shell("%s %s 2>&1", program.lua, file)
  os.remove(file)
  t.assertEquals(out, "")
end

TestOptions = {}

function TestOptions:test_wrong_ones_are_argument_errors()
  t.assertStrContains(t.error_of(Pool), "bad argument #1 to 'Pool' (table of options expected, got nil")
  t.assertStrContains(t.error_of(Pool, {}), "create")
  t.assertStrContains(t.error_of(Pool, { create = 5 }), "create")
  t.assertStrContains(t.error_of(Pool, { create = print, destory = print }), "did you mean 'destroy'?")
  t.assertStrContains(t.error_of(Pool, { create = print, max = 0 }), "max")
  t.assertStrContains(t.error_of(Pool, { create = print, max_idle = -1 }), "max_idle")
end

t.finish()
