-- asyncio.open and what it gives: whose turn it is, cancelling, closing, files that do not answer.
local t = require "helper"
local place = require "files.place"
local asyncio = t.asyncio

TestOpen = {}
TestTurns = {}
TestCancelling = {}
TestClosing = {}
TestHanging = {}
TestWriting = {}
TestGiven = {}
TestLines = {}
TestForgotten = {}

--- Calls fn(path) with a file of that content.
local function with(content, fn)
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "wb"))
  file:write(content)
  file:close()
  local removed <close> = setmetatable({}, { __close = function() os.remove(path) end })
  return fn(path, removed)
end

--- Calls fn(path) with a FIFO: to open it to read hangs until somebody writes; "r+" does not hang.
local function with_fifo(fn)
  local path = os.tmpname()
  os.remove(path)
  assert(os.execute("mkfifo " .. path))
  local removed <close> = setmetatable({}, { __close = function() os.remove(path) end })
  return fn(path, removed)
end

--- How many descriptors this process has open; one more is the folder's.
local function descriptors() return #asyncio.fs.list_dir "/proc/self/fd" end

--- fn(...) does not end in that time.
local function assert_hangs(seconds, fn, ...)
  local args = table.pack(...)
  t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() fn(table.unpack(args, 1, args.n)) end, seconds)
end

-- opening

function TestOpen:test_failures_have_their_class_and_the_path()
  t.real(function()
    local err = t.assert_raises(asyncio.FileNotFoundError, asyncio.open, "/no/such")
    t.assertEquals({ err.path, err.syscall, err.code }, { "/no/such", "open", "ENOENT" })
    t.assertStrContains(tostring(err), "no such file or directory: open /no/such")
    t.assert_raises(asyncio.IsADirectoryError, asyncio.open, "/")
    t.assert_raises(asyncio.IsADirectoryError, asyncio.open, "/", "w")
    t.assert_raises(asyncio.NotADirectoryError, asyncio.open, "/dev/null/x")
    t.assert_raises(asyncio.FileNotFoundError, asyncio.lines, "/no/such")
  end)
end

function TestOpen:test_needs_a_task()
  t.assertStrContains(tostring(t.error_of(asyncio.open, "/dev/null")), "run")
end

function TestOpen:test_takes_no_descriptor_for_good()
  with("one\ntwo\n", function(path)
    t.real(function()
      asyncio.open(path):close()
      local before = descriptors()
      for _ = 1, t.count(1000) do
        local file <close> = asyncio.open(path)
        file:read "l"
      end
      for _ = 1, 10 do pcall(asyncio.open, "/") end
      t.assertEquals(descriptors(), before)
    end)
  end)
end

function TestOpen:test_is_not_for_programs_that_are_started()
  with("", function(path)
    t.real(function()
      local file <close> = asyncio.open(path)
      t.assertEquals(file:read "a", "")
      local list <close> = io.popen "ls -l /proc/self/fd"
      t.assertNotStrContains(list:read "a", path)
    end)
  end)
end

function TestOpen:test_says_what_it_is()
  with("", function(path)
    t.real(function()
      local file = asyncio.open(path)
      t.assertStrContains(tostring(file), "asyncio.File: " .. path .. ", open")
      file:close()
      t.assertStrContains(tostring(file), ", closed (")
    end)
  end)
end

function TestOpen:test_belongs_to_its_loop()
  with("one\ntwo\n", function(path)
    local runner = asyncio.Runner()
    local file = runner:run(asyncio.open, path)
    asyncio.run(function() t.assertStrContains(tostring(t.error_of(file.read, file)), "another event loop") end)
    t.assertEquals(runner:run(file.read, file), "one")
    runner:close()
    asyncio.run(function() t.assert_raises(asyncio.ClosedError, file.read, file) end)
  end)
end

function TestOpen:test_takes_nothing_but_a_path_and_a_mode()
  t.assertStrContains(tostring(t.error_of(asyncio.open, "/dev/null", "w", { mode = "600" })), "nothing expected")
end

-- turns

function TestTurns:test_writes_of_several_tasks_are_done_in_the_order_of_their_calls()
  with("", function(path)
    t.real(function()
      local file <close> = asyncio.open(path, "w")
      local expected, tasks = {}, {}
      for i = 1, 20 do
        expected[i] = ("%02d"):format(i):rep(i % 3 == 0 and 50000 or 3)
        tasks[i] = function() file:write(expected[i]) end
      end
      asyncio.gather(table.unpack(tasks))
      file:flush()
      t.assertTrue(place.read(path) == table.concat(expected))
    end)
  end)
