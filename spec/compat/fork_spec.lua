-- Sockets of asyncio.socket, copas and vim_async in a forked child: what waits in the parent's loop goes on there, and
-- the child may use what it has copies of.
local t = require "helper"
local forking = require "forking"

local assert_prints = forking.assert_prints

TestForkedSockets = {}
TestForkedFaces = {}
TestZLast = {} -- of the classes in their order

local SOCKETS = [[
  local socket = asyncio.socket
  local function pair()
    local server = assert(socket.bind("127.0.0.1", 0))
    local client = assert(socket.connect("127.0.0.1", (select(2, server:getsockname()))))
    local peer = assert(server:accept())
    server:close()
    return client, peer
  end
  --- A task that sends more than there is room for.
  local function sending(s, text)
    s:setoption("send-buffer-size", 10000)
    local task = asyncio.create_task(function() return (s:send(text)) end)
    asyncio.sleep(0)
    return task
  end
  --- A task that waits for a line of the socket.
  local function reading(s)
    local task = asyncio.create_task(function() return s:receive() end)
    asyncio.sleep(0)
    return task
  end
]]

local function assert_sockets(expected, source) assert_prints(expected, SOCKETS .. source) end

function TestForkedSockets:test_are_the_childs_too_though_a_task_of_the_parents_waits()
  assert_sockets("child's\n0\nparent's\n", [[
    asyncio.run(function()
      local client, peer = pair()
      local reads = reading(client)
      print(child(function()
        peer:send "child's\n"
        client:settimeout(10)
        print((client:receive()))
      end))
      peer:send "parent's\n"
      print((asyncio.await(reads)))
    end)
  ]])
end

function TestForkedSockets:test_are_the_childs_too_where_the_task_has_been_woken_already()
  assert_sockets("child's\n0\nparent's\n", [[
    asyncio.run(function()
      local client, peer = pair()
      local reads = reading(client)
      asyncio.create_task(function()
        print(child(function()
          client:settimeout(10)
          print((client:receive()))
        end))
        peer:send "parent's\n"
      end)
      peer:send "child's\n" -- the task is woken in the next poll, and the child's step may come first
      print((asyncio.await(reads)))
    end)
  ]])
end

