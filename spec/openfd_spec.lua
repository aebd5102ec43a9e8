-- openfd_spec.lua - asyncio.open_fd: any descriptor as a stream; and StreamWriter:detach, which gives one back.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio
local start = asyncio.create_task

--- Of the description, which others share.
local function flags(fd)
  local file <close> = assert(io.open("/proc/self/fdinfo/" .. fd))
  return file:read "a":match "flags:%s*(%d+)"
end

local function is_open(fd)
  local file <close> = io.open("/proc/self/fdinfo/" .. fd)
  return file ~= nil
end

--- A descriptor of a bare socket, and the reader and writer of its peer: fn(fd, reader, writer).
local function with_socket(fn)
  t.real(function()
    peers.pair(function(_, near, reader, writer) fn((near:detach()), reader, writer) end)
  end)
end

--- Both ends of a FIFO as files: to read, to write.
local function fifo()
  local name = os.tmpname()
  os.remove(name)
  assert(os.execute(("mkfifo '%s'"):format(name)))
  local both = assert(io.open(name, "r+"))
  local from, to = assert(io.open(name, "r")), assert(io.open(name, "w"))
  both:close()
  os.remove(name)
  return from, to
end

TestFiles = {}

function TestFiles:test_a_pipe_of_popen_is_read()
  t.real(function()
    local pipe <close> = io.popen "echo hello; echo world"
    local reader, writer <close> = asyncio.open_fd(pipe)
    t.assertEquals({ reader:readline(), reader:read() }, { "hello\n", "world\n" })
    t.assertFalse(writer:is_closing())
  end)
end

function TestFiles:test_a_pipe_of_popen_is_written()
  t.real(function()
    local output <close> = peers.file()
    local pipe = io.popen("cat >" .. output.name, "w")
    pipe:write "before "
    local reader, writer = asyncio.open_fd(pipe)
    t.assertNil(reader)
    local text = peers.text(500000)
    writer:send(text)
    writer:close()
    writer:wait_closed()
    pipe:write " after"
    pipe:close()
    t.assertTrue(peers.content(output.name) == "before " .. text .. " after")
  end)
end

function TestFiles:test_the_file_stays_its_users()
  t.real(function()
    local file <close> = peers.file "content"
    local handle = assert(io.open(file.name))
    do
      local reader, _ <close> = asyncio.open_fd(handle)
      t.assertEquals(reader:read(), "content")
    end
    t.assertEquals(handle:seek "set", 0)
    t.assertEquals(handle:read "a", "content")
    handle:close()
  end)
end

