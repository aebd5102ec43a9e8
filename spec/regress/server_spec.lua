-- server_spec.lua - what became of a connection when its handler had ended.
local t = require "helper"
local asyncio = t.asyncio

TestServer = {}

-- The end of a failed handler whose task had a name but no traceback looked for the task one place too low.
function TestServer:test_reports_a_handler_that_has_a_name_and_fails_without_a_traceback()
  local out, err, code, how = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      asyncio.get_running_loop():set_exception_handler(function(_, context)
        if context.exception then print(context.message, context.task:get_name()) end
      end)
      local server <close> = asyncio.start_server(function()
        asyncio.current_task():set_name "named"
        coroutine.yield()
      end, "127.0.0.1", 0)
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      print(reader:read(1))
    end)
  ]]
  t.assertEquals({ how, code, out, err }, { "exit", 0, "a connection's handler failed\tnamed\nnil\n", "" })
end

-- The server itself stayed behind as the current context, in which to_thread and the first ContextVar looked.
function TestServer:test_leaves_the_context_as_it_was_when_it_has_accepted()
  local out, err, code, how = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local server <close> = asyncio.start_server(function() end, "127.0.0.1", 0)
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      reader:read(1)
      print(asyncio.to_thread(function() return 5 end))
      local var = asyncio.ContextVar "var"
      var:set "set"
      print(var:get(), asyncio.await(asyncio.create_task(var.get, var)))
    end)
  ]]
  t.assertEquals({ how, code, out, err }, { "exit", 0, "5\nset\tset\n", "" })
end

-- A collection between the return of a handler and the closing of its writer dropped what it had written.
function TestServer:test_sends_what_a_handler_wrote_whatever_is_collected_when_it_returns()
  local out, err, code, how = t.lua(([[
    collectgarbage("generational", 1, 100)
    warn "@on"
    local asyncio = require "asyncio"
    local lost = 0
    asyncio.run(function()
      local function hello(_, writer) writer:write "hello\n" end
      local server <close> = asyncio.start_server(hello, "127.0.0.1", 0)
      local port = server:sockets()[1].port
      for _ = 1, %d do
        local reader, writer <close> = asyncio.open_connection("127.0.0.1", port)
        local _, line = pcall(reader.readline, reader)
        if line ~= "hello\n" then lost = lost + 1 end
      end
    end)
    print(lost)
  ]]):format(t.count(1500)))
  t.assertEquals({ how, code, out, err }, { "exit", 0, "0\n", "" })
end

-- The same with a collector that never rests and collects in steps.
function TestServer:test_sends_what_a_handler_wrote_under_a_restless_collector()
  t.real(function()
    local function hello(_, writer) writer:write "hello\n" end
    local server <close> = asyncio.start_server(hello, "127.0.0.1", 0)
    local port = server:sockets()[1].port
    local pause, multiplier = t.gc_parameter("pause", 0), t.gc_parameter("stepmul", 1000)
    local lines = {}
    for i = 1, t.count(200) do
      local reader, _ <close> = asyncio.open_connection("127.0.0.1", port)
      lines[i] = reader:readline()
    end
    t.gc_parameter("pause", pause)
    t.gc_parameter("stepmul", multiplier)
    t.assertEquals(#lines, t.count(200))
    for _, line in ipairs(lines) do t.assertEquals(line, "hello\n") end
  end)
end

function TestServer:test_clients_that_came_together_are_served_in_their_order()
  t.real(function()
    local order, done = {}, asyncio.get_running_loop():create_future()
    local server <close> = asyncio.start_server(function(reader)
      local n = #order + 1
      order[n] = "?" -- the place is taken by the order of the handlers' beginning
      order[n] = reader:readline()
      if #order == 10 and not table.concat(order):find "?" then done:set_result() end
    end, "127.0.0.1", 0, { start_serving = false })
    local writers = {}
    for i = 1, 10 do
      local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      writer:send(i, "\n")
      writers[i] = writer
    end
    server:start_serving()
    asyncio.await(done)
    t.assertEquals(table.concat(order), "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n")
    for _, writer in ipairs(writers) do writer:close() end
  end)
end

t.finish()
