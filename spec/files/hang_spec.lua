-- Calls about files that hang: they hold up who asks and nobody else, and nothing waits for their end.
local t = require "helper"
local place = require "files.place"
local asyncio, fs = t.asyncio, t.asyncio.fs

TestHanging = {}
TestCancelled = {}
TestManyAtOnce = {}
TestDeadFileSystem = {}

local function in_place(fn)
  local path, gone = place.new()
  local _ <close> = gone
  t.real(function() fn(path) end)
end

-- Whoever opens a FIFO hangs until its other end is opened: for what hangs as well as a dead server's file.
local function hang(at, n)
  place.run("mkfifo", at .. "/p")
  local tasks = {}
  for i = 1, n do tasks[i] = asyncio.create_task(fs.read_file, at .. "/p") end
  asyncio.sleep(0)
  return tasks
end

--- Lets all go that hang.
local function let_go(at, tasks)
  for _, task in ipairs(tasks) do task:cancel() end
  asyncio.wait(tasks)
  os.execute((": 1<>'%s/p' >'%s/p'"):format(at, at))
end

local function assert_cancelled(task)
  task:cancel()
  t.assertFalse((asyncio.wait({ task }, { timeout = 30 }))[1] == nil)
  t.assertTrue(task:cancelled())
end

function TestHanging:test_calls_let_their_callers_go_when_these_are_cancelled()
  in_place(function(at)
    local tasks = hang(at, 3)
    for _, task in ipairs(tasks) do assert_cancelled(task) end
    t.assertEquals(fs.read_file "/dev/null", "") -- others go on
    let_go(at, tasks)
  end)
end

function TestHanging:test_calls_hold_up_no_lookups_and_no_threads()
  in_place(function(at)
    local tasks = hang(at, 40)
    t.assertEquals(asyncio.to_thread(math.sqrt, 16), 4)
    t.assertEquals(asyncio.get_running_loop():getnameinfo({ host = "127.0.0.1", port = 80 }, { numeric = true }),
      "127.0.0.1")
    let_go(at, tasks)
  end)
end

function TestHanging:test_calls_are_32_at_most_and_a_cancelled_one_gives_its_place_away()
  in_place(function(at)
    local tasks = hang(at, 32)
    local waits = asyncio.create_task(fs.exists, at)
    for _ = 1, 10 do asyncio.sleep(0.001) end
    t.assertFalse(waits:done())
    tasks[7]:cancel()
    t.assertTrue(asyncio.await(waits))
    let_go(at, tasks)
  end)
end

function TestHanging:test_calls_hold_up_neither_the_loops_end_nor_the_programs()
  in_place(function(at)
    place.run("mkfifo", at .. "/p")
    local out, err, code = t.lua(([[
      local asyncio = require "asyncio"
      asyncio.run(function()
        for _ = 1, 40 do asyncio.create_task(asyncio.fs.read_file, %q) end
        asyncio.sleep(0.01)
      end)
      asyncio.run(function() print(asyncio.fs.exists "/") end)
    ]]):format(at .. "/p"))
    t.assertEquals({ out, err, code }, { "true\n", "", 0 })
  end)
end

function TestHanging:test_calls_say_what_they_wait_for()
  in_place(function(at)
    local task = hang(at, 1)[1]
    t.assertStrContains(asyncio.format_call_graph(task), "waits (files, read_file " .. at .. "/p")
    let_go(at, { task })
  end)
end

-- cancelled

function TestCancelled:test_a_call_that_waits_does_nothing()
  in_place(function(at)
    local tasks = hang(at, 32)
    local waits = asyncio.create_task(fs.write_file, at .. "/f", "x")
    asyncio.sleep(0)
    assert_cancelled(waits)
    let_go(at, tasks)
    t.assertFalse(fs.exists(at .. "/f"))
  end)
end

