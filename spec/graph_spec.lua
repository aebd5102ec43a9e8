-- format_call_graph and print_call_graph: who awaits whom.
local t = require "helper"
local asyncio = t.asyncio

TestCallGraph = {}

--- Runs fn, then cancels whatever it started.
local function run(fn)
  t.run(function()
    fn()
    local me, tasks = asyncio.current_task(), {}
    for _, task in ipairs(asyncio.all_tasks()) do
      if task ~= me then
        task:cancel()
        tasks[#tasks + 1] = task
      end
    end
    if #tasks > 0 then asyncio.wait(tasks) end
    for _, task in ipairs(tasks) do pcall(task.exception, task) end
  end)
end

local function sleeps() asyncio.sleep(1000) end
local function start(name, fn, ...) return asyncio.create_task { fn, name = name, ... } end

--- The graph, less addresses, and with "here" and "lib" in place of the files.
local function graph(what)
  return (asyncio.format_call_graph(what):gsub("%(0x%x+%)", "(0x)"):gsub("[^ \n]*graph_spec%.lua:%d+", "here")
    :gsub("[^ \n]*/asyncio/(%w+)%.lua:%d+", "%1"):gsub("in function here>", "in function <>"))
end

function TestCallGraph:test_of_a_task_that_sleeps()
  run(function()
    local task = start("sleeper", sleeps)
    t.assertEquals(graph(task), "Task 'sleeper' new")
    asyncio.sleep(0)
    t.assertEquals(graph(task), "Task 'sleeper' waits (sleep)\n    here: in function <>")
    t.assertStrMatches(asyncio.format_call_graph(task), ".*spec/graph_spec%.lua:%d+: in function <.*")
  end)
end

function TestCallGraph:test_of_tasks_that_await_each_other()
  run(function()
    local inner = start("inner", sleeps)
    local function waits() asyncio.await(inner) end
    local outer = start("outer", function()
      waits()
      return 1
    end)
    asyncio.sleep(0)
    asyncio.sleep(0)
    t.assertEquals(graph(outer), [[
Task 'outer' awaits
    here: in upvalue 'waits'
    here: in function <>
  - Task 'inner' waits (sleep)
        here: in function <>]])
    t.assertEquals(graph(inner), [[
Task 'inner' waits (sleep)
    here: in function <>
awaited by Task 'outer']])
  end)
end

function TestCallGraph:test_goes_through_gather_wait_groups_and_shield()
  run(function()
    local a, b = start("a", sleeps), start("b", sleeps)
    local waiters = {
      start("gather", function() asyncio.gather(a, b) end),
      start("wait", function() asyncio.wait { a, b } end),
      start("as_completed", function() for _ in asyncio.as_completed { a, b } do break end end),
    }
    local shield = start("shield", function() asyncio.await(asyncio.shield(a)) end)
    local child
    local group = start("group", function()
      local g <close> = asyncio.TaskGroup()
      child = g:create_task { sleeps, name = "child" }
    end)
    local all = { a, b, shield, group, table.unpack(waiters) }
    t.wait_until(function()
      for _, task in ipairs(all) do
        if not tostring(task):find "waits" then return false end
      end
      return tostring(child):find "waits"
    end)
    for _, task in ipairs(waiters) do
      t.assertStrContains(graph(task), [[

  - Task 'a' waits (sleep)
        here: in function <>
  - Task 'b' waits (sleep)
]])
    end
    t.assertStrContains(graph(shield), "\n  - Task 'a' waits (sleep)\n")
    t.assertStrContains(graph(group), "\n  - Task 'child' waits (sleep)\n")
    for _, name in ipairs { "gather", "wait", "as_completed", "shield" } do
      t.assertStrContains(graph(a), "awaited by Task '" .. name .. "'")
    end
  end)
end

function TestCallGraph:test_of_all_tasks_has_each_once_below_those_that_await_it()
  run(function()
    asyncio.current_task():set_name "main"
    local shared = start("shared", sleeps)
    start("first", function() asyncio.await(shared) end)
    start("second", function() asyncio.await(shared) end)
    asyncio.sleep(0)
    asyncio.sleep(0)
    t.assertEquals(graph "all", [[
4 tasks
Task 'main' running
    here: in upvalue 'graph'
    here: in upvalue 'fn'
    here: in function <>
Task 'first' awaits
    here: in function <>
  - Task 'shared' waits (sleep)
        here: in function <>
Task 'second' awaits
    here: in function <>
  - Task 'shared' waits (sleep) (see above)]])
  end)
end

function TestCallGraph:test_marks_a_deadlock_of_locks()
  run(function()
    local one, two = asyncio.Lock(), asyncio.Lock()
    local function takes(first, second)
      local _ <close> = first:acquire()
      asyncio.sleep(0)
      local _ <close> = second:acquire()
    end
    local left = start("left", takes, one, two)
    start("right", takes, two, one)
    t.wait_until(function() return tostring(left):find "lock" end)
    asyncio.sleep(0)
    t.assertEquals(graph(left), [[
Task 'left' waits (lock, which 'right' holds)
    here: in function <>
  - Task 'right' waits (lock, which 'left' holds)
        here: in function <>
      - Task 'left' waits (lock, which 'right' holds): a cycle, it waits for itself
awaited by Task 'right']])
    t.assertEquals(select(2, graph "all":gsub("a cycle", "")), 1)
  end)
end

function TestCallGraph:test_shows_coroutines_within_a_task()
  run(function()
    local task = start("generator", function()
      local function produce() asyncio.sleep(1000) end
      for _ in asyncio.coroutine.wrap(function() produce() end) do break end
    end)
    asyncio.sleep(0)
    t.assertEquals(graph(task), [[
Task 'generator' waits (sleep)
    here: in upvalue 'produce'
    here: in function <>
    here: in function <>]])
  end)
end

function TestCallGraph:test_of_nothing_is_that_of_the_running_task()
  run(function()
    asyncio.current_task():set_name "main"
    t.assertStrMatches(asyncio.format_call_graph(), "Task 'main' running\n.*graph_spec.*")
    local printed
    local former = print
    _G.print = function(text) printed = text end -- luacheck: ignore
    asyncio.print_call_graph()
    _G.print = former -- luacheck: ignore
    t.assertStrMatches(printed, "Task 'main' running\n.*graph_spec.*")
    local seen = asyncio.get_running_loop():create_future()
    asyncio.get_running_loop():call_soon(function() seen:set_result(asyncio.format_call_graph()) end)
    t.assertStrMatches(asyncio.await(seen), "1 task\nTask 'main' awaits\n.*")
  end)
end

function TestCallGraph:test_of_what_has_ended_or_is_no_task_is_its_text()
  run(function()
    local task = start("ended", function() return 1 end)
    asyncio.await(task)
    t.assertEquals(asyncio.format_call_graph(task), tostring(task))
    local future = asyncio.get_running_loop():create_future()
    t.assertEquals(asyncio.format_call_graph(future), tostring(future))
  end)
end

function TestCallGraph:test_refuses_other_arguments()
  run(function()
    for _, name in ipairs { "format_call_graph", "print_call_graph" } do
      local err = t.error_of(asyncio[name], 7)
      t.assertStrContains(err, ("bad argument #1 to '%s' (task or \"all\" expected, got number)"):format(name))
    end
  end)
  t.assertStrContains(tostring(t.error_of(asyncio.format_call_graph)), "no event loop is running")
end

t.finish()