end

function TestTurns:test_reads_of_several_tasks_are_served_in_the_order_of_their_calls()
  with_fifo(function(path)
    t.real(function()
      local file <close> = asyncio.open(path, "r+")
      local tasks = {}
      for i = 1, 3 do tasks[i] = asyncio.create_task(file.read, file, "l", 1) end
      asyncio.sleep(0)
      t.assertStrContains(asyncio.format_call_graph(tasks[1]), "read " .. path)
      t.assertStrContains(asyncio.format_call_graph(tasks[2]), "its turn at " .. path)
      local writer <close> = asyncio.open(path, "w")
      writer:write("one\na", "two\nb", "three\nc"):flush()
      local got = {}
      for i = 1, 3 do got[i] = table.concat({ asyncio.await(tasks[i]) }, " ") end
      t.assertEquals(got, { "one a", "two b", "three c" })
    end)
  end)
end

function TestTurns:test_other_files_do_not_wait()
  with_fifo(function(path)
    with("here", function(other)
      t.real(function()
        local hangs <close> = asyncio.open(path, "r+")
        local task = asyncio.create_task(hangs.read, hangs)
        local file <close> = asyncio.open(other)
        t.assertEquals(file:read "a", "here")
        task:cancel()
      end)
    end)
  end)
end

function TestTurns:test_many_small_reads_let_others_run()
  with(("x\n"):rep(5000), function(path)
    t.real(function()
      local turns, file = 0, asyncio.open(path)
      local task = asyncio.create_task(function()
        while true do
          turns = turns + 1
          asyncio.sleep(0)
        end
      end)
      for _ in file:lines() do end
      t.assertTrue(turns > 10)
      task:cancel()
      file:close()
    end)
  end)
end

function TestTurns:test_a_virtual_clock_waits_for_files()
  with("one", function(path)
    t.run(function()
      local started = asyncio.get_running_loop():time()
      local _ <close> = asyncio.timeout(0.001)
      local file <close> = asyncio.open(path)
      t.assertEquals(file:read(), "one")
      t.assertEquals(asyncio.get_running_loop():time(), started)
    end)
  end)
end

-- cancelling

function TestCancelling:test_a_read_that_is_cancelled_has_read_nothing()
  with_fifo(function(path)
    t.real(function()
      local file <close> = asyncio.open(path, "r+")
      local writer <close> = asyncio.open(path, "w")
      writer:write("one\ntw"):flush()
      assert_hangs(0.02, file.read, file, "l", "l")
      assert_hangs(0.02, file.read, file, 100)
      writer:write("o\n"):flush()
      t.assertEquals({ file:read("l", "l") }, { "one", "two" })
    end)
  end)
end

function TestCancelling:test_a_write_that_waits_for_its_turn_is_dropped()
  with_fifo(function(path)
    t.real(function()
      local file <close> = asyncio.open(path, "r+")
      local reads = asyncio.create_task(file.read, file, "l")
      asyncio.sleep(0.01)
      local dropped = asyncio.create_task(file.write, file, "no\n")
      local kept = asyncio.create_task(file.write, file, "yes\n")
      asyncio.sleep(0)
      dropped:cancel()
      local other <close> = asyncio.open(path, "w")
      other:write("go\n"):flush()
      t.assertEquals(asyncio.await(reads), "go")
      asyncio.await(kept)
      t.assert_raises(asyncio.CancelledError, asyncio.await, dropped)
      file:flush()
      t.assertEquals(file:read(), "yes")
    end)
  end)
end

