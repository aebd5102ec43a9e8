-- A forked child: its copies of the parent's loop, streams and threads touch nothing of the parent's, however it ends.
-- The programs run in processes of their own, with a module in C that forks.
local t = require "helper"
local forking = require "forking"

TestForkedChild = {}
TestForkedChildsSignals = {}
TestForkedChildsThreads = {}
TestForkedChildsWords = {}

local assert_prints = forking.assert_prints

-- connections and servers

function TestForkedChild:test_datagram_endpoints_are_the_parents()
  assert_prints("ClosedError\nClosedError\n0\ntrue\nmine\n", [[
    local path = os.tmpname()
    os.remove(path)
    asyncio.run(function()
      local server <close> = asyncio.create_datagram_endpoint { path = path }
      local client <close> = asyncio.create_datagram_endpoint { remote_path = path }
      client:send "mine"
      print(child(function()
        for _, call in ipairs {
          function() return server:receive_nowait() end, function() client:send_nowait "x" end,
        } do
          local ok, err = pcall(call)
          print(asyncio.type(err) or err)
        end
        server:close()
        client:close()
      end))
      print(asyncio.fs.exists(path))
      print((server:receive()))
    end)
  ]])
end

function TestForkedChild:test_a_monitor_is_the_parents_and_the_child_may_have_its_own()
  assert_prints("nil\ntrue\n0\ntrue\nok\n", [[
    local path = os.tmpname()
    os.remove(path)
    asyncio.run(function()
      local monitor <close> = asyncio.monitor { path = path }
      at_rest()
      print(child(function()
        print(require "asyncio.core".monitor_path())
        local loop <close> = asyncio.new_event_loop()
        loop:run_until_complete(function()
          local own <close> = asyncio.monitor { path = path .. ".child" }
          print(asyncio.fs.exists(own:get_path()))
        end)
        monitor:close()
      end))
      print(asyncio.fs.exists(path))
      local reader, writer <close> = asyncio.open_unix_connection(path)
      writer:send "asyncio-monitor/1 loops\n"
      print(reader:readline():match "ok")
    end)
  ]])
end

function TestForkedChild:test_writes_nothing_that_a_file_of_the_parents_has_kept_back()
  for _, ending in ipairs { "os.exit(0, true)", "file = nil collectgarbage() collectgarbage()", "file:close()" } do
    assert_prints("0\nkept\n", [[
      local path = os.tmpname()
      asyncio.run(function()
        local file = asyncio.open(path, "w")
        file:write "kept"
        at_rest()
        print(child(function() ]] .. ending .. [[ end))
        file:close()
      end)
      for line in io.lines(path) do print(line) end
      os.remove(path)
    ]])
  end
end

--- The kernel's set of descriptors whose end is waited for is the child's, too.
function TestForkedChild:test_leaves_the_end_that_the_parent_waits_for_to_it()
  for _, ending in ipairs { "os.exit(0, true)", "reader, writer = nil collectgarbage() collectgarbage()" } do
    assert_prints("false\tthe stream is the parent's: this process was forked from it\n0\ntold\nhello\n", [[
      asyncio.run(function()
        local server <close> = asyncio.start_server(function(reader, writer)
          writer:send(("x"):rep(1000), "hello")
          reader:read(1)
        end, "127.0.0.1", 0)
        local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port, { limit = 8 })
        local task = asyncio.create_task(reader.wait_eof, reader)
        asyncio.sleep(0)
        at_rest()
        print(child(function()
          local ok, err = pcall(reader.wait_eof, reader)
          print(ok, err.message)
          ]] .. ending .. [[
        end))
        asyncio.sleep(0.01)
        assert(not task:done())
        writer:write "x"
        asyncio.wait_for(task, 10)
        print "told"
        print(reader:read():sub(-5))
        writer:close()
      end)
    ]])
  end
end

