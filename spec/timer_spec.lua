-- Timers: call_later, call_at, and what orders them.
local t = require "helper"
local asyncio = t.asyncio
local await, sleep = asyncio.await, asyncio.sleep

-- Fewer where every allocation costs a collection.
local gc = (os.getenv "SPEC_GC" or "") ~= ""
local function many(n) return gc and t.count(n // 20) or t.count(n) end

local function running() return asyncio.get_running_loop() end

TestCallLater = {}

function TestCallLater:test_calls_with_its_arguments_nil_included()
  t.run(function()
    local future = running():create_future()
    running():call_later(0.001, function(...) future:set_result(select("#", ...), ...) end, nil, 2, nil)
    t.assertEquals(table.pack(await(future)), { n = 4, 3, nil, 2, nil })
  end)
end

function TestCallLater:test_calls_once()
  t.run(function()
    local called = 0
    running():call_later(0.001, function() called = called + 1 end)
    sleep(0.01)
    t.assertEquals(called, 1)
  end)
end

function TestCallLater:test_zero_and_less_call_at_the_next_turn_and_not_at_once()
  t.run(function()
    for _, delay in ipairs { 0, -1, -math.huge } do
      local called = false
      running():call_later(delay, function() called = true end)
      t.assertFalse(called)
      sleep(0)
      sleep(0)
      t.assertTrue(called, tostring(delay))
    end
  end)
end

function TestCallLater:test_infinity_never_calls()
  t.run(function()
    local handle = running():call_later(math.huge, error)
    t.assertEquals(handle:when(), math.huge)
    sleep(0.002)
    handle:cancel()
  end)
end

function TestCallLater:test_is_held_until_it_is_called()
  t.run(function()
    local future = running():create_future()
    running():call_later(0.005, function() future:set_result("called") end)
    t.collect()
    t.assertEquals(await(future), "called")
  end)
end

function TestCallLater:test_what_it_held_is_garbage_afterwards()
  t.run(function()
    local weak = setmetatable({ {}, {} }, { __mode = "v" })
    running():call_later(0.001, function() end, weak[1])
    running():call_later(60, function() end, weak[2]):cancel()
    sleep(0.005)
    t.collect()
    t.assertEquals(weak, {})
  end)
end

function TestCallLater:test_refuses_wrong_arguments()
  t.run(function()
    local loop = running()
    t.assertStrContains(t.error_of(loop.call_later, loop, "soon", print), "number of seconds expected")
    t.assertStrContains(t.error_of(loop.call_later, loop, 0 / 0, print), "NaN")
    t.assertStrContains(t.error_of(loop.call_later, loop, 1, 42), "function expected")
    t.assertStrContains(t.error_of(loop.call_later, loop, 1), "function expected")
    t.assertStrContains(t.error_of(loop.call_at, loop, 0 / 0, print), "NaN")
  end)
end

function TestCallLater:test_an_error_in_it_is_reported_with_its_handle()
  t.run(function(reports)
    local handle = running():call_later(0.001, error, "in a timer", 0)
    sleep(0.005)
    local report = t.take_report(reports, "callback")
    t.assertStrContains(report.exception, "in a timer")
    t.assertIs(report.handle, handle)
  end)
end

TestCallAt = {}

function TestCallAt:test_when_is_the_moment_that_was_asked_for()
  t.run(function()
    local loop = running()
    local when = loop:time() + 0.01
    local handle = loop:call_at(when, function() end)
    t.assertTrue(math.abs(handle:when() - when) < 1e-6)
    local later = loop:call_later(0.01, function() end)
    t.assertTrue(later:when() >= when)
    sleep(0.02)
  end)
end

function TestCallAt:test_the_past_is_the_next_turn()
  t.run(function()
    sleep(10) -- the clock begins at 0
    for _, when in ipairs { 0, -5, running():time() - 1 } do
      local called = false
      running():call_at(when, function() called = true end)
      sleep(0)
      sleep(0)
      t.assertTrue(called)
    end
  end)
end

TestTimerCancel = {}

function TestTimerCancel:test_a_cancelled_call_is_not_made()
  t.run(function()
    local called = false
    local handle = running():call_later(0.001, function() called = true end)
    t.assertFalse(handle:cancelled())
    handle:cancel()
    t.assertTrue(handle:cancelled())
    handle:cancel()
    sleep(0.005)
    t.assertFalse(called)
  end)
end

function TestTimerCancel:test_one_that_is_due_in_the_same_turn_is_not_made_either()
  t.run(function()
    local called, second = false, nil
    local base = running():time() + 0.001
    running():call_at(base, function() second:cancel() end)
    second = running():call_at(base, function() called = true end)
    sleep(0.005)
    t.assertFalse(called)
  end)
end

function TestTimerCancel:test_after_the_call_changes_nothing()
  t.run(function()
    local handle = running():call_later(0, function() end)
    sleep(0.001)
    handle:cancel()
    local other = running():create_future()
    running():call_later(0.001, function() other:set_result("the others are well") end)
    t.assertEquals(await(other), "the others are well")
  end)
end

function TestTimerCancel:test_of_a_handle_whose_loop_is_closed()
  local loop = asyncio.new_event_loop()
  local handle = loop:call_later(60, print)
  loop:close()
  handle:cancel()
  t.assertTrue(handle:cancelled())
  t.assertStrContains(tostring(handle), "Handle")
end

-- Checks that the calls come in the order of their deadlines, equal ones in that of their setting, and
-- none early.
local function check_order(n, offset)
  t.real(function()
    local loop = running()
    local calls, over = {}, loop:create_future()
    local base = loop:time() + 0.01
    local entries = {}
    for i = 1, n do
      local entry = { when = base + offset(i), number = i }
      entries[i] = entry
      loop:call_at(entry.when, function()
        local now = loop:time()
        if now < entry.when then over:set_exception(("%.9f s early"):format(entry.when - now)) end
        calls[#calls + 1] = entry
        if #calls == n then over:set_result() end
      end)
    end
    await(over)
    table.sort(entries, function(a, b)
      if a.when ~= b.when then return a.when < b.when end
      return a.number < b.number
    end)
    for i = 1, n do
      if calls[i] ~= entries[i] then
        t.fail(("call %d is that of %d, expected %d"):format(i, calls[i].number, entries[i].number))
      end
    end
  end)
end

TestTimerOrder = {}

function TestTimerOrder:test_equal_deadlines_in_the_order_in_which_they_were_set()
  check_order(1000, function() return 0.001 end)
end

function TestTimerOrder:test_deadlines_that_are_microseconds_apart()
  math.randomseed(7)
  check_order(1000, function() return math.random(500) * 1e-6 end)
end

function TestTimerOrder:test_descending_deadlines()
  check_order(1000, function(i) return (1000 - i) * 5e-6 end)
end

function TestTimerOrder:test_random_deadlines_over_many_turns()
  math.randomseed(11)
  check_order(many(20000), function() return math.random() * 0.2 end)
end

function TestTimerOrder:test_random_deadlines_of_which_half_are_cancelled()
  t.real(function()
    math.randomseed(13)
    local loop, n = running(), many(20000)
    local handles, called, last = {}, 0, 0
    local base = loop:time() + 0.05
    for i = 1, n do
      local when = base + math.random() * 0.05
      handles[i] = loop:call_at(when, function()
        if when < last or loop:time() < when then t.fail "out of order" end
        last, called = when, called + 1
      end)
    end
    local cancelled = 0
    for i = 1, n, 2 do
      handles[i]:cancel()
      cancelled = cancelled + 1
    end
    sleep(0.15)
    t.wait_until(function() return called == n - cancelled end)
  end)
end

function TestTimerOrder:test_sleeps_and_calls_share_one_order()
  t.run(function()
    local loop, log = running(), {}
    local base = loop:time() + 0.01
    for i = 1, 10 do
      local when = base + i * 0.0002
      if i % 2 == 0 then
        loop:call_at(when, function() log[#log + 1] = i end)
      else
        asyncio.create_task(function()
          sleep(when - loop:time())
          log[#log + 1] = i
        end)
      end
    end
    sleep(0.03)
    t.assertEquals(log, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 })
  end)
end

function TestTimerOrder:test_a_timer_set_by_a_timer_waits_for_the_next_turn()
  t.run(function()
    local loop, turns, depth = running(), 0, 0
    local over = loop:create_future()
    local function again()
      depth = depth + 1
      if depth == 50 then over:set_result() else loop:call_later(0, again) end
    end
    local ticker = asyncio.create_task(function()
      while true do
        turns = turns + 1
        sleep(0)
      end
    end)
    again()
    await(over)
    ticker:cancel()
    t.assertTrue(turns >= 40, turns .. " turns") -- or they would starve everything else
    asyncio.wait { ticker }
  end)
end

TestTimerPrecision = {}

function TestTimerPrecision:test_nothing_is_early_and_short_sleeps_are_short()
  t.real(function()
    local loop = running()
    math.randomseed(17)
    local shortest = math.huge
    for _ = 1, 200 do
      local delay = math.random() * 0.0015
      local before = loop:time()
      sleep(delay)
      local over = loop:time() - before - delay
      t.assertTrue(over >= 0, over)
      shortest = math.min(shortest, over)
    end
    t.assertTrue(shortest < 0.0009, shortest) -- whole milliseconds would show here
  end)
end

function TestTimerPrecision:test_the_time_counts_from_the_call_not_from_the_turns_beginning()
  t.real(function()
    local loop = running()
    local before = loop:time()
    while loop:time() < before + 0.02 do end
    local called = loop:time()
    local future = loop:create_future()
    loop:call_later(0.01, function() future:set_result(loop:time()) end)
    t.assertTrue(await(future) - called >= 0.01)
  end)
end

TestManyTimers = {}

function TestManyTimers:test_a_million_pending_ones_and_a_short_one_comes_through()
  t.real(function()
    local loop, n, handles = running(), many(1000000), {}
    local function never() error "called" end
    for i = 1, n do handles[i] = loop:call_later(3600 + (i * 7919) % 1000, never) end
    local before = loop:time()
    t.assertEquals(sleep(0.001, "through"), "through")
    t.assertTrue(loop:time() - before < 5)
    -- with a search for each this would take days
    for i = 1, n do handles[(i * 7919) % n + 1]:cancel() end
    for i = 1, n do handles[i]:cancel() end
    t.assertEquals(sleep(0.001, "still"), "still")
  end)
end

function TestManyTimers:test_set_and_cancelled_again_and_again_cost_no_memory()
  t.run(function()
    local loop = running()
    local function round(n)
      for _ = 1, n do loop:call_later(3600, print):cancel() end
      t.collect()
      return collectgarbage "count"
    end
    round(1000)
    local before = round(1000)
    t.assertTrue(round(many(100000)) < before + 100)
  end)
end

function TestManyTimers:test_a_hundred_thousand_due_at_once_are_all_called()
  t.run(function()
    local loop, n, called = running(), many(100000), 0
    local when = loop:time() + 0.001
    for _ = 1, n do loop:call_at(when, function() called = called + 1 end) end
    t.wait_until(function() return called == n end)
  end)
end

t.finish()