function TestCancelling:test_a_write_that_is_under_way_is_done_whole()
  with_fifo(function(path)
    t.real(function()
      local file <close> = asyncio.open(path, "w+")
      local big = ("0123456789"):rep(20000)
      assert_hangs(0.05, file.write, file, big)
      local reader <close> = asyncio.open(path, "r+")
      t.assertTrue(reader:read(#big) == big)
      file:write("after\n"):flush()
      t.assertEquals(reader:read(), "after")
    end)
  end)
end

function TestCancelling:test_an_open_that_hangs_lets_its_caller_go()
  with_fifo(function(path)
    t.real(function()
      local before = descriptors()
      assert_hangs(0.02, asyncio.open, path)
      local writer <close> = asyncio.open(path, "w") -- the open of before goes on, and closes what it has got
      t.wait_until(function() return not pcall(function() writer:write("x"):flush() end) end)
      pcall(writer.close, writer)
      t.wait_until(function() return descriptors() <= before end) -- of the tests before a thread may have had one
    end)
  end)
end

--- A write of far more than a FIFO takes, of one who leaves while it is under way.
local function left_write(file)
  assert_hangs(0.05, file.write, file, ("x"):rep(200000))
end

function TestCancelling:test_output_under_way_is_waited_for_by_close()
  with_fifo(function(path)
    t.real(function()
      local reader <close> = asyncio.open(path, "r+")
      local file = asyncio.open(path, "w")
      left_write(file)
      local line = asyncio.create_task(file.write, file, "y")
      asyncio.sleep(0)
      local closes = asyncio.create_task(file.close, file)
      asyncio.sleep(0.02)
      t.assertFalse(closes:done())
      t.assertStrContains(asyncio.format_call_graph(closes), "close " .. path)
      t.assert_raises(asyncio.ClosedError, asyncio.await, line)
      t.assertEquals(#reader:read(200000), 200000)
      t.assertTrue(asyncio.await(closes))
    end)
  end)
end

function TestCancelling:test_who_waits_in_close_for_output_can_leave()
  with_fifo(function(path)
    t.real(function()
      local reader <close> = asyncio.open(path, "r+")
      local file = asyncio.open(path, "w")
      left_write(file)
      assert_hangs(0.02, file.close, file)
      t.assertStrContains(tostring(file), "closed")
      t.assertEquals(#reader:read(200000), 200000)
    end)
  end)
end

--- Its reader goes while a write that was left is under way: that fails with EPIPE.
local function broken(path)
  local reader = asyncio.create_task(asyncio.open, path)
  local file = asyncio.open(path, "w")
  left_write(file)
  asyncio.await(reader):close()
  return file
end

function TestCancelling:test_failure_of_output_that_was_left_is_raised_by_close()
  with_fifo(function(path)
    t.real(function()
      local file = broken(path)
      t.assertEquals(t.assert_raises(asyncio.OSError, file.close, file).code, "EPIPE")
      t.assertTrue(file:close())
      file = broken(path)
      asyncio.sleep(0.05) -- it has failed by now
      t.assertEquals(t.assert_raises(asyncio.OSError, file.close, file).code, "EPIPE")
    end)
  end)
end

function TestCancelling:test_failure_of_output_that_was_left_is_raised_once_by_flush()
  with_fifo(function(path)
    t.real(function()
      local file = broken(path)
      t.assertEquals(t.assert_raises(asyncio.OSError, file.flush, file).code, "EPIPE")
      t.assertTrue(file:close())
    end)
  end)
end

-- closing

function TestClosing:test_twice_does_nothing()
  with("", function(path)
    t.real(function()
      local file = asyncio.open(path)
      t.assertTrue(file:close())
      t.assertTrue(file:close())
      local err = t.assert_raises(asyncio.ClosedError, file.read, file)
      t.assertStrContains(tostring(err), "the file is closed: " .. path)
      for _, name in ipairs { "lines", "write", "seek", "flush", "sync" } do
        t.assert_raises(asyncio.ClosedError, file[name], file)
      end
      t.assert_raises(asyncio.ClosedError, file.truncate, file, 0)
    end)
  end)
end

function TestClosing:test_returns_while_a_read_hangs_and_tells_those_who_wait()
  with_fifo(function(path)
    t.real(function()
      local file = asyncio.open(path, "r+")
      local first = asyncio.create_task(file.read, file)
      local second = asyncio.create_task(file.write, file, "x")
      asyncio.sleep(0.01)
      file:close()
      t.assert_raises(asyncio.ClosedError, asyncio.await, first)
      t.assert_raises(asyncio.ClosedError, asyncio.await, second)
    end)
  end)
end

function TestClosing:test_a_block_that_is_left_by_a_timeout_is_left_at_once()
  with_fifo(function(path)
    t.real(function()
      local started = os.time()
      assert_hangs(0.02, function()
        local file <close> = asyncio.open(path, "r+")
        file:read()
      end)
      t.assertTrue(os.time() - started < 5)
    end)
  end)
end

function TestClosing:test_writes_what_was_kept_back_and_tells_of_failures()
  with("", function(path)
    t.real(function()
      local file = asyncio.open(path, "w")
      file:write "kept"
      t.assertEquals(place.read(path), "")
      file:close()
      t.assertEquals(place.read(path), "kept")
      local full = asyncio.open("/dev/full", "w")
      full:write "x"
      local err = t.assert_raises(asyncio.OSError, full.close, full)
      t.assertEquals({ err.code, err.path, err.syscall }, { "ENOSPC", "/dev/full", "write" })
      t.assertTrue(full:close())
    end)
  end)
end

function TestClosing:test_where_nothing_can_wait_leaves_the_rest_to_a_thread()
  with("", function(path)
    t.real(function()
      local file = asyncio.open(path, "w")
      file:write "kept"
      local close = coroutine.wrap(function() file:close() end)
      close()
      t.wait_until(function() return place.read(path) == "kept" end)
    end)
  end)
end

-- hanging

function TestHanging:test_opens_hold_up_no_lookup_no_thread_and_no_end()
  with_fifo(function(path)
    local out, errors, code = t.lua(([[
      local asyncio, path = require "asyncio", %q
      asyncio.run(function()
        local hanging = {}
        for i = 1, 40 do hanging[i] = asyncio.create_task(asyncio.open, path) end
        asyncio.sleep(0.05)
        asyncio.get_running_loop():getaddrinfo("localhost", 80)
        asyncio.to_thread(function() end)
        for i = 1, 32 do hanging[i]:cancel() end
        asyncio.sleep(0.05)
        for i = 33, 40 do assert(not hanging[i]:done()) end
        local file <close> = asyncio.open(arg[0])
        print(#file:read "l" > 0)
      end)
      print "ended"
    ]]):format(path))
    t.assertEquals({ out, errors, code }, { "true\nended\n", "", 0 })
  end)
end

function TestHanging:test_no_more_than_32_are_under_way()
  with_fifo(function(path)
    with("x", function(other)
      t.real(function()
        local hanging = {}
        for i = 1, 32 do hanging[i] = asyncio.create_task(asyncio.open, path) end
        asyncio.sleep(0.05)
        assert_hangs(0.05, asyncio.open, other)
        hanging[1]:cancel()
        local file <close> = asyncio.open(other)
        t.assertEquals(file:read(), "x")
        for i = 2, 32 do hanging[i]:cancel() end
        local _ <close> = asyncio.open(path, "r+") -- lets them all go
      end)
    end)
  end)
end

-- writing

function TestWriting:test_what_is_kept_back_is_seen_by_ones_own_reads()
  with("0123456789", function(path)
    t.real(function()
      local file <close> = asyncio.open(path, "r+")
      file:read(2)
      file:write "ab"
      t.assertEquals(file:seek(), 4)
      t.assertEquals(file:read(2), "45")
      t.assertEquals(place.read(path), "01ab456789")
    end)
  end)
end

function TestWriting:test_a_write_that_fails_leaves_nothing_of_it_behind()
  t.real(function()
    local file = asyncio.open("/dev/full", "w")
    local big = ("x"):rep(100000)
    for _ = 1, 3 do
      local err = t.assert_raises(asyncio.OSError, file.write, file, big)
      t.assertEquals(err.code, "ENOSPC")
    end
    file:close()
  end)
end

function TestWriting:test_what_earlier_writes_gave_is_tried_again()
  t.real(function()
    local file = asyncio.open("/dev/full", "w")
    file:write "kept"
    t.assert_raises(asyncio.OSError, file.flush, file)
    t.assert_raises(asyncio.OSError, file.flush, file)
    t.assert_raises(asyncio.OSError, file.close, file)
  end)
end

function TestWriting:test_to_a_file_that_is_read_is_an_error()
  with("", function(path)
    t.real(function()
      local file <close> = asyncio.open(path)
      t.assertEquals(t.assert_raises(asyncio.OSError, file.write, file, "x").code, "EBADF")
      t.assertEquals(t.assert_raises(asyncio.OSError, file.truncate, file).code, "EBADF")
      local other <close> = asyncio.open(path, "w")
      t.assertEquals(t.assert_raises(asyncio.OSError, other.read, other).code, "EBADF")
      t.assertEquals(t.assert_raises(asyncio.OSError, other.lines, other).code, "EBADF")
    end)
  end)
end

function TestWriting:test_several_that_append_do_not_write_over_each_other()
  with("0\n", function(path)
    t.real(function()
      local a <close> = asyncio.open(path, "a")
      local b <close> = asyncio.open(path, "a+")
      for i = 1, 4 do
        (i % 2 == 0 and a or b):write(i, "\n"):flush()
      end
      t.assertEquals(place.read(path), "0\n1\n2\n3\n4\n")
      t.assertEquals({ a:seek(), b:seek() }, { 10, 8 })
    end)
  end)
end

function TestWriting:test_an_append_that_fails_does_not_move_the_position()
  with([[
    local asyncio, path = require "asyncio", os.tmpname()
    asyncio.run(function()
      local file = asyncio.open(path, "w")
      file:write(("x"):rep(4096)):close()
      file = asyncio.open(path, "a")
      local ok, err = pcall(file.write, file, ("y"):rep(100000))
      print(ok, err.code)
      pcall(file.write, file, ("y"):rep(100000))
      print(file:seek() == #io.open(path):read "a")
      file:close()
      file = asyncio.open(path, "a")
      pcall(file.write, file, ("y"):rep(100000))
      print(file:seek() == #io.open(path):read "a")
    end)
    os.remove(path)
  ]], function(script)
    local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
    local out <close> = io.popen(("sh -c \"trap '' XFSZ; ulimit -f 8; exec %s %s\""):format(lua, script))
    t.assertEquals(out:read "a", "false\tEFBIG\ntrue\ntrue\n")
  end)
end

function TestWriting:test_truncate_cuts_and_lengthens()
  with("0123456789", function(path)
    t.real(function()
      local file <close> = asyncio.open(path, "r+")
      file:read(3)
      t.assertEquals(file:truncate(), file)
      t.assertEquals(place.read(path), "012")
      file:truncate(5)
      t.assertEquals(place.read(path), "012\0\0")
      t.assertEquals({ file:seek(), file:read "a" }, { 3, "\0\0" })
      file:write("x"):sync()
      t.assertEquals(place.read(path), "012\0\0x")
    end)
  end)
end

function TestWriting:test_what_has_no_position_cannot_be_moved()
  with_fifo(function(path)
    t.real(function()
      local file <close> = asyncio.open(path, "r+")
      t.assertEquals(t.assert_raises(asyncio.OSError, file.seek, file).code, "ESPIPE")
      file:write("x\n"):flush()
      t.assertEquals(file:read(), "x")
    end)
  end)
end

-- given to programs

function TestGiven:test_what_was_written_goes_before_what_the_program_writes()
  for _, mode in ipairs { "w", "a", "w+", "a+" } do
    with("", function(path)
      t.real(function()
        local file <close> = asyncio.open(path, mode)
        file:write "one\n"
        asyncio.run_process({ "echo", "two" }, { stdout = file })
        file:write "three\n"
        asyncio.run_process({ "sh", "-c", "echo four; echo five >&2" }, { stdout = file, stderr = file })
        file:write("six\n"):flush()
        t.assertEquals(place.read(path), "one\ntwo\nthree\nfour\nfive\nsix\n", mode)
        t.assertEquals(file:seek(), 28)
      end)
    end)
  end
end

function TestGiven:test_they_read_on_where_it_stands_and_it_where_they_have_stopped()
  with("one\ntwo\nthree\nfour\n", function(path)
    t.real(function()
      local file <close> = asyncio.open(path)
      t.assertEquals(file:read(), "one")
      local two = asyncio.run_process({ "sh", "-c", "read x; echo $x" }, { stdin = file, capture = true })
      t.assertEquals({ two.stdout, file:read(), file:seek() }, { "two\n", "three", 14 })
      file:seek("set", 4)
      t.assertEquals(asyncio.run_process({ "cat" }, { stdin = file, capture = true }).stdout, "two\nthree\nfour\n")
      t.assertNil(file:read())
      file:seek("set", 8)
      t.assertEquals(file:read "a", "three\nfour\n")
    end)
  end)
end

function TestGiven:test_it_can_have_any_number()
  with("one\n", function(path)
    t.real(function()
      local file <close> = asyncio.open(path, "r+")
      local argv, opts = { "sh", "-c", "cat <&5; echo two >&5" }, { pass_fds = { [5] = file }, capture = true }
      t.assertEquals(asyncio.run_process(argv, opts).stdout, "one\n")
      t.assertEquals(place.read(path), "one\ntwo\n")
    end)
  end)
end

function TestGiven:test_a_closed_one_is_refused_also_when_that_happens_meanwhile()
  with_fifo(function(path)
    with("", function(other)
      t.real(function()
        local file <close> = asyncio.open(other)
        local fifo <close> = asyncio.open(path, "r+")
        local reader <close> = asyncio.open(path, "r+")
        local writing = asyncio.create_task(fifo.write, fifo, ("x"):rep(120000)) -- more than a pipe holds
        local task = asyncio.create_task(pcall, asyncio.run_process, { "true" }, { stdin = file, stdout = fifo })
        asyncio.sleep(0.01)
        t.assertFalse(task:done())
        file:close()
        t.assertEquals(#reader:read(120000), 120000)
        asyncio.await(writing)
        local ok, err = asyncio.await(task)
        t.assertFalse(ok)
        t.assertStrContains(err, "bad argument #2 to 'run_process' ('stdin': the file is closed)")
      end)
    end)
  end)
end

-- lines

function TestLines:test_close_the_file_at_the_end_and_where_the_loop_is_left()
  with("one\ntwo", function(path)
    t.real(function()
      local before, seen = descriptors(), {}
      for line in asyncio.lines(path) do seen[#seen + 1] = line end
      for line in asyncio.lines(path, "L") do
        seen[#seen + 1] = line
        break
      end
      pcall(function()
        for _ in asyncio.lines(path) do error "left" end
      end)
      local next_line = asyncio.lines(path, 5)
      seen[#seen + 1], seen[#seen + 2], seen[#seen + 3] = next_line(), next_line(), tostring(next_line())
      t.assertEquals(seen, { "one", "two", "one\n", "one\nt", "wo", "nil" })
      t.assertEquals(descriptors(), before)
      t.assert_raises(asyncio.ClosedError, next_line)
    end)
  end)
end

function TestLines:test_take_formats_and_leave_a_file_open()
  with("1 2\n3 4\n", function(path)
    t.real(function()
      local file <close> = asyncio.open(path)
      local sum = 0
      for a, b in file:lines("n", "n") do sum = sum + a * b end
      t.assertEquals(sum, 14)
      file:seek "set"
      t.assertEquals(file:read "a", "1 2\n3 4\n")
    end)
  end)
end

function TestLines:test_see_what_is_added_meanwhile()
  with("one\n", function(path)
    t.real(function()
      local file <close> = asyncio.open(path)
      t.assertEquals({ file:read(), file:read() }, { "one" })
      local writer <close> = asyncio.open(path, "a")
      writer:write("two\n"):flush()
      t.assertEquals(file:read(), "two")
    end)
  end)
end

-- forgotten

function TestForgotten:test_one_that_only_its_close_knows_is_closed_in_peace()
  with("", function(path)
    t.real(function()
      local function collect()
        asyncio.sleep(0)
        collectgarbage() -- the caller has let it go
        collectgarbage()
      end
      local task
      local function write(file)
        file:write "text"
        task = asyncio.create_task(collect)
        return file
      end
      t.assertTrue(write(asyncio.open(path, "w")):close())
      asyncio.await(task)
    end)
    t.assertEquals(place.read(path), "text")
  end)
end

function TestForgotten:test_one_that_is_collected_is_closed_with_a_warning_and_written()
  with("", function(path)
    local out, errors = t.lua(([[
      local asyncio, path = require "asyncio", %q
      warn "@on"
      asyncio.run(function()
        asyncio.open(path, "w"):write "kept"
        collectgarbage()
        collectgarbage()
      end)
      print(io.open(path):read "a")
    ]]):format(path))
    t.assertEquals(out, "kept\n")
    t.assertStrContains(errors, "asyncio: the file " .. path .. " was not closed before it was collected")
  end)
end

function TestForgotten:test_one_that_is_open_when_the_loop_ends_is_written_and_in_debug_mode_reported()
  with("", function(path)
    local out, errors = t.lua(([[
      local asyncio, path = require "asyncio", %q
      asyncio.run(function() file = asyncio.open(path, "w"):write "kept" end)
      print(io.open(path):read "a", pcall(file.write, file, "x"))
      local runner <close> = asyncio.Runner { debug = true }
      runner:run(function() file = asyncio.open(path) end)
      runner:close()
      print(file)
    ]]):format(path))
    t.assertStrContains(out, "kept\tfalse\t")
    t.assertStrContains(out, "closed (")
    t.assertStrContains(errors, "the file " .. path .. " was not closed\nopened at")
  end)
end

t.finish()