local function leaves_the_parent_alone(ending)
  assert_prints("0 hello\n hello\nnew hello\n", ([[
    asyncio.run(function()
      local server <close> = serve()
      local reader, writer = connect(server)
      local idle = asyncio.create_task(function() return reader:readline() end)
      asyncio.sleep(0.01)
      idle:cancel()
      asyncio.sleep(0)
      io.write(child(function() %s end), " ", ask(reader, writer), "\n")
      io.write(" ", ask(reader, writer), "\n")
      io.write("new ", ask(connect(server)), "\n")
      server:abort_clients()
    end)
  ]]):format(ending))
end

function TestForkedChild:test_that_closes_its_state_leaves_the_parent_alone() leaves_the_parent_alone "" end

function TestForkedChild:test_that_collects_leaves_the_parent_alone()
  leaves_the_parent_alone "reader, writer = nil collectgarbage() collectgarbage()"
end

function TestForkedChild:test_that_closes_everything_by_hand_leaves_the_parent_alone()
  leaves_the_parent_alone [[
    writer:close()
    server:close()
    server:close_clients()
  ]]
end

function TestForkedChild:test_that_aborts_leaves_the_parent_alone()
  leaves_the_parent_alone "writer:abort() server:abort_clients()"
end

function TestForkedChild:test_that_runs_a_loop_of_its_own_leaves_the_parent_alone()
  leaves_the_parent_alone [[
    for _ = 1, 2 do
      assert(asyncio.run(function()
        local own <close> = serve()
        local r, w = connect(own)
        local line = ask(r, w)
        w:close()
        return line
      end) == "hello")
    end
  ]]
end

function TestForkedChild:test_whose_main_returns_ends_in_the_ordinary_way()
  assert_prints("child result\nparent result 0\n", [[
    local pid
    local result = asyncio.run(function()
      local server <close> = serve()
      local other = asyncio.create_task(asyncio.sleep, 1000)
      pid = forky.fork()
      if pid == 0 then return "result" end
      local status = forky.wait(pid)
      local line = ask(connect(server))
      server:abort_clients()
      assert(line == "hello")
      return "result " .. status
    end)
    print((pid == 0 and "child " or "parent ") .. result)
  ]])
end

function TestForkedChild:test_whose_main_fails_does_so_there()
  assert_prints("boom\nstatus 0\n", [[
    local pid
    local ok, err = pcall(asyncio.run, function()
      pid = forky.fork()
      if pid == 0 then error("boom", 0) end
      return forky.wait(pid)
    end)
    print(pid == 0 and err:match "^[^\n]*" or "status " .. err)
  ]])
end

function TestForkedChild:test_sends_nothing_of_what_was_written_before()
  assert_prints("0\nbefore\n", [[
    asyncio.run(function()
      local got = asyncio.get_running_loop():create_future()
      local server <close> = asyncio.start_server(function(reader) got:set_result(reader:read(-1)) end, "127.0.0.1", 0)
      local _, writer = connect(server)
      writer:write "before"
      print(child(function() writer = nil collectgarbage() end))
      asyncio.sleep(0.01)
      writer:close()
      print(asyncio.await(got))
    end)
  ]])
end

function TestForkedChild:test_leaves_the_file_of_a_unix_server_and_its_watched_descriptors()
  assert_prints("0\nhello\nreadable\n", [[
    local path = os.tmpname()
    os.remove(path)
    asyncio.run(function()
      local server <close> = asyncio.start_unix_server(echo, path)
      local from, to = forky.pipe()
      local loop = asyncio.get_running_loop()
      local readable = loop:create_future()
      loop:add_reader(from, function()
        loop:remove_reader(from)
        readable:set_result "readable"
      end)
      asyncio.sleep(0)
      print(child(function() server:close() end))
      print(ask(asyncio.open_unix_connection(path)))
      forky.write(to, "x")
      print(asyncio.wait_for(readable, 10))
      server:abort_clients()
    end)
  ]])
end

