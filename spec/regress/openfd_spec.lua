-- openfd_spec.lua - streams on descriptors took their threads' socket for the connection, and passed for standard
-- streams: <close> and the end of a run waited for ever for a peer that took nothing; get_extra_info told of ourselves.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio
local start = asyncio.create_task

-- So many bytes a unix socket does not take (220 KB), but together with the one to the thread it does.
local WITH_THREAD = 330000

--- A FIFO: to write, and a file that keeps it open and is not read.
local function fifo()
  local name = os.tmpname()
  os.remove(name)
  assert(os.execute(("mkfifo '%s'"):format(name)))
  local keep = assert(io.open(name, "r+"))
  local to = assert(io.open(name, "w"))
  os.remove(name)
  return to, keep
end

--- Both ends of a unix connection: fn(descriptor of one, reader and writer of the other).
local function with_unix_socket(fn)
  local name = os.tmpname()
  os.remove(name)
  local given = asyncio.get_running_loop():create_future()
  local _ <close> = asyncio.start_unix_server(function(_, writer) given:set_result((writer:detach())) end, name)
  local reader, writer = asyncio.open_unix_connection(name, { limit = 1000 })
  local ok, err = pcall(fn, asyncio.await(given), reader, writer)
  writer:abort()
  t.assertTrue(ok, err)
end

--- How many threads and descriptors the process has.
local function resources()
  local pipe <close> = io.popen "ls /proc/$PPID/task /proc/$PPID/fd | wc -l"
  return pipe:read "n"
end

--- Waits until those of a stream have gone, and its descriptor, which was among `before`. There may be still less:
-- threads of a stream of the test before were counted while they ended.
local function wait_until_gone(before)
  t.wait_until(function() return resources() < before end)
end

TestInfo = {}

function TestInfo:test_of_a_socket_is_that_of_the_given_one()
  t.real(function()
    peers.pair(function(_, near)
      local peer, own = tostring(near:get_extra_info "peername"), tostring(near:get_extra_info "sockname")
      local fd = near:detach()
      local _, writer <close> = asyncio.open_fd(fd)
      t.assertEquals(tostring(writer:get_extra_info "peername"), peer)
      t.assertEquals(tostring(writer:get_extra_info "sockname"), own)
      t.assertEquals(writer:get_extra_info("socket").fd, fd)
      t.assertNil(writer:get_extra_info "peercred")
      t.assertStrContains(tostring(writer), "peer " .. peer)
      writer:close()
      writer:wait_closed()
      t.assertNil(writer:get_extra_info "socket")
    end)
  end)
end

-- Connects, says its number, and waits.
local CLIENT = [==[
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print(os.getpid(), flush=True)
s.recv(1)
]==]

function TestInfo:test_credentials_are_those_of_the_process_at_the_other_end()
  peers.need "python3"
  local python <close> = peers.file(CLIENT)
  local name = os.tmpname()
  os.remove(name)
  t.real(function()
    local given = asyncio.get_running_loop():create_future()
    local _ <close> = asyncio.start_unix_server(function(_, writer) given:set_result((writer:detach())) end, name)
    local client <close> = io.popen(("exec python3 '%s' '%s'"):format(python.name, name))
    local _, writer <close> = asyncio.open_fd(asyncio.await(given))
    t.assertEquals(writer:get_extra_info("peercred").pid, client:read "n")
    t.assertStrContains(tostring(writer:get_extra_info "sockname"), name)
    writer:abort()
  end)
end

function TestInfo:test_of_what_is_no_socket_there_is_none()
  t.real(function()
    local to, keep = fifo()
    local file <close> = assert(io.open "/dev/null")
    local device <close> = assert(io.open("/dev/zero", "r+"))
    for _, what in ipairs { to, file, device } do
      local _, writer <close> = asyncio.open_fd(what)
      for _, name in ipairs { "socket", "peername", "sockname", "peercred" } do
        t.assertEquals(writer:get_extra_info(name, "none"), "none")
      end
    end
    to:close()
    keep:close()
  end)
end

TestClose = {}

--- A block of `writer` on `what` ends though nobody takes what is written in it.
local function assert_ends(what, size)
  t.assertErrorMsgEquals("left", function()
    local _, writer <close> = asyncio.open_fd(what, { write_timeout = 0.05 })
    writer:write(("x"):rep(size))
    if size == WITH_THREAD then t.wait_until(function() return writer:pending() == 0 end) end
    error("left", 0)
  end)
end

function TestClose:test_of_a_fifo_gives_up_a_reader_that_takes_nothing()
  t.real(function()
    local to, keep = fifo()
    assert_ends(to, 1000000)
    to:close()
    keep:close()
  end)
