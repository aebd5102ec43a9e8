-- depth_spec.lua - what is deep: lua_getstack walks to a level from the top, so that a loop over all of them took the
-- square of their number. Here that would be hours: these tests end, or the file's time is up.
local t = require "helper"
local asyncio = t.asyncio
local co = asyncio.coroutine

local DEEP = t.count(120000) -- Lua has room for some 190,000

TestDepth = {}

--- Calls fn at the bottom of a recursion.
local function dive(depth, fn)
  if depth == 0 then return (fn()) end
  return (dive(depth - 1, fn))
end

function TestDepth:test_a_generator_yields_from_a_deep_recursion()
  t.run(function()
    local n = 0
    for i in co.wrap(function()
      dive(DEEP, function()
        for i = 1, 100 do co.yield(i) end
      end)
    end) do
      n = n + 1
      t.assertEquals(i, n)
      if n == 50 then asyncio.sleep(0) end
    end
    t.assertEquals(n, 100)
  end)
end

function TestDepth:test_a_deep_generator_is_closed()
  t.run(function()
    for _ = 1, 20 do
      local thread = co.create(function() dive(DEEP, co.yield) end)
      t.assertTrue((co.resume(thread)))
      t.assertTrue((co.close(thread)))
    end
  end)
end

-- A generator that the standard library began is looked at once.
function TestDepth:test_a_deep_coroutine_that_others_began_is_resumed()
  t.run(function()
    local thread = coroutine.create(function()
      dive(DEEP, function()
        for _ = 1, 100 do coroutine.yield() end
      end)
    end)
    coroutine.resume(thread)
    for _ = 1, 99 do t.assertTrue((co.resume(thread))) end
    t.assertEquals(co.status(thread), "suspended")
  end)
end

function TestDepth:test_a_task_that_waits_in_a_deep_recursion_has_a_tostring_and_a_graph()
  t.run(function()
    local function work() dive(DEEP, function() asyncio.sleep(1) end) end
    for _, body in ipairs { work, coroutine.create(work) } do
      local task = asyncio.create_task(body)
      asyncio.sleep(0)
      for _ = 1, 20 do t.assertStrContains(tostring(task), "waits (sleep), function at ") end
      t.assertStrContains(asyncio.format_call_graph(task), "waits (sleep)")
      asyncio.await(task)
    end
  end)
end

function TestDepth:test_a_call_that_cannot_wait_at_the_bottom_of_a_recursion_says_so()
  t.run(function()
    local errors = {}
    local function sleep() return select(2, pcall(asyncio.sleep, 0)) end
    for i, depth in ipairs { 10, DEEP } do
      ("x"):gsub("x", function() errors[i] = tostring(dive(depth, sleep)) end)
    end
    t.assertStrContains(errors[1], "cannot wait inside string.gsub")
    t.assertStrContains(errors[2], "a C function that Lua cannot suspend is in the way")
  end)
end

TestDeepGraph = {}

--- The graph of a chain of tasks, each of which waits for the next.
local function graph_of_chain(n)
  return t.run(function()
    local function chain(left)
      if left == 1 then asyncio.sleep(60) else asyncio.await(asyncio.create_task(chain, left - 1)) end
    end
    local first = asyncio.create_task(chain, n)
    asyncio.sleep(1)
    local one, all = asyncio.format_call_graph(first), asyncio.format_call_graph "all"
    first:cancel()
    asyncio.wait { first }
    return one, all
  end)
end

local function count(text, pattern) return select(2, text:gsub(pattern, "")) end

function TestDeepGraph:test_of_a_chain_tells_how_many_more_there_are_and_the_innermost()
  local one, all = graph_of_chain(1000)
  for _, text in ipairs { one, all } do
    t.assertStrContains(text, "- ... 958 more\n")
    t.assertEquals(count(text, "Task '[^\n]*awaits\n"), 41)
    t.assertEquals(count(text, "waits %(sleep%)"), 1)
    t.assertTrue(#text < 30000, #text)
  end
end

function TestDeepGraph:test_of_a_short_chain_leaves_nothing_out()
  local one = graph_of_chain(41)
  t.assertNil(one:find "more")
  t.assertEquals(count(one, "Task '[^\n]*awaits\n"), 40)
end

function TestDeepGraph:test_grows_with_the_number_of_tasks_not_with_its_square()
  local a, b = graph_of_chain(t.count(1000)), graph_of_chain(t.count(2000))
  t.assertTrue(#b < #a + 100)
end

-- What was only counted is told where it is met again.
function TestDeepGraph:test_that_left_a_task_out_tells_it_elsewhere()
  t.run(function()
    local function chain(left)
      if left == 1 then asyncio.sleep(60) else asyncio.await(asyncio.create_task(chain, left - 1)) end
    end
    local first = asyncio.create_task(chain, 80)
    asyncio.sleep(1)
    local sixtieth
    for _, task in ipairs(asyncio.all_tasks()) do
      if task:get_name() == first:get_name():gsub("%d+", function(n) return n + 59 end) then sixtieth = task end
    end
    local other = asyncio.create_task { function() asyncio.await(sixtieth) end, name = "other" }
    asyncio.sleep(1)
    local text = asyncio.format_call_graph "all"
    t.assertStrContains(text, "- ... 38 more\n")
    t.assertEquals(count(text, sixtieth:get_name():gsub("%-", "%%-") .. "' awaits\n"), 1)
    first:cancel()
    asyncio.wait { first, other }
    t.assertTrue(other:cancelled())
  end)
end

-- What stands below is told once, however many ways lead there.
function TestDeepGraph:test_of_what_many_wait_for_below_a_deep_chain_tells_each_task_once()
  t.run(function()
    local event, layer = asyncio.Event(), {}
    local function waits(list)
      if #list == 0 then event:wait() else asyncio.wait(list) end
    end
    for _ = 1, 50 do -- 2 ^ 50 ways
      local below = layer
      layer = {}
      for i = 1, 2 do layer[i] = asyncio.create_task(waits, below) end
    end
    asyncio.sleep(1)
    local text = asyncio.format_call_graph(layer[1])
    t.assertEquals(count(text, "waits %(event%)"), 2)
    t.assertStrMatches(text, ".*%- %.%.%. %d+ more.*")
    event:set()
    asyncio.wait(layer)
  end)
end

function TestDeepGraph:test_of_a_long_ring_of_locks_says_that_it_is_one()
  t.run(function()
    local n, locks, tasks = 100, {}, {}
    for i = 1, n do locks[i] = asyncio.Lock() end
    for i = 1, n do
      tasks[i] = asyncio.create_task(function()
        local _ <close> = locks[i]:acquire()
        asyncio.sleep(0)
        local _ <close> = locks[i % n + 1]:acquire()
      end)
    end
    asyncio.sleep(1)
    local text = asyncio.format_call_graph(tasks[1])
    t.assertStrContains(text, "- ... 58 more\n")
    t.assertStrContains(text, "a cycle, it waits for itself")
    tasks[1]:cancel()
    asyncio.wait(tasks)
  end)
end

t.finish()