function TestCancelled:test_a_write_under_way_writes_nothing_more()
  in_place(function(at)
    local text = ("0123456789"):rep(100000)
    place.run("mkfifo", at .. "/p")
    local reading
    for i = 1, 20 do
      local writing = asyncio.create_task(fs.write_file, at .. "/p", text)
      asyncio.sleep(0.01 * i)
      assert_cancelled(writing)
      reading = asyncio.create_task(fs.read_file, at .. "/p") -- until now it has hung in open
      asyncio.wait({ reading }, { timeout = 1 })
      if reading:done() then break end
      let_go(at, { reading }) -- it had not begun: the machine is busy
    end
    t.assertEquals(#reading:result(), 0)
  end)
end

function TestCancelled:test_temporary_folders_and_portions_leave_nothing()
  in_place(function(at)
    local before = place.descriptors()
    for i = 1, t.count(300) do
      local fn = i % 3 == 0 and fs.list_dir or i % 3 == 1 and fs.mkdtemp or fs.mkstemp
      local task = asyncio.create_task(fn, fn == fs.list_dir and at or { dir = at })
      for _ = 1, i % 7 do asyncio.sleep(0) end
      task:cancel()
      asyncio.wait { task }
      if not task:cancelled() and fn == fs.mkdtemp then fs.rmdir(task:result()) end
      if not task:cancelled() and fn == fs.mkstemp then
        local _ <close>, path = task:result()
        fs.unlink(path)
      end
    end
    t.wait_until(function() return place.output("ls -A " .. at) == "" and place.descriptors() <= before + 1 end)
  end)
end

function TestCancelled:test_what_was_made_for_a_call_cancelled_after_its_end_goes()
  in_place(function(at)
    for _, fn in ipairs { fs.mkdtemp, fs.mkstemp } do
      local task = asyncio.create_task(fn, { dir = at })
      asyncio.sleep(0)
      while place.output("ls -A " .. at) == "" do place.run "sleep 0.01" end
      place.run "sleep 0.01" -- it is done, and the loop has not heard of it
      assert_cancelled(task)
      t.wait_until(function() return place.output("ls -A " .. at) == "" end)
    end
  end)
end

function TestCancelled:test_a_folder_is_closed_by_a_thread()
  in_place(function(at)
    os.execute(("cd '%s' && seq -f 'a-rather-long-name-%%g' 2000 | xargs touch"):format(at))
    local before = place.descriptors()
    local scan = fs.scan_dir(at)
    local tasks = hang(at, 32)
    t.assertEquals(place.descriptors(), before + 1)
    do local _ <close> = scan end
    asyncio.sleep(0.001)
    t.assertEquals(place.descriptors(), before + 1) -- none is free
    let_go(at, tasks)
    t.wait_until(function() return place.descriptors() <= before end)
  end)
end

function TestCancelled:test_a_scan_says_that_it_was_cut()
  in_place(function(at)
    os.execute(("cd '%s' && seq -f 'a-rather-long-name-%%g' 2000 | xargs touch"):format(at))
    local scan = fs.scan_dir(at)
    local task = asyncio.create_task(function()
      while scan() do t.assertTrue(true) end
    end)
    asyncio.sleep(0) -- it asks for the second portion
    task:cancel()
    asyncio.wait { task }
    if task:cancelled() then
      t.assertStrContains(t.assert_raises(asyncio.ClosedError, scan).message, "begin another")
    end
    do local _ <close> = scan end
  end)
end

-- many

function TestManyAtOnce:test_thousands_of_calls_all_end()
  in_place(function(at)
    local tasks, n = {}, t.count(2000)
    for i = 1, n do
      tasks[i] = asyncio.create_task(function()
        local path = ("%s/%d"):format(at, i)
        fs.write_file(path, tostring(i))
        return fs.read_file(path) == tostring(i)
      end)
    end
    for _, task in ipairs(tasks) do t.assertTrue(asyncio.await(task)) end
    t.assertEquals(#fs.list_dir(at), n)
    fs.remove_tree(at)
  end)
end

function TestManyAtOnce:test_without_descriptors_it_is_an_error_of_the_call()
  local script = os.tmpname()
  place.write(script, [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local fs = asyncio.fs
      fs.exists "/"
      local open = {}
      for i = 1, 100 do open[i] = io.open "/dev/null" end
      for _, fn in ipairs { fs.read_file, fs.list_dir, fs.mkdtemp } do
        local ok, err = pcall(fn, fn ~= fs.mkdtemp and "/etc" or nil)
        print(ok or err.code)
        if ok and fn == fs.mkdtemp then fs.rmdir(err) end
      end
    end)
  ]])
  local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
  t.assertEquals(place.output(("ulimit -n 30; %s '%s' 2>&1"):format(lua, script)), "EMFILE\nEMFILE\ntrue")
  os.remove(script)