function TestFiles:test_a_regular_file_is_read_where_io_has_stopped()
  t.real(function()
    local file <close> = peers.file("first\nsecond\n" .. ("x"):rep(100000))
    local handle <close> = assert(io.open(file.name))
    t.assertEquals(handle:read "l", "first")
    local reader, _ <close> = asyncio.open_fd(handle)
    t.assertEquals(reader:readline(), "second\n")
    t.assertEquals(#reader:read(-1), 100000)
    t.assertNil(reader:read(1))
  end)
end

function TestFiles:test_a_regular_file_is_read_piece_by_piece()
  t.real(function()
    local text = peers.text(300000)
    local file <close> = peers.file(text)
    local handle <close> = assert(io.open(file.name))
    local reader, _ <close> = asyncio.open_fd(handle)
    local got = {}
    for piece in function() return reader:read(1000) end do got[#got + 1] = piece end
    t.assertTrue(table.concat(got) == text)
  end)
end

function TestFiles:test_a_regular_file_is_written()
  t.real(function()
    local file <close> = peers.file()
    local handle <close> = assert(io.open(file.name, "w"))
    do
      local reader, writer <close> = asyncio.open_fd(handle)
      t.assertNil(reader)
      writer:write "some "
      writer:send(("x"):rep(100000))
    end
    t.assertEquals(peers.content(file.name), "some " .. ("x"):rep(100000))
  end)
end

function TestFiles:test_a_file_that_is_open_for_both_has_one_position()
  t.real(function()
    local file <close> = peers.file "one\ntwo\n"
    local handle <close> = assert(io.open(file.name, "r+"))
    local reader, writer <close> = asyncio.open_fd(handle)
    t.assertEquals(reader:read(-1), "one\ntwo\n")
    writer:send "three\n"
    t.assertFalse(writer:can_write_eof())
    t.assert_raises(asyncio.Error, writer.write_eof, writer)
    t.assertEquals(peers.content(file.name), "one\ntwo\nthree\n")
  end)
end

function TestFiles:test_one_is_copied_into_another()
  t.real(function()
    local text = peers.text(1000000)
    local from <close> = peers.file(text)
    local to <close> = peers.file()
    do
      local input <close> = assert(io.open(from.name))
      local output <close> = assert(io.open(to.name, "w"))
      local reader, near <close> = asyncio.open_fd(input)
      local _, writer <close> = asyncio.open_fd(output)
      t.assertEquals(asyncio.copy(reader, writer), #text)
      t.assertFalse(near:is_closing())
    end
    t.assertTrue(peers.content(to.name) == text)
  end)
end

function TestFiles:test_a_full_device_is_an_error()
  t.real(function()
    local handle <close> = assert(io.open("/dev/full", "w"))
    local _, writer = asyncio.open_fd(handle)
    local err = t.assert_raises(asyncio.OSError, writer.send, writer, "x")
    t.assertEquals(err.code, "ENOSPC")
    writer:abort()
  end)
end

TestPipes = {}

function TestPipes:test_a_fifo_is_read_and_written_and_its_flags_stay()
  t.real(function()
    local from, to = fifo()
    local reader, near = asyncio.open_fd(from)
    local _, writer = asyncio.open_fd(to)
    local text = peers.text(500000)
    local got = start(function() return reader:read() end)
    writer:send(text)
    writer:write_eof() -- it has no other half
    to:close()
    t.assertTrue(asyncio.await(got) == text)
    near:close()
    from:close()
  end)
end

function TestPipes:test_back_pressure_is_the_kernels()
  t.real(function()
    local from, to = fifo()
    local _, writer <close> = asyncio.open_fd(to)
    writer:write(("x"):rep(1000000))
    local task = start(writer.drain, writer)
    t.until_blocked()
    t.assertFalse(task:done())
    local reader, near <close> = asyncio.open_fd(from)
    t.assertEquals(#reader:readexactly(1000000), 1000000)
    asyncio.await(task)
    near:close()
    from:close()
    to:close()
  end)
end

function TestPipes:test_one_without_a_reader_any_more_is_broken()
  t.real(function()
    local from, to = fifo()
    local _, writer = asyncio.open_fd(to)
    from:close()
    t.assert_raises(asyncio.BrokenPipeError, function()
      while true do
        writer:send(("x"):rep(100000))
        asyncio.sleep(0)
      end
    end)
    writer:close()
    to:close()
  end)
end

TestSockets = {}

function TestSockets:test_go_both_ways_and_keep_their_flags()
  with_socket(function(fd, far_reader, far_writer)
    local before = flags(fd)
    local reader, writer = asyncio.open_fd(fd)
    t.assertEquals(flags(fd), before)
    local text = peers.text(1000000)
    local there, back = start(function() return far_reader:readexactly(#text) end), start(function()
      return reader:readexactly(#text)
    end)
    far_writer:write(text)
    writer:write(text)
    t.assertTrue(asyncio.await(there) == text)
    t.assertTrue(asyncio.await(back) == text)
    writer:close()
    writer:wait_closed()
    t.assertFalse(is_open(fd))
    t.assertNil(far_reader:read(1))
  end)
end

function TestSockets:test_end_one_direction_and_read_on()
  with_socket(function(fd, far_reader, far_writer)
    local reader, writer <close> = asyncio.open_fd(fd)
    t.assertTrue(writer:can_write_eof())
    writer:write "request"
    writer:write_eof()
    t.assertEquals(far_reader:read(), "request")
    far_writer:write "answer"
    far_writer:write_eof()
    t.assertEquals(reader:read(), "answer")
  end)
end

function TestSockets:test_of_a_peer_that_has_ended_are_written_all_the_same()
  with_socket(function(fd, far_reader, far_writer)
    local reader, writer <close> = asyncio.open_fd(fd)
    far_writer:write_eof()
    t.assertNil(reader:read(1))
    local text = peers.text(300000)
    local got = start(function() return far_reader:read() end)
    writer:write(text)
    writer:close()
    writer:wait_closed()
    t.assertTrue(asyncio.await(got) == text)
  end)
end

-- Shares a socket with the program, and writes to it when that has closed it.
local SHARED = [==[
import os, socket, subprocess, sys
near, far = socket.socketpair()
os.dup2(far.fileno(), 9)
subprocess.run(["sh", "-c", sys.argv[1]], pass_fds=[9])
far.sendall(b" and python" if far.getblocking() and os.get_blocking(9) else b" not blocking")
far.close()
os.close(9)
print(near.recv(100).decode() + (near.recv(100) or b"").decode())
]==]

function TestSockets:test_that_others_share_are_not_shut_by_a_close_and_block_as_before()
  peers.need "python3"
  local python <close> = peers.file(SHARED)
  local output, errors = peers.run_in_shell([[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local _, writer <close> = asyncio.open_fd(9)
      writer:write "from lua"
    end)
  ]], ("python3 '%s' '%%s'"):format(python.name))
  t.assertEquals(errors, "")
  t.assertEquals(output, "from lua and python\n")
end

function TestSockets:test_a_reset_is_an_error()
  t.real(function()
    peers.bare(function(_, near, peer)
      local reader, writer = asyncio.open_fd((near:detach()))
      t.until_blocked()
      peers.reset(peer)
      t.assert_raises(asyncio.ConnectionResetError, reader.read, reader, 1)
      writer:abort()
    end)
  end)
end

TestArguments = {}

function TestArguments:test_what_is_no_descriptor()
  t.real(function()
    t.assertEquals(t.assert_raises(asyncio.OSError, asyncio.open_fd, 9999).code, "EBADF")
    t.assertEquals(t.assert_raises(asyncio.OSError, asyncio.open_fd, -1).code, "EBADF")
    t.assertEquals(t.assert_raises(asyncio.OSError, asyncio.open_fd, 1 << 40).code, "EBADF")
    local file = assert(io.open "/dev/null")
    file:close()
    t.assertEquals(t.assert_raises(asyncio.OSError, asyncio.open_fd, file).code, "EBADF")
    for _, wrong in ipairs { "5", {}, print, 0, 1, 2, 5.5, true } do
      t.assertStrContains(tostring(t.error_of(asyncio.open_fd, wrong)), "bad argument #1 to 'asyncio.open_fd'")
    end
    t.assertStrContains(tostring(t.error_of(asyncio.open_fd)), "bad argument #1 to 'asyncio.open_fd'")
    t.assertStrContains(tostring(t.error_of(asyncio.open_fd, 9, { limits = 5 })), "did you mean 'limit'?")
  end)
end

function TestArguments:test_outside_of_a_loop_it_raises_and_the_number_stays_the_callers()
  local file <close> = assert(io.open "/dev/null")
  t.assertStrContains(tostring(t.error_of(asyncio.open_fd, file)), "no event loop is running")
  t.assertEquals(file:read "a", "")
end

function TestArguments:test_a_limit_is_that_of_lines()
  t.real(function()
    local file <close> = peers.file(("x"):rep(1000))
    local handle <close> = assert(io.open(file.name))
    local reader, _ <close> = asyncio.open_fd(handle, { limit = 10 })
    t.assert_raises(asyncio.LimitOverrunError, reader.readline, reader)
  end)
end

function TestArguments:test_a_time_limit_is_that_of_each_wait()
  t.real(function()
    local from, to = fifo()
    local reader, near <close> = asyncio.open_fd(from, { read_timeout = 0.01 })
    local _, writer = asyncio.open_fd(to, { write_timeout = 0.01 })
    t.assert_raises(asyncio.TimeoutError, reader.read, reader, 1)
    t.assert_raises(asyncio.TimeoutError, writer.send, writer, ("x"):rep(1000000))
    t.assertEquals(#reader:read(1), 1)
    writer:abort()
    near:close()
    from:close()
    to:close()
  end)
end

function TestArguments:test_a_writer_of_what_can_only_be_read_refuses()
  t.real(function()
    local file <close> = peers.file "content"
    local handle <close> = assert(io.open(file.name))
    local reader, writer <close> = asyncio.open_fd(handle)
    t.assertEquals(t.assert_raises(asyncio.OSError, writer.write, writer, "x").code, "EBADF")
    t.assertEquals(t.assert_raises(asyncio.OSError, asyncio.copy, reader, writer).code, "EBADF")
    t.assertFalse(writer:can_write_eof())
    writer:drain()
    t.assertEquals(reader:read(), "content")
  end)
end

TestTerminals = {}

-- Runs the program with the master of a terminal as descriptor 9, and types into the terminal.
local MASTER = [==[
import os, pty, subprocess, sys, time
master, slave = pty.openpty()
os.dup2(master, 9)
program = subprocess.Popen(["sh", "-c", sys.argv[1]], pass_fds=[9])
os.write(slave, b"from the slave\n")
line = os.read(slave, 100)
program.wait()
print("slave read:", line.decode(), end="")
]==]

function TestTerminals:test_a_master_is_read_and_written()
  peers.need "python3"
  local python <close> = peers.file(MASTER)
  local output, errors = peers.run_in_shell([[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local reader, writer = asyncio.open_fd(9)
      local line = reader:readline()
      writer:send "to the slave\n"
      asyncio.stdout():send("master read: ", line)
      writer:close()
      writer:wait_closed()
    end)
  ]], ("python3 '%s' '%%s'"):format(python.name))
  t.assertEquals(errors, "")
  t.assertEquals(output, "master read: from the slave\r\nslave read: to the slave\n")
end

function TestTerminals:test_one_is_read_and_written_by_one_stream()
  peers.need "python3"
  local python <close> = peers.file(peers.TERMINAL)
  local output, errors = peers.run_in_shell([[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local file <close> = io.open("/dev/tty", "r+")
      local reader, writer <close> = asyncio.open_fd(file)
      writer:send(reader:readline():upper(), tostring(writer:can_write_eof()), "\n")
    end)
  ]], ("python3 '%s' '%%s'"):format(python.name))
  t.assertEquals(errors, "")
  t.assertEquals(output, "hello\nHELLO\nfalse\n")
end

TestDetach = {}

function TestDetach:test_gives_the_descriptor_and_closes_the_objects()
  t.real(function()
    peers.pair(function(reader, writer, far_reader, far_writer)
      local fd, unread = writer:detach()
      t.assertEquals({ math.type(fd), unread }, { "integer", "" })
      t.assertTrue(writer:is_closing())
      t.assert_raises(asyncio.ClosedError, writer.write, writer, "x")
      t.assert_raises(asyncio.ClosedError, writer.detach, writer)
      t.assertNil(reader:read(1))
      writer:wait_closed()
      local again_reader, again <close> = asyncio.open_fd(fd)
      again:write "still connected"
      t.assertEquals(far_reader:readexactly(15), "still connected")
      far_writer:write "both ways"
      t.assertEquals(again_reader:readexactly(9), "both ways")
    end)
  end)
end

function TestDetach:test_gives_what_nobody_has_read()
  t.real(function()
    peers.pair(function(reader, writer, _, far_writer)
      far_writer:write "line\nthe rest"
      t.assertEquals(reader:readline(), "line\n")
      local fd, unread = writer:detach()
      t.assertEquals(unread, "the rest")
      far_writer:write " and more"
      local again_reader, _ <close> = asyncio.open_fd(fd)
      t.assertEquals(again_reader:readexactly(9), " and more")
    end)
  end)
end

function TestDetach:test_of_a_descriptor_that_blocks_and_is_closed_in_programs()
  t.real(function()
    peers.pair(function(_, writer)
      local fd = writer:detach()
      t.assertEquals(tonumber(flags(fd), 8) & tonumber("04000", 8), 0) -- O_NONBLOCK
      t.assertEquals(tonumber(flags(fd), 8) & tonumber("02000000", 8), tonumber("02000000", 8)) -- O_CLOEXEC
      local _, again <close> = asyncio.open_fd(fd)
      t.assertFalse(again:is_closing())
    end)
  end)
end

function TestDetach:test_waits_until_what_was_written_is_sent()
  t.real(function()
    peers.pair(function(_, writer, far_reader)
      local text = peers.text(10000000)
      writer:write(text)
      local task = start(writer.detach, writer)
      t.wait_until(function() return tostring(task):find "waits %(detach, 127" end)
      local fd
      local got = far_reader:readexactly(#text)
      t.assertTrue(got == text)
      fd = asyncio.await(task)
      local _, again <close> = asyncio.open_fd(fd)
      again:write "!"
      t.assertEquals(far_reader:readexactly(1), "!")
    end)
  end)
end

function TestDetach:test_cancelled_meanwhile_has_done_nothing()
  t.real(function()
    peers.pair(function(reader, writer, far_reader, far_writer)
      local text = peers.text(10000000)
      writer:write(text)
      local task = start { writer.detach, writer, name = "detacher" }
      asyncio.sleep(0)
      t.assertStrContains(tostring(t.assert_raises(asyncio.BusyError, reader.read, reader, 1)), "'detacher'")
      task:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, task)
      t.assertTrue(far_reader:readexactly(#text) == text)
      far_writer:write "usable"
      t.assertEquals(reader:readexactly(6), "usable")
    end)
  end)
end

function TestDetach:test_after_write_eof_the_descriptor_is_at_its_end()
  t.real(function()
    peers.pair(function(_, writer, far_reader, far_writer)
      writer:write "request"
      writer:write_eof()
      local again_reader, _ <close> = asyncio.open_fd((writer:detach()))
      t.assertEquals(far_reader:read(), "request")
      far_writer:write "answer"
      far_writer:write_eof()
      t.assertEquals(again_reader:read(), "answer")
    end)
  end)
end

function TestDetach:test_raises_while_another_reads()
  t.real(function()
    peers.pair(function(reader, writer)
      local task = start { reader.read, reader, 1, name = "first" }
      asyncio.sleep(0)
      t.assertStrContains(tostring(t.assert_raises(asyncio.BusyError, writer.detach, writer)), "'first'")
      task:cancel()
      asyncio.wait { task }
      t.assertFalse(writer:is_closing())
    end)
  end)
end

function TestDetach:test_raises_what_drain_would()
  t.real(function()
    peers.bare(function(_, writer, peer)
      writer:write(("x"):rep(10000000))
      local task = start(writer.detach, writer)
      asyncio.sleep(0)
      peers.reset(peer)
      t.assert_raises(asyncio.ConnectionError, asyncio.await, task)
      t.assert_raises(asyncio.ConnectionError, writer.detach, writer)
    end)
  end)
end

function TestDetach:test_ends_with_the_time_limit_of_writing()
  t.real(function()
    peers.pair(function(_, writer, far_reader)
      local text = peers.text(10000000)
      writer:write(text)
      t.assert_raises(asyncio.TimeoutError, writer.detach, writer)
      t.assertTrue(far_reader:readexactly(#text) == text) -- the stream is as before
      local _, again <close> = asyncio.open_fd((writer:detach()))
      t.assertFalse(again:is_closing())
    end, { near = { write_timeout = 0.05 } })
  end)
end

function TestDetach:test_of_open_fd_gives_the_number_that_was_given()
  t.real(function()
    local from, to = fifo()
    local reader, near = asyncio.open_fd(from)
    to:write "unread"
    to:flush()
    t.until_blocked()
    local fd, unread = near:detach()
    t.assertEquals(unread, "unread")
    local again_reader, again = asyncio.open_fd(fd)
    to:write "more"
    to:close()
    t.assertEquals(again_reader:readexactly(4), "more")
    t.assertEquals((again:detach()), fd)
    local _, last = asyncio.open_fd(fd)
    last:close()
    last:wait_closed()
    t.assertFalse(is_open(fd))
    t.assertNil(reader:read(1))
    from:close()
  end)
end

function TestDetach:test_is_refused_where_there_is_nothing_to_give()
  t.real(function()
    local _, one, _, other = asyncio.stream_pair()
    t.assertErrorMsgContains("a stream in memory has no descriptor", one.detach, one)
    one:close()
    other:close()
    local out = asyncio.stdout()
    t.assertErrorMsgContains("a standard stream", out.detach, out)
    peers.pair(function(_, writer)
      local _, again <close> = asyncio.open_fd((writer:detach()))
      t.assertErrorMsgContains("a thread copies", again.detach, again)
    end)
  end)
end

function TestDetach:test_in_a_handler_leaves_the_connection_to_whom_it_is_given()
  t.real(function()
    local loop = asyncio.get_running_loop()
    local given = loop:create_future()
    local server <close> = peers.serve(function(_, writer) given:set_result(writer:detach()) end)
    local reader, writer <close> = peers.connect(server)
    local fd = asyncio.await(given)
    t.wait_until(function() return server:stats().connections == 0 end)
    local _, again <close> = asyncio.open_fd(fd)
    again:send "from elsewhere"
    t.assertEquals(reader:readexactly(14), "from elsewhere")
    t.assertFalse(writer:is_closing())
  end)
end

TestStarving = {}

-- With one descriptor more each time, until there are enough; what is missing, or too many, after a failure is told.
local STARVING = [[
local asyncio = require "asyncio"
local function fill()
  local files = {}
  repeat
    local file = io.open "/dev/null"
    files[#files + 1] = file
  until not file
  return files
end
local function close(files)
  for _, each in ipairs(files) do each:close() end
end
local function wait_until(condition)
  for _ = 1, 500 do
    if condition() then return end
    asyncio.sleep(0.02)
  end
end
local function threads()
  local pipe <close> = io.popen "ls /proc/$PPID/task | wc -l"
  return pipe:read "n"
end
local none = threads()
asyncio.run(function()
  for _, mode in ipairs { "r", "w", "r+" } do
    local file = assert(io.open("/dev/zero", mode))
    select(3, pcall(asyncio.open_fd, file)):abort() -- what the loop keeps has been made
    wait_until(function() return threads() == none end)
    local all = fill()
    for left = 0, 20 do
      local ok, a, b = pcall(asyncio.open_fd, file)
      if ok then
        print(mode)
        b:abort()
        break
      end
      if a.code ~= "EMFILE" then print(mode, left, a) end
      local rest
      wait_until(function() -- a thread closes its own in its time
        close(rest or {})
        rest = fill()
        return #rest == left
      end)
      if #rest ~= left then print("lost", mode, left, #rest) end
      close(rest)
      table.remove(all):close()
    end
    close(all)
    file:close()
  end
end)
]]

function TestStarving:test_an_open_that_fails_leaves_as_many_descriptors_as_before()
  local output, errors = peers.run_in_shell(STARVING, "ulimit -n 60; %s")
  t.assertEquals({ output, errors }, { "r\nw\nr+\n", "" })
end

t.finish()
