-- monitor_spec.lua - asyncio.monitor and its socket; the commands ps, tree and top; Task:stats.
local t = require "helper"
local program = require "program"

local asyncio = t.asyncio

TestMonitor = {}
TestMonitorProtocol = {}
TestMonitorPlace = {}
TestMonitorOfThreads = {}
TestMonitorTree = {}
TestMonitorTop = {}
TestTaskStats = {}
TestLooking = {}

local ROOT = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/.."
local COMMAND = ("%s %s/bin/asyncio"):format(program.lua, ROOT)

--- A folder of our own; what removes it.
local function folder()
  local name = os.tmpname()
  os.remove(name)
  assert(os.execute(("mkdir -m 700 '%s'"):format(name)))
  return name, setmetatable({}, { __close = function() os.execute(("rm -rf '%s'"):format(name)) end })
end

--- Calls fn(path, monitor, reports) in a loop with a monitor at that path.
local function monitored(fn)
  local name, _ <close> = folder()
  t.real(function(reports)
    local path = name .. "/socket"
    local monitor <close> = asyncio.monitor { path = path }
    fn(path, monitor, reports)
  end)
end

local function connect(path) return asyncio.open_unix_connection(path, { read_timeout = program.PATIENCE }) end

--- The next answer: its kind and its text.
local function answer(reader)
  local kind, rest
  repeat
    local line = reader:readline()
    if not line then return nil end
    kind, rest = line:match "^asyncio%-monitor/1 (%l+) ?([^\n]*)\n$"
    t.assertNotNil(kind, line)
  until kind ~= "wait"
  if kind ~= "ok" or rest == "0" then return kind, kind == "ok" and "" or rest end
  return kind, reader:readexactly(tonumber(rest))
end

local function ask(path, question)
  local reader, writer <close> = connect(path)
  writer:send("asyncio-monitor/1 " .. question .. "\n")
  return answer(reader)
end

local function script(text)
  local name = program.file_with(text)
  return name, setmetatable({}, { __close = function() os.remove(name) end })
end

local function exists(path)
  local file = io.popen(("ls -d '%s' 2>/dev/null"):format(path))
  local found = file:read "a" ~= ""
  file:close()
  return found
end

local function cancel(tasks)
  for _, task in ipairs(tasks) do task:cancel() end
  asyncio.wait(tasks)
end

-- The object

function TestMonitor:test_has_a_socket_of_ours_alone_until_it_is_closed()
  monitored(function(path, monitor)
    local stat = asyncio.fs.lstat(path)
    t.assertEquals({ stat.type, ("%o"):format(stat.mode & 511) }, { "socket", "600" })
    t.assertEquals({ monitor:get_path(), asyncio.type(monitor) }, { path, "Monitor" })
    t.assertEquals(tostring(monitor), "asyncio.Monitor: " .. path)
    monitor:close()
    monitor:close()
    t.assertFalse(exists(path))
    t.assertEquals(tostring(monitor), ("asyncio.Monitor: %s, closed"):format(path))
  end)
end

function TestMonitor:test_ends_with_its_loop()
  local name, _ <close> = folder()
  local path = name .. "/socket"
  local monitor
  asyncio.run(function()
    monitor = asyncio.monitor { path = path }
    t.assertTrue(exists(path))
  end)
  t.assertFalse(exists(path))
  monitor:close()
end

function TestMonitor:test_can_be_begun_again()
  monitored(function(path, monitor)
    for _ = 1, 3 do
      monitor:close()
      monitor = asyncio.monitor { path = path }
      t.assertEquals(ask(path, "loops"), "ok")
    end
    monitor:close()
  end)
end

function TestMonitor:test_a_loop_has_one()
  monitored(function(path)
    local err = t.error_of(asyncio.monitor, { path = path })
    t.assertTrue(asyncio.isinstance(err, asyncio.BusyError))
    t.assertStrContains(tostring(err), "the loop has a monitor already")
    t.assertEquals(ask(path, "loops"), "ok")
  end)
end

