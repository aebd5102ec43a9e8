-- ring_spec.lua - tasks that wait for each other: through gathers, groups, shields and `wait` such rings were not seen,
-- and a cancellation, so a deadline and Ctrl-C too, only travelled round them.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

TestRing = {}

local WORDS = "waits for this one"

--- What a task that waits for the main task raises; the main task waits for that task as `back` does.
local function refused(wait, back)
  return t.run(function()
    local main = asyncio.current_task()
    local err
    local other = create_task(function()
      sleep(1)
      err = t.error_of(wait, main)
      error(err, 0)
    end)
    pcall(back, other)
    if not other:done() then asyncio.wait({ other }, { timeout = 5 }) end
    t.assertTrue(other:done())
    pcall(other.result, other)
    sleep(20) -- what gather started
    return err
  end)
end

local ways = {
  await = await,
  wait_for = function(x) asyncio.wait_for(x, 3600) end,
  gather = function(x) asyncio.gather(function() sleep(10) end, x) end,
  gather_tolerant = function(x) asyncio.gather { x, return_exceptions = true } end,
  shield = function(x) await(asyncio.shield(x)) end,
  shields = function(x) await(asyncio.shield(asyncio.shield(asyncio.shield(x)))) end,
  gather_of_shield = function(x) asyncio.gather(asyncio.shield(x)) end,
  wait = function(x) asyncio.wait { x } end,
  function_between = function(x) asyncio.gather(function() asyncio.gather(function() await(x) end) end) end,
}

for name, wait in pairs(ways) do
  for back_name, back in pairs(ways) do
    TestRing[("test_by_%s_of_what_waits_by_%s_is_refused"):format(name, back_name)] = function()
      local err = refused(wait, back)
      t.assertStrContains(t.assert_isinstance(err, asyncio.Error).message, WORDS)
    end
  end
  TestRing[("test_by_%s_of_who_leaves_its_group_is_refused"):format(name)] = function()
    t.run(function()
      local main, err = asyncio.current_task(), nil
      do
        local group <close> = asyncio.TaskGroup()
        group:create_task(function()
          sleep(1) -- the group is being left
          err = t.error_of(wait, main)
        end)
      end
      t.assertStrContains(t.assert_isinstance(err, asyncio.Error).message, WORDS)
    end)
  end
  TestRing[("test_by_%s_of_who_then_leaves_its_group_ends_the_group"):format(name)] = function()
    t.run(function()
      local main, child = asyncio.current_task(), nil
      local err = t.error_of(function()
        local group <close> = asyncio.TaskGroup()
        child = group:create_task(wait, main)
        sleep(1)
      end)
      local errors = t.assert_isinstance(err, asyncio.ExceptionGroup).errors
      t.assertStrContains(errors[1].message, "cannot leave a task group")
      t.assertTrue(child:cancelled())
      sleep(20)
    end)
  end
end

function TestRing:test_of_three_is_refused_where_it_would_close()
  t.run(function()
    local a, b, c
    a = create_task(function() sleep(1) return await(b) end)
    b = create_task(function() sleep(2) return asyncio.gather(c) end)
    c = create_task(function() sleep(3) return t.error_of(asyncio.gather, a).message end)
    t.assertStrContains(await(a), WORDS)
  end)
end

function TestRing:test_starts_nothing_when_gather_is_refused()
  t.run(function()
    local main, ran = asyncio.current_task(), false
    local other = create_task(function() return t.error_of(asyncio.gather, function() ran = true end, main).message end)
    t.assertStrContains(await(other), WORDS)
    sleep(1)
    t.assertFalse(ran)
  end)
end

function TestRing:test_by_the_first_of_several_is_refused_when_all_of_them_wait_for_this_task()
  t.run(function()
    local main = asyncio.current_task()
    local function first(list) asyncio.wait(list, { return_when = asyncio.FIRST_COMPLETED }) end
    local function next_of(list) for _ in asyncio.as_completed(list) do return end end
    for _, fn in ipairs { first, next_of } do
      local other = create_task(function()
        fn { main, create_task(sleep, 1) } -- that one ends
        return t.error_of(fn, { main }).message
      end)
      t.assertStrContains(await(other), WORDS)
    end
  end)
end

function TestRing:test_with_a_time_limit_is_let_in()
  t.run(function()
    local main = asyncio.current_task()
    local other = create_task(function()
      local done, pending = asyncio.wait({ main }, { timeout = 5 })
      return #done, #pending
    end)
    t.assertEquals({ await(other) }, { 0, 1 })
  end)
end

-- "Cancel all tasks but me and wait for them", called from a task that others gather.
function TestRing:test_of_who_cancels_all_others_and_waits_for_them_ends()
  t.run(function()
    local function quit()
      local me, others = asyncio.current_task(), { return_exceptions = true }
      for _, task in ipairs(asyncio.all_tasks()) do
        if task ~= me then
          task:cancel()
          others[#others + 1] = task
        end
      end
      asyncio.gather(others)
    end
    local worker = create_task(function() asyncio.gather(function() sleep(1) quit() end, function() sleep(100) end) end)
    local ok, err = pcall(asyncio.wait_for, worker, 5)
    t.assertFalse(ok)
    t.assert_isinstance(err, asyncio.CancelledError)
    t.assertTrue(worker:done())
  end)
end

-- A child awaits the owner, which fails: the group's request came back to the owner, round and round.
function TestRing:test_through_a_group_that_is_cancelled_ends()
  t.run(function()
    local main, child = asyncio.current_task(), nil
    local err = t.error_of(function()
      local group <close> = asyncio.TaskGroup()
      child = group:create_task(await, main)
      sleep(1)
      error("boom", 0)
    end)
    t.assertEquals(err.errors, { "boom" })
    t.assertTrue(child:cancelled())
    sleep(1) -- nothing is left of the request that went round
  end)
end

function TestRing:test_that_a_deadline_ends()
  t.run(function()
    local main, child = asyncio.current_task(), nil
    t.assert_raises(asyncio.TimeoutError, function()
      local _ <close> = asyncio.timeout(2)
      local group <close> = asyncio.TaskGroup()
      child = group:create_task(function()
        for _ in asyncio.as_completed { main, create_task(sleep, 1000) } do return end
      end)
    end)
    t.assertTrue(child:cancelled())
    sleep(1000)
  end)
end

t.finish()
