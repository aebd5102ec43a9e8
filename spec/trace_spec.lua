-- Traces: asyncio.trace, Runner{trace=}, ASYNCIO_TRACE. The page of a trace is page_spec.lua's.
local t = require "helper"
local forking = require "forking"
local json = require "json"
local program = require "program"
local asyncio = t.asyncio

TestRows = {}
TestArrows = {}
TestLoop = {}
TestRing = {}
TestPaths = {}
TestEnds = {}
TestProbes = {}
TestZLast = {}

local ROOT = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/.."
local LEAST = 0.01 -- µs: times have three places

local function content_of(path)
  local text = program.content(path)
  os.remove(path)
  return text
end

--- A path for a trace, which does not exist yet.
local function new_path(ending)
  local name = os.tmpname()
  os.remove(name)
  return name .. (ending or ".json")
end

--- What is in a file: its rows by number of the task, and all events.
local function read(text)
  t.assertNotNil(utf8.len(text))
  local trace = json.decode(text)
  local read_one = { facts = trace.otherData, events = trace.traceEvents, rows = {}, text = text }
  for _, event in ipairs(trace.traceEvents) do
    if event.ph == "M" and event.name == "thread_name" then read_one.rows[event.tid] = event.args end
  end
  return read_one
end

--- What fn does in a task, on the virtual clock or the real one.
local function trace_on(run, fn, max_events)
  local path, trace = new_path(), nil
  run(function(reports)
    do
      local _ <close> = asyncio.trace { path = path, max_events = max_events }
      fn(reports)
    end
    trace = read(content_of(path))
  end)
  return trace
end

local function trace_of(fn, max_events) return trace_on(t.run, fn, max_events) end