function TestMonitor:test_is_in_no_list_of_tasks_and_keeps_no_run_alive()
  monitored(function(path)
    local reader, writer <close> = connect(path)
    t.assertEquals(#asyncio.all_tasks(), 1)
    writer:send "asyncio-monitor/1 tree 1\n"
    t.assertEquals(answer(reader), "ok")
    t.assertEquals(#asyncio.all_tasks(), 1)
  end)
  local loop <close> = asyncio.new_event_loop()
  local name, _ <close> = folder()
  loop:run_until_complete(function() asyncio.monitor { path = name .. "/socket" } end)
  while loop:run_once(math.huge) do end
end

function TestMonitor:test_wants_a_path_that_can_be_one()
  t.run(function()
    for _, wrong in ipairs { "", "a\0b" } do
      t.assertErrorMsgContains("bad argument #1 to 'monitor' ('path': a file's path expected, got ", asyncio.monitor,
        { path = wrong })
    end
    t.assertErrorMsgContains("'path': string expected, got number", asyncio.monitor, { path = 5 })
    local err = t.error_of(asyncio.monitor, { path = "/" .. ("x"):rep(200) })
    t.assertTrue(asyncio.isinstance(err, asyncio.OSError))
    t.assertEquals(err.code, "ENAMETOOLONG")
  end)
end

-- The protocol

function TestMonitorProtocol:test_several_questions_of_one_client()
  monitored(function(path)
    local reader, writer <close> = connect(path)
    writer:send "asyncio-monitor/1 loops\nasyncio-monitor/1 stats 1\n"
    t.assertEquals({ answer(reader) }, { "ok", "loop\t1\n" })
    local kind, text = answer(reader)
    t.assertEquals(kind, "ok")
    t.assertEquals(text:match "tasks\t(%d+)\n", "1")
    writer:send "asyncio-monitor/1 stats 7\n"
    t.assertEquals({ answer(reader) }, { "error", "there is no loop 7" })
    writer:send "asyncio-monitor/1 loops\n"
    t.assertEquals(answer(reader), "ok")
  end)
end

function TestMonitorProtocol:test_a_question_byte_by_byte()
  monitored(function(path)
    local reader, writer <close> = connect(path)
    for c in ("asyncio-monitor/1 loops\n"):gmatch "." do
      writer:send(c)
      asyncio.sleep(0)
    end
    t.assertEquals({ answer(reader) }, { "ok", "loop\t1\n" })
  end)
end

function TestMonitorProtocol:test_who_breaks_the_rules_is_told_and_left()
  monitored(function(path)
    for question, why in pairs {
      ["GET / HTTP/1.1\n"] = "this speaks asyncio-monitor/1 only",
      ["asyncio-monitor/2 loops\n"] = "this speaks asyncio-monitor/1 only",
      ["asyncio-monitor/1 stop 1\n"] = "unknown question",
      ["asyncio-monitor/1 \n"] = "unknown question",
      ["asyncio-monitor/1 tree\n"] = "unknown question",
      ["asyncio-monitor/1 tree x\n"] = "unknown question",
      ["asyncio-monitor/1 tree 1 \n"] = "unknown question",
      ["asyncio-monitor/1 tree 1x\n"] = "unknown question",
      ["asyncio-monitor/1 tree 1234567890\n"] = "unknown question",
      ["asyncio-monitor/1 loops\0\n"] = "unknown question",
      [("x"):rep(96)] = "the question is too long",
    } do
      local reader, writer <close> = connect(path)
      writer:send(question)
      t.assertEquals({ answer(reader) }, { "error", why }, question)
      t.assertNil(reader:readline(), question)
    end
    t.assertEquals(ask(path, "loops"), "ok")
  end)
end

function TestMonitorProtocol:test_random_bytes_do_no_harm()
  monitored(function(path)
    local words = { "asyncio-monitor/1 ", "tree", "top", "stats", "loops", " ", "1", "99999999999", "\n", "\0", "\xff" }
    for _ = 1, t.count(300) do
      local parts = {}
      for i = 1, math.random(1, 12) do
        parts[i] = math.random() < 0.8 and words[math.random(#words)] or string.char(math.random(0, 255))
      end
      local reader, writer = connect(path)
      asyncio.pcall(function()
        writer:send(table.concat(parts))
        writer:write_eof()
        reader:read(-1)
      end)
      writer:abort()
    end
    t.assertEquals({ ask(path, "loops") }, { "ok", "loop\t1\n" })
    t.assertEquals(ask(path, "tree 1"), "ok")
  end)
end

function TestMonitorProtocol:test_clients_that_take_nothing_hold_up_nobody()
  monitored(function(path)
    local tasks, silent = {}, {}
    for i = 1, t.count(3000) do tasks[i] = asyncio.create_task { asyncio.sleep, 1000, name = ("x"):rep(150) .. i } end
    asyncio.sleep(0)
    for i = 1, 6 do
      local _, writer = connect(path)
      silent[i] = writer
      writer:send "asyncio-monitor/1 tree 1\n" -- and reads nothing
    end
    local began = asyncio.time()
    for _ = 1, 3 do t.assertEquals(ask(path, "stats 1"), "ok") end
    t.assertTrue(asyncio.time() - began < program.PATIENCE)
    for _, writer in ipairs(silent) do writer:abort() end
    cancel(tasks)
  end)
end

function TestMonitorProtocol:test_more_clients_than_it_has_places_for_are_sent_away_and_places_come_back()
  monitored(function(path)
    local all = {}
    for i = 1, 8 do
      local reader, writer = connect(path)
      writer:send "asyncio-monitor/1 loops\n"
      t.assertEquals(answer(reader), "ok")
      all[i] = writer
    end
    local reader, late = connect(path)
    t.assertNil(reader:readline())
    late:abort()
    for _, writer in ipairs(all) do writer:abort() end
    repeat
      local ok, kind = asyncio.pcall(ask, path, "loops")
    until ok and kind == "ok"
  end)
end

function TestMonitorProtocol:test_its_end_while_clients_wait()
  monitored(function(path, monitor)
    local reader, writer <close> = connect(path)
    writer:send "asyncio-monitor/1 tree 1\n"
    monitor:close()
    local ok, line = asyncio.pcall(reader.readline, reader)
    t.assertFalse(ok and line ~= nil)
  end)
end

function TestMonitorProtocol:test_a_client_that_leaves_in_the_middle_of_an_answer()
  monitored(function(path)
    local tasks = {}
    for i = 1, t.count(2000) do tasks[i] = asyncio.create_task(asyncio.sleep, 1000) end
    for i = 0, 20 do
      local _, writer = connect(path)
      writer:send "asyncio-monitor/1 tree 1\n"
      for _ = 1, i do asyncio.sleep(0) end
      writer:abort()
    end
    local kind, text = ask(path, "tree 1")
    t.assertEquals(kind, "ok")
    t.assertEquals(select(2, text:gsub("task\t", "")), #tasks + 1)
    cancel(tasks)
  end)
end

-- Where it is

--- What a program prints that asks for a monitor in the usual place.
local function usual(environment, prefix)
  local name, _ <close> = script [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local ok, monitor = pcall(asyncio.monitor)
      print(ok and monitor:get_path() or asyncio.type(monitor) .. ": " .. tostring(monitor))
    end)
  ]]
  os.execute("chmod 644 " .. name)
  return (program.shell("%s %s %s %s", environment, prefix or "", program.lua, name):gsub("\n$", ""))
end

function TestMonitorPlace:test_is_in_the_users_runtime_folder()
  local name, _ <close> = folder()
  local path = usual("XDG_RUNTIME_DIR=" .. name)
  t.assertStrMatches(path, name:gsub("%p", "%%%0") .. "/asyncio/%d+%.sock")
  t.assertFalse(exists(path)) -- it has ended
  t.assertEquals(program.shell("stat -c %%a %s/asyncio", name), "700\n")
end

function TestMonitorPlace:test_else_in_a_folder_of_the_user_in_tmp()
  local pattern = "/tmp/asyncio%-%d+/%d+%.sock"
  t.assertStrMatches(usual "XDG_RUNTIME_DIR=", pattern)
  t.assertStrMatches(usual "XDG_RUNTIME_DIR=relative", pattern)
  t.assertStrMatches(usual "XDG_RUNTIME_DIR=/nonexistent", pattern)
end

function TestMonitorPlace:test_a_folder_that_others_may_enter_is_closed_to_them()
  local name, _ <close> = folder()
  os.execute(("mkdir -m 777 %s/asyncio"):format(name))
  t.assertStrContains(usual("XDG_RUNTIME_DIR=" .. name), ".sock")
  t.assertEquals(program.shell("stat -c %%a %s/asyncio", name), "700\n")
end

function TestMonitorPlace:test_a_link_in_place_of_the_folder_is_refused()
  local name, _ <close> = folder()
  os.execute(("mkdir -m 700 %s/elsewhere && ln -s elsewhere %s/asyncio"):format(name, name))
  local said = usual("XDG_RUNTIME_DIR=" .. name)
  t.assertStrContains(said, "NotADirectoryError")
  t.assertStrContains(said, ("the folder of monitors, '%s/asyncio', is a link or no folder"):format(name))
end

function TestMonitorPlace:test_a_folder_of_another_user_is_refused()
  if program.shell "id -u" ~= "0\n" then t.skip "only root can make one" end
  local name, _ <close> = folder()
  os.execute(("mkdir -m 777 %s/asyncio && chown nobody %s/asyncio"):format(name, name))
  local said = usual("XDG_RUNTIME_DIR=" .. name)
  t.assertStrContains(said, "PermissionError")
  t.assertStrContains(said, "is another user's")
end

function TestMonitorPlace:test_another_user_is_refused_even_where_the_socket_is_open_to_all()
  if program.shell "id -u" ~= "0\n" then t.skip "only root can be another" end
  monitored(function(path)
    os.execute(("chmod 777 %s %s"):format(path, path:match "^(.*)/"))
    local source, _ <close> = script(([[
      local asyncio = require "asyncio"
      asyncio.run(function()
        local reader, writer = asyncio.open_unix_connection(%q)
        print(asyncio.pcall(function()
          writer:send "asyncio-monitor/1 tree 1\n"
          return reader:read(-1)
        end))
      end)
    ]]):format(path))
    os.execute("chmod 644 " .. source)
    local said = program.shell("setpriv --reuid=65534 --clear-groups %s %s 2>&1", program.lua, source)
    t.assertStrContains(said, "asyncio-monitor/1 error this process is another user's")
    t.assertEquals(ask(path, "loops"), "ok")
  end)
end

function TestMonitorPlace:test_a_socket_that_nobody_has_any_more_is_replaced_and_nothing_else()
  local name, _ <close> = folder()
  local path = name .. "/socket"
  local source, _ <close> = script(([[local asyncio = require "asyncio" asyncio.run(function()
    asyncio.monitor { path = %q } print "ready" io.stdout:flush() asyncio.sleep(1000) end)]]):format(path))
  local stale = program.start("%s %s", program.lua, source)
  stale:expect "ready"
  os.execute("kill -KILL " .. stale.pid)
  stale:expect "%[status %d+%]"
  t.assertTrue(exists(path))
  t.real(function()
    local monitor <close> = asyncio.monitor { path = path }
    t.assertEquals(ask(path, "loops"), "ok")
    t.assertNotNil(monitor)
  end)
  t.real(function()
    local file <close> = io.open(path, "w")
    local err = t.error_of(asyncio.monitor, { path = path })
    t.assertTrue(asyncio.isinstance(err, asyncio.AddressInUseError), tostring(err))
    t.assertNotNil(file)
    t.assertTrue(exists(path))
  end)
end

-- Loops of threads

local THREAD = [[
  local asyncio = require "asyncio"
  return asyncio.run(function(channel)
    asyncio.create_task { asyncio.sleep, 1000, name = "in a thread" }
    return channel:get()
  end, ...)
]]

function TestMonitorOfThreads:test_a_loop_of_a_thread_is_told_of_by_number()
  monitored(function(path)
    local channel = asyncio.Channel()
    local job = asyncio.create_task(asyncio.to_thread, load(THREAD), channel)
    local text
    repeat
      asyncio.sleep(0.01)
      text = select(2, ask(path, "loops"))
    until text == "loop\t1\nloop\t2\n"
    repeat
      local _, tree = ask(path, "tree 2")
    until tree:find "\tin a thread\t"
    t.assertNotStrContains(select(2, ask(path, "tree 1")), "in a thread")
    channel:put "done"
    t.assertEquals(asyncio.await(job), "done")
    t.assertEquals({ ask(path, "loops") }, { "ok", "loop\t1\n" })
  end)
end

function TestMonitorOfThreads:test_a_loop_that_computes_keeps_no_other_from_answering()
  monitored(function(path)
    local channel = asyncio.Channel()
    local job = asyncio.create_task(asyncio.to_thread, load [[
      local asyncio = require "asyncio"
      return asyncio.run(function(channel)
        while channel:qsize() == 0 do asyncio.blocking_sleep(0.01) end
        return "computed"
      end, ...)
    ]], channel)
    repeat asyncio.sleep(0.01) until select(2, ask(path, "loops")) == "loop\t1\nloop\t2\n"
    local reader, writer <close> = connect(path)
    writer:send "asyncio-monitor/1 stats 2\n"
    t.assertEquals(ask(path, "stats 1"), "ok")
    channel:put "go on"
    t.assertEquals(asyncio.await(job), "computed")
    local kind = answer(reader)
    t.assertTrue(kind == "ok" or kind == "error")
  end)
end

-- tree

function TestMonitorTree:test_tells_who_waits_for_whom_and_where()
  monitored(function(path)
    local lock, held = asyncio.Lock(), asyncio.Event()
    local holder = asyncio.create_task { function()
      lock:acquire()
      held:wait()
      lock:release()
    end, name = "holder" }
    asyncio.sleep(0)
    local wants = asyncio.create_task { function() lock:acquire() lock:release() end, name = "a\tb\n\\\27" }
    local several = asyncio.create_task { asyncio.gather, wants, holder, name = "several" }
    asyncio.sleep(0)
    local _, text = ask(path, "tree 1")
    local number = text:match "task\t(%d+)\twaits\tholder\tevent\t0\n"
    t.assertNotNil(number, text)
    local wanting = text:match("task\t(%d+)\twaits\ta\\009b\\010\\092\\027\tlock\t" .. number .. "\n")
    t.assertNotNil(wanting, text)
    t.assertStrContains(text, ("for\t%s\t%s\n"):format(wanting, number))
    t.assertStrMatches(text, ".*at\t[^\n]*monitor_spec.lua:%d+\t[^\n]*\n.*")
    held:set()
    asyncio.await(several)
  end)
end

function TestMonitorTree:test_tells_of_tasks_in_every_state()
  monitored(function(path)
    local stop = false
    local ready = asyncio.create_task { function() while not stop do asyncio.sleep(0) end end, name = "ready" }
    local function inner() asyncio.sleep(1000) end
    local deep = asyncio.create_task { function() asyncio.coroutine.wrap(inner)() end, name = "deep" }
    asyncio.sleep(0)
    local _, text = ask(path, "tree 1")
    t.assertStrContains(text, "\tready\tready\t\t0\n")
    t.assertStrMatches(text, ".*\tdeep\tsleep\t0\nat\t[^\n]*\nat\t[^\n]*\n.*")
    stop = true
    cancel { deep }
    asyncio.await(ready)
  end)
end

function TestMonitorTree:test_lists_all_that_a_task_awaits_however_many()
  monitored(function(path)
    local tasks, n = {}, 1000
    for i = 1, n do tasks[i] = asyncio.create_task(asyncio.sleep, 1000) end
    local all = asyncio.create_task(asyncio.wait, tasks)
    local group = asyncio.create_task(function()
      local group <close> = asyncio.TaskGroup()
      for _ = 1, n do group:create_task(asyncio.sleep, 1000) end
    end)
    asyncio.sleep(0.01)
    local _, text = ask(path, "tree 1")
    local awaited = 0
    for line in text:gmatch "for(\t[^\n]*)\n" do awaited = awaited + select(2, line:gsub("\t", "")) end
    t.assertEquals(awaited, 2 * n)
    t.assertEquals(select(2, text:gsub("task\t", "")), 2 * n + 3)
    cancel { all, group }
    cancel(tasks)
  end)
end

function TestMonitorTree:test_while_tasks_begin_and_end()
  monitored(function(path)
    local stop = false
    local churn = asyncio.create_task(function()
      while not stop do
        local group <close> = asyncio.TaskGroup()
        for i = 1, 300 do group:create_task(asyncio.sleep, i % 3 / 1000) end
      end
    end)
    for _ = 1, t.count(20) do
      local kind, text = ask(path, "tree 1")
      t.assertEquals(kind, "ok")
      t.assertStrContains(text, "task\t")
    end
    stop = true
    asyncio.await(churn)
  end)
end

-- top

function TestMonitorTop:test_the_busiest_come_first_and_nothing_is_measured_afterwards()
  monitored(function(path)
    local stop = false
    local busy = asyncio.create_task { function()
      while not stop do
        for _ = 1, 1e4 do end
        asyncio.sleep(0)
      end
    end, name = "busy" }
    local idle = asyncio.create_task { asyncio.sleep, 1000, name = "idle" }
    local reader, writer = connect(path)
    writer:send "asyncio-monitor/1 top 1 2\n"
    t.assertEquals(answer(reader), "ok")
    t.assertNotNil(busy:stats())
    asyncio.sleep(0.05)
    writer:send "asyncio-monitor/1 top 1 2\n"
    local _, text = answer(reader)
    local ran, steps = text:match "busy\t(%d+)\t%d+\t%d+\t(%d+)\ntask\t%d+\tready\tbusy\t"
    t.assertTrue(tonumber(ran) > 1e6 and tonumber(steps) > 1, text)
    t.assertEquals(select(2, text:gsub("task\t", "")), 2)
    t.assertStrContains(text, "interval\t0.")
    writer:abort()
    repeat asyncio.sleep(0.01) until busy:stats() == nil
    stop = true
    cancel { idle }
    asyncio.await(busy)
  end)
end

-- trace

local function traces_left()
  local pipe <close> = io.popen "ls -d /tmp/asyncio-trace-* 2>/dev/null"
  return pipe:read "a"
end

TestMonitorTrace = {}

function TestMonitorTrace:test_is_written_and_comes_whole()
  monitored(function(path)
    local before = traces_left()
    for _, kind in ipairs { "json", "html" } do
      local traced = asyncio.create_task(function() return ask(path, kind .. " 1 50") end)
      for _ = 1, 20 do asyncio.sleep(0.005) end
      local answered, text = asyncio.await(traced)
      t.assertEquals(answered, "ok")
      t.assertStrContains(text, kind == "json" and '{"traceEvents":[' or "<html")
      t.assertStrContains(text, "monitor_spec.lua")
    end
    t.assertEquals(traces_left(), before)
  end)
end

function TestMonitorTrace:test_is_one_at_a_time()
  monitored(function(path)
    local reader, writer = connect(path)
    writer:send "asyncio-monitor/1 json 1 60000\n"
    repeat
      asyncio.sleep(0.01)
      local kind, why = ask(path, "json 1 10")
      t.assertEquals({ kind, why }, { "error", "a trace is under way" })
    until why
    writer:abort() -- nobody waits for it any more: it ends
    repeat asyncio.sleep(0.01) until ask(path, "json 1 10") == "ok"
    t.assertNotNil(reader)
  end)
end

function TestMonitorTrace:test_while_the_program_makes_one_itself()
  monitored(function(path)
    local own = os.tmpname() .. ".json"
    do
      local _ <close> = asyncio.trace(own)
      local kind, why = ask(path, "json 1 10")
      t.assertEquals(kind, "error")
      t.assertStrContains(why, "trace")
    end
    os.remove(own)
    t.assertEquals(ask(path, "json 1 10"), "ok")
  end)
end

function TestMonitorTrace:test_ends_with_the_monitor()
  monitored(function(path, monitor)
    local before = traces_left()
    local reader, writer <close> = connect(path)
    writer:send "asyncio-monitor/1 json 1 60000\n"
    repeat asyncio.sleep(0.01) until traces_left() ~= before
    monitor:close()
    local ok, kind = asyncio.pcall(answer, reader)
    t.assertFalse(ok and kind ~= nil)
    t.assertEquals(traces_left(), before)
  end)
end

-- Nobody is late

function TestMonitor:test_tells_of_thousands_of_tasks_in_slices()
  if t.slow then t.skip "it is a measurement" end
  monitored(function(path)
    local tasks, n, pauses, done = {}, 10000, {}, false
    for i = 1, n do tasks[i] = asyncio.create_task { asyncio.sleep, 1000, name = "sleeper " .. i } end
    asyncio.sleep(0.01)
    local looks = asyncio.create_task(function()
      for _ = 1, 3 do
        for _, question in ipairs { "tree 1", "top 1 100" } do t.assertEquals(ask(path, question), "ok") end
      end
      done = true
    end)
    local last = os.clock()
    while not done do
      asyncio.sleep(0)
      local now = os.clock()
      pauses[#pauses + 1] = now - last
      last = now
    end
    table.sort(pauses)
    t.assertTrue(#pauses > 100, #pauses)
    t.assertTrue(pauses[#pauses * 9 // 10] < 0.001, pauses[#pauses * 9 // 10]) -- more are the machine's own
    asyncio.await(looks)
    cancel(tasks)
  end)
end

-- Task:stats

function TestTaskStats:test_is_nil_unless_it_is_measured()
  t.run(function()
    local loop, task = asyncio.get_running_loop(), asyncio.create_task(asyncio.sleep, 1)
    t.assertNil(task:stats())
    loop:measure_tasks(true)
    loop:measure_tasks(true)
    t.assertEquals(task:stats().steps, 0)
    loop:measure_tasks(false)
    t.assertNil(task:stats())
    asyncio.await(task)
  end)
end

function TestTaskStats:test_adds_up_to_the_time_since_the_task_was_made()
  t.real(function()
    local loop = asyncio.get_running_loop()
    loop:measure_tasks(true)
    local before = loop:time()
    local task = asyncio.create_task(function()
      local limit = os.clock() + 0.02
      repeat until os.clock() > limit
      asyncio.sleep(1000)
    end)
    local after = loop:time()
    repeat asyncio.sleep(0.02) until task:stats().idle > 0.01 -- its step may take long, on a busy machine
    local least = loop:time() - after
    local stats = task:stats()
    local all, most = stats.busy + stats.scheduled + stats.idle, loop:time() - before
    t.assertTrue(stats.busy >= 0.019, stats.busy)
    t.assertTrue(stats.idle > 0.01 and all >= least - 1e-6 and all <= most + 1e-6, all)
    t.assertEquals(stats.steps, 1)
    task:cancel()
    pcall(asyncio.await, task)
    t.assertNil(task:stats())
  end)
end

function TestTaskStats:test_who_is_ready_and_not_served_is_scheduled()
  t.real(function()
    asyncio.get_running_loop():measure_tasks(true)
    local event = asyncio.Event()
    local task = asyncio.create_task(function()
      event:wait()
      asyncio.sleep(1000)
    end)
    asyncio.sleep(0)
    event:set()
    local limit = os.clock() + 0.02
    repeat until os.clock() > limit
    asyncio.sleep(0)
    t.assertTrue(task:stats().scheduled >= 0.019)
    cancel { task }
  end)
end

function TestTaskStats:test_of_thousands_that_come_and_go()
  t.run(function()
    asyncio.get_running_loop():measure_tasks(true)
    local tasks = {}
    for round = 1, t.count(5000) do
      tasks[#tasks + 1] = asyncio.create_task(asyncio.sleep, round % 7)
      if round % 100 == 0 then asyncio.sleep(1) end
    end
    for _, task in ipairs(tasks) do
      t.assertEquals(task:done(), task:stats() == nil)
      if not task:done() then t.assertTrue(task:stats().steps <= 1) end
    end
    asyncio.wait(tasks)
  end)
end

function TestTaskStats:test_a_runner_has_it_as_an_option_and_ends_it()
  local runner = asyncio.Runner { measure_tasks = true }
  runner:run(function() t.assertEquals(asyncio.current_task():stats().steps, 1) end)
  local loop <close> = asyncio.new_event_loop()
  local task = loop:create_task(asyncio.sleep, 0)
  t.assertNotNil(task:stats()) -- it goes for all loops of the state
  runner:close()
  t.assertNil(task:stats())
end

-- The commands

local PROGRAM = [[
  local asyncio = require "asyncio"
  asyncio.run(function()
    local lock = asyncio.Lock()
    asyncio.create_task { function() lock:acquire() asyncio.sleep(1000) end, name = "holder" }
    asyncio.create_task { function() asyncio.sleep(0) lock:acquire() end, name = "wants" }
    for i = 1, 20 do asyncio.create_task { asyncio.sleep, 1000, name = "sleeper " .. i } end
    asyncio.sleep(0.01)
    print "ready"
    io.stdout:flush()
    %s
    asyncio.sleep(1000)
  end)
]]

--- Starts a program with a monitor in a folder of its own, calls fn(pid, run), where `run` runs a command: what it
-- prints, its errors and its status.
local function with_program(fn, more)
  local name, _ <close> = folder()
  local source, _ <close> = script(PROGRAM:format(more or ""))
  local environment = ("XDG_RUNTIME_DIR=%s"):format(name)
  local running = program.start("env %s ASYNCIO_MONITOR=1 %s %s", environment, program.lua, source)
  local function kill() os.execute(("kill -KILL %s 2>/dev/null"):format(running.pid)) end
  local _ <close> = setmetatable({}, { __close = kill })
  running:expect "ready"
  fn(running.pid, function(arguments)
    local output, status = program.shell("%s %s %s 2>%s/err", environment, COMMAND, arguments, name)
    return output, program.content(name .. "/err"), status
  end, running, environment)
end

function TestLooking:test_ps_lists_programs_and_skips_those_that_have_ended()
  with_program(function(pid, run)
    local output, errors, status = run "ps"
    t.assertEquals({ errors, status }, { "", 0 })
    t.assertStrMatches(output, " *PID +LOOP +TASKS +UP +BUSY +COMMAND\n *" .. pid ..
      " +1 +23 +%S+ s +%d+ %%  %S*lua%S* .*\n")
    t.assertStrContains(run("ps " .. pid), pid .. "     1     23")
    os.execute("kill -KILL " .. pid)
    os.execute "sleep 0.1"
    t.assertEquals((run "ps"), "PID  LOOP  TASKS  UP  BUSY  COMMAND\n")
    local _, said, failed = run("ps " .. pid)
    t.assertEquals({ said, failed }, { ("asyncio: %s has ended\n"):format(pid), 1 })
  end)
end

function TestLooking:test_tree_tells_who_waits_for_whom()
  with_program(function(pid, run)
    local output, errors, status = run("tree " .. pid)
    t.assertEquals({ errors, status }, { "", 0 })
    t.assertStrContains(output, "23 tasks\n")
    t.assertStrMatches(output, ".*Task 'wants' waits %(lock, which 'holder' holds%)\n  [^\n]+:%d+\n" ..
      "    Task 'holder' waits %(sleep%)\n.*")
    t.assertStrContains(output, "... 15 more like 'sleeper 20': waits (sleep)")
    t.assertEquals(select(2, (run("tree --all " .. pid)):gsub("Task '", "")), 23)
  end)
end

function TestLooking:test_trace_brings_the_file()
  with_program(function(pid, run)
    local path = os.tmpname()
    local output, errors, status = run(("trace %s 0.1 %s.html"):format(pid, path))
    t.assertEquals({ output, errors, status }, { "", "", 0 })
    t.assertStrContains(program.content(path .. ".html"), "sleeper 7")
    os.remove(path)
    os.remove(path .. ".html")
    os.execute("kill -STOP " .. pid)
    local _, said = run(("trace %s 0.1 %s.json"):format(pid, path))
    t.assertStrContains(said, "does not answer: computing or stopped")
    t.assertFalse(exists(path .. ".json"))
    os.execute("kill -CONT " .. pid) -- it takes its folder away
    run("ps " .. pid)
  end)
end

function TestLooking:test_tree_tells_of_tasks_that_can_never_wake()
  with_program(function(pid, run)
    local output, errors, status = run("tree --leaks " .. pid)
    t.assertEquals({ errors, status }, { "", 0 })
    t.assertStrMatches(output, "1 task can never wake: [^\n]*\nTask 'lost' waits %(event%)\n  [^\n]*:%d+[^\n]*\n")
  end, [[asyncio.create_task { function() asyncio.Event():wait() end, name = "lost" } asyncio.sleep(0)]])
end

function TestLooking:test_tree_marks_cycles()
  with_program(function(pid, run)
    t.assertStrContains(run("tree " .. pid), ": a cycle, it waits for itself")
  end, [[
    local a, b = asyncio.Lock(), asyncio.Lock()
    asyncio.create_task { function() a:acquire() asyncio.sleep(0) b:acquire() end, name = "one" }
    asyncio.create_task { function() b:acquire() asyncio.sleep(0) a:acquire() end, name = "other" }
  ]])
end

function TestLooking:test_top_prints_once_into_a_pipe()
  with_program(function(pid, run)
    local output, errors, status = run("top " .. pid)
    t.assertEquals({ errors, status }, { "", 0 })
    t.assertStrContains(output, "24 tasks")
    t.assertStrMatches(output,
      ".* BUSY%%  SCHED%%   IDLE%%   STEPS  TASK\n *%d+%.%d +%d+%.%d +%d+%.%d +%d+  spinner .*")
  end, [[
    asyncio.create_task { function() while true do for _ = 1, 1e5 do end asyncio.sleep(0) end end, name = "spinner" }
  ]])
end

function TestLooking:test_one_that_is_stopped_or_computes_is_given_up()
  with_program(function(pid, run)
    os.execute("kill -STOP " .. pid)
    for _, command in ipairs { "tree", "top", "ps" } do
      local output, errors, status = run(command .. " " .. pid)
      if command == "ps" then
        t.assertStrContains(output, "does not answer: computing or stopped")
      else
        t.assertEquals({ errors, status }, { ("asyncio: %s does not answer: computing or stopped\n"):format(pid), 1 })
      end
    end
    os.execute("kill -CONT " .. pid)
    t.assertStrContains(run("tree " .. pid), "23 tasks")
  end)
  with_program(function(pid, run)
    local output, errors = run("tree " .. pid)
    t.assertEquals({ output, errors }, { "", ("asyncio: %s does not answer: computing or stopped\n"):format(pid) })
    t.assertStrContains(run("ps " .. pid), "does not answer: computing or stopped")
  end, "while true do end")
end

function TestLooking:test_what_cannot_be_looked_at_is_told()
  with_program(function(pid, run)
    for arguments, said in pairs {
      ["tree"] = "a PID is missing; usage: asyncio tree PID [--all|--leaks]",
      ["tree 1 2"] = "one argument too many: '2'; usage: asyncio tree PID [--all|--leaks]",
      ["top --all 1"] = "unrecognized option '--all'; usage: asyncio top PID",
      ["tree x"] = "a process's PID, or the path of its socket, expected, got 'x'",
      ["trace 1 5"] = "PID, SECONDS and FILE are needed; usage: asyncio trace PID SECONDS FILE",
      ["trace 1 0 x.html"] = "seconds, more than 0 and at most 600, expected, got '0'; usage: "
        .. "asyncio trace PID SECONDS FILE",
      ["trace 1 1 x.txt"] = "a file that ends in .html or .json expected, got 'x.txt'; usage: "
        .. "asyncio trace PID SECONDS FILE",
      ["trace " .. pid .. " 1 /nonexistent/x.html"] = "/nonexistent/x.html: No such file or directory",
      ["tree 999999999"] = "there is no process 999999999",
      ["tree /nonexistent/socket"] = "/nonexistent/socket has ended",
    } do
      local output, errors, status = run(arguments)
      t.assertEquals({ output, errors, status }, { "", ("asyncio: %s\n"):format(said), 1 }, arguments)
    end
    local shell = program.shell "echo $PPID"
    local _, errors = run("tree " .. shell:match "%d+")
    t.assertStrContains(errors, "has no monitor: asyncio.monitor() or ASYNCIO_MONITOR=1 gives it one")
    t.assertNotNil(pid)
  end)
end

function TestLooking:test_a_client_that_is_stopped_harms_nobody()
  with_program(function(pid, run, _, environment)
    local stopped = {}
    for i = 1, 4 do
      stopped[i] = program.start("env %s %s top %s", environment, COMMAND, pid)
      os.execute("kill -STOP " .. stopped[i].pid)
    end
    for _ = 1, 3 do t.assertStrContains(run("tree " .. pid), "23 tasks") end
    for _, one in ipairs(stopped) do os.execute("kill -KILL " .. one.pid) end
  end)
end

function TestLooking:test_a_run_goes_on_where_it_cannot_have_a_monitor()
  local name, _ <close> = folder()
  os.execute(("ln -s /tmp %s/asyncio"):format(name))
  local output, status = program.shell("XDG_RUNTIME_DIR=%s ASYNCIO_MONITOR=1 %s -e '%s' 2>&1", name, program.lua,
    [[require "asyncio".run(print, "went on")]])
  t.assertStrContains(output, "asyncio ps, tree and top cannot look at this loop")
  t.assertStrContains(output, "went on")
  t.assertEquals(status, 0)
end

t.finish()
