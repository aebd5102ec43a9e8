-- collected_spec.lua - how a connection ends that nobody closes in time: what was written had been dropped, and the
-- peer saw an ordinary end in the middle of it; or it was reset for what nobody had read, and lost what was just sent.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio

local SIZE = 5000000 -- more than the kernel takes

--- A server that reads late, after `gate` if there is one; what it has got, how it ended, and an event for that.
local function slow_reader(gate)
  local seen = { bytes = 0, over = asyncio.Event() }
  local server = peers.serve(function(reader)
    if gate then gate:wait() else asyncio.sleep(0.05) end
    local ok, err = pcall(function()
      for piece in function() return reader:read(65536) end do seen.bytes = seen.bytes + #piece end
    end)
    seen.ended = ok and "end" or err.code
    seen.over:set()
  end)
  return server, seen
end

local function collect_until_over(seen)
  t.collect()
  seen.over:wait()
end

TestCollected = {}

local function assert_sends(write)
  warn "@off"
  t.real(function()
    local server, seen = slow_reader()
    local _ <close> = server
    do
      local _, writer = peers.connect(server)
      write(writer)
    end
    collect_until_over(seen)
    t.assertEquals({ seen.bytes, seen.ended }, { SIZE, "end" })
  end)
  warn "@on"
end

function TestCollected:test_writer_sends_what_it_holds()
  assert_sends(function(writer)
    for _ = 1, SIZE // 1000 do writer:write(("x"):rep(1000)) end
  end)
end

function TestCollected:test_writer_does_so_where_some_of_it_is_under_way()
  assert_sends(function(writer)
    writer:write(("x"):rep(SIZE // 2))
    asyncio.sleep(0.001)
    writer:write(("x"):rep(SIZE // 2))
  end)
end

function TestCollected:test_writer_does_so_after_write_eof()
  assert_sends(function(writer)
    writer:write(("x"):rep(SIZE))
    writer:write_eof()
  end)
end

function TestCollected:test_writer_sends_at_the_end_of_run_too()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    local SIZE, bytes, over = 5000000, 0, asyncio.Event()
    asyncio.run(function()
      local server = asyncio.start_server(function(reader)
        while true do
          local ok, piece = asyncio.pcall(reader.read, reader, 65536)
          if not ok or not piece then break end
          bytes = bytes + #piece
        end
        print(bytes)
        over:set()
      end, "127.0.0.1", 0)
      local done = asyncio.shield(asyncio.create_task(function()
        do
          local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
          writer:write(("x"):rep(SIZE))
        end
        collectgarbage() collectgarbage()
        over:wait()
      end))
      asyncio.await(done)
    end)
  ]]
  t.assertEquals({ out, err, code }, { "5000000\n", "", 0 })
end

TestReset = {}

--- Another state's server, in a thread, tells how its client ended.
local function ends_for_a_peer(program)
  t.real(function()
    local gate = asyncio.Event() -- who reads meanwhile may get all of it
    local server, seen = slow_reader(gate)
    local _ <close> = server
    asyncio.to_thread(program, server:sockets()[1].port)
    gate:set()
    seen.over:wait()
    t.assertEquals(seen.ended, "ECONNRESET")
    t.assertTrue(seen.bytes < 80000000) -- more than the kernel would take
  end)
end

function TestReset:test_is_what_the_peer_sees_of_a_loop_that_is_closed_with_output()
  ends_for_a_peer(function(port)
    local lib = require "asyncio"
    local loop = lib.new_event_loop()
    loop:set_exception_handler(function() end)
    loop:run_until_complete(loop:create_task(function()
      local _, writer = lib.open_connection("127.0.0.1", port)
      writer:write(("x"):rep(80000000))
    end))
    loop:close()
  end)
end

function TestReset:test_is_what_the_peer_sees_of_a_scope_that_is_cancelled_while_it_sends()
  ends_for_a_peer(function(port)
    local lib = require "asyncio"
    lib.run(function()
      lib.move_on_after(0.01, function()
        local _, writer <close> = lib.open_connection("127.0.0.1", port)
        writer:write(("x"):rep(80000000))
      end)
    end)
  end)
end

TestUnread = {}

--- A handler answers, and leaves much of what its client has said with the kernel.
local function assert_hears_the_answer(finish)
  warn "@off"
  t.real(function()
    local server <close> = peers.serve(function(reader, writer)
      reader:readexactly(1)
      asyncio.sleep(0.02) -- until all of it has come
      writer:send "the answer"
      asyncio.sleep(0.02) -- until it is there: nothing is left to be waited for
      finish(writer)
    end, { limit = 1 })
    local reader, writer <close> = peers.connect(server)
    writer:write(("x"):rep(50000))
    t.assertEquals(reader:read(-1), "the answer")
  end)
  warn "@on"
end

function TestUnread:test_input_does_not_reset_a_connection_that_is_closed()
  assert_hears_the_answer(function(writer)
    writer:close()
    writer:wait_closed()
  end)
end

function TestUnread:test_input_does_not_reset_one_whose_handler_returns() assert_hears_the_answer(function() end) end

function TestUnread:test_input_does_not_reset_one_that_is_collected()
  warn "@off"
  t.real(function()
    local answer
    local server <close> = peers.serve(function(reader, writer)
      writer:write(("x"):rep(50000))
      answer = reader:read(-1)
    end)
    do
      local reader, writer = peers.connect(server, { limit = 1 })
      reader:readexactly(1)
      asyncio.sleep(0.02)
      writer:send "the answer"
      asyncio.sleep(0.02)
    end
    t.collect()
    t.wait_until(function() return answer end)
    t.assertEquals(answer, "the answer")
  end)
  warn "@on"
end

function TestUnread:test_input_does_not_reset_one_that_is_open_at_the_end_of_run()
  t.real(function()
    local answer
    local server <close> = peers.serve(function(reader, writer)
      writer:write(("x"):rep(50000))
      answer = reader:read(-1)
    end)
    asyncio.to_thread(function(port)
      local lib = require "asyncio"
      lib.run(function()
        local reader, writer = lib.open_connection("127.0.0.1", port, { limit = 1 })
        reader:readexactly(1)
        lib.sleep(0.02)
        writer:send "the answer"
        lib.sleep(0.02)
      end)
    end, server:sockets()[1].port)
    t.wait_until(function() return answer end)
    t.assertEquals(answer, "the answer")
  end)
end

t.finish { sampled = true }
