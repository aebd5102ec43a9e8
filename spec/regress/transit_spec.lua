-- What is on its way from one socket of a process to another takes real time: the virtual clock waits for it, and so
-- does wait_all_tasks_blocked.
local t = require "helper"
local asyncio = t.asyncio
local create_task, sleep, timeout = asyncio.create_task, asyncio.sleep, asyncio.timeout

local SIZE = 2000000
local BYTES = ("x"):rep(SIZE)
local HOUR = 3600

local KINDS = {}

--- A server of that kind with this handler, and connections to it: the two ends are the loop's own.
function KINDS.tcp(handler)
  local server = asyncio.start_server(handler, "127.0.0.1", 0)
  return server, function(opts) return asyncio.open_connection("127.0.0.1", server:sockets()[1].port, opts) end
end

function KINDS.unix(handler)
  local path = os.tmpname()
  os.remove(path)
  local server = asyncio.start_unix_server(handler, path)
  return server, function(opts) return asyncio.open_unix_connection(path, opts) end
end

local function on_each_kind(fn)
  for _, kind in pairs(KINDS) do t.run(fn, kind) end
end

local function within_an_hour(fn, ...)
  local _ <close> = timeout(HOUR)
  return fn(...)
end

TestTransit = {}

function TestTransit:test_megabytes_come_down_before_an_hour_passes()
  on_each_kind(function(_, kind)
    local _ <close>, connect = kind(function(reader, writer)
      writer:send(BYTES)
      reader:read()
    end)
    for _ = 1, t.count(20) do
      local start = asyncio.time()
      local reader, _ <close> = connect()
      t.assertEquals(#within_an_hour(reader.readexactly, reader, SIZE), SIZE)
      t.assertEquals(asyncio.time(), start)
    end
  end)
end

function TestTransit:test_megabytes_go_up_before_an_hour_passes()
  on_each_kind(function(_, kind)
    local _ <close>, connect = kind(function(reader, writer)
      local n = 0
      while n < SIZE do
        n = n + #within_an_hour(reader.read, reader, 100000)
        sleep(0)
      end
      writer:send "thanks"
    end)
    for _ = 1, t.count(20) do
      local start = asyncio.time()
      local reader, writer <close> = connect()
      within_an_hour(writer.send, writer, BYTES)
      t.assertEquals(within_an_hour(reader.readexactly, reader, 6), "thanks")
      t.assertEquals(asyncio.time(), start)
    end
  end)
end

function TestTransit:test_megabytes_go_both_ways_at_once_with_limits_of_time()
  on_each_kind(function(_, kind)
    local _ <close>, connect = kind(function(reader, writer) asyncio.copy(reader, writer) end)
    local reader, writer <close> = connect { read_timeout = 60, write_timeout = 60 }
    local sender = create_task(function()
      writer:send(BYTES)
      writer:write_eof()
    end)
    t.assertEquals(#reader:read(), SIZE)
    asyncio.await(sender)
    t.assertEquals(asyncio.time(), 0)
  end)
end

function TestTransit:test_a_line_longer_than_what_the_kernel_holds_comes_beside_a_ticker()
  on_each_kind(function(_, kind)
    local _ <close>, connect = kind(function(reader, writer)
      writer:send(BYTES, "\n")
      reader:read()
    end)
    local reader, _ <close> = connect { limit = 2 * SIZE }
    local _ <close> = create_task(function() while true do sleep(HOUR) end end)
    t.assertEquals(#reader:readline(), SIZE + 1)
    t.assertEquals(asyncio.time(), 0)
  end)
end

function TestTransit:test_what_nobody_reads_lets_time_pass()
  on_each_kind(function(_, kind)
    local over = asyncio.Event()
    local _ <close>, connect = kind(function() over:wait() end)
    local _, writer <close> = connect()
    t.assert_raises(asyncio.TimeoutError, within_an_hour, writer.send, writer, ("x"):rep(20000000))
    t.assertEquals(asyncio.time(), HOUR)
    writer:abort()
    over:set()
  end)
end

--- A connection that is stuck for good, and a thousand hours, each with what `each` does on another one: who reads
-- there might be whom the bytes are for. The test's own limit ends it where each hour waits.
local function hours_beside_a_stuck_writer(kind, each)
  local over, stuck = asyncio.Event(), nil
  local _ <close>, connect = kind(function(reader, writer)
    if stuck then return asyncio.copy(reader, writer) end
    stuck = true
    over:wait()
  end)
  local _, writer <close> = connect()
  writer:write(("x"):rep(20000000))
  sleep(1)
  local reader, other <close> = connect()
  local start = asyncio.time()
  for _ = 1, 1000 do
    sleep(HOUR)
    each(reader, other)
  end
  t.assertEquals(asyncio.time(), start + 1000 * HOUR)
  writer:abort()
  over:set()
end

function TestTransit:test_a_thousand_hours_beside_a_stuck_writer_do_not_wait_for_it_each()
  on_each_kind(function(_, kind)
    hours_beside_a_stuck_writer(kind, function() end)
  end)
end

function TestTransit:test_nor_do_a_thousand_hours_with_traffic()
  on_each_kind(function(_, kind)
    hours_beside_a_stuck_writer(kind, function(reader, writer)
      writer:send "ping"
      t.assertEquals(reader:readexactly(4), "ping")
    end)
  end)
end

function TestTransit:test_who_reads_after_hours_gets_all_of_it_at_once()
  on_each_kind(function(_, kind)
    local _ <close>, connect = kind(function(_, writer) writer:send(("x"):rep(20000000)) end)
    local reader, _ <close> = connect()
    local _, _ <close> = connect() -- reads
    sleep(10 * HOUR)
    t.assertEquals(#within_an_hour(reader.readexactly, reader, 20000000), 20000000)
    t.assertEquals(asyncio.time(), 10 * HOUR)
  end)
end

TestBlocked = {}

function TestBlocked:test_is_nobody_for_whom_bytes_are_on_their_way()
  for _, run in ipairs { t.run, t.real } do
    for _, kind in pairs(KINDS) do
      run(function()
        local _ <close>, connect = kind(function(reader, writer)
          writer:send(BYTES)
          reader:read()
        end)
        local reader, _ <close> = connect()
        local task = create_task(function() return #reader:readexactly(SIZE) end)
        t.until_blocked()
        t.assertTrue(task:done())
        t.assertEquals(asyncio.await(task), SIZE)
      end)
    end
  end
end

function TestBlocked:test_comes_beside_a_stuck_writer_and_timers_go_off_meanwhile()
  t.real(function()
    local over = asyncio.Event()
    local _ <close>, connect = KINDS.unix(function() over:wait() end)
    local _, writer <close> = connect()
    local _, _ <close> = connect() -- reads
    local ticks = 0
    local _ <close> = create_task(function()
      while true do
        sleep(0.01)
        ticks = ticks + 1
      end
    end)
    writer:write(("x"):rep(20000000))
    t.until_blocked()
    t.assertTrue(ticks > 0)
    writer:abort()
    over:set()
  end)
end

t.finish { sampled = true }