function TestForkedChild:test_of_a_child_leaves_both_alone()
  assert_prints("0\nhello\n", [[
    asyncio.run(function()
      local server <close> = serve()
      print(child(function()
        asyncio.run(function()
          local own <close> = serve()
          local status = child(function() end)
          local r, w = connect(own)
          assert(status == 0 and ask(r, w) == "hello")
          w:close()
        end)
      end))
      print(ask(connect(server)))
      server:abort_clients()
    end)
  ]])
end

-- signals

local function assert_ends_the_child_alone(name, number)
  assert_prints(("status %d\nparent\n"):format(128 + number), ([[
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      local called = 0
      loop:add_signal_handler("%s", function() called = called + 1 end)
      asyncio.sleep(0)
      local pid = forky.fork()
      if pid == 0 then
        forky.pause()
        os.exit(7, false)
      end
      forky.kill(pid, %d)
      print("status " .. forky.wait(pid))
      asyncio.sleep(0.05)
      assert(called == 0)
      print "parent"
    end)
  ]]):format(name, number))
end

function TestForkedChildsSignals:test_end_it_alone() assert_ends_the_child_alone("SIGTERM", 15) end

function TestForkedChildsSignals:test_are_whose_they_were_before_also_Ctrl_C()
  assert_prints("status 130\nparent\n", [[
    asyncio.run(function()
      local pid = forky.fork()
      if pid == 0 then
        forky.raise(2) -- lua's own handler, which gives way to the default action
        forky.raise(2)
        os.exit(0, true)
      end
      print("status " .. forky.wait(pid))
      asyncio.sleep(0.01)
      print "parent"
    end)
  ]])
end

-- threads

-- What the threads that a child hasn't got had allocated is lost there, which valgrind would tell.
local function skip_under_valgrind()
  if t.slow then t.skip "the child's copies of other threads' memory are leaks to valgrind" end
end

function TestForkedChildsThreads:test_wait_for_no_thread_of_the_parents()
  skip_under_valgrind()
  assert_prints("0\n7\n", [[
    asyncio.run(function()
      threads = true
      local pool <close> = asyncio.ThreadPoolExecutor(2)
      local slow = pool:submit(function() require "asyncio".blocking_sleep(0.5) return 7 end)
      asyncio.to_thread(function() end)
      at_rest()
      print(child(function()
        local ok, err = pcall(pool.submit, pool, function() end)
        assert(not ok)
        pool:shutdown()
        asyncio.run(function() assert(asyncio.to_thread(function() return 5 end) == 5) end)
      end))
      print(asyncio.await(slow))
    end)
  ]])
end

function TestForkedChildsThreads:test_hold_no_lock_there()
  skip_under_valgrind()
  assert_prints("true\n", [[
    asyncio.run(function()
      threads = true
      local jobs, results = asyncio.Channel(), asyncio.Channel()
      local worker = asyncio.create_task(asyncio.to_thread, function()
        for _, x in jobs:iter() do results:put(x) end
      end)
      local failed = 0
      for i = 1, 30 do
        for j = 1, 20 do jobs:put(j) end
        at_rest()
        failed = failed + child(function() jobs:qsize() jobs:close() end)
        for j = 1, 20 do results:get() end
      end
      print(failed == 0)
      jobs:close()
      asyncio.await(worker)
    end)
  ]])
end

-- what its methods say

function TestForkedChildsWords:test_tell_what_is_the_matter()
  assert_prints([[
ClosedError: the event loop is the parent's: this process was forked from it
ClosedError: the stream is the parent's: this process was forked from it
ClosedError: the stream is the parent's: this process was forked from it
asyncio.sleep cannot wait in this process, which was forked from the one that has the event loop: ...
no event loop is running in this process, which was forked from the one that has it: start one with asyncio.run
cannot close a running event loop
0
]], [[
    asyncio.run(function()
      local server <close> = serve()
      local reader, writer = connect(server)
      local loop = asyncio.get_running_loop()
      print(child(function()
        local function say(...)
          local _, err = pcall(...)
          print((tostring(err):gsub("^%S+:%d+: ", ""):gsub("loop: asyncio.run starts one of its own", "loop: ...")))
        end
        say(loop.call_soon, loop, print)
        say(reader.readline, reader)
        say(writer.write, writer, "x")
        say(asyncio.sleep, 1)
        say(asyncio.create_task, print)
        say(loop.close, loop)
        assert(loop:is_closed() and writer:is_closing() and not asyncio.current_task())
        assert(tostring(loop) and tostring(reader) and tostring(writer) and tostring(server))
      end))
      server:abort_clients()
    end)
  ]])
