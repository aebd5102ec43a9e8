-- unix_spec.lua - unix sockets: open_unix_connection and start_unix_server.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio

local function shout(reader, writer)
  for line in reader:lines() do writer:send(line:upper(), "\n") end
end

local function nothing() end

--- A path where there is no file; what is there at the end of the scope is removed. place.path
local function free_path()
  local name = os.tmpname()
  os.remove(name)
  return setmetatable({ path = name }, { __close = function() os.remove(name) end })
end

local function exists(path) return (os.execute(("test -e '%s'"):format(path))) end
local function is_socket(path) return (os.execute(("test -S '%s'"):format(path))) end

local function ask(path, line)
  local reader, writer <close> = asyncio.open_unix_connection(path)
  writer:write(line, "\n")
  return reader:readline()
end

--- A socket file whose server has gone without removing it.
local function leave_stale(path)
  asyncio.start_unix_server(nothing, path, { cleanup_socket = false }):close()
  t.assertTrue(is_socket(path))
end

TestUnix = {}

function TestUnix:test_server_and_client_talk()
  local place <close> = free_path()
  t.real(function()
    local _ <close> = asyncio.start_unix_server(shout, place.path)
    t.assertTrue(is_socket(place.path))
    for i = 1, 3 do t.assertEquals(ask(place.path, "hello " .. i), "HELLO " .. i .. "\n") end
  end)
end

function TestUnix:test_large_output_and_half_close_work_both_ways()
  local place <close> = free_path()
  local text = peers.text(t.count(5) * 1000000)
  t.real(function()
    local _ <close> = asyncio.start_unix_server(function(reader, writer)
      local all = reader:read(-1)
      writer:send(all)
      writer:write_eof()
      t.assertNil(reader:read(1))
    end, place.path)
    local reader, writer <close> = asyncio.open_unix_connection(place.path)
    t.assertTrue(writer:can_write_eof())
    local sender = asyncio.create_task(function()
      writer:send(text)
      writer:write_eof()
    end)
    t.assertTrue(reader:read(-1) == text)
    asyncio.await(sender)
    t.assertEquals(t.error_of(writer.write, writer, "x").message, "the stream is closed for writing (write_eof)")
  end)
end

