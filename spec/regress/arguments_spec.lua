-- arguments_spec.lua - arguments in numbers and of kinds that nobody had thought of.
local t = require "helper"

TestArguments = {}

local function assert_ends_well(source, expected)
  local out, err, code, how = t.lua('local asyncio = require "asyncio"\n' .. source)
  t.assertEquals({ how, code, out, err }, { "exit", 0, expected, "" })
end

-- The call of a class pushed the arguments for its `init` without a check that the stack has the room.
function TestArguments:test_in_great_number_reach_the_init_of_an_error_class()
  assert_ends_well([[
    local numbers = {}
    for i = 1, 10000 do numbers[i] = i end
    local Counted = asyncio.Error:subclass "Counted"
    function Counted:init(...) self.count, self.last = select("#", ...), (select(-1, ...)) end
    local e = Counted(table.unpack(numbers))
    print(e.count, e.last)
    print(asyncio.isinstance(asyncio.ExceptionGroup("m", {}, table.unpack(numbers)), asyncio.ExceptionGroup))
  ]], "10000\t10000\ntrue\n")
end

-- More arguments than a userdata has values for were cut off, or overflowed it, but for call_soon's.
function TestArguments:test_of_callbacks_are_refused_when_they_are_too_many()
  assert_ends_well([[
    local loop = asyncio.new_event_loop()
    local many = {}
    for i = 1, 70000 do many[i] = i end
    local function try(name, ...) print(name, select(2, pcall(loop[name], loop, ...))) end
    try("add_reader", 0, print, table.unpack(many))
    try("add_writer", 1, print, table.unpack(many))
    try("add_signal_handler", "SIGUSR1", print, table.unpack(many))
    try("call_soon", print, table.unpack(many))
    try("call_later", 0, print, table.unpack(many))
    collectgarbage()
    loop:close()
  ]], (("NAME\ttoo many arguments for a callback\n"):rep(5):gsub("NAME", coroutine.wrap(function()
    for _, name in ipairs { "add_reader", "add_writer", "add_signal_handler", "call_soon", "call_later" } do
      coroutine.yield(name)
    end
  end))))
end

-- The finalisers, which anybody finds in the metatables, took whatever they were given for their object.
function TestArguments:test_of_any_kind_do_no_harm_to_the_finalisers()
  assert_ends_well([[
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      local server <close> = asyncio.start_server(function() end, "127.0.0.1", 0)
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      local scope <close> = asyncio.timeout(5)
      local objects = {
        loop, server, reader, writer, loop:create_future(), asyncio.current_task(), asyncio.Lock(),
        asyncio.Event(), asyncio.Condition(), asyncio.Semaphore(1), asyncio.Queue(), asyncio.PriorityQueue(),
        asyncio.Barrier(2), scope, loop:call_soon(function() end),
      }
      local strangers = { 1, "a string", {}, print, true, io.stdout }
      local tried = 0
      for _, object in ipairs(objects) do
        local meta = debug.getmetatable(object)
        local finalise = type(meta) == "table" and meta.__gc
        if finalise then
          tried = tried + 1
          pcall(finalise)
          pcall(finalise, nil)
          for _, stranger in ipairs(strangers) do pcall(finalise, stranger) end
        end
      end
      print(tried > 5)
    end)
    io.stdout:write "as ever\n"
  ]], "true\nas ever\n")
end

t.finish()