end

function TestForkedChildsWords:test_tell_the_other_tasks_nothing()
  assert_prints("ClosedError: the event loop is the parent's: this process was forked from it\nonce\n0\n", [[
    local pid, status
    local ok, err = pcall(asyncio.run, function()
      local turn = asyncio.Event()
      asyncio.create_task(function()
        turn:wait()
        pid = forky.fork()
        if pid ~= 0 then status = forky.wait(pid) end
      end)
      asyncio.create_task(function()
        turn:wait()
        print(pid == 0 and "twice" or "once")
      end)
      turn:set()
      asyncio.sleep(0.01)
    end)
    if pid == 0 then
      print((tostring(err):match "^[^\n]*"))
    else
      print(status)
    end
  ]])
end

function TestForkedChildsWords:test_a_hosts_turn_ends_there_and_goes_on_in_the_parent()
  local refused = "ClosedError: the event loop is the parent's: this process was forked from it\n"
  assert_prints(refused:rep(2) .. "0\nslept\n", [[
    local pid
    local loop = asyncio.new_event_loop()
    local task = loop:create_task(function()
      pid = forky.fork()
      asyncio.sleep(0.01)
      return "slept"
    end)
    local ok, err = pcall(loop.run_once, loop)
    if pid == 0 then
      print((tostring(err):match "^[^\n]*"))
      print((tostring(select(2, pcall(loop.backend_fd, loop))):match "^[^\n]*"))
    else
      print(forky.wait(pid))
      while loop:run_once(1) do end
      print(task:result())
    end
  ]])
end

function TestForkedChildsWords:test_a_stop_signal_does_there_what_it_did_before_the_run()
  assert_prints("killed true\nSIGTERM\n", [[
    local runner <close> = asyncio.Runner { stop_signals = { "SIGTERM" } }
    local ok, err = pcall(runner.run, runner, function()
      local pid = forky.fork()
      if pid == 0 then
        os.execute "kill -TERM $PPID"
        print "the child lives on"
        os.exit(0)
      end
      print("killed " .. tostring(forky.wait(pid) ~= 0))
      os.execute "kill -TERM $PPID"
      asyncio.sleep(10)
    end)
    print(err.signal)
  ]])
end

TestZLast = {} -- of the classes in their order

function TestZLast:test_removes_the_module() forking.remove() end

function TestForkedChildsWords:test_streams_in_memory_are_the_parents_too()
  assert_prints(("ClosedError: the stream is the parent's: this process was forked from it\n"):rep(4) .. "0\nfed\n", [[
    asyncio.run(function()
      local reader, writer, other_reader, other_writer = asyncio.stream_pair()
      local fed = asyncio.StreamReader()
      other_writer:write(("x"):rep(1000000))
      asyncio.sleep(0)
      writer:write "under way"
      print(child(function()
        for _, call in ipairs { reader.readline, fed.readline } do
          print((select(2, pcall(call, call == reader.readline and reader or fed))))
        end
        print((select(2, pcall(writer.write, writer, "x"))))
        print((select(2, pcall(fed.feed, fed, "x"))))
      end))
      fed:feed "fed"
      print(fed:read(3))
      assert(other_reader:read(100) == "under way" and #reader:readexactly(1000000) == 1000000)
      writer:close()
      other_writer:close()
    end)
  ]])
end

-- What its thread has is the parent's, and so "leaks" in the child.
t.leave_out(TestForkedChild, "valgrind", "test_a_monitor_is_the_parents_and_the_child_may_have_its_own")

t.finish { sampled = true }