end

function TestManyAtOnce:test_worker_threads_have_loops_with_files_of_their_own()
  t.real(function()
    local function job()
      local a = require "asyncio"
      return a.run(function() return a.fs.stat("/dev/null").type end)
    end
    local tasks = {}
    for i = 1, 4 do tasks[i] = asyncio.create_task(asyncio.to_thread, job) end
    for _, task in ipairs(tasks) do t.assertEquals(asyncio.await(task), "char") end
  end)
end

-- A file system whose server never answers: FUSE's kernel side, and nobody who serves.

local MOUNT = [[exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 dead "$1" &&
  echo mounted && exec sleep 600]]

--- Calls fn with such a file system's root, and its server.
local function with_dead(fn)
  in_place(function(at)
    local root = at .. "/dead"
    place.run("mkdir", root)
    local server <close> = asyncio.create_subprocess_shell(MOUNT, { args = { root }, stdout = "pipe", stderr = "null" })
    if server.stdout:readline() ~= "mounted\n" then t.skip "needs root, and FUSE" end
    local _ <close> = setmetatable({}, { __close = function() place.run("umount -l", root) end })
    fn(root, server, at)
  end)
end

function TestDeadFileSystem:test_holds_up_nobody_but_who_asks()
  with_dead(function(root, server, at)
    local path = root .. "/f"
    local calls = { fs.stat, fs.read_file, fs.list_dir, fs.mkdir, fs.remove_tree, fs.unlink, fs.exists, fs.real_path }
    local tasks = {}
    for i, fn in ipairs(calls) do tasks[i] = asyncio.create_task(fn, path) end
    tasks[#tasks + 1] = asyncio.create_task(fs.write_file, path, "x", { atomic = true })
    tasks[#tasks + 1] = asyncio.create_task(fs.copy_file, "/bin/sh", path)
    for _ = 1, 10 do asyncio.sleep(0.001) end
    fs.write_file(at .. "/g", "well")
    t.assertEquals(fs.read_file(at .. "/g"), "well")
    for i, task in ipairs(tasks) do
      t.assertFalse(task:done())
      if i % 2 == 0 then assert_cancelled(task) end
    end
    local waits = asyncio.create_task(pcall, fs.stat, path)
    server:kill() -- now all of them are answered
    server:wait()
    local ok, err = asyncio.await(waits)
    t.assertEquals({ ok, err.code }, { false, "ENOTCONN" })
    asyncio.wait(tasks)
    for i, task in ipairs(tasks) do t.assertTrue(task:cancelled() or task:exception() ~= nil, i) end
  end)
end

function TestDeadFileSystem:test_keeps_no_program_from_ending()
  with_dead(function(root, _, at)
    place.write(at .. "/script", ([[
      local asyncio = require "asyncio"
      asyncio.run(function()
        for _ = 1, 70 do asyncio.create_task(asyncio.fs.read_file, %q) end
        asyncio.sleep(0.01)
      end)
      print "ended"]]):format(root .. "/f"))
    local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
    local options = "ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0" -- who looks for leaks stops all threads first
    t.assertEquals(place.output(("%s timeout -s KILL 30 %s '%s/script' 2>&1"):format(options, lua, at)), "ended")
  end)
end

t.leave_out(TestDeadFileSystem, "valgrind") -- which lets no other thread run while one is in stat
t.finish()