function TestForkedSockets:test_wait_in_a_loop_of_the_childs()
  assert_sockets("to read\nto write\ntrue\n0\nparent's\n", [[
    asyncio.run(function()
      local client, peer = pair()
      local reads = reading(client)
      print(child(function()
        asyncio.run(function()
          local got = reading(client)
          peer:send "to read\n"
          print((asyncio.await(got)))
          local text = ("x"):rep(300000) -- no room for so much
          local sends = sending(client, text)
          assert(#peer:receive(#text) == #text)
          print(asyncio.await(sends) == #text and "to write")
          local list = socket.select({ client }, { client }, 10)
          print(list[1] == nil)
        end)
      end))
      peer:send "parent's\n"
      print((asyncio.await(reads)))
    end)
  ]])
end

function TestForkedSockets:test_of_a_half_that_the_parent_waits_for_wait_in_the_other()
  assert_sockets("sent\n0\nparent's\n", [[
    asyncio.run(function()
      local client, peer = pair()
      local reads = reading(client)
      print(child(function()
        asyncio.run(function()
          local text = ("x"):rep(300000)
          local sends = sending(client, text)
          assert(#peer:receive(#text) == #text and asyncio.await(sends) == #text)
          print "sent"
        end)
      end))
      peer:send "parent's\n"
      print((asyncio.await(reads)))
    end)
  ]])
end

--- Whatever the child does with its copies, the parent's waits end as they would have.
local function leaves_the_parent_alone(what)
  assert_sockets("0\nread\taccepted\tselected\tsent\t300000.0\ttrue\n", [[
    asyncio.run(function()
      local client, peer = pair()
      local full, drain = pair()
      local other, others_peer = pair()
      local server = assert(socket.bind("127.0.0.1", 0))
      local text = ("x"):rep(300000)
      local waits = {
        reading(client),
        asyncio.create_task(function() return server:accept() and "accepted" end),
        asyncio.create_task(function() return socket.select({ other }, nil)[1] and "selected" end),
        sending(full, text),
        asyncio.create_task(function() return socket.sleep(0.01) end),
      }
      asyncio.sleep(0)
      local status = child(function()
        ]] .. what .. [[

      end)
      print(status)
      peer:send "read\n"
      others_peer:send "x"
      local host, port = server:getsockname()
      local visitor = assert(socket.connect(host, port))
      local drained = drain:receive(#text)
      asyncio.wait(waits)
      print(waits[1]:result(), waits[2]:result(), waits[3]:result(), "sent", waits[4]:result(), drained == text)
    end)
  ]])
end

function TestForkedSockets:test_of_a_child_that_ends_leave_the_parent_alone() leaves_the_parent_alone "" end

function TestForkedSockets:test_of_a_child_that_collects_leave_the_parent_alone()
  leaves_the_parent_alone "client, peer, full, drain, other, server, waits = nil collectgarbage()"
end

function TestForkedSockets:test_of_a_child_that_closes_them_leave_the_parent_alone()
  leaves_the_parent_alone "for _, s in ipairs { client, peer, full, drain, other, server } do s:close() end"
end

function TestForkedSockets:test_of_a_child_with_a_loop_of_its_own_leave_the_parent_alone()
  leaves_the_parent_alone [[
    asyncio.run(function()
      local mine, other = pair()
      other:send "mine\n"
      assert(mine:receive() == "mine")
      assert(socket.select({ mine, other }, nil, 0.01)[1] == nil)
      assert(socket.dns.toip "127.0.0.1" == "127.0.0.1")
      for _, s in ipairs { client, peer, full, other, server } do s:close() end
    end)
  ]]
end

function TestForkedSockets:test_keep_their_copies_when_the_parents_loop_is_closed_there()
  assert_sockets("child's\n0\nparent's\n300000\n", [[
    local client, peer = pair()
    local full, drain = pair()
    local loop = asyncio.new_event_loop()
    local text = ("x"):rep(300000)
    local reads, sends
    loop:run_until_complete(function()
      reads, sends = reading(client), sending(full, text)
    end)
    print(child(function()
      loop:close()
      peer:send "child's\n"
      print((client:receive()))
      assert(full:getfd() >= 0)
    end))
    peer:send "parent's\n"
    loop:run_until_complete(function()
      print((asyncio.await(reads)))
      drain:receive(#text)
      print(math.tointeger((asyncio.await(sends))))
    end)
    loop:close()
  ]])
end

function TestForkedSockets:test_block_in_the_child_where_no_loop_runs()
  assert_sockets("nil\ttimeout\t\n0\n", [[
    asyncio.run(function()
      local client, peer = pair()
      print(child(function()
        client:settimeout(0.01)
        socket.sleep(0.001)
        assert(socket.select({ client }, nil, 0.001)[1] == nil)
        print(client:receive())
      end))
    end)
  ]])
end

--- Children of a copas whose threads were added before, each with a loop of its own.
local COPAS = [[
  local copas, socket = asyncio.compat.copas, asyncio.socket
  local server = assert(socket.bind("127.0.0.1", 0))
  local host, port = server:getsockname()
  copas.addserver(server, copas.handler(function(client)
    client:send(client:receive():upper() .. "\n")
    copas.removeserver(server)
  end))
]]

function TestForkedFaces:test_copas_serves_in_children_what_was_added_before()
  assert_prints("ONE\nTWO\n0\n0\n", COPAS .. [[
    local pids = {}
    for i = 1, 2 do
      pids[i] = forky.fork()
      if pids[i] == 0 then
        copas.loop()
        os.exit(0, true)
      end
    end
    server:close()
    for _, line in ipairs { "one", "two" } do
      local client = assert(socket.connect(host, port))
      client:send(line .. "\n")
      print((client:receive()))
    end
    for i = 1, 2 do print(forky.wait(pids[i])) end
  ]])
end

function TestForkedFaces:test_copas_has_a_new_loop_in_a_child_of_a_thread()
  assert_prints("in the child\n0\nin the parent\n", [[
    local copas = asyncio.compat.copas
    copas.addthread(function()
      copas.pause(0.001)
      print(child(function()
        copas.addthread(function()
          copas.pause(0.001)
          print "in the child"
        end)
        copas.loop()
      end))
      copas.pause(0.001)
      print "in the parent"
    end)
    copas.addthread(copas.pause, 0.01)
    copas.loop()
  ]])
end

function TestForkedFaces:test_vim_async_has_a_new_loop_in_a_child()
  assert_prints("child\nfalse\n0\nparent\n", [[
    local vim_async = asyncio.compat.vim_async
    local function slow(word)
      vim_async.sleep(1)
      return word
    end
    local task = vim_async.run(slow, "parent")
    print(child(function()
      print(vim_async.run(slow, "child"):wait())
      print((pcall(task.wait, task)))
    end))
    print(task:wait())
  ]])
end

function TestForkedFaces:test_socket_http_goes_on_in_a_child()
  assert_prints("200\tchild\n0\n200\tparent\n", [[
    local http = asyncio.compat.require "socket.http"
    asyncio.run(function()
      local served = asyncio.Event()
      local server <close> = asyncio.start_server(function(reader, writer)
        local path = reader:readuntil("\r\n\r\n"):match "^GET /(%w+)"
        writer:write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", path)
        writer:close()
        writer:wait_closed()
        served:set()
      end, "127.0.0.1", 0)
      local url = ("http://127.0.0.1:%d/"):format(server:sockets()[1].port)
      local function get(path)
        local body, code = http.request(url .. path)
        print(code, body)
      end
      local pid = forky.fork()
      if pid == 0 then
        get "child"
        os.exit(0, true)
      end
      served:wait()
      print(forky.wait(pid))
      get "parent"
    end)
  ]])
end

function TestZLast:test_removes_the_module() forking.remove() end

t.finish { sampled = true }