end

function TestClose:test_of_a_tcp_socket_gives_the_peer_up_which_sees_a_reset()
  t.real(function()
    peers.pair(function(_, near, far_reader)
      assert_ends(near:detach(), 20000000)
      t.assert_raises(asyncio.ConnectionResetError, far_reader.read, far_reader)
    end)
  end)
end

function TestClose:test_of_a_unix_socket_gives_the_peer_up_and_leaves_neither_thread_nor_descriptor()
  t.real(function()
    with_unix_socket(function(fd)
      local before = resources()
      assert_ends(fd, WITH_THREAD)
      wait_until_gone(before)
    end)
  end)
end

function TestClose:test_that_is_cancelled_and_an_abort_leave_no_thread()
  for _, how in ipairs { "cancel", "abort" } do
    t.real(function()
      with_unix_socket(function(fd)
        local before = resources()
        local task = start(function()
          local _, writer <close> = asyncio.open_fd(fd)
          writer:write(("x"):rep(1000000))
          if how == "abort" then
            t.until_blocked()
            writer:abort()
          end
        end)
        t.until_blocked()
        if how == "cancel" then
          t.assertFalse(task:done())
          task:cancel()
        end
        asyncio.wait { task }
        wait_until_gone(before)
      end)
    end)
  end
end

function TestClose:test_waits_for_a_peer_that_is_only_slow()
  t.real(function()
    with_unix_socket(function(fd, far_reader)
      local got = start(function()
        local n = 0
        for piece in function() return far_reader:read(20000) end do
          n = n + #piece
          asyncio.sleep(0.02)
        end
        return n
      end)
      do
        local _, writer <close> = asyncio.open_fd(fd, { write_timeout = 0.5 })
        writer:write(("x"):rep(1000000))
      end
      t.assertEquals(asyncio.await(got), 1000000)
    end)
  end)
end

function TestClose:test_wait_closed_has_the_time_limit_of_writing()
  t.real(function()
    with_unix_socket(function(fd)
      local _, writer = asyncio.open_fd(fd, { write_timeout = 0.05 })
      writer:write(("x"):rep(WITH_THREAD))
      writer:close()
      t.assert_raises(asyncio.TimeoutError, writer.wait_closed, writer)
      t.assertTrue(writer:is_closing())
      writer:abort()
    end)
  end)
end

TestEnd = {}

--- What is said when a run ends with output to the descriptor that `open` returns, which nobody takes.
local function end_of_run(open, size)
  local output, errors, code = t.lua(([[
    local asyncio = require "asyncio"
    local runner = asyncio.Runner { flush_timeout = 0.05 }
    %s
    runner:run(function()
      writer = select(2, asyncio.open_fd(open()))
      writer:write(("x"):rep(%d))
    end)
    runner:close()
    print "over"
  ]]):format(open, size))
  t.assertEquals({ output, code }, { "over\n", 0 })
  return t.unhurried(errors)
end

local FIFO = [[
  function open()
    local name = os.tmpname()
    os.remove(name)
    os.execute("mkfifo '" .. name .. "'")
    keep, to = io.open(name, "r+"), io.open(name, "w")
    os.remove(name)
    return to
  end
]]

local UNIX = [[
  function open()
    local name = os.tmpname()
    os.remove(name)
    local given = asyncio.get_running_loop():create_future()
    server = asyncio.start_unix_server(function(_, writer) given:set_result((writer:detach())) end, name)
    far_reader, far = asyncio.open_unix_connection(name, { limit = 1000 })
    return asyncio.await(given)
  end
]]

function TestEnd:test_of_a_run_throws_away_what_a_fifo_has_not_taken()
  t.assertStrMatches(end_of_run(FIFO, 1000000),
    "asyncio: %d+ bytes for descriptor %d+ are thrown away: not sent within 0%.05 s %(flush_timeout%)\n")
end

function TestEnd:test_of_a_run_throws_away_what_a_socket_has_not_taken()
  t.assertStrMatches(end_of_run(UNIX, 2000000),
    "asyncio: %d+ bytes for descriptor %d+ are thrown away: not sent within 0%.05 s %(flush_timeout%)\n")
end

function TestEnd:test_of_a_run_tells_of_what_a_thread_has_not_written()
  t.assertStrMatches(end_of_run(UNIX, WITH_THREAD),
    "asyncio: output for descriptor %d+ is thrown away: not sent within 0%.05 s %(flush_timeout%)\n")
end

t.finish { sampled = true }