function TestUnix:test_addresses_are_paths()
  local place <close> = free_path()
  t.real(function()
    local seen
    local server <close> = asyncio.start_unix_server(function(_, writer)
      seen = { writer:get_extra_info "sockname", writer:get_extra_info "peername" }
    end, place.path)
    local sockets = server:sockets()
    t.assertEquals(#sockets, 1)
    t.assertEquals({ sockets[1].family, sockets[1].path, tostring(sockets[1]) },
      { "unix", place.path, place.path })
    t.assertStrContains(tostring(server), place.path)
    local reader, writer <close> = asyncio.open_unix_connection(place.path)
    t.assertEquals(writer:get_extra_info("peername").path, place.path)
    t.assertEquals(writer:get_extra_info("sockname").path, "")
    t.assertEquals(tostring(writer:get_extra_info "sockname"), "")
    t.assertNil(reader:read(1))
    t.assertEquals({ seen[1].path, seen[2].path, seen[2].family }, { place.path, "", "unix" })
  end)
end

function TestUnix:test_limit_is_the_readers_at_both_ends()
  local place <close> = free_path()
  t.real(function()
    local err
    local _ <close> = asyncio.start_unix_server(function(reader, writer)
      err = t.error_of(reader.readline, reader)
      writer:send(("x"):rep(20))
    end, place.path, { limit = 10 })
    local reader, writer <close> = asyncio.open_unix_connection(place.path, { limit = 5 })
    writer:write(("y"):rep(20))
    t.assert_raises(asyncio.LimitOverrunError, reader.readline, reader)
    t.assert_isinstance(err, asyncio.LimitOverrunError)
    t.assertEquals(reader:read(-1), ("x"):rep(20))
  end)
end

function TestUnix:test_handler_that_returns_has_its_output_flushed()
  local place <close> = free_path()
  local text = peers.text(1000000)
  t.real(function()
    local _ <close> = asyncio.start_unix_server(function(_, writer) writer:write(text) end, place.path)
    local reader, _ <close> = asyncio.open_unix_connection(place.path)
    t.assertTrue(reader:read(-1) == text)
  end)
end

function TestUnix:test_peer_that_is_gone_makes_writing_raise()
  local place <close> = free_path()
  t.real(function()
    local _ <close> = asyncio.start_unix_server(function(_, writer) writer:abort() end, place.path)
    local reader, writer <close> = asyncio.open_unix_connection(place.path)
    t.assertNil(reader:read(1))
    local err = t.error_of(function()
      for _ = 1, 1000 do
        writer:send "x"
        asyncio.sleep(0)
      end
    end)
    t.assert_isinstance(err, asyncio.BrokenPipeError)
    t.assertStrContains(tostring(err), place.path)
  end)
end

TestFile = {}

function TestFile:test_goes_when_the_server_is_closed()
  local place <close> = free_path()
  t.real(function()
    local server = asyncio.start_unix_server(nothing, place.path)
    server:close()
    t.assertFalse(exists(place.path) or false)
    server:wait_closed()
  end)
end

function TestFile:test_stays_where_that_is_asked_for()
  local place <close> = free_path()
  t.real(function() leave_stale(place.path) end)
  t.assertTrue(is_socket(place.path))
end

function TestFile:test_goes_with_a_server_that_is_collected_or_whose_loop_ends()
  local place <close> = free_path()
  local out, err = t.lua(([[
    local asyncio = require "asyncio"
    local loop = asyncio.new_event_loop()
    loop:run_until_complete(function() asyncio.start_unix_server(print, "%s") end)
    print "ready"
  ]]):format(place.path))
  t.assertEquals({ out, err }, { "ready\n", "" })
  t.assertFalse(exists(place.path) or false)
end

function TestFile:test_of_another_server_that_has_taken_the_name_is_left_alone()
  local place <close> = free_path()
  t.real(function()
    local old = asyncio.start_unix_server(nothing, place.path)
    os.remove(place.path)
    local _ <close> = asyncio.start_unix_server(shout, place.path)
    old:close()
    t.assertTrue(is_socket(place.path))
    t.assertEquals(ask(place.path, "x"), "X\n")
  end)
end

function TestFile:test_left_over_is_replaced()
  local place <close> = free_path()
  t.real(function()
    leave_stale(place.path)
    local _ <close> = asyncio.start_unix_server(shout, place.path)
    t.assertEquals(ask(place.path, "x"), "X\n")
  end)
end

function TestFile:test_of_a_server_that_lives_is_not_replaced()
  local place <close> = free_path()
  t.real(function()
    local _ <close> = asyncio.start_unix_server(shout, place.path)
    local err = t.assert_raises(asyncio.AddressInUseError, asyncio.start_unix_server, nothing, place.path)
    t.assertStrContains(tostring(err), place.path)
    t.assertEquals(ask(place.path, "x"), "X\n")
  end)
end

function TestFile:test_that_is_no_socket_is_not_replaced()
  local file <close> = peers.file "precious"
  t.real(function()
    t.assert_raises(asyncio.AddressInUseError, asyncio.start_unix_server, nothing, file.name)
  end)
  t.assertEquals(peers.content(file.name), "precious")
end

-- root may write everywhere, unless that right is taken away; another user could not read a tree below /root
function TestFile:test_in_a_folder_that_cannot_be_written_raises()
  local place <close> = free_path()
  local root = os.execute 'test "$(id -u)" = 0'
  if root and not peers.has "setpriv" then t.skip "setpriv is not installed" end
  os.execute(("mkdir -m 555 '%s'"):format(place.path))
  local command, file = peers.lua_command(([[
    local asyncio = require "asyncio"
    local ok, err = asyncio.run(function() return pcall(asyncio.start_unix_server, print, "%s/x") end)
    print(ok, asyncio.isinstance(err, asyncio.PermissionError), err)
  ]]):format(place.path))
  local _ <close> = file
  local pipe = io.popen(("%s %s 2>&1"):format(root and "setpriv --bounding-set -dac_override" or "", command))
  local output = t.unhurried(pipe:read "a")
  pipe:close()
  t.assertEquals(output, ("false\ttrue\t[EACCES] permission denied: listen %s/x\n"):format(place.path))
end

TestWrong = {}

function TestWrong:test_paths_are_refused_in_words()
  t.real(function()
    for path, words in pairs {
      [""] = "a path that isn't empty expected",
      ["/tmp/a\0b"] = "path with a zero byte",
      [("x"):rep(108)] = "the path of a unix socket has 107 bytes at most, got 108",
      [5] = "path expected, got number",
      [true] = "path expected, got boolean",
    } do
      t.assertErrorMsgContains(words, asyncio.open_unix_connection, path)
      t.assertErrorMsgContains("bad argument #1 to 'open_unix_connection'", asyncio.open_unix_connection, path)
      t.assertErrorMsgContains(words, asyncio.start_unix_server, nothing, path)
      t.assertErrorMsgContains("bad argument #2 to 'start_unix_server'", asyncio.start_unix_server, nothing, path)
    end
    t.assertErrorMsgContains("function expected", asyncio.start_unix_server, 5, "/tmp/x")
    t.assertErrorMsgContains("table of options expected", asyncio.open_unix_connection, "/tmp/x", 5)
    t.assertErrorMsgContains("'limit': integer of 1 or more", asyncio.open_unix_connection, "/tmp/x", { limit = 0 })
  end)
end

function TestWrong:test_place_has_an_error_of_its_class()
  local place <close> = free_path()
  t.real(function()
    local err = t.assert_raises(asyncio.FileNotFoundError, asyncio.open_unix_connection, place.path)
    t.assertEquals({ err.code, err.syscall, err.address }, { "ENOENT", "connect", place.path })
    leave_stale(place.path)
    err = t.assert_raises(asyncio.ConnectionRefusedError, asyncio.open_unix_connection, place.path)
    t.assertStrContains(tostring(err), place.path)
    t.assert_raises(asyncio.FileNotFoundError, asyncio.start_unix_server, nothing, "/nonexistent/folder/x")
  end)
end

TestAbstract = {}

function TestAbstract:test_names_need_no_file()
  if not io.open "/proc/self/fd" then t.skip "abstract names are Linux's" end
  local name = "\0lua-asyncio " .. os.tmpname()
  t.real(function()
    local server <close> = asyncio.start_unix_server(shout, name)
    t.assertEquals(server:sockets()[1].path, name)
    t.assertEquals(tostring(server:sockets()[1]), "@" .. name:sub(2))
    t.assertEquals(ask(name, "x"), "X\n")
    t.assert_raises(asyncio.AddressInUseError, asyncio.start_unix_server, nothing, name)
  end)
end

TestBacklog = {}

--- A server that accepts nothing, and connections that fill its backlog.
local function full(path)
  local server = asyncio.start_unix_server(shout, path, { backlog = 1, start_serving = false })
  local held = {}
  for i = 1, 2 do held[i] = table.pack(asyncio.open_unix_connection(path)) end
  return server, setmetatable(held, {
    __close = function() for _, each in ipairs(held) do each[2]:abort() end end,
  })
end

function TestBacklog:test_that_is_full_makes_connecting_wait()
  local place <close> = free_path()
  t.real(function()
    local server <close>, held = full(place.path)
    local _ <close> = held
    local task = asyncio.create_task(ask, place.path, "x")
    t.until_blocked()
    t.assertFalse(task:done())
    server:start_serving()
    t.assertEquals(asyncio.await(task), "X\n")
  end)
end

function TestBacklog:test_that_is_full_can_be_given_up()
  local place <close> = free_path()
  t.real(function()
    local server <close>, held = full(place.path)
    local _ <close> = held
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function()
      return asyncio.open_unix_connection(place.path)
    end, 0.02)
    server:close()
  end)
end

TestScope = {}

function TestScope:test_of_a_server_left_by_an_error_ends_with_idle_clients()
  local place <close> = free_path()
  t.real(function()
    local clients = {}
    local err = t.error_of(function()
      local _ <close> = asyncio.start_unix_server(function(reader) reader:read(1) end, place.path)
      for i = 1, 3 do clients[i] = table.pack(asyncio.open_unix_connection(place.path)) end
      asyncio.sleep(0.01)
      error "out"
    end)
    t.assertStrContains(err, "out")
    for _, client in ipairs(clients) do
      t.assertNil(client[1]:read(1))
      client[2]:close()
    end
    t.assertFalse(exists(place.path) or false)
  end)
end

t.finish()