--- The events that have those fields.
local function find(trace, fields)
  local found = {}
  for _, event in ipairs(trace.events) do
    local fits = true
    for key, value in pairs(fields) do fits = fits and event[key] == value end
    if fits then found[#found + 1] = event end
  end
  table.sort(found, function(a, b) return (a.ts or 0) < (b.ts or 0) end)
  return found
end

local function find_one(trace, fields)
  local found = find(trace, fields)
  t.assertEquals(#found, 1)
  return found[1]
end

--- The number of the task with that name.
local function row_of(trace, name)
  for tid, row in pairs(trace.rows) do
    if row.name == name then return tid end
  end
  t.fail("no row is named " .. name)
end

local function here() return ("trace_spec.lua:%d"):format(debug.getinfo(2, "l").currentline) end

local function assert_near(a, b)
  if math.abs(a - b) > LEAST then t.fail(("%.3f is not %.3f"):format(a, b)) end
end

-- Rows

--- What a task did: a span begins where the one before has ended.
local function assert_whole(trace, tid)
  local spans = find(trace, { ph = "X", tid = tid })
  for i = 2, #spans do assert_near(spans[i].ts, spans[i - 1].ts + spans[i - 1].dur) end
  return spans
end

function TestRows:test_the_spans_of_a_task_follow_each_other_from_its_making_to_its_end()
  local trace = trace_of(function()
    local event = asyncio.Event()
    local task = asyncio.create_task { function()
      asyncio.sleep(1)
      event:wait()
      asyncio.sleep(0)
    end, name = "one" }
    asyncio.sleep(2)
    event:set()
    asyncio.await(task)
  end)
  local tid = row_of(trace, "one")
  local spans = assert_whole(trace, tid)
  local kinds = {}
  for i, span in ipairs(spans) do kinds[i] = span.name end
  t.assertEquals(table.concat(kinds, " "),
    "ready step sleep ready step event ready step give way step")
  assert_near(spans[1].ts, trace.rows[tid].made)
  local last, ended = spans[#spans], find_one(trace, { ph = "i", tid = tid })
  t.assertEquals(ended.name, "done")
  t.assertTrue(ended.ts >= last.ts + last.dur - LEAST and ended.ts - last.ts - last.dur < 1000)
end

function TestRows:test_a_wait_says_what_for_and_where()
  local place
  local trace = trace_of(function()
    local task = asyncio.create_task(function()
      place = here() asyncio.sleep(1)
    end)
    asyncio.await(task)
  end)
  local wait = find_one(trace, { cat = "wait", name = "sleep" })
  t.assertStrContains(wait.args.at, place)
  local stop = find(trace, { cat = "step", tid = wait.tid })[1]
  t.assertEquals(stop.args.to, wait.args.at)
end

function TestRows:test_a_place_is_the_users_not_the_librarys()
  local place
  local trace = trace_of(function()
    place = here() asyncio.gather(function() asyncio.sleep(1) end)
  end)
  t.assertStrContains(find_one(trace, { cat = "wait", name = "gather" }).args.at, place)
end

function TestRows:test_on_the_virtual_clock_a_wait_is_as_long_as_it_says()
  local trace = trace_of(function() asyncio.sleep(1000) end)
  local wait = find_one(trace, { cat = "wait", name = "sleep" })
  t.assertTrue(wait.dur >= 1e9 and wait.dur < 1.1e9)
  t.assertEquals(trace.facts.clock, "virtual")
end

function TestRows:test_who_waits_for_a_task_says_which()
  local trace = trace_of(function()
    local task = asyncio.create_task { asyncio.sleep, 1, name = "slow" }
    asyncio.await(task)
  end)
  local wait = find_one(trace, { cat = "wait", name = "await" })
  t.assertEquals(wait.args.on_task, row_of(trace, "slow"))
end

function TestRows:test_who_waits_for_a_lock_says_whose_it_is()
  local trace = trace_of(function()
    local lock = asyncio.Lock()
    local function hold()
      local _ <close> = lock:acquire()
      asyncio.sleep(1)
    end
    local first = asyncio.create_task { hold, name = "first" }
    asyncio.gather(first, hold)
  end)
  t.assertEquals(find_one(trace, { cat = "wait", name = "lock" }).args.on_task, row_of(trace, "first"))
end

function TestRows:test_a_row_says_who_made_it_and_where_its_function_is()
  local line
  local trace = trace_of(function()
    asyncio.create_task { function()
      line = here() asyncio.await(asyncio.create_task { function() end, name = "child" })
    end, name = "parent" }
    asyncio.sleep(1)
  end)
  local child = trace.rows[row_of(trace, "child")]
  t.assertEquals(child.made_by, row_of(trace, "parent"))
  t.assertStrContains(child.source, line)
  t.assertEquals(child.what, "task")
end

function TestRows:test_a_name_is_made_valid()
  local names = { "plain", 'a "quoted" <name>\\', "\0\1\127",
    "bad \xff\xc3( \xed\xa0\x80", "\u{1f375} tea", ("x"):rep(1000) }
  local trace = trace_of(function()
    for _, name in ipairs(names) do asyncio.create_task { function() end, name = name } end
    asyncio.sleep(1)
  end)
  t.assertNil(trace.text:find("<", 1, true))
  local bad = "bad " .. utf8.char(0xfffd) .. utf8.char(0xfffd) .. "( " .. utf8.char(0xfffd):rep(3)
  local there = {}
  for _, row in pairs(trace.rows) do there[row.name] = true end
  for _, name in ipairs { names[1], names[2], names[3], bad, names[5], ("x"):rep(400) } do
    t.assertTrue(there[name], name)
  end
end

function TestRows:test_a_name_that_comes_later_counts()
  local trace = trace_of(function()
    local task = asyncio.create_task(asyncio.sleep, 1)
    task:set_name "late"
    asyncio.await(task)
  end)
  t.assertEquals(trace.rows[row_of(trace, "late")].state, "done")
end

function TestRows:test_how_a_task_ended()
  local trace = trace_of(function(reports)
    local function fail() error "no tea" end
    local tasks = {
      asyncio.create_task { function() end, name = "good" },
      asyncio.create_task { fail, name = "bad" },
      asyncio.create_task { error, asyncio.Error "no coffee", name = "object" },
      asyncio.create_task { asyncio.sleep, 10, name = "cut" },
      asyncio.create_task { asyncio.sleep, 10, name = "never" },
    }
    tasks[5]:cancel()
    asyncio.sleep(1)
    tasks[4]:cancel()
    asyncio.wait(tasks)
    for i = 2, 3 do tasks[i]:exception() end
    return reports
  end)
  local expected = { good = "done", bad = "failed", object = "failed", cut = "cancelled", never = "cancelled" }
  for name, state in pairs(expected) do t.assertEquals(trace.rows[row_of(trace, name)].state, state) end
  local bad = find_one(trace, { ph = "i", tid = row_of(trace, "bad") })
  t.assertStrContains(bad.args.error, "trace_spec.lua")
  t.assertStrContains(bad.args.error, "no tea")
  t.assertEquals(find_one(trace, { ph = "i", tid = row_of(trace, "object") }).args.error, "no coffee")
end

function TestRows:test_a_task_that_was_there_before_and_one_that_stays_have_their_rows()
  local path, trace = new_path(), nil
  t.run(function()
    local before = asyncio.create_task { asyncio.sleep, 10, name = "before" }
    asyncio.sleep(1)
    do
      local _ <close> = asyncio.trace(path)
      asyncio.create_task { asyncio.sleep, 5, name = "after" }
      asyncio.sleep(1)
    end
    trace = read(content_of(path))
    asyncio.await(before)
  end)
  t.assertEquals(trace.rows[row_of(trace, "before")].state, "waiting")
  local wait = find_one(trace, { cat = "wait", tid = row_of(trace, "after") })
  t.assertTrue(wait.args.open)
  assert_near(wait.ts + wait.dur, trace.facts.duration)
end

function TestRows:test_the_step_that_begins_and_the_one_that_ends_the_trace_are_there()
  local trace = trace_of(function() asyncio.sleep(1) end)
  local steps = find(trace, { cat = "step" })
  t.assertEquals(#steps, 2)
  t.assertEquals(steps[1].ts, 0.0)
  assert_near(steps[2].ts + steps[2].dur, trace.facts.duration)
end

function TestRows:test_a_task_that_is_there_when_its_loop_closes()
  local path = new_path()
  local _, _, status = t.lua(([[
    local asyncio = require "asyncio"
    local trace = asyncio.trace %q
    local loop = asyncio.new_event_loop()
    loop:create_task { asyncio.sleep, 5, name = "left" }
    loop:call_soon(loop.stop, loop)
    loop:run_forever()
    loop:close()
    trace:close()]]):format(path))
  t.assertEquals(status, 0)
  local trace = read(content_of(path))
  t.assertEquals(trace.rows[row_of(trace, "left")].state, "waiting")
end

function TestRows:test_a_handler_is_named_by_its_connection_and_a_wait_by_the_peer()
  local trace = trace_on(t.real, function()
    local server <close> = asyncio.start_server(function(reader, writer)
      writer:write(reader:read(10))
    end, "127.0.0.1", 0)
    local reader, writer <close> = asyncio.open_connection(server:sockets()[1].host, server:sockets()[1].port)
    asyncio.sleep(0.01)
    writer:write "tea"
    reader:read()
  end)
  local waits = find(trace, { cat = "wait", name = "read" })
  t.assertTrue(#waits >= 2)
  t.assertStrMatches(waits[1].args.on, "127%.0%.0%.1:%d+")
  local named = false
  for _, row in pairs(trace.rows) do named = named or row.name:find "^connection from 127%.0%.0%.1:%d+$" end
  t.assertTrue(named ~= false)
end

-- Arrows

--- Where an arrow of that kind to the task comes from: it leads from within what that did to a step's beginning.
local function tail_of(trace, kind, tid)
  local heads = find(trace, { ph = "f", cat = kind, tid = tid })
  local head = heads[#heads]
  t.assertEquals(head.bp, "e")
  local step
  for _, span in ipairs(find(trace, { cat = "step", tid = tid })) do
    if math.abs(span.ts - head.ts) < LEAST then step = span end
  end
  t.assertNotNil(step)
  local tail = find_one(trace, { ph = "s", id = head.id })
  t.assertTrue(tail.ts <= head.ts)
  local inside = false
  for _, span in ipairs(find(trace, { ph = "X", tid = tail.tid, cat = tail.tid > 0 and "step" or "loop" })) do
    inside = inside or tail.ts >= span.ts - LEAST and tail.ts <= span.ts + span.dur + LEAST
  end
  t.assertTrue(inside)
  return tail.tid
end

local function trace_pair(waker)
  return trace_of(function()
    local event = asyncio.Event()
    local waits = asyncio.create_task { event.wait, event, name = "woken" }
    asyncio.sleep(1)
    local other = asyncio.create_task { waker, event, waits, name = "waker" }
    asyncio.await(other)
    asyncio.wait { waits }
  end)
end

function TestArrows:test_from_who_wakes_a_task()
  local trace = trace_pair(function(event) event:set() end)
  t.assertEquals(tail_of(trace, "wake", row_of(trace, "woken")), row_of(trace, "waker"))
  local wait = find_one(trace, { cat = "wait", tid = row_of(trace, "woken") })
  t.assertEquals(wait.args.by, row_of(trace, "waker"))
end

function TestArrows:test_from_who_cancels_a_task()
  local trace = trace_pair(function(_, task) task:cancel() end)
  t.assertEquals(tail_of(trace, "cancel", row_of(trace, "woken")), row_of(trace, "waker"))
end

function TestArrows:test_from_who_makes_a_task()
  local trace = trace_pair(function(event) event:set() end)
  local main = trace.rows[row_of(trace, "waker")].made_by
  t.assertEquals(tail_of(trace, "spawn", row_of(trace, "waker")), main)
end

function TestArrows:test_from_a_task_that_ends_to_who_awaits_it()
  local trace = trace_pair(function(event) event:set() end)
  local main = trace.rows[row_of(trace, "waker")].made_by
  local wait = find_one(trace, { cat = "wait", name = "await", tid = main })
  t.assertEquals(wait.args.by, row_of(trace, "waker"))
end

function TestArrows:test_from_the_loop_where_no_task_wakes()
  local trace = trace_of(function()
    asyncio.await(asyncio.create_task { asyncio.sleep, 1, name = "sleeper" })
  end)
  t.assertEquals(tail_of(trace, "wake", row_of(trace, "sleeper")), 0)
end

function TestArrows:test_as_many_heads_as_tasks_were_woken()
  local trace = trace_of(function()
    local queue = asyncio.Queue(1)
    asyncio.gather(function() for i = 1, 50 do queue:put(i) end end, function() for _ = 1, 50 do queue:get() end end)
  end)
  local heads = {}
  for _, head in ipairs(find(trace, { ph = "f" })) do
    t.assertNil(heads[head.id])
    heads[head.id] = true
  end
  for _, tail in ipairs(find(trace, { ph = "s" })) do t.assertTrue(heads[tail.id]) end
end

-- The loop

function TestLoop:test_turns_and_polls_follow_each_other()
  local trace = trace_of(function()
    for _ = 1, 5 do asyncio.sleep(1) end
  end)
  local last
  for _, span in ipairs(find(trace, { cat = "loop", tid = 0 })) do
    if last then
      t.assertNotEquals(span.name, last.name)
      assert_near(span.ts, last.ts + last.dur)
    end
    last = span
  end
  t.assertTrue(#find(trace, { name = "poll" }) >= 5)
end

function TestLoop:test_callbacks_are_in_turns()
  local trace = trace_of(function()
    asyncio.sleep(1)
    asyncio.get_running_loop():call_soon(function() end)
    asyncio.sleep(1)
  end)
  local call = find_one(trace, { name = "callback" })
  local inside = false
  for _, turn in ipairs(find(trace, { name = "turn" })) do
    inside = inside or call.ts >= turn.ts - LEAST and call.ts + call.dur <= turn.ts + turn.dur + LEAST
  end
  t.assertTrue(inside)
end

function TestLoop:test_jobs_that_threads_do_at_once_have_rows_of_their_own()
  local trace = trace_on(t.real, function()
    local executor <close> = asyncio.ThreadPoolExecutor(2)
    local function work() return 1 end
    local one, two = executor:submit(work), executor:submit(work)
    asyncio.gather(one, two)
  end)
  local jobs = find(trace, { cat = "job" })
  t.assertTrue(#jobs >= 2)
  t.assertNotEquals(jobs[1].tid, jobs[2].tid)
  for _, job in ipairs(jobs) do
    t.assertEquals(trace.rows[job.tid].what, "jobs")
    t.assertEquals(trace.rows[job.args.task].what, "task")
  end
end

function TestLoop:test_what_the_crews_do_is_a_job_too()
  local trace = trace_on(t.real, function() asyncio.fs.stat "." end)
  t.assertEquals(#find(trace, { cat = "job" }), 1)
end

function TestLoop:test_memory_and_the_collectors_cycles_are_there()
  local trace = trace_of(function()
    collectgarbage()
    asyncio.sleep(1)
  end)
  t.assertTrue(#find(trace, { ph = "C", name = "memory" }) >= 1)
  t.assertTrue(#find(trace, { cat = "gc", name = "cycle" }) >= 1)
  t.assertEquals(find(trace, { cat = "gc" })[1].tid, 900000000)
end

function TestLoop:test_one_loop_after_another()
  local path = new_path()
  local _, _, status = t.lua(([[
    local asyncio = require "asyncio"
    local trace <close> = asyncio.trace %q
    for i = 1, 3 do asyncio.run(asyncio.sleep, 0.001) end]]):format(path))
  t.assertEquals(status, 0)
  local pids = {}
  for _, event in ipairs(find(read(content_of(path)), { ph = "M", name = "process_name" })) do
    pids[#pids + 1] = event.args.name
  end
  t.assertEquals(pids, { "event loop 1", "event loop 2", "event loop 3" })
end

-- The ring

function TestRing:test_the_oldest_events_go_and_are_counted()
  local trace = trace_of(function()
    for _ = 1, 100 do asyncio.sleep(0) end
  end, 10)
  t.assertEquals(trace.facts.events, 10)
  t.assertEquals(trace.facts.max_events, 10)
  t.assertTrue(trace.facts.dropped >= 90)
  local steps = find(trace, { cat = "step" })
  t.assertTrue(#steps > 0 and #steps <= 10)
  assert_near(steps[#steps].ts + steps[#steps].dur, trace.facts.duration)
end

function TestRing:test_none_goes_where_there_is_room()
  local n = t.count(20000)
  local trace = trace_of(function()
    for _ = 1, n do asyncio.sleep(0) end
  end)
  t.assertEquals(trace.facts.dropped, 0)
  t.assertEquals(#find(trace, { cat = "step" }), n + 1)
end

function TestRing:test_texts_go_with_the_events_that_say_them()
  local trace = trace_of(function()
    for i = 1, t.count(2000) do
      asyncio.await(asyncio.create_task { function() end, name = ("name %d"):format(i) })
    end
  end, 20)
  local named = 0
  for _, row in pairs(trace.rows) do
    if row.name:find "^name %d+$" then named = named + 1 end
  end
  t.assertTrue(named >= 2 and named <= 20)
end

-- Paths

function TestPaths:test_an_ending_that_is_none_is_refused()
  for _, path in ipairs { "x.txt", "x", "", "json", "x.JSON", "x.html.gz" } do
    local err = t.error_of(asyncio.trace, path)
    t.assertStrContains(tostring(err), ".html")
  end
end

function TestPaths:test_what_cannot_be_written_is_refused_at_once()
  local err = t.assert_raises(asyncio.OSError, asyncio.trace, "/nonexistent/x.json")
  t.assertStrContains(tostring(err), "/nonexistent/x.json")
end

function TestPaths:test_a_second_one_is_refused()
  local path, other = new_path(), new_path()
  do
    local trace <close> = asyncio.trace(path)
    t.assert_raises(asyncio.BusyError, asyncio.trace, other)
    t.assertStrContains(tostring(trace), path)
  end
  t.assertNil(io.open(other))
  asyncio.trace(path):close()
  os.remove(path)
end

function TestPaths:test_closed_twice_it_is_written_once()
  local path = new_path()
  local trace = asyncio.trace(path)
  trace:close()
  os.remove(path)
  trace:close()
  t.assertNil(io.open(path))
  t.assertStrContains(tostring(trace), "closed")
end

function TestPaths:test_a_page_stands_around_the_events()
  local path, former = new_path ".html", package.loaded["asyncio.page"]
  package.loaded["asyncio.page"] = { before = "<before>", after = "<after>\n" }
  local ok, err = pcall(function() asyncio.trace(path):close() end)
  package.loaded["asyncio.page"] = former
  t.assertTrue(ok, err)
  local text = content_of(path)
  t.assertEquals(read(text:match "^<before>(.*)<after>\n$").facts.dropped, 0)
end

--- A path whose file is always full.
local function full_path()
  local path = new_path()
  os.execute(("ln -s /dev/full '%s'"):format(path))
  return path, setmetatable({}, { __close = function() os.remove(path) end })
end

function TestPaths:test_a_full_disk_raises_when_it_is_closed()
  local path, _ <close> = full_path()
  local trace = asyncio.trace(path)
  local err = t.assert_raises(asyncio.OSError, trace.close, trace)
  t.assertStrContains(tostring(err), "ENOSPC")
  trace:close()
end

function TestPaths:test_a_full_disk_at_the_programs_end_is_told()
  local path, _ <close> = full_path()
  local _, errors, status = t.lua(([[require "asyncio".trace %q]]):format(path))
  t.assertStrContains(errors, "could not be written: no space left")
  t.assertEquals(status, 0)
end

-- However it ends

local BEGIN = [[
  local asyncio = require "asyncio"
  asyncio.trace %q
  asyncio.run(function()
    asyncio.create_task { asyncio.sleep, 10, name = "other" }
    asyncio.sleep(0.001)
    %s
  end)]]

--- What is in the file of a program that ends so, its status, and its errors.
local function trace_end(source)
  local path = new_path()
  local _, errors, status = t.lua(BEGIN:format(path, source))
  return read(content_of(path)), status, errors
end

function TestEnds:test_after_an_error()
  local trace, status = trace_end "error 'no tea'"
  t.assertEquals(status, 1)
  t.assertEquals(trace.rows[1].state, "failed")
  t.assertEquals(trace.rows[row_of(trace, "other")].state, "cancelled")
end

function TestEnds:test_after_ctrl_c()
  local trace = trace_end [[io.popen("kill -INT $PPID"):close() asyncio.sleep(5)]]
  t.assertEquals(trace.rows[1].state, "cancelled")
end

function TestEnds:test_in_the_middle_of_a_task()
  local trace, status = trace_end "os.exit(3, true)"
  t.assertEquals(status, 3)
  t.assertEquals(trace.rows[1].state, "running")
  t.assertEquals(trace.rows[row_of(trace, "other")].state, "waiting")
end

function TestEnds:test_with_its_block()
  local path = new_path()
  t.error_of(function()
    local _ <close> = asyncio.trace(path)
    error "no tea"
  end)
  t.assertEquals(read(content_of(path)).facts.dropped, 0)
end

function TestEnds:test_with_its_runner()
  local path = new_path()
  local runner = asyncio.Runner { trace = { path = path, max_events = 1000 } }
  runner:run(asyncio.sleep, 0.001)
  t.assertEquals(#program.content(path), 0)
  runner:close()
  local trace = read(content_of(path))
  t.assertEquals(#find(trace, { cat = "wait", name = "sleep" }), 1)
  t.assertEquals(trace.facts.max_events, 1000)
end

function TestEnds:test_with_a_runner_that_never_ran()
  local path = new_path()
  asyncio.Runner({ trace = path }):close()
  t.assertEquals(read(content_of(path)).facts.events, 0)
end

--- The command with ASYNCIO_TRACE: what it prints, and its status.
local function command(path, source)
  local script = program.file_with(source)
  local output, status = program.shell("ASYNCIO_TRACE=%s %s %s/bin/asyncio %s 2>&1", path, program.checked_lua, ROOT,
    script)
  os.remove(script)
  return output, status, script
end

function TestEnds:test_with_the_script_of_a_command()
  local path = new_path()
  local output, status, script = command(path, "asyncio.sleep(0.001) print 'tea'")
  t.assertEquals({ output, status }, { "tea\n", 0 })
  local trace = read(content_of(path))
  t.assertEquals(trace.facts.program, script)
  t.assertEquals(#find(trace, { cat = "wait", name = "sleep" }), 1)
end

function TestEnds:test_with_the_script_of_a_command_that_fails()
  local path = new_path()
  local _, status = command(path, "asyncio.sleep(0.001) error 'no tea'")
  t.assertEquals(status, 1)
  t.assertEquals(read(content_of(path)).rows[1].state, "failed")
end

function TestEnds:test_a_command_says_what_is_wrong_with_the_path()
  local output, status = command("x.txt", "print 'tea'")
  t.assertEquals(status, 1)
  t.assertStrMatches(output, "asyncio: ASYNCIO_TRACE: %(?a path that ends in .*\n")
  output, status = command("/dev/full/x.json", "print 'tea'")
  t.assertEquals(status, 1)
  t.assertStrContains(output, "asyncio: ASYNCIO_TRACE: [ENOTDIR]")
end

function TestEnds:test_not_in_a_forked_child()
  local path, other = new_path(), new_path()
  forking.assert_prints("child\nparent\n", ([[
    local asyncio = require "asyncio"
    local trace = asyncio.trace %q
    asyncio.run(asyncio.sleep, 0)
    local pid = forky.fork()
    if pid == 0 then
      trace:close()
      asyncio.trace(%q):close() -- it may have its own
      io.stdout:write "child\n"
      io.stdout:flush()
      forky._exit(0)
    end
    forky.wait(pid)
    print "parent"
    trace:close()]]):format(path, other))
  local facts = read(content_of(path)).facts
  t.assertTrue(facts.events > 0)
  t.assertNotEquals(read(content_of(other)).facts.pid, facts.pid)
end

function TestEnds:test_a_worker_threads_state_has_its_own()
  local path = new_path()
  local n = t.real(function()
    return asyncio.to_thread(function(name)
      local aio = require "asyncio"
      local _ <close> = aio.trace(name)
      return aio.run(function() return aio.sleep(0.001, 5) end)
    end, path)
  end)
  t.assertEquals(n, 5)
  t.assertEquals(#find(read(content_of(path)), { cat = "wait", name = "sleep" }), 1)
end

-- Probes

--- Arguments of each probe's places in the library, by the probe's name; nil where it was built without.
local function probes()
  local library = assert(package.searchpath("asyncio.core", package.cpath))
  local notes, found = program.shell("readelf -n '%s' 2>/dev/null", library), {}
  for name, arguments in notes:gmatch "Provider: asyncio\n%s+Name: (%l+)\n[^\n]*\n%s+Arguments: ([^\n]*)" do
    found[name] = arguments
  end
  return next(found) and found
end

function TestProbes:test_are_in_the_library_if_any_is()
  local found = probes()
  if not found then return end -- built where there is no sys/sdt.h
  local counts = {}
  for name, arguments in pairs(found) do counts[name] = select(2, arguments:gsub("@", "")) end
  t.assertEquals(counts, { step = 1, park = 2, wake = 2, turn = 1 })
end

function TestZLast:test_removes_the_module() forking.remove() end

t.finish()
