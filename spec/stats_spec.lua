-- stats_spec.lua - Loop:stats and stats_text: what a loop has done, in numbers.
local t = require "helper"

local asyncio = t.asyncio

TestLoopStats = {}
TestStatsText = {}

local KEYS = {
  "busy", "bytes_in", "bytes_out", "jobs", "lag", "longest_step", "max_lag", "memory", "steps", "streams", "tasks",
  "tasks_made", "timers", "turns", "uptime",
}

local function stats() return asyncio.get_running_loop():stats() end

local function spin(seconds)
  local limit = os.clock() + seconds
  repeat until os.clock() > limit
end

function TestLoopStats:test_has_these_numbers_and_no_others()
  t.run(function()
    local keys, values = {}, stats()
    for key, value in pairs(values) do
      keys[#keys + 1] = key
      t.assertTrue(value >= 0, key)
    end
    table.sort(keys)
    t.assertEquals(keys, KEYS)
  end)
end

function TestLoopStats:test_counts_turns_and_steps()
  t.run(function()
    local before = stats()
    for _ = 1, 1000 do asyncio.sleep(0) end
    local after = stats()
    t.assertEquals(after.turns - before.turns, 1000)
    t.assertEquals(after.steps - before.steps, 1000)
  end)
end

function TestLoopStats:test_counts_the_steps_of_calls_and_across_polls()
  t.run(function()
    local before, event, n = stats(), asyncio.Event(), 0
    for _ = 1, 10 do
      asyncio.get_running_loop():call_later(1, function()
        n = n + 1
        if n == 10 then event:set() end
      end)
    end
    event:wait()
    t.assertEquals(stats().steps - before.steps, 11) -- and the one that the event wakes
  end)
end

function TestLoopStats:test_knows_how_many_tasks_live_and_were_made()
  t.run(function()
    local before, tasks = stats(), {}
    for i = 1, 5 do tasks[i] = asyncio.create_task(asyncio.sleep, 10) end
    local cancelled = asyncio.create_task(asyncio.sleep, 10)
    cancelled:cancel() -- before its first step
    asyncio.sleep(1)
    local during = stats()
    t.assertEquals({ during.tasks - before.tasks, during.tasks_made - before.tasks_made }, { 5, 6 })
    t.assertEquals(during.timers, 5)
    tasks[1]:cancel()
    asyncio.wait(tasks)
    t.assertEquals({ stats().tasks, stats().timers }, { before.tasks, 0 })
  end)
end

function TestLoopStats:test_a_task_that_fails_or_is_broken_lives_no_more()
  t.run(function(reports)
    local before = stats().tasks
    local failed = asyncio.create_task(error, "on purpose")
    local broken = asyncio.create_task(coroutine.yield)
    asyncio.wait { failed, broken }
    t.assertNotNil(failed:exception())
    t.assertNotNil(broken:exception())
    t.assertEquals(stats().tasks, before)
    t.assertEquals(#reports, 0)
  end)
end

function TestLoopStats:test_no_task_of_a_closed_loop_lives()
  local loop = asyncio.new_event_loop()
  local task = loop:create_task(asyncio.sleep, 10)
  t.assertEquals(loop:stats().tasks, 1)
  loop:close()
  t.assertEquals(loop:stats().tasks, 0)
  t.assertFalse(task:done())
end

function TestLoopStats:test_counts_streams_and_their_bytes()
  t.real(function()
    local before = stats()
    local server <close> = asyncio.start_server(function(reader, writer)
      for line in reader:lines() do writer:send(line, "\n") end
    end, "127.0.0.1", 0)
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    writer:send(("x"):rep(99), "\n")
    t.assertEquals(#reader:readline(), 100)
    local during = stats()
    t.assertEquals(during.streams - before.streams, 2)
    t.assertEquals({ during.bytes_in - before.bytes_in, during.bytes_out - before.bytes_out }, { 200, 200 })
    writer:close()
    writer:wait_closed()
    server:close()
    server:wait_closed()
    t.assertEquals(stats().streams, before.streams)
  end)
end

function TestLoopStats:test_counts_the_bytes_that_the_kernel_has_no_room_for()
  t.real(function()
    local before, n = stats(), t.count(8000000)
    local _, near, _, far = asyncio.stream_pair() -- the kernel has none of these
    local server <close> = asyncio.start_server(function(_, peer) peer:send(("x"):rep(n)) end, "127.0.0.1", 0)
    local from, to <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    t.assertEquals(#from:read(-1), n)
    t.assertEquals({ stats().bytes_in - before.bytes_in, stats().bytes_out - before.bytes_out }, { n, n })
    t.assertNotNil(to)
    near:close()
    far:close()
  end)
end

function TestLoopStats:test_counts_the_bytes_of_datagrams()
  t.real(function()
    local before = stats()
    local server <close> = asyncio.create_datagram_endpoint { local_addr = { host = "127.0.0.1", port = 0 } }
    local address = server:get_extra_info "sockname"
    local client <close> = asyncio.create_datagram_endpoint { remote_addr = address }
    client:send "hello"
    t.assertEquals((server:receive()), "hello")
    t.assertEquals({ stats().bytes_in - before.bytes_in, stats().bytes_out - before.bytes_out }, { 5, 5 })
  end)
end

function TestLoopStats:test_counts_jobs_of_threads()
  t.real(function()
    local channel = asyncio.Channel()
    local job = asyncio.create_task(asyncio.to_thread, function(line) return line:get() end, channel)
    asyncio.sleep(0)
    t.assertEquals(stats().jobs, 1)
    channel:put "done"
    t.assertEquals(asyncio.await(job), "done")
    t.assertEquals(stats().jobs, 0)
  end)
end

function TestLoopStats:test_knows_the_longest_step_and_the_lag_that_it_made()
  t.real(function()
    local loop = asyncio.get_running_loop()
    loop.slow_callback_duration = 0.01 -- so that the clock is exact
    asyncio.sleep(0.001)
    spin(0.03)
    asyncio.sleep(0.001)
    local found = stats()
    t.assertTrue(found.longest_step >= 0.029)
    t.assertTrue(found.lag >= 0.029)
    t.assertEquals(found.max_lag >= found.lag, true)
    asyncio.sleep(0.001)
    t.assertTrue(stats().lag < found.lag)
    t.assertTrue(stats().max_lag >= found.max_lag)
  end)
end

function TestLoopStats:test_a_slow_step_is_reported_although_a_longer_one_came_before()
  t.real(function()
    local loop, n = asyncio.get_running_loop(), 0
    loop.slow_callback_duration = 0.01
    loop:set_exception_handler(function(_, context)
      if t.is_slow_step(context) then n = n + 1 end
    end)
    for _, seconds in ipairs { 0.08, 0.04, 0.04 } do
      spin(seconds)
      asyncio.sleep(0)
    end
    t.assertTrue(n >= 1)
    loop.slow_callback_duration = math.huge
    n = 0
    spin(0.02)
    asyncio.sleep(0)
    t.assertEquals(n, 0)
  end)
end

function TestLoopStats:test_is_busy_while_steps_run_and_not_while_it_waits()
  t.real(function()
    asyncio.get_running_loop().slow_callback_duration = 0.01 -- so that the clock is exact
    asyncio.sleep(0.001)
    local before = stats()
    asyncio.sleep(0.05)
    local between = stats()
    t.assertTrue(between.busy - before.busy < between.uptime - before.uptime - 0.04)
    spin(0.03)
    asyncio.sleep(0.001)
    t.assertTrue(stats().busy - between.busy >= 0.029)
  end)
end

function TestLoopStats:test_wants_no_argument_but_the_loop()
  t.assertErrorMsgContains("bad argument #1 to 'stats' (asyncio.Loop expected, got number)",
    asyncio.new_event_loop().stats, 5)
end

--- name → { type =, value =, help = }; every line is one of the three that Prometheus knows.
local function parsed(text)
  local found = {}
  t.assertStrMatches(text, ".*\n")
  for line in text:gmatch "([^\n]*)\n" do
    local name, help = line:match "^# HELP ([%l_]+) ([^\n\\]+)$"
    if name then
      t.assertNil(found[name], name .. " twice")
      found[name] = { help = help }
    else
      local typed, kind = line:match "^# TYPE ([%l_]+) (%l+)$"
      local valued, labels, value = line:match "^([%l_]+)({?[^}]*}?) (%-?[%d.]+)$"
      t.assertNotNil(typed or valued, line)
      found[typed or valued][typed and "type" or "value"] = typed and kind or tonumber(value)
      if valued then found[valued].labels = labels end
    end
  end
  return found
end

function TestStatsText:test_is_what_prometheus_reads()
  t.run(function()
    asyncio.sleep(1)
    local found = parsed(asyncio.stats_text())
    local n = 0
    for name, metric in pairs(found) do
      n = n + 1
      t.assertStrMatches(name, "asyncio_[%l_]+")
      t.assertNotNil(metric.value, name)
      t.assertEquals(metric.type, name:find "_total$" and "counter" or "gauge", name)
    end
    t.assertEquals(n, #KEYS + 1)
    t.assertEquals(found.asyncio_tasks.value, 1)
    t.assertStrContains(found.asyncio_info.labels, 'libuv="1.')
  end)
end

function TestStatsText:test_has_the_numbers_of_stats()
  t.run(function()
    for _ = 1, 100 do asyncio.sleep(0) end
    local numbers, found = stats(), parsed(asyncio.stats_text())
    for key, name in pairs { turns = "turns_total", steps = "steps_total", bytes_in = "bytes_in_total",
                             tasks = "tasks", busy = "busy_seconds_total", streams = "streams" } do
      t.assertAlmostEquals(found["asyncio_" .. name].value, numbers[key], 1e-6)
    end
  end)
end

function TestStatsText:test_escapes_what_stands_in_labels()
  t.run(function()
    local version = asyncio._VERSION
    local _ <close> = setmetatable({}, { __close = function() asyncio._VERSION = version end })
    asyncio._VERSION = 'a "b" \\ c\nd'
    t.assertStrContains(asyncio.stats_text(), [[asyncio_info{version="a \"b\" \\ c\nd",]])
  end)
end

function TestStatsText:test_of_a_loop_that_does_not_run()
  local loop <close> = asyncio.new_event_loop()
  t.assertEquals(parsed(asyncio.stats_text(loop)).asyncio_turns_total.value, 0)
  loop:run_once()
  t.assertEquals(parsed(asyncio.stats_text(loop)).asyncio_turns_total.value, 1)
  t.assertErrorMsgContains("no event loop is running", asyncio.stats_text)
end

--- Lua doesn't tell its memory there: -1 came, which was taken for a number of KiB.
function TestStatsText:test_in_a_finaliser_says_nothing_of_memory()
  local loop <close> = asyncio.new_event_loop()
  local text, numbers
  setmetatable({}, { __gc = function() text, numbers = asyncio.stats_text(loop), loop:stats() end })
  collectgarbage()
  t.assertNil(parsed(text).asyncio_lua_memory_bytes)
  t.assertNil(numbers.memory)
  t.assertTrue(parsed(asyncio.stats_text(loop)).asyncio_lua_memory_bytes.value > 0)
end

function TestStatsText:test_wants_a_loop_or_nothing()
  for _, wrong in ipairs { 5, "loop", {}, asyncio.Lock() } do
    t.assertErrorMsgContains("bad argument #1 to 'stats_text' (Loop or nil expected, got ", asyncio.stats_text, wrong)
  end
end

t.finish()
